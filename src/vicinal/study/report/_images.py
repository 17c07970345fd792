"""The parts of an image study's page, gathered from its summary for the template: chosen and written, not computed."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from vicinal.study.report import _figures
from vicinal.study.report._image_figures import curves
from vicinal.study.report._image_samples import png_size
from vicinal.study.report._image_tables import bar_tables, heat_maps, main_tables, score_tables, value, value_gap
from vicinal.study.report._image_terms import metrics_of
from vicinal.study.report._palette import image_slots
from vicinal.study.report._shell import fill
from vicinal.study.report._text import DASH, Metric, clean, finite, seconds, setting, short

__all__ = ["images_page"]

ROWS = 150
"""Most rows of a table; whatever is left out is said, and stands in the exported files."""

FOREST = ("corruption_accuracy", "accuracy", "ece", "linearity_")
"""Metrics whose differences are drawn, by the part that they belong to."""

PART_OF = {"corruption_accuracy": "table", "accuracy": "table", "ece": "calibration", "linearity_": "linearity"}


def images_page(summary: Mapping[str, Any]) -> str:
    """Return the page of an image study's summary."""
    summary = clean(dict(summary))
    slots, metrics, parts = image_slots(summary["methods"]), metrics_of(summary), {*summary["parts"]}
    datasets = {data["id"]: data for data in summary["datasets"]}
    if "transfer" in parts:  # the same table, of spaces that learnt from other images
        parts.add("table")
    figures: dict[str, Any] = {}

    def add(name: str, figure: dict[str, Any] | None, alt: str) -> str | None:
        if figure is not None:
            figures[name] = figure | {"alt": alt}
        return name if figure is not None else None

    def by_dataset(part: str, kind: str, draw: Any, alt: str) -> list[tuple[str, str]]:
        if part not in parts:  # a figure without its place would stop the page's script
            return []
        made = [
            (data["name"], add(f"{kind}-{i}", draw(data), f"{alt}, {data['name']}."))
            for i, data in enumerate(summary["datasets"])
        ]
        return [(name, figure) for name, figure in made if figure]

    severity = by_dataset(
        "corruptions", "severity", lambda data: _severity(summary, data, slots), "Accuracy by severity"
    )
    linearity = by_dataset(
        "linearity", "linearity", lambda data: _linearity(summary, data, slots), "Local linear error by radius"
    )
    forests = [
        (data["name"], shown)
        for i, data in enumerate(summary["datasets"])
        if (shown := _forests(summary, data, metrics, parts, slots, lambda n, f, a, i=i: add(f"{n}-{i}", f, a)))
    ]
    return fill(
        "images.html.jinja",
        figures,
        summary=summary,
        parts=parts,
        facts=_facts(summary),
        metrics=metrics,
        slots=slots,
        names=summary["names"],
        main_tables=main_tables(summary, metrics) if "table" in parts else [],
        heats=heat_maps(summary) if "corruptions" in parts else [],
        severity=severity,
        forests=forests,
        differences=_differences(summary, metrics, parts),
        calibration=bar_tables(summary, ("ece", "corruption_ece"), metrics) if "calibration" in parts else None,
        linearity=linearity,
        distance=bar_tables(summary, ("fid", "kid"), metrics) if "distance" in parts else None,
        features=list(dict.fromkeys(data["features"] for data in datasets.values() if data["features"])),
        samples=_samples(summary) if "samples" in parts else [],
        spaces=_spaces(summary),
        cost=_cost(summary) if "cost" in parts else [],
        scores=score_tables(summary, metrics) if "table" in parts else [],
        differing=[_differing(row, metrics, datasets) for row in summary["published"] if row["within"] is False],
        settings={key: setting(item) for key, item in summary["settings"].items() if item is not None},
        reproduce=_reproduce(summary),
        rows=ROWS,
        seconds=seconds,
        short=short,
        dataset_names={name: data["name"] for name, data in datasets.items()},
    )


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, Any]]:
    settings, status = summary["settings"], summary["status"]
    done = f"{status['done']:,} of {status['planned']:,}".replace(",", "\u202f")
    known = [("data sets", len(summary["datasets"])), ("methods", len(summary["methods"]))]
    known += [(name, settings.get(name)) for name in ("trials", "network")]
    epochs = {fact.get("epochs") for fact in summary["facts"]}
    if len(epochs) == 1:
        known.append(("epochs", epochs.pop()))
    return [fact for fact in [*known, ("trainings", done)] if fact[1] is not None]


def _reproduce(summary: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: summary.get(key) for key in ("command", "versions", "date") if summary.get(key)}
    return found | ({"device": ", ".join(summary["devices"])} if summary["devices"] else {})


def _lines(
    summary: Mapping[str, Any], data: Mapping[str, Any], keys: Sequence[str], slots: Any
) -> list[dict[str, Any]]:
    scores = data["scores"]
    return [
        {
            "name": summary["names"][name],
            "colour": slots[name],
            "strong": name == summary["subject"],
            "values": [(scores.get(key, {}).get(name) or {}).get("mean") for key in keys],
        }
        for name in summary["methods"]
    ]


def _severity(summary: Mapping[str, Any], data: Mapping[str, Any], slots: Mapping[str, str]) -> Any:
    levels = summary["corruptions"]["severities"]
    if not levels:
        return None
    keys = ["accuracy", *(f"severity_accuracy_{level}" for level in levels)]
    ticks = [(0.0, "clean"), *((float(level), level) for level in levels)]
    return curves(_lines(summary, data, keys, slots), ticks, ("severity", "accuracy, %"), percent=True)


def _linearity(summary: Mapping[str, Any], data: Mapping[str, Any], slots: Mapping[str, str]) -> Any:
    epsilons = summary["corruptions"]["epsilons"]
    ticks = [(float(epsilon), f"{epsilon}/255") for epsilon in epsilons]
    lines = _lines(summary, data, [f"linearity_{epsilon}" for epsilon in epsilons], slots)
    return (
        curves(lines, ticks, ("radius ε, of pixels from 0 to 1", "local linear error, nats"), percent=False)
        if ticks
        else None
    )


def _compared(metrics: Mapping[str, Metric], parts: set[str]) -> list[Metric]:
    """The metrics whose differences are shown: of local linearity, the widest radius."""
    found = []
    for start in FOREST:
        keys = [key for key in metrics if key == start or (start.endswith("_") and key.startswith(start))]
        if keys and PART_OF[start] in parts | ({"table"} if "corruptions" in parts else set()):
            found.append(metrics[keys[-1]])
    return found


def _baseline(summary: Mapping[str, Any]) -> str | None:
    """What the figure compares with: the headline's baseline, or what the subject is, if it is one itself."""
    return (summary["main"] or {}).get("baseline")


def _forests(
    summary: Mapping[str, Any], data: Mapping[str, Any], metrics: Any, parts: set[str], slots: Any, add: Any
) -> list[tuple[Metric, str]]:
    baseline, names = _baseline(summary), summary["names"]
    rows = {
        (row["metric"], row["method"]): row
        for row in summary["differences"]
        if (row["dataset"], row["baseline"]) == (data["id"], baseline)
    }
    methods = [name for name in summary["methods"] if any(method == name for _, method in rows)]
    colours = {names[name]: slots[name] for name in methods}
    found: list[tuple[Metric, str]] = []
    for metric in _compared(metrics, parts):
        shown = [
            {"difference": None, **rows.get((metric.key, name), {}), "metric": metric.key, "method": names[name]}
            for name in methods
        ]
        figure = add(
            f"forest-{len(found)}",
            _figures.forest(metric, shown, colours, blanks=True),
            f"{metric.name}: differences from {names.get(baseline, baseline)}, {data['name']}.",
        )
        if figure:
            found.append((metric, figure))
    return found


def _differences(summary: Mapping[str, Any], metrics: Mapping[str, Metric], parts: set[str]) -> list[dict[str, Any]]:
    """Tables of paired differences: one a data set and baseline, a row a method, a cell a metric."""
    shown = _compared(metrics, parts)
    found = []
    for data in summary["datasets"]:
        for baseline in summary["baselines"]:
            rows = {
                (row["method"], row["metric"]): row
                for row in summary["differences"]
                if (row["dataset"], row["baseline"]) == (data["id"], baseline)
            }
            lines = [
                (name, [_gap(rows.get((name, metric.key)), metric) for metric in shown])
                for name in summary["methods"]
                if any((name, metric.key) in rows for metric in shown)
            ]
            if lines:
                found.append({"dataset": data["name"], "baseline": baseline, "metrics": shown, "rows": lines})
    return found


def _gap(row: Mapping[str, Any] | None, metric: Metric) -> dict[str, Any]:
    if row is None:
        return {"difference": DASH, "interval": "", "verdict": None, "trials": 0}
    low, high = (value_gap(row[key], metric) for key in ("low", "high"))
    interval = f"{low} to {high}" if finite(row["low"]) else ""
    return {**row, "difference": value_gap(row["difference"], metric), "interval": interval}


def _differing(row: Mapping[str, Any], metrics: Mapping[str, Metric], datasets: Mapping[str, Any]) -> dict[str, Any]:
    metric = metrics[row["metric"]]
    numbers = {key: value(row[key], metric) for key in ("ours", "std", "published", "published_std")}
    gap = value_gap(row["difference"], metric)
    return {**row, **numbers, "metric": metric, "difference": gap, "dataset": datasets[row["dataset"]]["name"]}


def _samples(summary: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Pictures by data set; what is no PNG is left out."""
    found = []
    names = {data["id"]: data["name"] for data in summary["datasets"]}
    for dataset, rows in groupby(summary["samples"], key=lambda row: row["dataset"]):
        shown = [row | {"size": size} for row in rows if (size := png_size(row["image"]))]
        if shown:
            found.append((names[dataset], shown))
    return found


def _spaces(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of spaces by data set; methods that share one share a row."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    names = {data["id"]: data["name"] for data in summary["datasets"]}
    for row in summary["spaces"]:
        key = tuple(row[name] for name in ("dataset", "error", "accuracy", "reference"))
        rows.setdefault(key, {**row, "methods": [], "dataset": names[row["dataset"]]})["methods"].append(row["method"])
    share = Metric("accuracy", "", "", True, "")
    for row in rows.values():
        row |= {
            "error": f"{row['error']:.2f}" if finite(row["error"]) else DASH,
            "accuracy": value(row["accuracy"], share),
            "reference": value(row["reference"], share),
            "points": f"{100 * row['drop']:.1f}".replace("-", "−") if finite(row["drop"]) else DASH,
        }
    return list(rows.values())


def _cost(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bars of seconds by data set, the space's training after the classifier's."""
    found = []
    for data in summary["datasets"]:
        rows = [row for row in summary["cost"] if row["dataset"] == data["id"]]
        longest = max((row["seconds"] + (row["space_seconds"] or 0.0) for row in rows), default=0.0)
        if longest:
            bars = [
                {
                    **row,
                    "width": round(100 * row["seconds"] / longest, 2),
                    "space_width": round(100 * (row["space_seconds"] or 0.0) / longest, 2),
                }
                for row in rows
            ]
            found.append({"dataset": data["name"], "rows": bars})
    return found
