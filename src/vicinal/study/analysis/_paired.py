"""One method against each of the others: on how many data sets it is ahead, and by how much over all of them.

Counts stand as the GenLabel paper's Table 3 prints them, one data set one vote. Tests must not count a data set twice,
so the data sets of one family are averaged into one before the differences are tested.
"""

import warnings
from typing import Any, Literal

import numpy as np
from scipy import stats

from vicinal.core.extras import require
from vicinal.evaluation import LOWER_IS_BETTER
from vicinal.study.analysis._scores import Array, Scores, family_means, variance

__all__ = ["clear_gains", "counts", "differences", "increases"]

EQUAL = 1e-9
"""Means closer than this are on par: rounding of sums, far below one test row."""

LEVEL = 0.95
PLENTY = 200
"""Families above which the correction for bias and skewness changes nothing but the time it takes."""

FEWEST = 5
"""Families below which an interval over them would say nothing."""


def clear_gains(gains: Array, test_share: Array | float) -> Array:
    """Return 1 where the subject is clearly better, -1 where clearly worse, else 0, from (..., T) gains of the trials.

    Clear: the 95 % corrected resampled t interval (`vicinal.evaluation.paired_difference`) excludes zero. The test share, one
    or one for each of the gains' places, is 0 where trials are fresh samples, which overlap in nothing.
    """
    spread, count = variance(gains)
    known = np.isfinite(gains)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, gains, 0.0).sum(-1) / count
        error = np.sqrt((1 / count + test_share / (1 - test_share)) * spread)
        half = stats.t.ppf((1 + LEVEL) / 2, np.maximum(count - 1, 1)) * error
        return np.where(mean - half > EQUAL, 1, 0) - np.where(mean + half < -EQUAL, 1, 0)


def counts(
    scores: Scores, metric: str, subject: str, baselines: list[str], member: Array, test_share: Array
) -> list[dict[str, Any]]:
    """Return, for each baseline, on how many data sets of a subset the subject is ahead, on par and behind."""
    gain, gains = scores.gain(metric, subject)
    gain, clear = gain[member], clear_gains(gains[member], test_share[member, None])
    found = []
    for name in baselines:
        column, sure = gain[:, (m := scores.methods.index(name))], clear[:, m]
        both = np.isfinite(column)
        row = {
            "baseline": name,
            "datasets": both.sum(),
            "families": len(np.unique(scores.families[member][both])),
            "ahead": (column > EQUAL).sum(),
            "on_par": (np.abs(column) <= EQUAL).sum(),
            "behind": (column < -EQUAL).sum(),
            "clearly_ahead": (sure[both] > 0).sum(),
            "clearly_behind": (sure[both] < 0).sum(),
        }
        found.append({key: value if isinstance(value, str) else int(value) for key, value in row.items()})
    return found


def differences(
    scores: Scores, metric: str, subject: str, baselines: list[str], member: Array, seed: int
) -> list[dict[str, Any]]:
    """Return the subject's difference from each baseline over the families of a subset.

    Mean, median, the 95 % bootstrap interval of the mean (BCa), and the Wilcoxon signed-rank test with ties split
    evenly and Holm's correction over the baselines. The verdict is that both speak for the same side: a few large gains
    may make the mean clearly positive where most families are worse, which is what the test sees.
    """
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    gain = sign * scores.gain(metric, subject)[0][member]
    found: list[dict[str, Any]] = []
    sides: dict[str, float] = {}
    for name in baselines:
        column = gain[:, scores.methods.index(name)]
        both = np.isfinite(column)
        families = scores.families[member][both]
        values = family_means(column[both][:, None], families)[:, 0] if both.any() else np.empty(0)
        values = np.where(np.abs(values) <= EQUAL, 0.0, values)
        low, high = _interval(values, seed, len(baselines))
        sides[name] = _side(values, low, high)
        found.append(
            {
                "baseline": name,
                "datasets": int(both.sum()),
                "families": len(values),
                "mean": float(values.mean()) if len(values) else None,
                "median": float(np.median(values)) if len(values) else None,
                "low": low,
                "high": high,
                "p": _wilcoxon(values),
                "p_holm": None,
                "verdict": "no clear difference",
            }
        )
    tested = [row for row in found if row["p"] is not None]
    if not tested:
        return found
    multitest = require("statsmodels.stats.multitest", extra="study")
    for row, p in zip(tested, multitest.multipletests([row["p"] for row in tested], method="holm")[1], strict=True):
        row["p_holm"] = float(p)
        if p < 1 - LEVEL and (side := sign * sides[row["baseline"]]):
            row["verdict"] = "better" if side > 0 else "worse"
    return found


def increases(scores: Scores, metric: str, subject: str, baseline: str, member: Array) -> dict[str, Any]:
    """Return the histogram of the increases over a baseline by data set (Figure 6 of the paper), with zero an edge."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    values = sign * scores.gain(metric, subject)[0][member][:, scores.methods.index(baseline)]
    values = values[np.isfinite(values)]
    same = np.abs(values) <= EQUAL
    reach = float(np.abs(values).max(initial=0.0)) or 1.0
    size = 10.0 ** np.floor(np.log10(reach))
    width = float(next(size * f for f in (0.1, 0.2, 0.25, 0.5, 1.0) if reach / (size * f) <= 12))
    edges = width * np.arange(-np.ceil(reach / width), np.ceil(reach / width) + 1)
    edges[[0, -1]] *= 1 + 1e-12  # the extreme value may sit on an edge that rounding moved inwards
    held, _ = np.histogram(values[~same], edges)
    return {"edges": edges.tolist(), "counts": held.tolist(), "on_par": int(same.sum()), "datasets": len(values)}


def _interval(values: Array, seed: int, baselines: int) -> tuple[float | None, float | None]:
    if len(values) < FEWEST:
        return None, None
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    # Fewer resamples where there is plenty of data, so that a hundred methods on a thousand data sets take seconds.
    resamples = int(np.clip(5e7 / (len(values) * baselines), 999, 9999))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        for method in ("BCa", "percentile") if len(values) <= PLENTY else ("percentile",):
            found = stats.bootstrap(
                (values,), np.mean, n_resamples=resamples, confidence_level=LEVEL, method=method, rng=seed
            ).confidence_interval
            if np.isfinite(found.low) and np.isfinite(found.high):
                break
    return float(found.low), float(found.high)


def _side(values: Array, low: float | None, high: float | None) -> float:
    """Return the sign of the values if the interval of their mean and the sum of their signed ranks agree on it, else 0."""
    if low is None or high is None or low <= 0 <= high:
        return 0.0
    side = np.sign(np.sign(values) @ stats.rankdata(np.abs(values)))
    return float(side) if side == np.sign(low) else 0.0


def _wilcoxon(values: Array) -> float | None:
    if len(values) < FEWEST:
        return None
    if not values.any():
        return 1.0
    # scipy tries all 2^n signs where values tie, which takes a second from n = 13 on; the normal limit is near by then.
    tied = len(np.unique(np.abs(values[values != 0]))) < len(values)
    method: Literal["approx", "auto"] = "approx" if tied and len(values) > 10 else "auto"
    return float(stats.wilcoxon(values, zero_method="zsplit", method=method).pvalue)
