"""Gathers replicas into bunches that share batches, and runs the bunches side by side."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

from vicinal.networks import MLP
from vicinal.training.batches import count_batches
from vicinal.training.problem import Group, Setting
from vicinal.training.result import Fit
from vicinal.training.runner import Bunch, Regime, Runner

__all__ = ["Plan", "Tell", "run_stacks"]

Plan = Sequence[Mapping[int, Setting]]
"""For each group its settings by number."""

Tell = Callable[[float, float], None]
"""Told replica steps done since the last time, and the training loss."""


def run_stacks(
    groups: Sequence[Group], plan: Plan, regime: Regime, initial: Sequence[MLP] | None, result: Fit, tell: Tell
) -> None:
    """Train every group under its settings, and put what comes of it into `result`.

    Replicas that mix in the same way share batches, and groups with equally many batches an epoch run side by side.
    """
    threads = torch.get_num_threads()
    bunches = _split(_bunches(groups, plan, regime.batch_size), threads)
    lock, halt = threading.Lock(), threading.Event()

    def run(bunch: Bunch) -> None:
        for steps, loss in Runner(groups, plan, bunch, regime, initial).run(result):
            with lock:
                tell(steps, loss)
            if halt.is_set():
                return

    # Many small operations gain nothing from threads inside each and lose much where cores are busy, so stacks run side by
    # side instead, each on one thread.
    torch.set_num_threads(1 if len(bunches) > 1 or not regime.hidden else threads)
    # Moments of weights without a gradient decay for ever; numbers below 1e-38 would take far longer. The processor
    # is told so in the pool's threads alone, never in the user's.
    flush = partial(torch.set_flush_denormal, True)
    try:
        with ThreadPoolExecutor(threads, initializer=flush) as pool:
            try:
                list(pool.map(run, bunches))
            finally:
                halt.set()
    finally:
        torch.set_num_threads(threads)


def _split(bunches: list[Bunch], pieces: int) -> list[Bunch]:
    """Split bunches by groups into about equal pieces, the longest first."""
    parts = []
    for bunch in bunches:
        n = min(pieces, len(bunch.groups))
        parts += [Bunch(bunch.groups[i::n], bunch.settings[i::n]) for i in range(n)]
    return sorted(parts, key=lambda part: -sum(map(len, part.settings)))


def _bunches(groups: Sequence[Group], plan: Plan, batch_size: int) -> list[Bunch]:
    keys: dict[int, str] = {}
    by_mixing: dict[tuple[object, ...], list[tuple[int, list[int]]]] = defaultdict(list)
    for g, row in enumerate(plan):
        slots: dict[tuple[str, str | None], list[int]] = defaultdict(list)
        for r, setting in row.items():
            if id(setting.vicinity) not in keys:
                keys[id(setting.vicinity)] = setting.vicinity.mixing_key()
            objective = None if setting.objective is None else setting.objective.key()
            slots[keys[id(setting.vicinity)], objective].append(r)
        for mixing, numbers in slots.items():
            by_mixing[mixing, count_batches(groups[g], batch_size), len(numbers)].append((g, numbers))
    return [Bunch([g for g, _ in members], [s for _, s in members]) for members in by_mixing.values()]
