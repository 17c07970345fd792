"""Some trials of a comparison, run together.

For each trial: train all candidates of all methods on all folds in one stacked run, let every method choose among its own by its
held-out score, train the choices on all training rows, and score them on the test rows.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vicinal.core import seed_at
from vicinal.densities import Density
from vicinal.networks import MLP
from vicinal.study.methods import Method, densities_of
from vicinal.study.outcome import Comparison, Tested
from vicinal.study.trials import Trial
from vicinal.training import Fit, Group, Progress, Setting, choose, fit_stack, make_group, split_folds

__all__ = ["Portion", "Report"]

Report = Callable[[float, float], None]
"""Told the share done in [0, 1] and the training loss."""


class Portion:
    """Some trials of a comparison, run together.

    Args:
        result: where outcomes are added once all trials are done.
        trials: which.
        report: called now and then.
    """

    def __init__(self, result: Comparison, trials: list[Trial], report: Report | None) -> None:
        self.result, self.trials, self.report = result, trials, report
        self.protocol = result.protocol
        self.k = len(result.problem.labels)
        self.methods = [m for m in result.methods if m.candidates is not None]
        self.epochs = self.protocol.epochs(len(trials[0].x))
        self.points = self.protocol.tried(len(trials[0].x))
        # Methods share candidates (genlabel's are those of genlabel-kde): each is trained once, in each method's own words.
        self.settings: list[Setting] = []
        self.own: dict[str, dict[int, dict[str, Any]]] = {method.name: {} for method in self.methods}
        index: dict[tuple[Any, float], int] = {}
        for method in self.methods:
            assert method.candidates is not None  # noqa: S101 - for the type checker
            for candidate in method.candidates(self.protocol):
                for rate in self.protocol.learning_rates:
                    key = (candidate.key(), rate)
                    if key not in index:
                        index[key] = len(self.settings)
                        self.settings.append(candidate.setting(rate, self.protocol.weight_decay))
                    self.own[method.name].setdefault(index[key], {"learning_rate": rate, **candidate.described})

    def run(self) -> None:
        """Choose, train and test; add to the outcomes only once all of it is done."""
        found: list[tuple[Method, Trial, Tested]] = []
        if self.settings:
            found = self._networks()
        for method in self.result.methods:
            if method.candidates is None:
                found += [(method, trial, self._generative(method, trial)) for trial in self.trials]
        for method, trial, tested in found:
            self.result.outcomes[method.name].add(tested, trial.y_test)

    def _networks(self) -> list[tuple[Method, Trial, Tested]]:
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
            picks.append([self._choose(part, list(self.own[m.name])) for m in self.methods])
            start += len(groups)
        final = search
        if protocol.folds:
            whole = [self._group(trial) for trial in self.trials]
            settings = [[replace(self.settings[r], epochs=self.points[c]) for r, c in row] for row in picks]
            final = fit_stack(whole, settings, epochs=self.epochs, report=self._tell(0.9, 0.1), **common)
        self._share_seconds(search, final)
        found = []
        for m, method in enumerate(self.methods):
            for t, (trial, group) in enumerate(zip(self.trials, [g[0] for g in chosen_on], strict=True)):
                r, c = picks[t][m]
                network = final.network(t, m if protocol.folds else r)
                rows = self._test_rows(trial, whole[t] if protocol.folds else group)
                selected = {**self.own[method.name][r], "epochs": self.points[c]}
                found.append((method, trial, _test(network, rows, selected)))
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
            spent = search.seconds[:, list(self.own[method.name])].sum()
            if self.protocol.folds:
                spent += final.seconds[:, m].sum()
            self.result.outcomes[method.name].seconds += float(spent)

    def _tell(self, base: float, share: float) -> Callable[[Progress], None] | None:
        report = self.report
        if report is None:
            return None
        return lambda progress: report(base + share * progress.done / progress.total, progress.loss)

    def _generative(self, method: Method, trial: Trial) -> Tested:
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
        return Tested(p, {"density": name, "prior": prior})

    def _held_out_loss(self, density: Density, group: Group, prior: str) -> float:
        assert group.x_eval is not None  # noqa: S101 - for the type checker
        assert group.y_eval is not None  # noqa: S101
        p = density.fit(group.x, group.y, self.k).posterior(group.x_eval.double(), prior)
        return float(-p.gather(1, group.y_eval[:, None]).clamp(min=1e-15).log().mean())


def _test(network: MLP, rows: torch.Tensor, selected: dict[str, Any]) -> Tested:
    with torch.no_grad():
        p = torch.softmax(network(rows).double(), 1)
    if not bool(p.isfinite().all()):
        # Steps as large as the paper's may leave a network of infinite weights: it knows nothing, and one of zeros says so.
        p, selected = torch.full_like(p, 1 / p.shape[1]), {**selected, "diverged": True}
        for parameter in network.parameters():
            parameter.data.zero_()
    return Tested(p.cpu().numpy(), selected, network.cpu())
