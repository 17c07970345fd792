"""Tables of an image study's page: cells of text, with what is best and what was published."""

from collections.abc import Mapping, Sequence
from typing import Any

from vicinal.study.report._image_terms import corruption_word
from vicinal.study.report._text import DASH, Metric, finite

__all__ = ["bar_tables", "heat_maps", "main_tables", "score_tables", "value", "value_gap"]

BESIDE = 3
"""Most data sets whose scores stand beside each other, as in the VarMixup paper's Table 1."""

MAIN = ("corruption_accuracy", "accuracy", "ece")
OTHERS = ("robust_accuracy", "corruption_ece", "log_loss", "brier")
STRONGEST = 0.6
"""Opacity of the largest difference in a heat map; numbers stay readable on it in both themes."""

DECIMALS = {"fid": 1, "reconstruction_error": 2}
"""Where three would be too many."""

LEAST_REACH = 0.05
"""Differences below would fill a map with colour that stands for nothing."""


def value(number: Any, metric: Metric) -> str:
    """Return a score without its unit: shares in percent with two decimals, as the paper's tables have."""
    if not finite(number):
        return DASH
    if metric.percent:
        return f"{100 * number:.2f}".replace("-", "−")
    return f"{number:.{DECIMALS.get(metric.key, 3)}f}".replace("-", "−")


def value_gap(number: Any, metric: Metric) -> str:
    """Return a difference with its sign."""
    if not finite(number):
        return DASH
    return f"{metric.scale * number:+.{2 if metric.percent else 3}f}".replace("-", "−")


def main_tables(summary: Mapping[str, Any], metrics: Mapping[str, Metric]) -> list[dict[str, Any]]:
    """Return one table with up to three data sets beside each other, or else one for each."""
    datasets = [data for data in summary["datasets"] if any(data["scores"].get(key) for key in MAIN)]
    groups = [datasets] if len(datasets) <= BESIDE else [[data] for data in datasets]
    return [_table(summary, group, metrics, MAIN, cost=True) for group in groups if group]


def score_tables(summary: Mapping[str, Any], metrics: Mapping[str, Metric]) -> list[dict[str, Any]]:
    """Return the tables of what no other section has."""
    datasets = [data for data in summary["datasets"] if any(data["scores"].get(key) for key in OTHERS)]
    groups = [datasets] if len(datasets) <= BESIDE else [[data] for data in datasets]
    return [_table(summary, group, metrics, OTHERS, cost=False) for group in groups if group]


def bar_tables(summary: Mapping[str, Any], keys: Sequence[str], metrics: Mapping[str, Metric]) -> dict[str, Any] | None:
    """Return bars by method: a column for each data set and metric, each metric with one scale for all data sets."""
    scores = {
        (data["id"], key): data["scores"][key]
        for data in summary["datasets"]
        for key in keys
        if data["scores"].get(key)
    }
    if not scores:
        return None
    longest = {
        key: max((abs(s["mean"]) for (_, k), by in scores.items() if k == key for s in by.values()), default=0.0)
        for key in keys
    }
    columns = [
        (data["name"], data["id"], metrics[key])
        for data in summary["datasets"]
        for key in keys
        if (data["id"], key) in scores
    ]
    rows = []
    for name in summary["methods"]:
        cells = []
        for _, dataset, metric in columns:
            score = scores[dataset, metric.key].get(name) or {}
            mean, most = score.get("mean"), longest[metric.key]
            width = round(100 * max(mean, 0.0) / most, 2) if finite(mean) and most else 0.0
            cells.append({"mean": value(mean, metric), "std": value(score.get("std"), metric), "width": width})
        if any(cell["mean"] != DASH for cell in cells):
            rows.append((name, cells))
    groups = [
        (name, span)
        for data in summary["datasets"]
        if (span := sum(dataset == data["id"] for _, dataset, _ in columns))
        for name in [data["name"]]
    ]
    return {"groups": groups, "columns": [metric for _, _, metric in columns], "rows": rows}


def heat_maps(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return methods x corruptions by data set: the reference's accuracies, and the others' differences from them."""
    names = {data["id"]: data["name"] for data in summary["datasets"]}
    groups = [(group, list(members)) for group, members in summary["corruptions"]["groups"].items()]
    keys = [key for _, members in groups for key in members]
    first = {members[0] for _, members in groups}
    found = []
    for table in summary["corruptions"]["tables"]:
        reference = table["reference"]
        gaps = [gap for name, row in table["difference"].items() if name != reference for gap in row.values()]
        reach = max([abs(gap) for gap in gaps if finite(gap)] + [LEAST_REACH])
        order = [name for name in summary["methods"] if name in table["accuracy"]]
        order = sorted(order, key=reference.__ne__)
        rows = []
        for name in order:
            own = name == reference or reference is None
            values = table["accuracy"][name] if own else table["difference"][name]
            mean = table["mean"].get(name) if own else table["mean_difference"].get(name)
            cells = [{**_heat(values.get(key), own, reach), "first": key in first} for key in keys]
            rows.append({"method": name, "own": own, "cells": cells, "mean": _heat(mean, own, reach)})
        heads = [(corruption_word(key), key in first) for key in keys]
        found.append(
            {
                "dataset": names[table["dataset"]],
                "reference": reference,
                "groups": [(group, len(members)) for group, members in groups],
                "heads": heads,
                "rows": rows,
            }
        )
    return found


def _heat(number: Any, own: bool, reach: float) -> dict[str, Any]:
    if not finite(number):
        return {"text": DASH, "side": "", "strength": 0}
    if own:
        return {"text": f"{100 * number:.1f}", "side": "", "strength": 0}
    text = f"{100 * number:+.1f}".replace("-", "−")
    if text in ("+0.0", "−0.0"):
        return {"text": "0.0", "side": "", "strength": 0}
    side = "up" if number > 0 else "down"
    return {"text": text, "side": side, "strength": round(STRONGEST * min(1.0, abs(number) / reach), 3)}


def _table(
    summary: Mapping[str, Any],
    datasets: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Metric],
    keys: Sequence[str],
    cost: bool,
) -> dict[str, Any]:
    """A row a method; columns by data set, each a metric or what a training costs."""
    published = {(row["dataset"], row["method"], row["metric"]): row for row in summary["published"]}
    ratios = {(row["dataset"], row["method"]): row for row in summary["cost"] if finite(row["ratio"])} if cost else {}
    groups = []
    for data in datasets:
        own = [metrics[key] for key in keys if data["scores"].get(key)]
        groups.append((data, own, any(dataset == data["id"] for dataset, _ in ratios)))
    rows = []
    for name in summary["methods"]:
        cells: list[dict[str, Any]] = []
        for data, own, priced in groups:
            for place, metric in enumerate(own):
                cells.append(_cell(data, metric, name, published) | {"first": not place})
            if priced:
                row = ratios.get((data["id"], name)) or {}
                whole = row.get("ratio_with_space")
                cells.append(
                    {
                        "ratio": f"{row['ratio']:.1f} ×" if row else DASH,
                        "with_space": f"{whole:.1f} ×" if row and row["space_seconds"] and finite(whole) else "",
                        "first": False,
                    }
                )
        if any(cell.get("mean", DASH) != DASH or cell.get("published") for cell in cells):
            rows.append((name, cells))
    return {
        "groups": [(data, own, priced, len(own) + priced) for data, own, priced in groups],
        "rows": rows,
        "published": any(cell.get("published") for _, cells in rows for cell in cells),
        "judged": any(row["within"] is not None for row in summary["published"]),
        "priced": any(priced for _, _, priced in groups),
        "several": len(groups) > 1,
        "crowded": len(groups) == BESIDE,
    }


def _cell(data: Mapping[str, Any], metric: Metric, name: str, published: Mapping[Any, Any]) -> dict[str, Any]:
    scores = data["scores"][metric.key]
    score, theirs = scores.get(name) or {}, published.get((data["id"], name, metric.key)) or {}
    pick = max if metric.higher else min
    best = value(pick(s["mean"] for s in scores.values()), metric) if len(scores) > 1 else None
    mean = value(score.get("mean"), metric)
    return {
        "mean": mean,
        "std": value(score.get("std"), metric),
        "best": mean == best,
        "published": value(theirs.get("published"), metric) if theirs else "",
        "published_std": value(theirs.get("published_std"), metric) if theirs else "",
        "within": theirs.get("within"),
    }
