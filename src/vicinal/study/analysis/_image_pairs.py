"""Methods compared with the baselines trial by trial: the same trial is the same split and the same initial weights."""

from typing import Any

import numpy as np

from vicinal.evaluation import paired_difference
from vicinal.study.analysis._image_metrics import FEWEST, goal, is_compared
from vicinal.study.analysis._image_scores import ImageScores

__all__ = ["BASELINES", "image_differences", "ratios"]

BASELINES = ("mixup", "erm", "mixup-r")
"""What every other method is held against, where they ran; the first that did is what the headline speaks of."""

ROUNDING = 1e-9
"""Differences below are equal numbers that were summed in another order."""


def image_differences(scores: ImageScores, baselines: list[str]) -> list[dict[str, Any]]:
    """Return every method's difference from each baseline, by data set and metric, over the trials that both have.

    With d_t the difference in trial t of T, the interval is mean(d) +- t_{T-1} sqrt(var(d) / T), the 95 % t interval. A
    verdict takes at least three trials and an interval that excludes zero; otherwise it is 'no clear difference', or None
    where there are too few trials to say.
    """
    return [
        {"dataset": dataset, "metric": metric, "method": method, "baseline": baseline, **found}
        for dataset in scores.datasets
        for metric in scores.values
        if is_compared(metric)
        for baseline in baselines
        for method in scores.methods
        if method != baseline and (found := _difference(scores, metric, dataset, method, baseline))
    ]


def ratios(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float | None:
    """Return the median over trials of what one method takes over what another does; None without a common trial."""
    both = np.isfinite(ours) & np.isfinite(theirs) & (theirs > 0)
    return float(np.median(ours[both] / theirs[both])) if both.any() else None


def _difference(scores: ImageScores, metric: str, dataset: str, method: str, baseline: str) -> dict[str, Any] | None:
    ours, theirs = (scores.trial_values(metric, dataset, name) for name in (method, baseline))
    both = np.isfinite(ours) & np.isfinite(theirs)
    count = int(both.sum())
    if not count:
        return None
    found = paired_difference(ours[both].tolist(), theirs[both].tolist(), test_share=0)
    verdict = None
    if count >= FEWEST:
        small = abs(found.difference) <= ROUNDING
        verdict = "no clear difference" if small else found.verdict(goal(metric) == "higher")
    return {
        "trials": count,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "verdict": verdict,
    }
