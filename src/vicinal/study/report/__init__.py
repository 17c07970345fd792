"""One HTML page that shows what `vicinal compare` or a study found: the last station on the data's way.

A report is rendered from a summary, a plain mapping as read from JSON, and computes no statistics: every mean,
interval and verdict on the page was there before. The page stands alone (style, script and plotly.js inside, nothing
fetched; a content security policy holds the browser to that), reads in light, dark and on paper, and treats each string
of the summary as text, never as markup.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vicinal.core.checks import InputError
from vicinal.study.report._files import write_text
from vicinal.study.report._images import images_page
from vicinal.study.report._page import page
from vicinal.study.report._study import study_page

__all__ = ["render", "render_study", "write_report", "write_study_report"]

SCHEMA = 1
"""The one version of the summaries that these pages understand."""

PARTS = (
    ("status", Mapping),
    *((name, list) for name in ("methods", "metrics", "subsets", "datasets", "counts", "differences", "increases")),
    *((name, list) for name in ("ranks", "published", "cost")),
    ("settings", Mapping),
)
"""What a study's summary must have; `vicinal.study.analysis.analyse` makes all of it."""

IMAGE_PARTS = (
    *((name, Mapping) for name in ("status", "settings", "headline", "names", "corruptions")),
    *(
        (name, list)
        for name in ("parts", "methods", "metrics", "datasets", "differences", "published", "cost", "spaces")
    ),
    *((name, list) for name in ("baselines", "samples", "facts", "devices")),
)
"""What an image study's summary must have; `vicinal.study.analysis.analyse_images` makes all of it."""


def render(summary: Mapping[str, Any]) -> str:
    """Return the report of a comparison as one HTML page that opens offline.

    Args:
        summary: what was found, with `schema` (1), `dataset`, `protocol` and `methods`; any of `settings`, `baseline`,
            `comparisons`, `reliability`, `projection`, `densities`, `reproduce`, `notes`, `complete` and `missing` may
            be absent, and then so is their section. Accuracies and ECE are fractions in [0, 1], losses are in nats.

    Returns:
        The page, the same one for the same summary.

    Raises:
        TypeError: `summary` is not a mapping.
        InputError: another schema, or a required part is missing.

    Examples:
        >>> summary = {"schema": 1, "dataset": {"name": "iris <150>"}, "protocol": "tuned", "methods": {"mixup": {}}}
        >>> "iris &lt;150&gt;" in render(summary)
        True
    """
    _check(summary, (("dataset", Mapping), ("protocol", str), ("methods", Mapping)), "vicinal compare")
    return page(summary)


def render_study(summary: Mapping[str, Any]) -> str:
    """Return the report of a study as one HTML page that opens offline.

    Args:
        summary: from `vicinal.study.analysis.analyse` or `analyse_images`, or the same as read from JSON.

    Returns:
        The page, the same one for the same summary.

    Raises:
        TypeError: `summary` is not a mapping.
        InputError: another schema, or a required part is missing.

    Examples:
        >>> render_study({"schema": 1})
        Traceback (most recent call last):
        vicinal.core.checks.InputError: `summary` must have the part 'status', got None; run `vicinal study report` again.
    """
    images = isinstance(summary, Mapping) and summary.get("kind") == "images"
    _check(summary, IMAGE_PARTS if images else PARTS, "vicinal study report")
    return images_page(summary) if images else study_page(summary)


def write_report(summary: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the report to `path`, at once or not at all.

    The page is written under a temporary name in the same folder and then renamed, so a reader never meets half a page
    and a report that was there before survives a failure.

    Args:
        summary: see `render`.
        path: where to write, usually ending in `.html`; its folder must exist.

    Returns:
        The path of the report.

    Raises:
        InputError: nothing can be written there, or `render` refuses the summary.

    Examples:
        >>> import tempfile
        >>> summary = {"schema": 1, "dataset": {"name": "iris"}, "protocol": "tuned", "methods": {}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(summary, f"{folder}/report.html").name
        'report.html'
    """
    return write_text(render(summary), Path(path))


def write_study_report(summary: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the report of a study to `path`, at once or not at all.

    Args:
        summary: see `render_study`.
        path: where to write, usually ending in `.html`; its folder must exist.

    Returns:
        The path of the report.

    Raises:
        InputError: nothing can be written there, or `render_study` refuses the summary.

    Examples:
        >>> write_study_report({"schema": 2}, "report.html")
        Traceback (most recent call last):
        vicinal.core.checks.InputError: `summary` must have schema 1, got 2; run `vicinal study report` again.
    """
    return write_text(render_study(summary), Path(path))


def _check(summary: Any, parts: Iterable[tuple[str, type]], command: str) -> None:
    if not isinstance(summary, Mapping):
        raise TypeError(f"`summary` must be a mapping as read from JSON, got {type(summary).__name__}.")
    if summary.get("schema") != SCHEMA:
        raise InputError(f"`summary` must have schema {SCHEMA}, got {summary.get('schema')!r}; run `{command}` again.")
    for part, kind in parts:
        if not isinstance(summary.get(part), kind):
            raise InputError(
                f"`summary` must have the part '{part}', got {summary.get(part)!r}; run `{command}` again."
            )
