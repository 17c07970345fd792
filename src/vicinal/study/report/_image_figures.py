"""Curves of image studies: one line a method, named at its end, so that no legend has to be matched by colour."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vicinal.study.report._figures import Figure, plain_axis, plain_layout
from vicinal.study.report._text import finite, plot_text, short

__all__ = ["curves"]

LINE = 15
"""Height of a label in pixels."""

SPAN = 40.0
"""Ratio of the largest to the smallest value from which on a logarithmic axis is needed to see the small ones."""

MARGINS = {"t": 12, "b": 46}


def curves(
    lines: Sequence[Mapping[str, Any]], ticks: Sequence[tuple[float, str]], titles: tuple[str, str], percent: bool
) -> Figure | None:
    """Return a line for each method over the ticks.

    Args:
        lines: `name`, `colour`, `values` (one for each tick, None where there is none) and `strong`, which is drawn thicker.
        ticks: places on the horizontal axis, and their texts.
        titles: of both axes.
        percent: whether values are shares.
    """
    scale = 100.0 if percent else 1.0
    drawn = [(line, [scale * v if finite(v) else None for v in line["values"]]) for line in lines]
    drawn = [(line, values) for line, values in drawn if any(v is not None for v in values)]
    every = [v for _, values in drawn for v in values if v is not None]
    if not every:
        return None
    height = max(340, LINE * len(drawn) + MARGINS["t"] + MARGINS["b"] + 24)
    logarithmic = not percent and min(every) > 0 and max(every) > SPAN * min(every)
    low, high = _span(every, logarithmic, percent)
    data, ends = [], []
    for line, values in drawn:
        known = [(x, v, text) for (x, text), v in zip(ticks, values, strict=True) if v is not None]
        width = 3.25 if line["strong"] else 1.75
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [x for x, _, _ in known],
                "y": [v for _, v, _ in known],
                "hovertext": [plot_text(f"{line['name']}, {text}: {_number(v, percent)}") for _, v, text in known],
                "hoverinfo": "text",
                "cliponaxis": False,
                "line": {"color": line["colour"], "width": width},
                "marker": {"color": line["colour"], "size": 8 if line["strong"] else 6},
            }
        )
        last = math.log10(known[-1][1]) if logarithmic else known[-1][1]
        ends.append((last - low) / (high - low))
    plot = height - MARGINS["t"] - MARGINS["b"]
    places = _apart(ends, LINE / plot)
    texts = [short(str(line["name"]), 26) for line, _ in drawn]
    left = min(ticks)[0]
    right = max(ticks)[0]
    pad = 0.04 * (right - left) or 1.0
    layout = plain_layout(
        margin={"l": 58, "r": 30 + _width(texts, drawn), **MARGINS},
        shapes=[_leader(end, place, line["colour"]) for (line, _), end, place in zip(drawn, ends, places, strict=True)],
        annotations=[_label(text, place, line) for text, place, (line, _) in zip(texts, places, drawn, strict=True)],
        xaxis=plain_axis(
            tickvals=[x for x, _ in ticks],
            ticktext=[text for _, text in ticks],
            range=[left - pad, right + pad],
            tickangle=0,
            title={"text": titles[0], "standoff": 8},
        ),
        yaxis=plain_axis(
            range=[low, high],
            type="log" if logarithmic else "linear",
            title={"text": titles[1] + (" (logarithmic)" if logarithmic else ""), "standoff": 6},
            **(_decades(low, high) if logarithmic else {"nticks": 6}),
        ),
    )
    return {"data": data, "layout": layout, "height": height, "alt": ""}


def _width(texts: Sequence[str], drawn: Sequence[tuple[Mapping[str, Any], Any]]) -> int:
    """Pixels that the widest label takes; bold ones are wider."""
    return round(
        max((7.6 if line["strong"] else 6.7) * len(text) for text, (line, _) in zip(texts, drawn, strict=True))
    )


def _label(text: str, place: float, line: Mapping[str, Any]) -> Figure:
    font = {"size": 12, "color": line["colour"]}
    return {
        "text": f"<b>{plot_text(text)}</b>" if line["strong"] else plot_text(text),
        "xref": "paper",
        "x": 1,
        "xanchor": "left",
        "xshift": 20,
        "yref": "paper",
        "y": place,
        "yanchor": "middle",
        "showarrow": False,
        "font": font,
    }


def _leader(end: float, place: float, colour: str) -> Figure:
    """A short line from a curve's end to its label, which may stand elsewhere."""
    across = {"xref": "paper", "xsizemode": "pixel", "xanchor": 1, "x0": 2, "x1": 18}
    return {
        "type": "line",
        **across,
        "yref": "paper",
        "y0": end,
        "y1": place,
        "line": {"color": colour, "width": 1},
        "opacity": 0.6,
    }


def _span(values: Sequence[float], logarithmic: bool, percent: bool) -> tuple[float, float]:
    if logarithmic:
        values = [math.log10(v) for v in values]
    low, high = min(values), max(values)
    width = (high - low) or max(abs(high) * 0.1, 0.01)
    if logarithmic:
        return low - 0.05 * width, high + 0.05 * width
    if percent:
        return max(0.0, low - 0.05 * width), min(100.0, high + 0.05 * width)
    return min(0.0, low), high + 0.05 * width


def _decades(low: float, high: float) -> Figure:
    """Ticks of a logarithmic axis at 1 and 3 of each power of ten."""
    values = [f * 10.0**k for k in range(math.floor(low), math.ceil(high) + 1) for f in (1, 3)]
    values = [v for v in values if low <= math.log10(v) <= high]
    return {"tickvals": values, "ticktext": [f"{v:.12g}" for v in values]}


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Return places in [0, 1] at least `gap` apart where that is possible, in the same order and near to where they were."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    blocks: list[tuple[list[int], float]] = []  # members, and the lowest one's place
    for i in order:
        members, start = [i], places[i]
        while True:
            start = min(max(start, 0.0), max(0.0, 1.0 - gap * (len(members) - 1)))
            if not blocks or blocks[-1][1] + gap * len(blocks[-1][0]) <= start + 1e-12:
                break
            members = [*blocks.pop()[0], *members]
            start = sum(places[m] - gap * rank for rank, m in enumerate(members)) / len(members)
        blocks.append((members, start))
    found = [0.0] * len(places)
    for members, start in blocks:
        for rank, member in enumerate(members):
            found[member] = start + gap * rank
    return found


def _number(value: float, percent: bool) -> str:
    return f"{value:.1f} %" if percent else f"{value:.3g}"
