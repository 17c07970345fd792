"""Records of images as arrays: one number for each data set, method and trial, NaN where nothing was found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vicinal.core.checks import InputError
from vicinal.study.analysis._image_metrics import ordered
from vicinal.study.analysis._scores import Array, variance

__all__ = ["ImageScores", "read_image_scores", "with_trials"]

SUFFIX = "_trials"
"""What the store appends to a metric's name for its numbers trial by trial; every metric has such a column."""


@dataclass(frozen=True)
class ImageScores:
    """The scores of N data sets with M methods in T trials.

    Attributes:
        datasets, methods: the N and M names, in the study's order. trials: the T numbers of the trials.
        values: by metric, (N, M, T) numbers. NaN where there is none.
    """

    datasets: list[str]
    methods: list[str]
    trials: list[int]
    values: dict[str, Array]

    def trial_values(self, metric: str, dataset: str, method: str) -> Array:
        """Return (T,) numbers, all NaN where nothing was found."""
        if metric not in self.values or method not in self.methods or dataset not in self.datasets:
            return np.full(len(self.trials), np.nan)
        found: Array = self.values[metric][self.datasets.index(dataset), self.methods.index(method)]
        return found

    def score(self, metric: str, dataset: str, method: str) -> dict[str, Any] | None:
        """Return mean, standard deviation over trials (None for one) and their number, or None without a trial."""
        values = self.trial_values(metric, dataset, method)
        spread, count = variance(values)
        if not count:
            return None
        mean = float(values[np.isfinite(values)].mean())
        return {"mean": mean, "std": float(np.sqrt(spread)) if count > 1 else None, "trials": int(count)}

    def mean(self, metric: str, dataset: str, method: str) -> float | None:
        """Return the mean over trials, or None without a trial."""
        found = self.score(metric, dataset, method)
        return None if found is None else float(found["mean"])


def with_trials(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with a column `trial`: as it is there, or read from each record's options, else 0."""
    if "trial" in frame:
        return frame
    texts = frame["options"] if "options" in frame else [None] * len(frame)
    return frame.assign(trial=[_trial(text) for text in texts])


def read_image_scores(frame: pd.DataFrame, study: Mapping[str, Any]) -> ImageScores:
    """Return the scores of the records that are done; records of other data sets or methods are left aside.

    Raises:
        InputError: two records of one data set, method and trial.
    """
    datasets, methods = list(study["datasets"]), list(study["methods"])
    done = frame[frame["status"] == "done"]
    rows, columns = pd.Index(datasets).get_indexer(done["dataset"]), pd.Index(methods).get_indexer(done["method"])
    known = (rows >= 0) & (columns >= 0)
    done, rows, columns = done[known], rows[known], columns[known]
    trials = sorted({int(trial) for trial in done["trial"]})
    places = pd.Index(trials).get_indexer(done["trial"].astype(int))
    cell = (rows * len(methods) + columns) * max(len(trials), 1) + places
    if len(twice := np.flatnonzero(pd.Index(cell).duplicated())):
        first = done.iloc[twice[0]]
        raise InputError(
            "`frame` must hold one record for each data set, method and trial,"
            f" got two of '{first['dataset']}' with '{first['method']}', trial {first['trial']};"
            " select one network, protocol and seed."
        )
    values = {}
    for metric in ordered(str(name).removesuffix(SUFFIX) for name in done if str(name).endswith(SUFFIX)):
        cube = np.full((len(datasets), len(methods), len(trials)), np.nan)
        if metric in done:
            cube[rows, columns, places] = done[metric].to_numpy(dtype=float)
        if np.isfinite(cube).any():
            values[metric] = cube
    if (mce := _mce(values, methods)) is not None:
        values["mce"] = mce
        values = {name: values[name] for name in ordered(values)}
    return ImageScores(datasets, methods, trials, values)


def _mce(values: Mapping[str, Array], methods: list[str]) -> Array | None:
    """Return mean corruption errors relative to plain training of the same trial, in percent (Hendrycks and Dietterich, 2019).

    mCE = 100 / C sum_c E_c / E_c^ERM with the error rates E_c, means over severities.
    """
    errors = [1 - cube for name, cube in values.items() if name.startswith("corruption_accuracy_")]
    if not errors or "erm" not in methods:
        return None
    stacked = np.stack(errors)
    reference = stacked[:, :, [methods.index("erm")]]
    with np.errstate(divide="ignore", invalid="ignore"):
        mce: Array = 100 * (stacked / reference).mean(0)
    mce[~np.isfinite(mce)] = np.nan
    return mce if np.isfinite(mce).any() else None


def _trial(text: Any) -> int:
    options = json.loads(text) if isinstance(text, str) else text
    found = options.get("trial") if isinstance(options, Mapping) else None
    return found if isinstance(found, int) else 0
