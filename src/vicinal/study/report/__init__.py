"""One HTML page that shows what `vicinal compare` found: the last station on the data's way.

The report is rendered from a summary, a plain mapping as read from JSON, and computes no statistics: every mean,
interval and verdict on the page was there before. The page stands alone (style, script and plotly.js inside, nothing
fetched; a content security policy holds the browser to that), reads in light, dark and on paper, and treats each string
of the summary as text, never as markup.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vicinal.core.checks import InputError
from vicinal.study.report._page import page

__all__ = ["render", "write_report"]

SCHEMA = 1
"""The one version of the summary that this page understands."""


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
    if not isinstance(summary, Mapping):
        raise TypeError(f"`summary` must be a mapping as read from JSON, got {type(summary).__name__}.")
    if summary.get("schema") != SCHEMA:
        raise InputError(
            f"`summary` must have schema {SCHEMA}, got {summary.get('schema')!r}; run `vicinal compare` again."
        )
    for part, kind in (("dataset", Mapping), ("protocol", str), ("methods", Mapping)):
        if not isinstance(summary.get(part), kind):
            raise InputError(
                f"`summary` must have the part '{part}', got {summary.get(part)!r}; run `vicinal compare` again."
            )
    return page(summary)


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
    text = render(summary)
    target = Path(path)
    if target.is_dir():
        raise InputError(f"`path` must name a file, got the folder '{target}'; add a name such as 'report.html'.")
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(target)
    except OSError as error:
        raise InputError(
            f"`path` must be a file that can be written, got '{target}' ({error.strerror or error});"
            " choose another folder."
        ) from error
    finally:
        _forget(temporary)
    return target


def _forget(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:  # an unwritable folder: nothing was left there
        return
