"""Train every setting on every group, many at once.

Replicas are gathered into stacks: those that mix in the same way share batches, and groups with equally many batches an epoch
run side by side. Which replicas run together changes nothing: each equals the same replica trained alone.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from vicinal.core import InputError, check_in, check_number
from vicinal.networks import MLP
from vicinal.training.batches import count_batches
from vicinal.training.problem import Group, Setting
from vicinal.training.progress import Progress
from vicinal.training.runner import Bunch, Fit, Runner
from vicinal.training.stack import Optimizer

__all__ = ["Fit", "Report", "fit_stack"]

Report = Callable[[Progress], None]


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

    def run(bunch: Bunch) -> None:
        runner = Runner(groups, plan, bunch, hidden, optimizer, batch_size, initial)
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


def _split(bunches: list[Bunch], pieces: int) -> list[Bunch]:
    """Split bunches by groups into about equal pieces, the longest first."""
    parts = []
    for bunch in bunches:
        n = min(pieces, len(bunch.groups))
        parts += [Bunch(bunch.groups[i::n], bunch.settings[i::n]) for i in range(n)]
    return sorted(parts, key=lambda part: -sum(map(len, part.settings)))


def _bunches(groups: Sequence[Group], plan: list[list[Setting]], batch_size: int) -> list[Bunch]:
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
    return [Bunch([g for g, _ in members], [s for _, s in members]) for members in by_mixing.values()]
