"""A classifier that chooses its recipe, density, gamma and learning rate by cross-validation, all in one stacked run."""

from collections.abc import Sequence
from itertools import product
from typing import Any, Self

import numpy as np
from sklearn.model_selection import check_cv

from vicinal.core import check_device, check_in, check_number, seed_at
from vicinal.densities import KDE, Gaussian
from vicinal.estimators.classifier import NetworkClassifier, auto_epochs
from vicinal.estimators.rows import Rows, canonical, read_rows, seed_of
from vicinal.training import (
    Optimizer,
    Setting,
    checkpoint_epochs,
    choose,
    fit_stack,
    make_group,
    plainness,
    split_folds,
)
from vicinal.vicinity import BaseVicinity, GenLabel, Mixup, Vanilla

__all__ = ["VicinalClassifierCV", "default_candidates"]

LABEL_ROWS = 500
"""Rows of a class that the default KDE keeps: labels cost rows times this, so a fit's time grows with rows, not their square."""


def default_candidates() -> list[BaseVicinity]:
    """Return the recipes that `VicinalClassifierCV` tries: plain training, mixup, and GenLabel by two densities."""
    densities = (Gaussian(), KDE(max_rows=LABEL_ROWS))
    return [Vanilla(), Mixup(), *(GenLabel(d, gamma) for d, gamma in product(densities, (0.4, 0.7, 1.0)))]


class VicinalClassifierCV(NetworkClassifier):
    """A logistic regression or small network whose vicinity and learning rate are chosen by cross-validation.

    All candidates x learning rates x folds are trained at once, with the same folds, initial weights, order and pairs, and so
    is the number of epochs chosen. A candidate whose mean score is within one standard error of the best one's (of their paired
    difference over folds) ties with it, and the plainer of them is taken: plain training before mixup before relabelling.

    Args:
        candidates: vicinities to choose among; default plain training, mixup, and GenLabel with Gaussian and KDE densities at
            gamma 0.4, 0.7 and 1.
        learning_rates: to choose among, each above 0.
        hidden: widths of hidden layers; () is logistic regression.
        weight_decay: L2 penalty, as in torch's optimisers.
        batch_size: rows in a batch.
        epochs: most epochs; 'auto' makes 1,000 steps, at least 5 epochs.
        cv: number of stratified folds, at least 2 (fewer where no class has that many rows); or a scikit-learn splitter, or
            an iterable of (training, held-out) indices.
        scoring: 'log_loss' or 'accuracy', on held-out rows.
        standardize: scale features by the training rows.
        device: where to train.
        random_state: seed of folds, initial weights, order, pairs and ratios.

    Attributes:
        best_vicinity_: the chosen candidate. best_params_: its index, learning rate and epochs.
        best_score_: its mean held-out score (for log loss, lower is better).
        cv_results_: dict of arrays, one entry per candidate and learning rate: 'candidate', 'learning_rate', 'epochs',
            'mean_log_loss', 'std_log_loss', 'mean_accuracy', 'std_accuracy' at that setting's best checkpoint.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> VicinalClassifierCV(random_state=0).fit(X, y).score(X, y) > 0.95
        True
    """

    def __init__(
        self,
        candidates: Sequence[BaseVicinity] | None = None,
        learning_rates: Sequence[float] = (0.1, 0.03, 0.01, 0.003),
        hidden: Sequence[int] = (),
        weight_decay: float = 1e-4,
        batch_size: int = 128,
        epochs: int | str = "auto",
        cv: Any = 5,
        scoring: str = "log_loss",
        standardize: bool = True,
        device: str = "cpu",
        random_state: Any = None,
    ) -> None:
        self.candidates = candidates
        self.learning_rates = learning_rates
        self.hidden = hidden
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.cv = cv
        self.scoring = scoring
        self.standardize = standardize
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Choose and train on rows X (N, D) and labels y (N,).

        Args:
            X: numeric array or frame, finite.
            y: labels of any kind, at least two distinct.
            sample_weight: (N,) frequencies >= 0.

        Raises:
            ValueError: NaN, infinite or text features, continuous or constant labels, parameters out of range.
        """
        check_in("scoring", self.scoring, ("log_loss", "accuracy"))
        check_device(self.device)
        read = read_rows(self, X, y, sample_weight)
        rows = canonical(read)
        n, k, seed = len(rows.x), len(rows.classes), seed_of(self.random_state)
        epochs = auto_epochs(n, self.batch_size) if isinstance(self.epochs, str) else self.epochs
        candidates = list(self.candidates) if self.candidates is not None else default_candidates()
        numbered = list(product(range(len(candidates)), self.learning_rates))
        settings = [Setting(candidates[i], rate, self.weight_decay) for i, rate in numbered]
        folds = [
            make_group(
                train.x, train.y, k, {"seed": seed, "fold": f}, scale=self.standardize, weight=train.plain,
                held_out=(held_out.x, held_out.y, held_out.plain), device=self.device,
            )
            for f, (train, held_out) in enumerate(self._split(read, rows, seed_at(seed=seed, purpose="folds")))
        ]  # fmt: skip
        common: dict[str, Any] = {"hidden": self.hidden, "batch_size": self.batch_size, "optimizer": Optimizer()}
        points = checkpoint_epochs(epochs)
        trials = fit_stack(folds, settings, epochs=epochs, checkpoints=points, **common)
        scores = trials.log_loss if self.scoring == "log_loss" else 1 - trials.accuracy
        best, point = choose(scores, [plainness(s.vicinity) for s in settings])
        self._report(trials.log_loss, trials.accuracy, scores, numbered, points)
        chosen = settings[best]
        whole = make_group(
            rows.x, rows.y, k, {"seed": seed}, scale=self.standardize, weight=rows.plain, device=self.device
        )
        final = fit_stack([whole], [chosen], epochs=points[point], **common)
        self._keep(final.network(0, 0), rows, self.standardize)
        self.n_iter_ = points[point]
        self.best_vicinity_ = chosen.vicinity
        self.best_params_ = {
            "candidate": numbered[best][0], "learning_rate": chosen.learning_rate, "epochs": points[point],
        }  # fmt: skip
        score = float(scores[:, best, point].mean())
        self.best_score_ = score if self.scoring == "log_loss" else 1 - score
        return self

    def _split(self, read: Rows, rows: Rows, seed: int) -> list[tuple[Rows, Rows]]:
        """Return (training, held-out) rows of every fold.

        Folds of our own never part equal rows; those of a splitter are of the rows as they came.
        """
        if isinstance(self.cv, int | np.integer):
            check_number("cv", self.cv, 2, whole=True)
            return [(rows.take(a), rows.take(b)) for a, b in split_folds(rows.y, int(self.cv), seed)]
        splits = check_cv(self.cv, read.y, classifier=True).split(read.x, read.y)
        return [(canonical(read.take(a)), canonical(read.take(b))) for a, b in splits]

    def _report(
        self,
        log_loss: np.ndarray,
        accuracy: np.ndarray,
        scores: np.ndarray,
        numbered: list[tuple[int, float]],
        points: tuple[int, ...],
    ) -> None:
        mean = np.where(np.isnan(scores.mean(0)), np.inf, scores.mean(0))
        at = mean.argmin(1)
        results: dict[str, np.ndarray] = {
            "candidate": np.array([i for i, _ in numbered]),
            "learning_rate": np.array([rate for _, rate in numbered]),
            "epochs": np.array(points)[at],
        }
        for name, values in (("log_loss", log_loss), ("accuracy", accuracy)):
            picked = np.take_along_axis(values, at[None, :, None], 2)[..., 0]
            results[f"mean_{name}"], results[f"std_{name}"] = picked.mean(0), picked.std(0)
        self.cv_results_ = results
