"""Mean ranks of all methods, and which of them differ (J. Demšar, JMLR 7, 2006)."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vicinal.core.extras import require
from vicinal.evaluation import LOWER_IS_BETTER
from vicinal.study.analysis._scores import Array, Scores, family_means

__all__ = ["ranks"]

PAIRWISE = 40
"""Most methods for which every pair is tested."""


def ranks(scores: Scores, metric: str, member: Array, composite: str | None = None) -> dict[str, Any]:
    """Return the mean ranks over the families of a subset, 1 the best, ties shared.

    Only data sets on which every compared method is done count; a method that is done on fewer than half of the data
    sets is left out, so that it does not take the others' data sets away. With at least three methods and families
    comes Friedman's test, and Nemenyi's critical difference of two mean ranks

        CD = q sqrt(k (k + 1) / (6 n))

    with k methods, n families and q the 95 % quantile of the studentized range over sqrt(2). `composite` is made of other
    methods and has no rank of its own.
    """
    values = scores.mean[metric][member][:, [name != composite for name in scores.methods]]
    methods = [name for name in scores.methods if name != composite]
    known = np.isfinite(values)
    some = known.any(axis=1)
    kept = known[some].mean(axis=0) >= 0.5 if some.any() else np.zeros(len(methods), dtype=bool)
    complete = known[:, kept].all(axis=1) & some
    names = [name for name, keep in zip(methods, kept, strict=True) if keep]
    found: dict[str, Any] = {
        "datasets": int(complete.sum()),
        "families": 0,
        "left_out": [name for name, keep in zip(methods, kept, strict=True) if not keep],
        "methods": {},
        "friedman": None,
        "critical_difference": None,
        "nemenyi": None,
    }
    if len(names) < 2 or not complete.any():
        return found
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    blocks = family_means(values[complete][:, kept], scores.families[member][complete])
    n, k = blocks.shape
    # Rounding first: equal means must tie, whatever the order of their sums was.
    ranked = stats.rankdata(np.round(sign * blocks, 10), axis=1)
    mean = ranked.mean(axis=0)
    found["families"] = n
    found["methods"] = {names[i]: float(mean[i]) for i in np.argsort(mean, kind="stable")}
    if k < 3 or n < 3 or np.ptp(ranked) == 0:
        return found
    test = stats.friedmanchisquare(*ranked.T)
    found["friedman"] = {"statistic": float(test.statistic), "p": float(test.pvalue)}
    quantile = stats.studentized_range.isf(0.05, k, np.inf) / np.sqrt(2)
    found["critical_difference"] = float(quantile * np.sqrt(k * (k + 1) / (6 * n)))
    if k <= PAIRWISE:
        posthocs = require("scikit_posthocs", extra="study")
        p = np.asarray(posthocs.posthoc_nemenyi_friedman(pd.DataFrame(ranked)), dtype=float)
        found["nemenyi"] = {a: {b: float(p[i, j]) for j, b in enumerate(names)} for i, a in enumerate(names)}
    return found
