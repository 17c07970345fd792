"""The parts of a study's page, gathered from its summary for the template; nothing is computed, only chosen and written."""

from collections.abc import Mapping, Sequence
from typing import Any

from vicinal.study.report import _figures, _study_words
from vicinal.study.report._diagram import critical_differences
from vicinal.study.report._palette import method_slots
from vicinal.study.report._shell import fill
from vicinal.study.report._text import BY_KEY, DASH, Metric, clean, finite, seconds, setting, short, shown, signed

__all__ = ["study_page"]

ROWS = 150
"""Most rows of a table; whatever is left out is said, and stands in the exported files."""

COLUMNS = 16
"""Most methods beside each other."""

DIGITS = 2
"""Decimals of a percentage, as the paper's tables have."""


def study_page(summary: Mapping[str, Any]) -> str:
    """Return the page of a study's summary."""
    summary = clean(dict(summary))
    methods, main = summary["methods"], summary.get("main")
    slots = method_slots(methods)
    metrics = [BY_KEY[key] for key in summary["metrics"] if key in BY_KEY]
    subsets = {s["key"]: s for s in summary["subsets"]}
    subset = main["subset"] if main else next(iter(subsets))
    figures: dict[str, Any] = {}

    def panels(kind: str, draw: Any) -> list[tuple[Metric, str]]:
        made = [(metric, draw(metric)) for metric in metrics]
        figures.update({f"{kind}-{m.key}": figure | {"alt": f"{m.name}: {kind}."} for m, figure in made if figure})
        return [(metric, f"{kind}-{metric.key}") for metric, figure in made if figure]

    def of(part: str, metric: Metric, key: str) -> list[Any]:
        return [row for row in summary[part] if (row["metric"], row["subset"]) == (metric.key, key)]

    claim, sentences = _study_words.headline(summary)
    rank_views = [
        (metric, subsets[key], view) for metric in metrics for key in subsets for view in of("ranks", metric, key)
    ]
    return fill(
        "study.html.jinja",
        figures,
        summary=summary,
        facts=_facts(summary),
        claim=claim,
        sentences=sentences,
        metrics=metrics,
        slots=slots,
        main=main,
        main_subset=subsets[subset],
        subsets=[(s, _study_words.subset_words(s)) for s in subsets.values()],
        counts=[
            (metric, s, rows, any(row.get("published") for row in rows))
            for metric in metrics
            for key, s in subsets.items()
            if (rows := of("counts", metric, key)[:ROWS])
        ],
        forest_panels=panels("forest", lambda m: _figures.forest(m, _forest(of("differences", m, subset)), slots)),
        differences=[
            (metric, s, [_difference(row, metric) for row in rows])
            for metric in metrics
            for key, s in subsets.items()
            if (rows := of("differences", metric, key)[:ROWS])
        ],
        histogram_panels=panels(
            "histogram", lambda m: next((_figures.histogram(m, v) for v in of("increases", m, subset)), None)
        ),
        diagrams=[(m, s, view, critical_differences(view, summary["subject"], slots)) for m, s, view in rank_views],
        tables=[_table(summary, metric) for metric in metrics],
        differing=[_differing(row) for row in summary["published"] if row["differs"]],
        quoted=[
            (row["dataset"], row["metric"].replace("_", " "), _percent(row["ours"]), _percent(row["published"]))
            for row in summary["published"]
            if not row["method"]
        ],
        columns=COLUMNS,
        rows=ROWS,
        seconds=seconds,
        settings={key: setting(value) for key, value in summary["settings"].items() if value is not None},
        reproduce={key: summary.get(key) for key in ("command", "versions", "date") if summary.get(key)},
        p_value=_study_words.p_value,
        tables_word=_study_words.tables,
        percent=_percent,
        short=short,
    )


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    settings, status = summary["settings"], summary["status"]
    known = [("data sets", len(summary["datasets"]), ""), ("methods", len(summary["methods"]), "")]
    known += [(name, settings.get(name), "") for name in ("trials", "network", "protocol")]
    done = f"{status['done']:,} of {status['planned']:,}".replace(",", "\u202f")
    return [fact for fact in [*known, ("results", done, "")] if fact[1] is not None]


def _forest(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A study's differences in the words of `vicinal compare`'s figure: a row a baseline."""
    return [{**row, "method": row["baseline"], "difference": row["mean"]} for row in rows[:COLUMNS]]


def _difference(row: Mapping[str, Any], metric: Metric) -> dict[str, Any]:
    numbers = {key: _signed(row[key], metric) for key in ("mean", "median", "low", "high")}
    interval = f"{numbers['low']} to {numbers['high']}" if finite(row["low"]) else DASH
    return {**row, **numbers, "interval": interval}


def _differing(row: Mapping[str, Any]) -> dict[str, Any]:
    metric = BY_KEY[row["metric"]]
    numbers = {key: _value(row[key], metric) for key in ("ours", "published", "std")}
    return {**row, **numbers, "metric": metric, "difference": _signed(row["difference"], metric)}


def _table(summary: Mapping[str, Any], metric: Metric) -> dict[str, Any]:
    """Return one metric's table: a row a data set, a cell a method with its spread and the published value."""
    methods = summary["methods"]
    if len(methods) > COLUMNS:  # the subject stays in sight
        rest = [name for name in methods if name != summary["subject"]]
        methods = [name for name in [*rest[: COLUMNS - 1], summary["subject"] or rest[COLUMNS - 1]] if name]
    published = {(p["dataset"], p["method"]): p for p in summary["published"] if p["metric"] == metric.key}
    pick = max if metric.higher else min
    rows = []
    for data in summary["datasets"][:ROWS]:
        scores = data["scores"].get(metric.key) or {}
        means = [_value(s["mean"], metric) for s in scores.values()]
        best = pick(means, key=lambda text: float(text.replace("−", "-"))) if len(means) > 1 else None
        cells = []
        for name in methods:
            score, theirs = scores.get(name) or {}, published.get((data["id"], name)) or {}
            mean = _value(score.get("mean"), metric)
            cells.append(
                {
                    "mean": mean,
                    "std": _value(score.get("std"), metric),
                    "best": mean == best,
                    "published": _value(theirs["published"], metric) if theirs else None,
                    "differs": theirs.get("differs"),
                }
            )
        rows.append({"data": data, "cells": cells})
    return {"metric": metric, "methods": methods, "rows": rows, "published": bool(published)}


def _percent(share: Any, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %" if finite(share) else DASH


def _value(value: Any, metric: Metric) -> str:
    """A score without its unit, which stands above the column."""
    if not finite(value):
        return DASH
    return f"{100 * value:.{DIGITS}f}" if metric.percent else shown(value, metric)


def _signed(value: Any, metric: Metric) -> str:
    if not finite(value) or not metric.percent:
        return signed(value, metric, unit=False)
    return f"{100 * value:+.{DIGITS}f}".replace("-", "−")
