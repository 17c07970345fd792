"""Runs one stack from its first batch to its last, and keeps what came of it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from vicinal.core import InputError, generator_at
from vicinal.labeling import Labeler
from vicinal.networks import MLP
from vicinal.training.batches import Block, Source
from vicinal.training.problem import Group, Setting
from vicinal.training.stack import Optimizer, Stack, make_stack

__all__ = ["Bunch", "Fit", "Runner"]

EVALUATION_NUMBERS = 1 << 24
"""Activations held at once while evaluating."""


@dataclass
class Fit:
    """What came of G groups under R settings each.

    Attributes:
        checkpoints: epochs after which replicas were evaluated, C of them.
        log_loss: (G, R, C) on the evaluation rows, in nats; NaN where nothing was evaluated.
        accuracy: (G, R, C).
        train_loss: (G, R) cross entropy against the vicinal labels of the last batch.
        seconds: (G, R) each replica's share of the time its stack took; labels by the replicas that use them.
    """

    checkpoints: tuple[int, ...]
    log_loss: np.ndarray
    accuracy: np.ndarray
    train_loss: np.ndarray
    seconds: np.ndarray
    _where: dict[tuple[int, int], tuple[Stack, list[Tensor], int, int]] = field(default_factory=dict, repr=False)

    def network(self, group: int, setting: int) -> MLP:
        """Return the trained network of a group under a setting."""
        stack, parameters, stream, replica = self._where[group, setting]
        return stack.network(stream, replica, parameters)

    def probabilities(self, group: int, setting: int, x: Tensor) -> Tensor:
        """Return class probabilities (V, K) of one replica for x (V, D)."""
        with torch.no_grad():
            return torch.softmax(self.network(group, setting)(x), 1)


@dataclass(frozen=True)
class Bunch:
    """Replicas that run as one stack: groups (by number) and, for each, the numbers of its settings."""

    groups: list[int]
    settings: list[list[int]]


class Runner:
    """Runs one bunch as one stack."""

    def __init__(
        self,
        groups: Sequence[Group],
        plan: list[list[Setting]],
        bunch: Bunch,
        hidden: Sequence[int],
        optimizer: Optimizer,
        batch_size: int,
        initial: Sequence[MLP] | None,
    ) -> None:
        self.groups = [groups[g] for g in bunch.groups]
        self.settings = [[plan[g][r] for r in numbers] for g, numbers in zip(bunch.groups, bunch.settings, strict=True)]
        self.bunch = bunch
        self.seconds = np.zeros((len(self.groups), len(self.settings[0])))
        self.elapsed = 0.0
        networks = []
        for g in bunch.groups:
            group = groups[g]
            generator = generator_at(**group.address, purpose="init")
            start = MLP(group.x.shape[1], group.n_classes, hidden, generator) if initial is None else initial[g]
            networks.append(start.to(group.x))
        like = self.groups[0].x
        self.labels, mixture = self._sources(batch_size)
        table = np.array([[(s.learning_rate, s.weight_decay) for s in row] for row in self.settings])
        rate, decay = (torch.tensor(table[..., i], dtype=like.dtype, device=like.device) for i in (0, 1))
        self.stack = make_stack(networks, rate, decay, mixture.to(like), optimizer)
        self.kept = [p.clone() for p in self.stack.parameters]

    def _sources(self, batch_size: int) -> tuple[list[str], Tensor]:
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
            self.sources.append(Source(group, self.settings[s][0].vicinity, used, batch_size))
        return names, mixture

    def _join(self, blocks: Sequence[Block]) -> tuple[Tensor, Tensor, Tensor]:
        """Lay the groups' blocks side by side: x (M, S, B, D), targets (M, S, T, B, K), weight (M, S, B)."""
        widest = max(block.x.shape[1] for block in blocks)

        def widen(value: Tensor) -> Tensor:
            missing = widest - value.shape[1]
            return pad(value, (0, 0) * (value.ndim - 2) + (0, missing)) if missing else value

        x = torch.stack([widen(block.x) for block in blocks], 1)
        weight = torch.stack([widen(block.weight) for block in blocks], 1)
        m, k = x.shape[0], self.groups[0].n_classes
        targets = x.new_zeros(m, len(blocks), len(self.labels), widest, k)
        for s, block in enumerate(blocks):
            for t, key in enumerate(self.labels):
                if key in block.targets:
                    targets[:, s, t, : block.x.shape[1]] = block.targets[key]
        return x, targets, weight

    def run(self, result: Fit, epochs: int, keep_best: str | None) -> Iterator[tuple[int, float]]:
        """Train; yield (replica steps, training loss) after each block."""
        stack, batches = self.stack, self.sources[0].batches
        ends: dict[int, Tensor] = {}
        own = torch.tensor([[s.epochs or epochs for s in row] for row in self.settings])
        for end in own.unique().tolist():
            ends[int(end)] = own == end
        best = torch.full(own.shape, torch.inf, dtype=torch.float64)
        epoch, loss = 0, torch.tensor(torch.nan)
        streams = [source.blocks(epochs) for source in self.sources]
        while epoch < epochs:
            started = time.perf_counter()
            x, targets, weight = self._join([next(stream) for stream in streams])
            stack.prepare(x, targets, weight)
            for step in range(len(x)):
                stack.step(step, stack.optimizer.scale(epoch))
                if (step + 1) % batches:
                    continue
                epoch += 1
                if epoch in result.checkpoints:
                    log_loss, accuracy = self._evaluate()
                    c = result.checkpoints.index(epoch)
                    for s, g in enumerate(self.bunch.groups):
                        result.log_loss[g, self.bunch.settings[s], c] = log_loss[s]
                        result.accuracy[g, self.bunch.settings[s], c] = accuracy[s]
                    if keep_best:
                        score = torch.from_numpy(log_loss if keep_best == "log_loss" else -accuracy)
                        better = score < best
                        best = torch.where(better, score, best)
                        self._keep(better)
                if not keep_best and epoch in ends:
                    self._keep(ends[epoch])
            last = len(x) - 1
            loss = stack.loss(x[last], targets[last], weight[last])
            self.elapsed += time.perf_counter() - started
            yield len(x) * loss.numel(), float(loss.mean())
        self._share_seconds()
        for s, g in enumerate(self.bunch.groups):
            for slot, r in enumerate(self.bunch.settings[s]):
                result.train_loss[g, r] = float(loss[s, slot])
                result.seconds[g, r] = self.seconds[s, slot]
                result._where[g, r] = (stack, self.kept, s, slot)

    def _share_seconds(self) -> None:
        """Give labels' time to the replicas that use them, and the rest to all alike."""
        labelled = 0.0
        for s, source in enumerate(self.sources):
            for t, key in enumerate(self.labels):
                if key in source.seconds:
                    self.seconds[s] += source.seconds[key] * self.uses[s, t] / self.uses[s, t].sum()
                    labelled += source.seconds[key]
        self.seconds += (self.elapsed - labelled) / self.seconds.size

    def _keep(self, mask: Tensor) -> None:
        """Copy the current weights of the replicas in mask (S, R)."""
        mask = mask.to(self.kept[0].device)
        for i, parameter in enumerate(self.stack.parameters):
            self.kept[i] = torch.where(self.stack._spread(mask, parameter), parameter, self.kept[i])

    def _evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the weighted mean log loss and accuracy on the evaluation rows, (S, R) each."""
        rows = max(0 if group.x_eval is None else len(group.x_eval) for group in self.groups)
        if rows == 0:
            raise InputError("checkpoints need evaluation rows: give every group `x_eval` and `y_eval`.")
        x, y, weight = (
            torch.stack(part) for part in zip(*[_padded(group, rows) for group in self.groups], strict=True)
        )
        widths = (
            [p.shape[-1] for p in self.stack.parameters[::2]]
            if len(self.stack.parameters) > 1
            else [self.groups[0].n_classes]
        )
        per_row = self.seconds.size * max(widths)
        totals = torch.zeros(2, *self.seconds.shape, dtype=torch.float64, device=x.device)
        step = max(1, EVALUATION_NUMBERS // per_row)
        for start, end in pairwise([*range(0, rows, step), rows]):
            part, label, w = x[:, start:end], y[:, start:end], weight[:, start:end]
            logits = self.stack.logits(part)
            index = label[:, :, None, None].expand(-1, -1, 1, logits.shape[3])
            at_label = logits.gather(2, index)[:, :, 0]
            totals[0] += ((logits.logsumexp(2) - at_label) * w[..., None]).sum(1)
            # A class that ties with another counts as found only where argmax would take it.
            totals[1] += ((logits.argmax(2) == label[..., None]) * w[..., None]).sum(1)
        totals /= weight.sum(1)[:, None]
        return totals[0].cpu().numpy(), totals[1].cpu().numpy()


def _padded(group: Group, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    if group.x_eval is None or group.y_eval is None:
        raise InputError("checkpoints need evaluation rows: give every group `x_eval` and `y_eval`.")
    weight = torch.ones(len(group.x_eval), device=group.x.device) if group.weight_eval is None else group.weight_eval
    missing = rows - len(group.x_eval)
    return pad(group.x_eval, (0, 0, 0, missing)), pad(group.y_eval, (0, missing)), pad(weight.float(), (0, missing))
