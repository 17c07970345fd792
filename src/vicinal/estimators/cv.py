"""A classifier that hedges among recipes, densities, gammas, learning rates and epochs by cross-validation.

All settings x folds are trained in one stacked run, which has the out-of-fold predictions of every network at every checkpoint
for nothing. A pick among them is noisy on small tables, and where classes are all but separable every soft label hurts; a
mixture of a few, selected greedily on those predictions, leans on whatever helps and on plain training where nothing does.
The densities behind the labels are among what it may lean on, as classifiers by Bayes' rule.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Self

import numpy as np
import torch
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted

from vicinal.core import InputError, check_device, check_in, check_number, seed_at
from vicinal.densities import Density
from vicinal.estimators.base import ProbabilityClassifier
from vicinal.estimators.candidates import default_candidates, default_densities
from vicinal.estimators.classifier import AUTO_STEPS, read_epochs
from vicinal.estimators.posteriors import fit_density, held_out_posteriors, mix_posteriors, trust_in
from vicinal.estimators.rows import Rows, canonical, read_features, read_rows, scale_of, seed_of
from vicinal.networks import MLP
from vicinal.training import (
    Fit,
    Group,
    Optimizer,
    Setting,
    checkpoint_epochs,
    choose,
    fit_stack,
    make_group,
    plainness,
    predict_ensemble,
    select_ensemble,
    split_folds,
)
from vicinal.vicinity import BaseVicinity

__all__ = ["VicinalClassifierCV"]

REFITS = 3
"""Networks of all rows that a member with hidden layers has besides its folds': there, starts differ as much as vicinities."""

GRIDS: dict[bool, tuple[Sequence[float], Sequence[float], int]] = {
    False: ((0.1, 0.01), (1e-4, 0.01, 0.1), AUTO_STEPS),
    True: ((0.01, 0.001), (1e-4,), 400),
}
"""Default learning rates, weight decays and steps, without and with hidden layers (which overfit sooner and cost more)."""

CHECKPOINTS = 12

HELD_OUT_NUMBERS = 1 << 22
"""Held-out probabilities kept (networks x checkpoints x rows x classes); beyond it a random sample of the rows is."""

HELD_OUT_ROWS = 1000
"""Held-out rows kept at least, where there are as many."""


class VicinalClassifierCV(ProbabilityClassifier):
    """A mixture of logistic regressions or small networks whose vicinities are chosen by cross-validation.

    All candidates x learning rates x weight decays x folds are trained at once, with the same folds, initial weights, order
    and pairs. Members of the mixture, each a setting and a number of epochs, are selected greedily by the out-of-fold loss of
    the mixture (`vicinal.training.select_ensemble`); each predicts the mean of its folds' networks and, with hidden layers, of
    three more that are trained on all rows from other starts. Class-conditional densities may be members too.

    Args:
        candidates: vicinities to choose among; default those of `vicinal.estimators.candidates`.
        learning_rates: to choose among, each above 0; None for 0.1 and 0.01, or 0.01 and 0.001 with hidden layers.
        hidden: widths of hidden layers; () is logistic regression.
        weight_decays: L2 penalties, as in torch's optimisers, to choose among; None for 1e-4, 0.01 and 0.1, or 1e-4 with
            hidden layers.
        batch_size: rows in a batch.
        epochs: most epochs; 'auto' makes 1,000 steps, or 400 with hidden layers, at least 5 epochs.
        cv: number of stratified folds, at least 2 (fewer where no class has that many rows); or a scikit-learn splitter, or
            an iterable of (training, held-out) indices.
        scoring: 'log_loss' or 'accuracy', on held-out rows.
        selection: 'ensemble'; or 'one' to take a single setting and train it again on all rows. For 'one', a setting whose
            mean score is within one standard error of the best one's (of their paired difference over folds) ties with it,
            and the plainest of them is taken: plain training before mixup before relabelling.
        standardize: scale features by the training rows.
        device: where to train; predictions are made on the CPU.
        random_state: seed of folds, initial weights, order, pairs and ratios.
        densities: those whose posteriors may be members of the mixture; default those of `vicinal.estimators.candidates`, or none
            where `candidates` are given.

    Attributes:
        classes_: (K,) labels in order. n_features_in_: D. feature_names_in_: (D,) where X had names.
        members_: dict of arrays, one entry per trained member: 'candidate', 'learning_rate', 'weight_decay', 'epochs', 'weight'.
        densities_: the densities that are members, fitted to all rows. density_weight_: (G,) their weights, which with those of
            `members_` sum to one.
        best_vicinity_: the candidate of the heaviest trained member, or of the best setting where there is none.
            best_params_: its candidate (by number), learning rate, weight decay and epochs.
        best_score_: mean held-out score of what was selected (for log loss, lower is better).
        cv_results_: dict of arrays, one entry per setting: 'candidate', 'learning_rate', 'weight_decay', 'epochs',
            'mean_log_loss', 'std_log_loss', 'mean_accuracy', 'std_accuracy' at its best checkpoint, and 'weight' in the
            mixture.
        n_iter_: most epochs of a member.

    Reference: R. Caruana et al. Ensemble selection from libraries of models. ICML 2004.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = VicinalClassifierCV(random_state=0).fit(X, y)
        >>> model.score(X, y) > 0.95, model.predict_proba(X).shape
        (True, (150, 3))
    """

    def __init__(
        self,
        candidates: Sequence[BaseVicinity] | None = None,
        learning_rates: Sequence[float] | None = None,
        hidden: Sequence[int] = (),
        weight_decays: Sequence[float] | None = None,
        batch_size: int = 128,
        epochs: int | str = "auto",
        cv: Any = 5,
        scoring: str = "log_loss",
        selection: str = "ensemble",
        standardize: bool = True,
        device: str = "cpu",
        random_state: Any = None,
        densities: Sequence[Density] | None = None,
    ) -> None:
        self.candidates = candidates
        self.learning_rates = learning_rates
        self.hidden = hidden
        self.weight_decays = weight_decays
        self.batch_size = batch_size
        self.epochs = epochs
        self.cv = cv
        self.scoring = scoring
        self.selection = selection
        self.standardize = standardize
        self.device = device
        self.random_state = random_state
        self.densities = densities

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
        check_in("selection", self.selection, ("ensemble", "one"))
        check_device(self.device)
        read = read_rows(self, X, y, sample_weight)
        rows = canonical(read)
        k, seed = len(rows.classes), seed_of(self.random_state)
        hedge = self.selection == "ensemble"
        steps = GRIDS[len(self.hidden) > 0][2]
        epochs = read_epochs(self.epochs, len(rows.x), self.batch_size, steps)
        points = checkpoint_epochs(epochs, CHECKPOINTS)
        candidates, grid = self._grid()
        settings = [Setting(candidates[i], rate, decay) for i, rate, decay in grid]
        splits = self._split(read, rows, seed_at(seed=seed, purpose="folds"))
        most = max(HELD_OUT_ROWS, HELD_OUT_NUMBERS // (len(settings) * len(points) * k)) // len(splits)
        held_out = [
            _sample(part, most, seed_at(seed=seed, purpose="held-out", fold=f)) for f, (_, part) in enumerate(splits)
        ]
        trained_on = [train for train, _ in splits]
        groups = [
            self._group(train, {"seed": seed, "fold": f}, out)
            for f, (train, out) in enumerate(zip(trained_on, held_out, strict=True))
        ]
        how: dict[str, Any] = {"hidden": self.hidden, "batch_size": self.batch_size, "optimizer": Optimizer()}
        trials = fit_stack(groups, settings, epochs=epochs, checkpoints=points, keep_predictions=hedge, **how)
        scores = trials.log_loss if self.scoring == "log_loss" else 1 - trials.accuracy
        share, generative, refits = np.zeros(scores.shape[1:]), np.zeros(0), 1
        densities = default_densities() if self.densities is None and self.candidates is None else self.densities or []
        if hedge:
            share, generative, loss = self._hedge(trials, groups, held_out, densities, len(rows.x), seed)
            refits = REFITS if len(self.hidden) else 0
        else:
            best = choose(scores, [plainness(s.vicinity) for s in settings])
            share[best], loss = 1.0, float(scores[:, *best].mean())
            trained_on, groups = [], []
        trained_on += [rows] * refits
        groups += [self._group(rows, {"seed": seed, "refit": i}) for i in range(refits)]
        chosen = np.argwhere(share > 0)
        if not len(chosen):  # densities alone: the best setting is trained to be shown, and has no say
            best = np.nan_to_num(scores.mean(0), nan=np.inf).argmin()
            chosen = np.array([np.unravel_index(best, share.shape)])
        members = [replace(settings[r], epochs=points[c]) for r, c in chosen]
        final = fit_stack(groups, members, epochs=max(points[c] for _, c in chosen), **how)
        networks = [[final.network(g, m) for m in range(len(members))] for g in range(len(groups))]
        self._keep(networks, trained_on, rows, share[tuple(chosen.T)])
        whole = self._group(rows, {"seed": seed})
        picked = np.flatnonzero(generative)
        self.densities_ = [fit_density(densities[i], whole).to("cpu") for i in picked.tolist()]
        self.density_weight_ = generative[picked]
        self._report(trials, scores, grid, points, share, chosen)
        self.best_score_ = loss if self.scoring == "log_loss" else 1 - loss
        self.best_vicinity_ = candidates[self.best_params_["candidate"]]
        return self

    def _hedge(
        self, trials: Fit, groups: list[Group], held_out: list[Rows], densities: Sequence[Density], rows: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Select the mixture: its weights of settings and checkpoints (R, C) and of densities (G,), and its held-out loss."""
        label, weight = (np.concatenate([getattr(out, name) for out in held_out]) for name in ("y", "weight"))
        shape = trials.log_loss.shape[1:]
        library = np.concatenate(trials.predictions, 2).reshape(shape[0] * shape[1], len(label), -1)
        trust = np.ones(len(library) + len(densities))
        if densities:
            library = np.concatenate([library, held_out_posteriors(densities, groups).cpu().numpy()])
            trust[-len(densities) :] = trust_in(rows)
        bags = seed_at(seed=seed, purpose="bags")
        share, loss = select_ensemble(library, label, weight, scoring=self.scoring, trust=trust, seed=bags)
        settings, generative = np.split(share, [shape[0] * shape[1]])
        return settings.reshape(shape), generative, loss

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities (N, K), columns in the order of `classes_`."""
        check_is_fitted(self, "parameters_")
        X = read_features(self, X)
        z = torch.as_tensor((X - self.mean_) / self.scale_, dtype=self.parameters_[0].dtype)
        networks = predict_ensemble(self.parameters_, self.weight_, z)
        result: np.ndarray = (networks + mix_posteriors(self.densities_, self.density_weight_, z)).numpy()
        return result

    def _grid(self) -> tuple[list[BaseVicinity], list[tuple[int, float, float]]]:
        """Return the candidates, and every setting: a candidate's number, a learning rate and a weight decay."""
        candidates = default_candidates() if self.candidates is None else list(self.candidates)
        rates, decays, _ = GRIDS[len(self.hidden) > 0]
        rates = rates if self.learning_rates is None else self.learning_rates
        decays = decays if self.weight_decays is None else self.weight_decays
        for name, given in (("candidates", candidates), ("learning_rates", rates), ("weight_decays", decays)):
            if not len(given):
                raise InputError(f"`{name}` must hold at least one to choose; leave it out for the default.")
        return candidates, list(product(range(len(candidates)), rates, decays))

    def _split(self, read: Rows, rows: Rows, seed: int) -> list[tuple[Rows, Rows]]:
        """Return (training, held-out) rows of every fold.

        Folds of our own never part equal rows; those of a splitter are of the rows as they came.
        """
        if isinstance(self.cv, int | np.integer):
            check_number("cv", self.cv, 2, whole=True)
            return [(rows.take(a), rows.take(b)) for a, b in split_folds(rows.y, int(self.cv), seed)]
        splits = check_cv(self.cv, read.y, classifier=True).split(read.x, read.y)
        found = [(canonical(read.take(a)), canonical(read.take(b))) for a, b in splits]
        if not found or not all(len(a.x) and len(b.x) for a, b in found):
            raise InputError("`cv` must have rows of some weight on both sides of every split; give another splitter.")
        return found

    def _group(self, rows: Rows, address: dict[str, int | str], held_out: Rows | None = None) -> Group:
        """Return rows to train on, and to evaluate on."""
        out = None if held_out is None else (held_out.x, held_out.y, held_out.plain)
        return make_group(
            rows.x, rows.y, len(rows.classes), address,
            scale=self.standardize, weight=rows.plain, held_out=out, device=self.device,
        )  # fmt: skip

    def _keep(self, networks: list[list[MLP]], trained_on: list[Rows], rows: Rows, weight: np.ndarray) -> None:
        """Take what a prediction needs: networks side by side, each made to read features on one scale."""
        self.classes_ = rows.classes
        self.mean_, self.scale_ = scale_of(rows, self.standardize)
        stacked = []
        for group, train in zip(networks, trained_on, strict=True):
            mean, scale = scale_of(train, self.standardize)
            shift, stretch = (torch.as_tensor(v) for v in ((self.mean_ - mean) / scale, self.scale_ / scale))
            for network in group:
                first, bias, *others = (value.detach().cpu() for value in network.state_dict().values())
                stacked.append([(first * stretch).to(first), (bias + first @ shift.to(first)).to(bias), *others])
        self.parameters_ = [torch.stack(parts) for parts in zip(*stacked, strict=True)]
        self.weight_ = torch.as_tensor(np.tile(weight / len(networks), len(networks)))

    def _report(
        self,
        trials: Fit,
        scores: np.ndarray,
        grid: list[tuple[int, float, float]],
        points: tuple[int, ...],
        share: np.ndarray,
        chosen: np.ndarray,
    ) -> None:
        """Say what was tried and what was taken."""
        columns = dict(
            zip(("candidate", "learning_rate", "weight_decay"), map(np.array, zip(*grid, strict=True)), strict=True)
        )
        at = np.nan_to_num(scores.mean(0), nan=np.inf).argmin(1)
        results = {**columns, "epochs": np.array(points)[at], "weight": share.sum(1)}
        for name, values in (("log_loss", trials.log_loss), ("accuracy", trials.accuracy)):
            picked = np.take_along_axis(values, at[None, :, None], 2)[..., 0]
            results[f"mean_{name}"], results[f"std_{name}"] = picked.mean(0), picked.std(0)
        self.cv_results_ = results
        r, c = chosen.T
        self.members_ = {name: values[r] for name, values in columns.items()}
        self.members_ |= {"epochs": np.array(points)[c], "weight": share[r, c]}
        heaviest = int(share[r, c].argmax())
        self.best_params_ = {name: self.members_[name][heaviest].item() for name in (*columns, "epochs")}
        self.n_iter_ = int(self.members_["epochs"].max())


def _sample(rows: Rows, most: int, seed: int) -> Rows:
    """Return at most so many rows, drawn at random."""
    if len(rows.x) <= most:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).choice(len(rows.x), most, replace=False)))
