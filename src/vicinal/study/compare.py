"""The comparison that `vicinal compare` runs: every method on the same trials, chosen by cross-validation, tested once.

For each trial: hold out test rows, train all candidates of all methods on all folds in one stacked run, let every method
choose among its own by its held-out score, train the choices on all training rows, and score them on the test rows.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from vicinal.core import check_device, check_number, seed_at
from vicinal.densities import Density
from vicinal.evaluation import METRICS, score_probabilities
from vicinal.study.methods import Method, densities_of
from vicinal.study.protocol import Protocol
from vicinal.study.trials import Problem, Trial
from vicinal.training import Fit, Group, Progress, Setting, choose, fit_stack, make_group, split_folds

__all__ = ["Comparison", "Outcome", "compare"]

PORTION = 1e8
"""Weights times rows times epochs that one stacked run may come to (a second or two) before trials are run one by one."""

Report = Callable[[float, float], None]
"""Told the share done in [0, 1] and the training loss."""


@dataclass
class Outcome:
    """What one method did, trial by trial.

    Attributes:
        scores: by metric, one number a trial.
        probabilities: (N_test, K) a trial. selected: what was chosen, a trial.
        seconds: its share of the time of the stacked runs.
    """

    scores: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})
    probabilities: list[np.ndarray] = field(default_factory=list)
    selected: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, probabilities: np.ndarray, y: np.ndarray, selected: dict[str, Any]) -> None:
        """Score a trial."""
        for name, value in score_probabilities(probabilities, y).items():
            self.scores[name].append(value)
        self.probabilities.append(probabilities)
        self.selected.append(selected)


@dataclass
class Comparison:
    """Everything that came of a comparison.

    Attributes:
        problem, protocol, methods, seed, asked: what was run; `asked` trials were asked for.
        outcomes: by method name; those of `trials` that are done.
        device: where it ran. seconds: of the whole.
    """

    problem: Problem
    protocol: Protocol
    methods: list[Method]
    seed: int
    asked: int
    outcomes: dict[str, Outcome]
    trials: list[Trial]
    device: str
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every trial that was asked for is there."""
        return len(self.trials) == self.asked


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
        device: where to train; None takes an accelerator if there is one and the network is no logistic regression.
        report: called now and then.

    Returns:
        The comparison. KeyboardInterrupt ends it early with the trials that are done, or is raised if none is.
    """
    check_number("trials", trials, 1, whole=True)
    check_number("seed", seed, 0, whole=True)
    if device is None:
        accelerated = torch.accelerator.is_available() and bool(protocol.hidden)
        device = str(torch.accelerator.current_accelerator()) if accelerated else "cpu"
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
            _Portion(result, portion, told).run()
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


def _portions(trials: list[Trial], methods: Sequence[Method], protocol: Protocol) -> list[list[Trial]]:
    """Group trials into stacked runs: all at once where that is quick, else one by one so that none is lost."""
    d, k = trials[0].x.shape[1], int(max(t.y.max() for t in trials)) + 1
    widths = [d, *protocol.hidden, k]
    weights = sum(a * b for a, b in pairwise(widths))
    settings = len(protocol.learning_rates) * sum(len(m.candidates(protocol)) for m in methods if m.candidates)
    n = len(trials[0].x)
    cost = weights * settings * n * protocol.epochs(n) * max(1, protocol.folds) * len(trials)
    same = len({t.x.shape[1] for t in trials}) == 1
    return [trials] if cost < PORTION and same else [[trial] for trial in trials]


class _Portion:
    """Some trials of a comparison, run together."""

    def __init__(self, result: Comparison, trials: list[Trial], report: Report | None) -> None:
        self.result, self.trials, self.report = result, trials, report
        self.protocol = result.protocol
        self.k = len(result.problem.labels)
        self.methods = [m for m in result.methods if m.candidates is not None]
        self.epochs = self.protocol.epochs(len(trials[0].x))
        self.points = self.protocol.tried(len(trials[0].x))
        # Methods share candidates (genlabel's are those of genlabel-kde): each is trained once.
        self.settings: list[Setting] = []
        self.described: list[dict[str, Any]] = []
        self.own: dict[str, list[int]] = {}
        index: dict[tuple[str, float], int] = {}
        for method in self.methods:
            assert method.candidates is not None  # noqa: S101 - for the type checker
            for candidate in method.candidates(self.protocol):
                for rate in self.protocol.learning_rates:
                    key = (candidate.vicinity.key(), rate)
                    if key not in index:
                        index[key] = len(self.settings)
                        self.settings.append(Setting(candidate.vicinity, rate, self.protocol.weight_decay))
                        self.described.append({"learning_rate": rate, **candidate.described})
                    self.own.setdefault(method.name, []).append(index[key])

    def run(self) -> None:
        """Choose, train and test; add to the outcomes only once all of it is done."""
        found: list[tuple[Method, Trial, np.ndarray, dict[str, Any]]] = []
        if self.settings:
            found = self._networks()
        for method in self.result.methods:
            if method.candidates is None:
                found += [(method, trial, *self._generative(method, trial)) for trial in self.trials]
        for method, trial, probabilities, selected in found:
            self.result.outcomes[method.name].add(probabilities, trial.y_test, selected)

    def _networks(self) -> list[tuple[Method, Trial, np.ndarray, dict[str, Any]]]:
        chosen_on = [self._folds(trial) for trial in self.trials]
        flat = [group for groups in chosen_on for group in groups]
        protocol = self.protocol
        common: dict[str, Any] = {
            "hidden": protocol.hidden,
            "optimizer": protocol.optimizer,
            "batch_size": protocol.batch_size,
        }
        search = fit_stack(
            flat,
            self.settings,
            epochs=self.epochs,
            checkpoints=self.points,
            keep_best=None if protocol.folds or protocol.keep == "last" else protocol.scoring,
            report=self._tell(0.0, 0.9),
            **common,
        )
        scores = search.log_loss if protocol.scoring == "log_loss" else 1 - search.accuracy
        picks: list[list[tuple[int, int]]] = []
        start = 0
        for groups in chosen_on:
            part = scores[start : start + len(groups)]
            picks.append([self._choose(part, self.own[m.name]) for m in self.methods])
            start += len(groups)
        final = search
        if protocol.folds:
            whole = [self._group(trial) for trial in self.trials]
            settings = [
                [
                    Setting(
                        self.settings[r].vicinity, self.settings[r].learning_rate, protocol.weight_decay, self.points[c]
                    )
                    for r, c in row
                ]
                for row in picks
            ]
            last = max(self.points[c] for row in picks for _, c in row)
            final = fit_stack(whole, settings, epochs=last, report=self._tell(0.9, 0.1), **common)
        self._share_seconds(search, final)
        found = []
        for m, method in enumerate(self.methods):
            for t, (trial, group) in enumerate(zip(self.trials, [g[0] for g in chosen_on], strict=True)):
                r, c = picks[t][m]
                whole_group = whole[t] if protocol.folds else group
                network = final.network(t, m if protocol.folds else r)
                with torch.no_grad():
                    p = torch.softmax(network(self._test_rows(trial, whole_group)).double(), 1)
                selected = {**self.described[r], "epochs": self.points[c]}
                found.append((method, trial, p.cpu().numpy(), selected))
        return found

    def _choose(self, scores: np.ndarray, own: list[int]) -> tuple[int, int]:
        """Choose among a method's own settings: the best mean, exact ties to the one listed first."""
        r, c = choose(scores[:, own], range(len(own)), near_ties=False)
        return own[r], c

    def _address(self, trial: Trial) -> dict[str, int | str]:
        return {"dataset": self.result.problem.name, "seed": self.result.seed, "trial": trial.number}

    def _group(self, trial: Trial, held_out: tuple[np.ndarray, np.ndarray, None] | None = None) -> Group:
        return make_group(
            trial.x,
            trial.y,
            self.k,
            self._address(trial),
            scale=self.protocol.scale,
            held_out=held_out,
            device=self.result.device,
        )

    def _folds(self, trial: Trial) -> list[Group]:
        if not self.protocol.folds:
            assert trial.fresh is not None  # noqa: S101 - only synthetic problems have no folds
            return [self._group(trial, (*trial.fresh, None))]
        seed = seed_at(**self._address(trial), purpose="folds")
        return [
            make_group(
                trial.x[train],
                trial.y[train],
                self.k,
                {**self._address(trial), "fold": f},
                scale=self.protocol.scale,
                held_out=(trial.x[held_out], trial.y[held_out], None),
                device=self.result.device,
            )
            for f, (train, held_out) in enumerate(split_folds(trial.y, self.protocol.folds, seed))
        ]

    def _test_rows(self, trial: Trial, group: Group) -> torch.Tensor:
        scaled = self._group(trial, (trial.x_test, trial.y_test, None)).x_eval
        assert scaled is not None  # noqa: S101 - for the type checker
        return scaled.to(group.x)

    def _share_seconds(self, search: Fit, final: Fit) -> None:
        """Give each method its share; a setting that several methods use counts for each, as if they ran alone."""
        for m, method in enumerate(self.methods):
            spent = search.seconds[:, self.own[method.name]].sum()
            if self.protocol.folds:
                spent += final.seconds[:, m].sum()
            self.result.outcomes[method.name].seconds += float(spent)

    def _tell(self, base: float, share: float) -> Callable[[Progress], None] | None:
        report = self.report
        if report is None:
            return None
        return lambda progress: report(base + share * progress.done / progress.total, progress.loss)

    def _generative(self, method: Method, trial: Trial) -> tuple[np.ndarray, dict[str, Any]]:
        """The paper's classifier is Gaussian with equal priors; `tuned` chooses the density, and takes empirical priors."""
        started = time.perf_counter()
        densities = densities_of(self.protocol)
        name, prior = "gaussian", "uniform"
        if self.protocol.name == "tuned":
            prior = "empirical"
            losses = {
                key: np.mean([self._held_out_loss(density, group, prior) for group in self._folds(trial)])
                for key, density in densities.items()
            }
            name = min(losses, key=lambda key: losses[key])
        group = self._group(trial)
        density = densities[name].fit(group.x, group.y, self.k)
        p = density.posterior(self._test_rows(trial, group).double(), prior).cpu().numpy()
        self.result.outcomes[method.name].seconds += time.perf_counter() - started
        return p, {"density": name, "prior": prior}

    def _held_out_loss(self, density: Density, group: Group, prior: str) -> float:
        assert group.x_eval is not None  # noqa: S101 - for the type checker
        assert group.y_eval is not None  # noqa: S101
        p = density.fit(group.x, group.y, self.k).posterior(group.x_eval.double(), prior)
        return float(-p.gather(1, group.y_eval[:, None]).clamp(min=1e-15).log().mean())
