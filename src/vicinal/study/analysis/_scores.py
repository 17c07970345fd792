"""Records as arrays: one row a data set, one column a method, NaN where nothing was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from vicinal.core.checks import InputError
from vicinal.evaluation import LOWER_IS_BETTER

__all__ = ["TEST_SIZE", "Array", "Scores", "family_means", "read_scores"]

Array = np.ndarray[Any, np.dtype[Any]]

TEST_SIZE = 0.3
"""Share of the rows that each trial holds out, where the study does not say."""


@dataclass(frozen=True)
class Scores:
    """The scores of a study on N data sets with M methods, T trials each.

    Attributes:
        datasets, methods: the N and M names, in the study's order.
        families: (N,) integers; data sets that derive from one source share theirs.
        mean: by metric, (N, M) means over trials. trials: by metric, (N, M, T) scores. NaN where there is none.
    """

    datasets: list[str]
    methods: list[str]
    families: Array
    mean: dict[str, Array]
    trials: dict[str, Array]

    def gain(self, metric: str, subject: str) -> tuple[Array, Array]:
        """Return (N, M) and (N, M, T): by how much the subject is better than each method; positive is better."""
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        m, mean, trials = self.methods.index(subject), self.mean[metric], self.trials[metric]
        return sign * (mean[:, [m]] - mean), sign * (trials[:, [m]] - trials)

    def std(self, metric: str) -> Array:
        """Return the (N, M) sample standard deviations over trials; NaN with fewer than two."""
        return np.sqrt(variance(self.trials[metric])[0])


def variance(trials: Array) -> tuple[Array, Array]:
    """Return the sample variance along the last axis, and how many finite values it rests on."""
    known = np.isfinite(trials)
    count = known.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = np.where(known, trials, 0.0).sum(-1, keepdims=True) / count[..., None]
        squares = np.where(known, (trials - centre) ** 2, 0.0).sum(-1)
        return np.where(count > 1, squares / (count - 1), np.nan), count


def family_means(values: Array, families: Array) -> Array:
    """Return (F, M) means of (N, M) values over the data sets of each family, NaN left aside."""
    return pd.DataFrame(values).groupby(families).mean().to_numpy()


def read_scores(frame: pd.DataFrame, study: Mapping[str, Any], families: Sequence[Any]) -> Scores:
    """Return the scores of the records that are done; records of other data sets or methods are left aside.

    Raises:
        InputError: two records of one data set and method.
    """
    datasets, methods, metrics = list(study["datasets"]), list(study["methods"]), list(study["metrics"])
    done = frame[frame["status"] == "done"]
    rows, columns = pd.Index(datasets).get_indexer(done["dataset"]), pd.Index(methods).get_indexer(done["method"])
    known = (rows >= 0) & (columns >= 0)
    done, rows, columns = done[known], rows[known], columns[known]
    if len(twice := np.flatnonzero(pd.Index(rows * len(methods) + columns).duplicated())):
        first = done.iloc[twice[0]]
        raise InputError(
            "`frame` must hold one record for each data set and method,"
            f" got two of '{first['dataset']}' with '{first['method']}'; select one network, protocol and seed."
        )
    mean, trials = {}, {}
    for metric in metrics:
        mean[metric] = np.full((len(datasets), len(methods)), np.nan)
        if metric in done:
            mean[metric][rows, columns] = done[metric].to_numpy(dtype=float)
        trials[metric] = _trials(done.get(f"{metric}_trials"), rows, columns, mean[metric].shape)
    codes = pd.factorize(pd.Series(list(families), dtype=object))[0]
    scores = Scores(datasets, methods, codes, mean, trials)
    return _with_best(scores, study["best_of"], metrics[0]) if study.get("best_of") else scores


def _trials(column: Any, rows: Array, columns: Array, shape: tuple[int, ...]) -> Array:
    found = [] if column is None else [np.asarray(v if np.ndim(v) else [], dtype=float) for v in column]
    cube = np.full((*shape, max(map(len, found), default=0)), np.nan)
    for row, column_, values in zip(rows, columns, found, strict=False):
        cube[row, column_, : len(values)] = values
    return cube


def _with_best(scores: Scores, best_of: Mapping[str, Any], metric: str) -> Scores:
    """Add a method that takes, for each data set, the member with the best mean."""
    places = np.array([scores.methods.index(member) for member in best_of["methods"]])
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    chosen = places[np.argmax(np.nan_to_num(sign * scores.mean[metric][:, places], nan=-np.inf), axis=1)]
    every = np.arange(len(scores.datasets))

    def wider(values: dict[str, Array]) -> dict[str, Array]:
        return {name: np.concatenate([cells, cells[every, chosen][:, None]], axis=1) for name, cells in values.items()}

    return replace(
        scores, methods=[*scores.methods, best_of["name"]], mean=wider(scores.mean), trials=wider(scores.trials)
    )
