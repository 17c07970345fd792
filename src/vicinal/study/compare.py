"""The comparison that `vicinal compare` runs: every method on the same trials, chosen by cross-validation, tested once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from vicinal.core import InputError, check_device, check_number, working_dtype
from vicinal.study.methods import Method
from vicinal.study.outcome import Comparison, Outcome
from vicinal.study.portion import Portion, Report
from vicinal.study.protocol import Protocol
from vicinal.study.trials import Problem, Trial

__all__ = ["Comparison", "Outcome", "compare"]

PORTION = 1e9
"""Weights times rows times epochs that one stacked run may come to (seconds) before trials are run one by one."""


def compare(
    problem: Problem,
    methods: Sequence[Method],
    protocol: Protocol,
    *,
    trials: int = 5,
    seed: int = 0,
    device: str | None = None,
    report: Report | None = None,
) -> Comparison:
    """Compare methods on a problem.

    Args:
        problem: from `read_problem`.
        methods: from `read_methods`.
        protocol: from `read_protocol`.
        trials: splits, or fresh samples of a synthetic problem.
        seed: of everything; the splits of a trial do not depend on the methods.
        device: where to train; None takes an accelerator with double precision if there is one, for networks with hidden layers.
        report: called now and then.

    Returns:
        The comparison. KeyboardInterrupt ends it early with the trials that are done, or is raised if none is.

    Raises:
        InputError: a method that needs hidden layers on a network without.
    """
    check_number("trials", trials, 1, whole=True)
    check_number("seed", seed, 0, whole=True)
    for method in methods:
        if method.hidden and not protocol.hidden:
            raise InputError(method.lacking())
    device = _device(protocol) if device is None else device
    check_device(device)
    result = Comparison(
        problem, protocol, list(methods), seed, trials, {m.name: Outcome() for m in methods}, [], device
    )
    started = time.perf_counter()
    prepared = [problem.trial(t, seed, protocol.test_size) for t in range(trials)]
    try:
        for portion in _portions(prepared, methods, protocol):
            base, share = len(result.trials) / trials, len(portion) / trials
            told = None if report is None else _Scaled(report, base, share)
            Portion(result, portion, told).run()
            result.trials.extend(portion)
    except KeyboardInterrupt:
        if not result.trials:
            raise
    result.seconds = time.perf_counter() - started
    return result


@dataclass(frozen=True)
class _Scaled:
    """Reports a part of the run as its share of the whole."""

    report: Report
    base: float
    share: float

    def __call__(self, done: float, loss: float) -> None:
        self.report(self.base + self.share * done, loss)


def _device(protocol: Protocol) -> str:
    if not protocol.hidden or (found := torch.accelerator.current_accelerator(check_available=True)) is None:
        return "cpu"
    return str(found) if working_dtype(found) == torch.float64 else "cpu"


def _portions(trials: list[Trial], methods: Sequence[Method], protocol: Protocol) -> list[list[Trial]]:
    """Group trials into stacked runs: all at once where that is quick, else one by one so that none is lost."""
    n, d, k = *trials[0].x.shape, int(max(t.y.max() for t in trials)) + 1
    weights = sum(a * b for a, b in pairwise([d, *protocol.hidden, k]))
    candidates = [c for m in methods if m.candidates for c in m.candidates(protocol)]
    settings = len(protocol.learning_rates) * sum(weights + c.own_weights(d) for c in candidates)
    cost = settings * n * protocol.epochs(n) * max(1, protocol.folds) * len(trials)
    same = len({t.x.shape[1] for t in trials}) == 1
    return [trials] if cost < PORTION and same else [[trial] for trial in trials]
