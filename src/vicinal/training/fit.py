"""Train every setting on every group, many at once.

Replicas are gathered into stacks: those that mix in the same way share batches, and groups with equally many batches an epoch
run side by side. Which replicas run together changes nothing: each equals the same replica trained alone.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from vicinal.core import InputError, check_in, check_number, generator_at
from vicinal.labeling import Labeler
from vicinal.networks import MLP
from vicinal.training.batches import Block, Source, count_batches
from vicinal.training.problem import Group, Setting
from vicinal.training.progress import Progress
from vicinal.training.stack import Optimizer, Stack, make_stack

__all__ = ["Fit", "fit_stack"]

EVALUATION_NUMBERS = 1 << 24
"""Activations held at once while evaluating."""

Report = Callable[[Progress], None]


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
class _Bunch:
    """Replicas that run as one stack: groups (by number) and, for each, the numbers of its settings."""

    groups: list[int]
    settings: list[list[int]]


def fit_stack(
    groups: Sequence[Group],
    settings: Sequence[Setting] | Sequence[Sequence[Setting]],
    *,
    hidden: Sequence[int] = (),
    optimizer: Optimizer | None = None,
    batch_size: int = 128,
    epochs: int = 100,
    checkpoints: Sequence[int] = (),
    keep_best: str | None = None,
    initial: Sequence[MLP] | None = None,
    report: Report | None = None,
) -> Fit:
    """Train every group under every one of its settings.

    Args:
        groups: G of them, with equally many features and classes.
        settings: R settings for all groups, or R for each.
        hidden: widths of hidden layers; () is logistic regression.
        optimizer: default Adam.
        batch_size: rows in a batch.
        epochs: passes over each group's rows.
        checkpoints: epochs after which to evaluate on the groups' evaluation rows.
        keep_best: 'accuracy' or 'log_loss' keeps each replica's weights of its best checkpoint (GenLabel, section E.2)
            instead of those of its last epoch.
        initial: networks to start from, one per group; default fresh ones, seeded by the groups' addresses.
        report: called now and then with a `Progress`.

    Returns:
        A `Fit`. The same numbers whichever groups and settings run together, up to rounding.

    Raises:
        InputError: no groups, settings or epochs, or an unknown word.

    Examples:
        >>> import vicinal as vc
        >>> x, y = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> group = Group(x, y, n_classes=2, x_eval=x, y_eval=y, address={"seed": 0})
        >>> settings = [Setting(vicinity, 0.1) for vicinity in (vc.Vanilla(), vc.Mixup(), vc.GenLabel())]
        >>> fit_stack([group], settings, epochs=50, checkpoints=[50]).accuracy[0, :, 0].tolist()
        [1.0, 1.0, 1.0]
    """
    if not groups or not settings:
        raise InputError("`groups` and `settings` must not be empty.")
    check_number("epochs", epochs, 1, whole=True)
    check_number("batch_size", batch_size, 1, whole=True)
    check_in("keep_best", keep_best, (None, "accuracy", "log_loss"))
    optimizer = optimizer or Optimizer()
    shared = [setting for setting in settings if isinstance(setting, Setting)]
    own = [list(row) for row in settings if not isinstance(row, Setting)]
    plan = [shared] * len(groups) if shared else own
    if len(plan) != len(groups) or len({len(row) for row in plan}) != 1:
        raise InputError("`settings` must be one list for all groups, or one list per group, all of the same length.")
    for setting in (s for row in plan for s in row):
        check_number("learning_rate", setting.learning_rate, 0, open_low=True)
        check_number("weight_decay", setting.weight_decay, 0)
    checkpoints = tuple(sorted(c for c in set(checkpoints) if 0 < c <= epochs))
    replicas = len(plan[0])
    shape = (len(groups), replicas)
    result = Fit(
        checkpoints,
        np.full((*shape, len(checkpoints)), np.nan),
        np.full((*shape, len(checkpoints)), np.nan),
        np.full(shape, np.nan),
        np.zeros(shape),
    )
    threads = torch.get_num_threads()
    bunches = _split(_bunches(groups, plan, batch_size), threads)
    total = sum(count_batches(group, batch_size) for group in groups) * epochs * replicas
    told, lock, halt = [0], threading.Lock(), threading.Event()

    def run(bunch: _Bunch) -> None:
        runner = _Runner(groups, plan, bunch, hidden, optimizer, batch_size, initial)
        for steps, loss in runner.run(result, epochs, keep_best):
            with lock:
                told[0] += steps
                if report is not None:
                    report(Progress(told[0], total, loss))
            if halt.is_set():
                return

    # Many small operations gain nothing from threads inside each and lose much where cores are busy, so stacks run side by
    # side instead, each on one thread.
    torch.set_num_threads(1 if len(bunches) > 1 or not hidden else threads)
    try:
        with ThreadPoolExecutor(threads) as pool:
            try:
                list(pool.map(run, bunches))
            finally:
                halt.set()
    finally:
        torch.set_num_threads(threads)
    return result


def _split(bunches: list[_Bunch], pieces: int) -> list[_Bunch]:
    """Split bunches by groups into about equal pieces, the longest first."""
    parts = []
    for bunch in bunches:
        n = min(pieces, len(bunch.groups))
        parts += [_Bunch(bunch.groups[i::n], bunch.settings[i::n]) for i in range(n)]
    return sorted(parts, key=lambda part: -sum(map(len, part.settings)))


def _bunches(groups: Sequence[Group], plan: list[list[Setting]], batch_size: int) -> list[_Bunch]:
    keys: dict[int, str] = {}
    by_mixing: dict[tuple[object, ...], list[tuple[int, list[int]]]] = defaultdict(list)
    for g, row in enumerate(plan):
        slots: dict[str, list[int]] = defaultdict(list)
        for r, setting in enumerate(row):
            if id(setting.vicinity) not in keys:
                keys[id(setting.vicinity)] = setting.vicinity.mixing_key()
            slots[keys[id(setting.vicinity)]].append(r)
        for mixing, numbers in slots.items():
            by_mixing[mixing, count_batches(groups[g], batch_size), len(numbers)].append((g, numbers))
    return [_Bunch([g for g, _ in members], [s for _, s in members]) for members in by_mixing.values()]


class _Runner:
    """Runs one bunch as one stack."""

    def __init__(
        self,
        groups: Sequence[Group],
        plan: list[list[Setting]],
        bunch: _Bunch,
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
