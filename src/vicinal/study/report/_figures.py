"""The figures as plain plotly dictionaries: values as they are in the summary, colours as names of the palette.

Axes are numeric with tick texts of our own, so that no method or label is taken for a number, a date or markup; hover
texts are plain and escaped.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vicinal.study.report._palette import CLASS_COLOURS, CLASS_SYMBOLS
from vicinal.study.report._text import Metric, finite, plot_text, short, shown, signed, wrapped
from vicinal.study.report._words import verdict

__all__ = ["class_mark", "forest", "histogram", "plain_axis", "plain_layout", "projection", "reliability", "scores"]

Figure = dict[str, Any]
FEWEST = 5
"""Data sets below which a histogram shows nothing that the table does not."""

ROW = 36
"""Height of one method's row in pixels."""


def scores(metric: Metric, methods: Mapping[str, Any], slots: Mapping[str, str], baseline: Any) -> Figure | None:
    """Return one metric by method: a point per trial, a diamond at the mean, a dotted line at the baseline's mean."""
    dots: list[tuple[float, float, str, str]] = []
    means: list[tuple[float, float, str, str]] = []
    shapes: list[Figure] = []
    for row, (name, result) in enumerate(methods.items()):
        stat = result.get(metric.key) or {}
        trials = [(i, v) for i, v in enumerate(stat.get("trials") or []) if finite(v)]
        for place, (i, value) in enumerate(trials):
            lift = 0.0 if len(trials) < 2 else 0.24 * (2 * place / (len(trials) - 1) - 1)
            text = f"{name}, trial {i + 1}: {shown(value, metric)}"
            dots.append((metric.scale * value, row + lift, slots[name], text))
        if finite(stat.get("mean")):
            mean = metric.scale * stat["mean"]
            means.append((mean, row, slots[name], f"{name}, mean: {shown(stat['mean'], metric)}"))
            if name == baseline:
                shapes.append(_upright(mean, "soft", "dot"))
    if not dots and not means:
        return None
    low, high = _range([point[0] for point in dots + means], floor=0.0, ceiling=100.0 if metric.percent else None)
    rim = {"width": 1.5, "color": "card"}
    data = [_marks(dots, size=6, opacity=0.5), _marks(means, size=12, symbol="diamond", line=rim)]
    return _by_method(list(methods), data, shapes, (low, high), " %" if metric.percent else "")


def forest(
    metric: Metric, comparisons: Sequence[Mapping[str, Any]], slots: Mapping[str, str], blanks: bool = False
) -> Figure | None:
    """Return one metric's differences from the baseline: a line per interval, filled marks where zero is excluded.

    Rows without a difference are left out, or with `blanks` left empty, so that figures side by side have the same rows.
    """
    rows = [c for c in comparisons if c.get("metric") == metric.key]
    known = [c for c in rows if finite(c.get("difference"))]
    if not known:
        return None
    rows = rows if blanks else known
    data: list[Figure] = []
    reach = [0.0]
    for row, c in enumerate(rows):
        name, clear = str(c.get("method")), verdict(c) in ("better", "worse")
        if not finite(c.get("difference")):
            continue
        colour, text = slots.get(name, "ink"), f"{name}: {signed(c['difference'], metric)}"
        ends = [metric.scale * c[end] for end in ("low", "high") if finite(c.get(end))]
        if len(ends) == 2:
            text += f", interval {signed(c['low'], metric, unit=False)} to {signed(c['high'], metric, unit=False)}"
            line = {"color": colour, "width": 3 if clear else 2}
            interval = {"x": ends, "y": [row, row], "line": line, "hoverinfo": "skip"}
            data.append({"type": "scatter", "mode": "lines", **interval})
        point = metric.scale * c["difference"]
        reach += [point, *ends]
        mark = {"symbol": "diamond", "line": {"width": 2, "color": colour}}
        data.append(_marks([(point, row, colour if clear else "card", text)], size=10, **mark))
    low, high = _range(reach, pad=0.12)
    side = {"x0": 0, "x1": high if metric.higher else low, "y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
    half = {"type": "rect", **side, "fillcolor": "good-soft", "line": {"width": 0}, "layer": "below"}
    names = [str(c.get("method")) for c in rows]
    return _by_method(names, data, [half, _upright(0, "soft", "solid")], (low, high), "")


def reliability(name: str, bins: Sequence[Mapping[str, Any]], colour: str) -> Figure | None:
    """Return how often one method is right at each confidence, above the number of predictions in each bin."""
    bins = [b for b in bins if b and finite(b.get("low")) and finite(b.get("high")) and finite(b.get("count"))]
    used = [b for b in bins if b["count"] and finite(b.get("confidence")) and finite(b.get("accuracy"))]
    if not used:
        return None
    hover = [
        plot_text(
            f"says {shown(b['confidence'], PERCENT)}, right {shown(b['accuracy'], PERCENT)}, {b['count']} predictions"
        )
        for b in used
    ]
    curve = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [100 * b["confidence"] for b in used],
        "y": [100 * b["accuracy"] for b in used],
        "hovertext": hover,
        "hoverinfo": "text",
        "cliponaxis": False,
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 8, "line": {"color": "card", "width": 1.5}},
    }
    full = [b for b in bins if b["count"]]
    counts = {
        "type": "bar",
        "x": [50 * (b["low"] + b["high"]) for b in full],
        "y": [b["count"] for b in full],
        "width": [92 * (b["high"] - b["low"]) for b in full],
        "text": [_count(b["count"]) for b in full],
        "textposition": "outside",
        "textangle": -90 if len(full) > 10 else 0,
        "textfont": {"size": 10, "color": "soft"},
        "constraintext": "none",
        "cliponaxis": False,
        "marker": {"color": colour, "opacity": 0.45},
        "hoverinfo": "skip",
        "yaxis": "y2",
    }
    diagonal = {"type": "line", "x0": 0, "y0": 0, "x1": 100, "y1": 100, "layer": "below"}
    ticks = {"tickvals": [0, 25, 50, 75, 100], "range": [0, 100]}
    top = max(b["count"] for b in full)
    layout = plain_layout(
        margin={"l": 46, "r": 14, "t": 10, "b": 40},
        shapes=[diagonal | {"line": {"color": "soft", "width": 1, "dash": "dot"}}],
        xaxis=plain_axis(**ticks, anchor="y2", title={"text": "confidence, %", "standoff": 6}),
        yaxis=plain_axis(**ticks, domain=[0.34, 1], title={"text": "accuracy, %", "standoff": 4}),
        yaxis2=plain_axis(domain=[0, 0.24], range=[0, 1.5 * top], showticklabels=False, showgrid=False),
        bargap=0,
    )
    return {"data": [curve, counts], "layout": layout, "height": 310, "alt": f"Reliability diagram of {name}."}


def projection(view: Mapping[str, Any], names: Sequence[str]) -> Figure | None:
    """Return the data in two dimensions with the mixed points, and the intruders on top of them."""
    points = [
        pair for pair in zip(view.get("points") or [], view.get("labels") or [], strict=False) if None not in pair
    ]
    mixed = [pair for pair in zip(view.get("mixed") or [], view.get("intruder") or [], strict=False) if pair[0]]
    if not points and not mixed:
        return None
    faint = {"symbol": "circle-open", "size": 5, "opacity": 0.75}
    groups: list[tuple[str, list[Any], str, Figure]] = [
        ("mixed point", [p for p, bad in mixed if not bad], "mixed", faint)
    ]
    for k in sorted({label for _, label in points}):
        colour, symbol = class_mark(k)
        name = names[k] if 0 <= k < len(names) else f"class {k}"
        mark = {"symbol": symbol, "size": 8, "opacity": 0.85, "line": {"width": 0.75, "color": "card"}}
        groups.append((name, [p for p, label in points if label == k], colour, mark))
    cross = {"symbol": "x", "size": 9, "line": {"width": 1.5, "color": "card"}}
    groups.append(("intruder", [p for p, bad in mixed if bad], "ink", cross))
    data = [
        _marks([(p[0], p[1], colour, short(name, 60)) for p in places], **mark) | {"name": plot_text(short(name, 60))}
        for name, places, colour, mark in groups
    ]
    axes = [plot_text(short(str(text), 40)) for text in view.get("axes") or []] + ["", ""]
    layout = plain_layout(
        margin={"l": 56, "r": 12, "t": 12, "b": 48},
        xaxis=plain_axis(title={"text": axes[0], "standoff": 8}, nticks=8),
        yaxis=plain_axis(title={"text": axes[1], "standoff": 4}, nticks=8),
    )
    alt = "Data and mixed points in two dimensions."
    return {"data": data, "layout": layout, "height": 520, "aspect": 0.95, "alt": alt}


def histogram(metric: Metric, view: Mapping[str, Any]) -> Figure | None:
    """Return how many data sets have which increase: losses to the left of zero, gains to the right, ties on it."""
    edges, held = [metric.scale * e for e in view.get("edges") or []], view.get("counts") or []
    if len(edges) != len(held) + 1 or view.get("datasets", 0) < FEWEST:
        return None
    width = edges[1] - edges[0]
    bars = [
        (
            0.5 * (a + b),
            n,
            "good" if (a + b > 0) == metric.higher else "bad",
            f"{_count(n)} data sets: {a:+.3g} to {b:+.3g}",
        )
        for a, b, n in zip(edges, edges[1:], held, strict=False)
        if n
    ]
    bars += [(0.0, view["on_par"], "soft", f"{_count(view['on_par'])} data sets: on par")] if view.get("on_par") else []
    data: Figure = {
        "type": "bar",
        "x": [bar[0] for bar in bars],
        "y": [bar[1] for bar in bars],
        "width": [0.92 * width if bar[0] else 0.3 * width for bar in bars],
        "hovertext": [plot_text(bar[3]) for bar in bars],
        "hoverinfo": "text",
        "marker": {"color": [bar[2] for bar in bars], "line": {"color": "card", "width": 1.5}},
    }
    unit = ", points" if metric.percent else ""
    whole = {"dtick": 1} if max(data["y"]) < 8 else {"nticks": 6}
    layout = plain_layout(
        margin={"l": 46, "r": 14, "t": 10, "b": 44},
        shapes=[_upright(0, "soft", "solid")],
        xaxis=plain_axis(
            range=[edges[0], edges[-1]], title={"text": f"difference in {metric.word}{unit}", "standoff": 6}
        ),
        yaxis=plain_axis(title={"text": "data sets", "standoff": 4}, rangemode="tozero", **whole),
        barmode="overlay",
    )
    return {"data": [data], "layout": layout, "height": 300, "alt": f"Differences in {metric.word} by data set."}


def class_mark(k: int) -> tuple[str, str]:
    """Return a class's colour and symbol; 32 classes in a row get 32 different pairs."""
    return f"c{k % CLASS_COLOURS}", CLASS_SYMBOLS[(k + k // CLASS_COLOURS) % len(CLASS_SYMBOLS)]


PERCENT = Metric("", "", "", True, "")


def _count(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def _marks(points: Sequence[tuple[float, float, str, str]], **marker: Any) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [point[0] for point in points],
        "y": [point[1] for point in points],
        "hovertext": [plot_text(point[3]) for point in points],
        "hoverinfo": "text",
        "cliponaxis": False,
        "marker": {"color": [point[2] for point in points], **marker},
    }


def _by_method(
    names: list[str], data: list[Figure], shapes: list[Figure], span: tuple[float, float], unit: str
) -> Figure:
    labels = [wrapped(name) for name in names]
    margin = 22 + round(6.9 * max(length for _, length in labels))
    rows = plain_axis(
        tickvals=list(range(len(names))),
        ticktext=[text for text, _ in labels],
        range=[len(names) - 0.45, -0.55],
        tickfont={"size": 12, "color": "ink"},
        zeroline=False,
    )
    layout = plain_layout(
        margin={"l": margin, "r": 16, "t": 8, "b": 34},
        shapes=shapes,
        xaxis=plain_axis(range=list(span), nticks=5, ticksuffix=unit),
        yaxis=rows,
    )
    return {"data": data, "layout": layout, "height": ROW * len(names) + 56, "labels": margin, "alt": ""}


def _range(
    values: Sequence[float], pad: float = 0.07, floor: float | None = None, ceiling: float | None = None
) -> tuple[float, float]:
    low, high = min(values), max(values)
    width = (high - low) or max(abs(high) * 0.1, 0.01)
    start, end = low - pad * width, high + pad * width
    slack = 0.03 * width
    return (
        start if floor is None else max(start, min(low, floor) - slack),
        end if ceiling is None else min(end, max(high, ceiling) + slack),
    )


def _upright(x: float, colour: str, dash: str) -> Figure:
    line = {"color": colour, "width": 1.25, "dash": dash}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line, "layer": "below"}


def plain_axis(**options: Any) -> Figure:
    """Return an axis in the page's manner."""
    return {"gridcolor": "grid", "zeroline": False, "fixedrange": True, "ticklabelstandoff": 5, **options}


def plain_layout(**options: Any) -> Figure:
    """Return a layout in the page's manner."""
    clear = "rgba(0,0,0,0)"
    return {
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 12, "color": "soft"},
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "hoverlabel": {"bgcolor": "ink", "bordercolor": "ink", "font": {"color": "card", "size": 12}, "align": "left"},
        **options,
    }
