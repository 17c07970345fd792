"""Published numbers beside ours, and where the two differ by more than the trials explain."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vicinal.evaluation import LOWER_IS_BETTER
from vicinal.study.analysis._scores import Scores

__all__ = ["published_counts", "published_scores"]


def published_scores(scores: Scores, facts: pd.DataFrame, study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each published score with ours, their difference, and an explanation where it is large.

    Large: |ours - published| > 2 sqrt(s^2 + s_published^2), with s the standard deviation of ours over trials, and
    s_published zero where the publication names none. Accuracies are published in percent and returned as fractions. An
    entry without a method is about the data set itself, its metric a column of the facts.
    """
    spreads = {metric: scores.std(metric) for metric in scores.mean}
    found = []
    for entry in study.get("published") or []:
        metric = entry.get("metric") or study["metrics"][0]
        scale = 1.0 if metric in LOWER_IS_BETTER else 0.01
        value, spread = scale * entry["value"], entry.get("std")
        row = {
            "dataset": str(entry["dataset"]),
            "method": entry.get("method"),
            "metric": metric,
            "published": value,
            "published_std": None if spread is None else scale * spread,
            "note": entry.get("note") or "",
            "ours": None,
            "std": None,
            "difference": None,
            "differs": False,
            "explanation": "",
        }
        found.append(row)
        if row["method"] is None and metric in facts and row["dataset"] in facts.index:
            ours = float(facts[metric][row["dataset"]])
            row |= {"ours": ours, "difference": ours - value}
        if metric not in scores.mean or row["dataset"] not in scores.datasets or row["method"] not in scores.methods:
            continue
        place = scores.datasets.index(row["dataset"]), scores.methods.index(row["method"])
        ours, std = float(scores.mean[metric][place]), float(spreads[metric][place])
        if not np.isfinite(ours):
            continue
        row |= {"ours": ours, "difference": ours - value, "std": std if np.isfinite(std) else None}
        if row["std"] is not None:
            row["differs"] = bool(abs(ours - value) > 2 * np.hypot(std, row["published_std"] or 0.0) + 1e-9)
        if row["differs"]:
            row["explanation"] = _explanation(row, scale)
            if study.get("published_on") == "one split" and metric not in LOWER_IS_BETTER:
                row["explanation"] += _luck(
                    row, float(facts["rows"][row["dataset"]] * facts["test_share"][row["dataset"]])
                )
    return found


def published_counts(study: Mapping[str, Any]) -> dict[tuple[str, str, str], dict[str, float]]:
    """Return the published counts as shares in [0, 1], by metric, subset and baseline."""
    found = {}
    for entry in study.get("published_counts") or []:
        shares = {"ahead": entry["higher"], "on_par": entry["on_par"], "behind": entry["lower"]}
        key = entry.get("metric") or study["metrics"][0], entry["subset"], entry["baseline"]
        found[key] = {name: value / 100 for name, value in shares.items()}
    return found


def _explanation(row: Mapping[str, Any], scale: float) -> str:
    unit, digits = (" points", 2) if scale != 1.0 else ("", 3)
    word = "higher" if row["difference"] > 0 else "lower"
    theirs = row["published_std"]
    text = f"Ours is {abs(row['difference']) / scale:.{digits}f}{unit} {word}, more than twice the spread over trials ("
    text += f"{row['std'] / scale:.{digits}f} here, "
    text += "none published)" if theirs is None else f"{theirs / scale:.{digits}f} published)"
    return f"{text}. {row['note']}".strip() if row["note"] else f"{text}."


def _luck(row: Mapping[str, Any], rows: float) -> str:
    """What a share of so few test rows varies by: sqrt(p (1 - p) / n), which trials on one split do not show.

    Nothing on a problem whose test rows are sampled, as many as one likes.
    """
    if not rows >= 1:
        return ""
    luck = float(np.sqrt(row["published"] * (1 - row["published"]) / round(rows)))
    enough = abs(row["difference"]) <= 2 * np.hypot(luck, row["std"])
    return (
        f" The published trials share one split: the luck of its {round(rows)} test rows, {100 * luck:.2f} points (standard"
        f" deviation), and our own spread {'explain the difference' if enough else 'do not explain it'}."
    )
