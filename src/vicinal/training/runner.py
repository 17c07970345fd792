"""Runs one bunch of replicas from the first batch to the last, and keeps what came of it.

All replicas of a bunch share their sources of batches. They are cut into stacks whose parameters and activations fit into a
cache, and every stack takes all steps of a block in turn.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from vicinal.core import generator_at
from vicinal.labeling import Labeler
from vicinal.networks import MLP
from vicinal.training.batches import Block, Source
from vicinal.training.held_out import HeldOut
from vicinal.training.objective_stack import ObjectiveStack
from vicinal.training.optimizer import Optimizer
from vicinal.training.problem import Group, Setting
from vicinal.training.result import Fit
from vicinal.training.stack import LinearStack, MLPStack, Stack

__all__ = ["Bunch", "Regime", "Runner"]

CACHE = 1 << 20
"""Numbers that the replicas of one stack may come to: 4 MB in single precision."""


@dataclass(frozen=True)
class Regime:
    """What all replicas of a fit have in common; see `fit_stack`."""

    hidden: Sequence[int]
    optimizer: Optimizer
    batch_size: int
    epochs: int
    keep_best: str | None = None


@dataclass(frozen=True)
class Bunch:
    """Replicas that share batches: groups (by number) and, for each, the numbers of its settings."""

    groups: list[int]
    settings: list[list[int]]


@dataclass(frozen=True)
class _Tile:
    """Some streams and replicas of a bunch as one stack, and the weights that are kept of them."""

    streams: slice
    replicas: slice
    stack: Stack
    kept: list[Tensor]

    def keep(self, mask: Tensor) -> None:
        """Copy the current weights of the replicas in mask (S, R), over the whole bunch."""
        mask = mask[self.streams, self.replicas].to(self.kept[0].device)
        for i, (kept, current) in enumerate(zip(self.kept, self.stack.parameters, strict=False)):
            self.kept[i] = torch.where(self.stack.spread(mask, current), current, kept)


class Runner:
    """Runs one bunch.

    Args:
        groups, plan: all of them; the settings of each group by number.
        bunch: which of them run here.
        regime: how.
        initial: networks to start from, one per group, or None for fresh ones.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        plan: Sequence[Mapping[int, Setting]],
        bunch: Bunch,
        regime: Regime,
        initial: Sequence[MLP] | None,
    ) -> None:
        self.groups = [groups[g] for g in bunch.groups]
        self.settings = [[plan[g][r] for r in numbers] for g, numbers in zip(bunch.groups, bunch.settings, strict=True)]
        self.bunch, self.regime = bunch, regime
        self.objective = self.settings[0][0].objective
        self.seconds = np.zeros((len(self.groups), len(self.settings[0])))
        self.elapsed = 0.0
        self.labels, self.mixture = self._sources()
        self.tiles = self._tiles([None] * len(self.groups) if initial is None else [initial[g] for g in bunch.groups])

    def _sources(self) -> tuple[list[str], Tensor]:
        """Make the groups' sources, each with only the labelers it uses, and the mixture (S, T, R)."""
        labelers: dict[str, Labeler] = {}
        shares: dict[tuple[int, int, str], float] = {}
        cache: dict[int, list[tuple[float, str]]] = {}
        for s, row in enumerate(self.settings):
            for r, setting in enumerate(row):
                if id(setting.vicinity) not in cache:
                    cache[id(setting.vicinity)] = []
                    for share, labeler in setting.vicinity.terms():
                        key = labeler.key()
                        labelers.setdefault(key, labeler)
                        cache[id(setting.vicinity)].append((share, key))
                for share, key in cache[id(setting.vicinity)]:
                    shares[s, r, key] = shares.get((s, r, key), 0.0) + share
        names = list(labelers)
        mixture = torch.zeros(len(self.groups), len(names), len(self.settings[0]), dtype=torch.float64)
        for (s, r, key), share in shares.items():
            mixture[s, names.index(key), r] = share
        self.uses = mixture.numpy() > 0
        self.sources = []
        for s, group in enumerate(self.groups):
            used = {key: labelers[key] for t, key in enumerate(names) if self.uses[s, t].any()}
            vicinity = self.settings[s][0].vicinity
            self.sources.append(Source(group, vicinity, used, self.regime.batch_size, self.objective))
        return names, mixture

    def _tiles(self, initial: Sequence[MLP | None]) -> list[_Tile]:
        """Make the networks of every stream, and cut streams and replicas into stacks."""
        networks, own = [], []
        for group, start in zip(self.groups, initial, strict=True):
            fresh = generator_at(**group.address, purpose="init")
            networks.append(start or MLP(group.x.shape[1], group.n_classes, self.regime.hidden, fresh))
            if self.objective is not None:
                seen = networks[-1].layers[0].in_features
                fresh = generator_at(**group.address, purpose="objective-init")
                own.append([n.to(group.x) for n in self.objective.networks(seen, fresh)])  # type: ignore[arg-type]
        like = self.groups[0].x
        networks = [network.to(like) for network in networks]
        table = torch.tensor(
            [[(s.learning_rate, s.weight_decay) for s in row] for row in self.settings],
            dtype=like.dtype,
            device=like.device,
        )
        plain = LinearStack if len(networks[0].layers) == 1 else MLPStack

        def stack(streams: slice, replicas: slice) -> Stack:
            rate, decay = table[streams, replicas].unbind(-1)
            mixture = self.mixture[streams, :, replicas].to(like)
            common = (networks[streams], rate, decay, mixture, self.regime.optimizer)
            return plain(*common) if self.objective is None else ObjectiveStack(*common, self.objective, own[streams])

        tiles = []
        for streams, replicas in _cut(*self.seconds.shape, self._room([networks[0], *(own[0] if own else ())])):
            made = stack(streams, replicas)
            tiles.append(_Tile(streams, replicas, made, [p.clone() for p in made.parameters[: made.own]]))
        return tiles

    def _room(self, networks: Sequence[MLP]) -> int:
        """Return how many replicas fit into a cache: weights, gradients, two moments; outputs of layers, there and back."""
        if self.groups[0].x.device.type != "cpu" or (self.objective is None and len(networks[0].layers) == 1):
            return self.seconds.size
        weights = sum(p.numel() for network in networks for p in network.parameters())
        widths = sum(layer.out_features for network in networks for layer in network.layers)  # type: ignore[misc]
        return max(1, CACHE // (4 * weights + 2 * self.sources[0].batch_size * int(widths)))

    def _join(self, blocks: Sequence[Block]) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Lay the groups' blocks side by side: x (M, S, B, D), targets (M, S, T, B, K), weight (M, S, B), draws (M, S, ...)."""
        widest = max(block.x.shape[1] for block in blocks)

        def widen(value: Tensor) -> Tensor:
            missing = widest - value.shape[1] if value.ndim > 1 else 0
            return pad(value, (0, 0) * (value.ndim - 2) + (0, missing)) if missing else value

        x = torch.stack([widen(block.x) for block in blocks], 1)
        weight = torch.stack([widen(block.weight) for block in blocks], 1)
        draws = {name: torch.stack([widen(block.draws[name]) for block in blocks], 1) for name in blocks[0].draws}
        m, k = x.shape[0], self.groups[0].n_classes
        targets = x.new_zeros(m, len(blocks), len(self.labels), widest, k)
        for s, block in enumerate(blocks):
            for t, key in enumerate(self.labels):
                if key in block.targets:
                    targets[:, s, t, : block.x.shape[1]] = block.targets[key]
        return x, targets, weight, draws

    def run(self, result: Fit) -> Iterator[tuple[int, float]]:
        """Train; yield (replica steps, training loss) after each block."""
        epochs, batches = self.regime.epochs, self.sources[0].batches
        own = torch.tensor([[min(s.epochs or epochs, epochs) for s in row] for row in self.settings])
        # Blocks are drawn as if all epochs were to be trained, so that no replica's end moves another's draws.
        last = max([int(own.max()), *result.checkpoints])
        rows = HeldOut.of(self.groups) if result.checkpoints else None
        best = torch.full(own.shape, torch.inf, dtype=torch.float64)
        loss = torch.full(own.shape, torch.nan)
        streams = [source.blocks(epochs) for source in self.sources]
        epoch = 0
        while epoch < last:
            started = time.perf_counter()
            x, targets, weight, draws = self._join([next(stream) for stream in streams])
            for tile in self.tiles:
                at, stack = tile.streams, tile.stack
                stack.prepare(x[:, at], targets[:, at], weight[:, at], {k: v[:, at] for k, v in draws.items()})
                for step in range(min(len(x), (last - epoch) * batches)):
                    passed, left = divmod(step + 1, batches)
                    stack.step(step, stack.optimizer.scale(epoch + step // batches))
                    if left:
                        continue
                    if rows is not None and epoch + passed in result.checkpoints:
                        self._check(tile, rows, result, epoch + passed, best)
                    if not self.regime.keep_best and (ended := own == epoch + passed).any():
                        tile.keep(ended)
                loss[at, tile.replicas] = stack.loss(x[-1, at], targets[-1, at], weight[-1, at]).cpu().float()
            epoch += len(x) // batches
            self.elapsed += time.perf_counter() - started
            yield len(x) * loss.numel(), float(loss.mean())
        if last < epochs:
            yield (epochs - epoch) * batches * loss.numel(), float(loss.mean())
        self._share_seconds()
        for s, g in enumerate(self.bunch.groups):
            for slot, r in enumerate(self.bunch.settings[s]):
                result.train_loss[g, r] = float(loss[s, slot])
                result.seconds[g, r] = self.seconds[s, slot]
        for tile in self.tiles:
            for s, g in enumerate(self.bunch.groups[tile.streams]):
                for slot, r in enumerate(self.bunch.settings[tile.streams][s][tile.replicas]):
                    result._networks[g, r] = partial(tile.stack.network, tile.kept, s, slot)

    def _check(self, tile: _Tile, rows: HeldOut, result: Fit, epoch: int, best: Tensor) -> None:
        """Evaluate a tile's replicas, and keep the weights of those that are at their best."""
        c, keep = result.checkpoints.index(epoch), bool(result.predictions)
        log_loss, accuracy, predictions = rows.score(tile.stack, tile.streams, keep=keep)
        for s, g in enumerate(self.bunch.groups[tile.streams]):
            numbers = self.bunch.settings[tile.streams][s][tile.replicas]
            result.log_loss[g, numbers, c] = log_loss[s]
            result.accuracy[g, numbers, c] = accuracy[s]
            if keep:
                result.predictions[g][numbers, c] = predictions[s, :, : result.predictions[g].shape[2]]
        if self.regime.keep_best:
            score = torch.full_like(best, torch.inf)
            score[tile.streams, tile.replicas] = torch.from_numpy(
                log_loss if self.regime.keep_best == "log_loss" else -accuracy
            )
            tile.keep(score < best)
            torch.fmin(best, score, out=best)

    def _share_seconds(self) -> None:
        """Give labels' time to the replicas that use them, and the rest to all alike."""
        labelled = 0.0
        for s, source in enumerate(self.sources):
            for t, key in enumerate(self.labels):
                if key in source.seconds:
                    self.seconds[s] += source.seconds[key] * self.uses[s, t] / self.uses[s, t].sum()
                    labelled += source.seconds[key]
        self.seconds += (self.elapsed - labelled) / self.seconds.size


def _cut(streams: int, replicas: int, room: int) -> list[tuple[slice, slice]]:
    """Cut S x R into tiles of at most `room`: whole streams where they fit, else even parts of one."""
    if room >= replicas:
        step = room // replicas
        return [(slice(s, s + step), slice(None)) for s in range(0, streams, step)]
    parts = -(-replicas // room)
    size = -(-replicas // parts)
    return [(slice(s, s + 1), slice(r, r + size)) for s in range(streams) for r in range(0, replicas, size)]
