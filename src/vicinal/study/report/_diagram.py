"""The critical-difference diagram of mean ranks as an SVG picture whose colours follow the page's theme."""

import io
import re
from collections.abc import Mapping
from typing import Any

from vicinal.core.extras import require

__all__ = ["SHOWN", "critical_differences"]

SHOWN = 24
"""Most methods for which the diagram can still be read."""

INKS = {"#010101": "ink", "#020202": "soft"}
"""matplotlib wants colours, the page has names: each stands for a shade that nobody can tell from black."""


def critical_differences(view: Mapping[str, Any], subject: str | None, slots: Mapping[str, str]) -> str | None:
    """Return mean ranks on a line, with a bar over methods that Nemenyi's test cannot tell apart; None if untested.

    Drawn by scikit-posthocs; text stays text, so the page's font and the reader's search find it.
    """
    p, mean = view.get("nemenyi"), view.get("methods") or {}
    if not p or len(mean) > SHOWN:
        return None
    import pandas as pd  # noqa: PLC0415 - with the others a second to load, and `vicinal compare` needs none of them

    posthocs, mpl = (require(module, extra="study") for module in ("scikit_posthocs", "matplotlib"))
    drawing = require("matplotlib.figure", extra="study")
    names = list(mean)
    codes = dict.fromkeys(names, "#010101")
    inks = dict(INKS)
    if subject is not None and subject in codes:
        codes[subject], inks["#030303"] = "#030303", slots[subject]
    style = {"svg.fonttype": "none", "svg.hashsalt": "vicinal", "text.parse_math": False, "font.size": 10}
    with mpl.rc_context(style):
        figure = drawing.Figure(figsize=(8.6, 1.1 + 0.24 * len(names)))
        axes = figure.subplots()
        posthocs.critical_difference_diagram(
            mean,
            pd.DataFrame(p).loc[names, names],
            ax=axes,
            label_fmt_left="{label}\u2003{rank:.2f}\u2002",  # blanks of their own kind: SVG would drop plain ones
            label_fmt_right="\u2002{rank:.2f}\u2003{label}",
            color_palette=codes,
            elbow_props={"linewidth": 1.2},
            crossbar_props={"color": "#020202", "linewidth": 3},
            marker_props={"s": 22},
        )
        axes.spines["top"].set_color("#020202")
        axes.tick_params(colors="#020202")
        target = io.StringIO()
        figure.savefig(target, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    svg = target.getvalue()
    # Without what would reach beyond the picture: metadata, a style for everything on the page, names of groups.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg)
    for shade, name in inks.items():
        svg = svg.replace(shade, f"var(--{name})")
    return svg
