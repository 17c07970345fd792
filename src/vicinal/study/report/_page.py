"""The page's parts, gathered from the summary for the template: each present, or None and left out."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from vicinal.study.report import _figures, _words
from vicinal.study.report._palette import method_slots
from vicinal.study.report._shell import fill
from vicinal.study.report._text import METRICS, clean, finite, seconds, setting, shown

__all__ = ["page"]

PROTOCOLS = {
    "tuned": "every method chose its settings on training rows only",
    "paper": "the settings of the GenLabel paper",
}


def page(summary: Mapping[str, Any]) -> str:
    """Return the page of a summary that has its required parts."""
    summary = clean(dict(summary))
    methods = {
        name: result or {} for name, result in _baseline_first(summary["methods"], summary.get("baseline")).items()
    }
    comparisons = [c for c in summary.get("comparisons") or [] if c]
    summary = {**summary, "methods": methods, "comparisons": comparisons}
    densities = {name: fit or {} for name, fit in (summary.get("densities") or {}).items()}
    slots = method_slots([*methods, *(str(c.get("method")) for c in comparisons)])
    figures: dict[str, Any] = {}

    def add(name: str, figure: dict[str, Any] | None, alt: str = "") -> str | None:
        if figure is None:
            return None
        figures[name] = figure | {"alt": alt or figure["alt"]}
        return name

    def panels(kind: str, metrics: Any, draw: Any) -> list[Any]:
        made = [(metric, add(f"{kind}-{metric.key}", draw(metric), f"{metric.name} by method.")) for metric in metrics]
        return [(metric, name) for metric, name in made if name]

    three = [metric for metric in METRICS if metric.key != "brier"]
    baseline = summary.get("baseline")
    score_panels = panels("scores", three, lambda m: _figures.scores(m, methods, slots, baseline))
    forest_panels = panels("forest", METRICS, lambda m: _figures.forest(m, comparisons, slots))
    curves = _baseline_first(summary.get("reliability") or {}, baseline)
    curve_panels = []
    for i, (method, bins) in enumerate(curves.items()):
        colour = slots.get(method, "ink")
        curve_panels.append((method, colour, add(f"reliability-{i}", _figures.reliability(method, bins or [], colour))))
    names = [str(name) for name in summary["dataset"].get("labels") or []]
    view = summary.get("projection") or {}
    claim, sentences = _words.headline(summary)
    return fill(
        "page.html.jinja",
        figures,
        summary=summary,
        facts=_facts(summary),
        classes=_classes(summary["dataset"], names),
        claim=claim,
        sentences=sentences,
        metrics=METRICS,
        rows=_rows(methods, comparisons, baseline, slots),
        one_trial=all(len((r.get("accuracy") or {}).get("trials") or []) < 2 for r in methods.values()),
        score_panels=score_panels,
        forest_panels=forest_panels,
        interval_count=sum(finite(c.get("low")) and finite(c.get("high")) for c in comparisons),
        curve_panels=[panel for panel in curve_panels if panel[2]],
        projection=add("projection", _figures.projection(view, names)),
        legend=_legend(view, names),
        intrusion=_words.intrusion_sentence(view.get("intrusion_rate"), len(view.get("mixed") or [])),
        densities=densities,
        densities_sentence=_words.densities_sentence(densities),
        selected=_selected(methods, slots),
        settings={key: setting(value) for key, value in (summary.get("settings") or {}).items()},
        reproduce=summary.get("reproduce") or {},
        setting=setting,
        shown=shown,
    )


def _baseline_first(methods: Mapping[str, Any], baseline: Any) -> dict[str, Any]:
    return dict(sorted(methods.items(), key=lambda item: item[0] != baseline))


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    data, settings = summary["dataset"], summary.get("settings") or {}
    known = [(name, data.get(name), "") for name in ("rows", "features", "classes")]
    known += [("trials", settings.get("trials"), ""), ("network", settings.get("network"), "")]
    known += [("protocol", summary["protocol"], PROTOCOLS.get(summary["protocol"], ""))]
    return [fact for fact in known if fact[1] is not None]


def _classes(data: Mapping[str, Any], names: list[str]) -> list[tuple[str, Any]]:
    counts = list(data.get("counts") or [])
    return list(zip(names, counts + [None] * (len(names) - len(counts)), strict=False))


def _rows(
    methods: Mapping[str, Any], comparisons: Any, baseline: Any, slots: Mapping[str, str]
) -> list[dict[str, Any]]:
    best = {}
    for metric in METRICS:
        found = [(r.get(metric.key) or {}).get("mean") for r in methods.values()]
        means = [float(mean) for mean in found if finite(mean)]
        if len(means) > 1:
            best[metric.key] = shown((max if metric.higher else min)(means), metric)
    rows = []
    for name, result in methods.items():
        cells = []
        for metric in METRICS:
            stat = result.get(metric.key) or {}
            spread = stat.get("std") if len(stat.get("trials") or [0, 0]) > 1 else None
            mean = shown(stat.get("mean"), metric)
            cells.append((mean, shown(spread, metric).removesuffix(" %"), mean == best.get(metric.key)))
        row = {"name": name, "slot": slots[name], "cells": cells, "baseline": name == baseline}
        rows.append(row | {"seconds": seconds(result.get("seconds")), "found": _words.verdicts(comparisons, name)})
    return rows


def _legend(view: Mapping[str, Any], names: list[str]) -> list[tuple[str, str, str]]:
    """The projection's marks in the order of its traces: mixed points, the classes, intruders."""
    present = sorted({k for k in view.get("labels") or [] if k is not None})
    marks = [(names[k] if 0 <= k < len(names) else f"class {k}", *_figures.class_mark(k)) for k in present]
    return [("mixed point", "mixed", "open"), *marks, ("intruder", "ink", "x")]


def _selected(methods: Mapping[str, Any], slots: Mapping[str, str]) -> dict[str, Any] | None:
    chosen = {name: [pick for pick in result.get("selected") or [] if pick] for name, result in methods.items()}
    chosen = {name: picks for name, picks in chosen.items() if picks}
    keys = list(dict.fromkeys(key for picks in chosen.values() for pick in picks for key in pick))
    if not keys:
        return None
    rows = []
    for name, picks in chosen.items():
        counts = [Counter(setting(pick[key]) for pick in picks if key in pick).most_common() for key in keys]
        rows.append((name, slots[name], len(picks), counts))
    return {"keys": keys, "rows": rows}
