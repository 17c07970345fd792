"""What the command shows in a terminal: a progress bar and tables, safe for any text that a table may hold."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vicinal.evaluation import LOWER_IS_BETTER

__all__ = ["plain", "progress_bar", "results_table", "scores_table", "two_columns"]

LONGEST = 200

COLUMNS = {
    "accuracy": ("accuracy %", 100, 2, 1),
    "log_loss": ("log loss", 1, 3, 2),
    "brier": ("Brier", 1, 3, None),
    "ece": ("ECE", 1, 3, None),
}
"""Title, unit, digits of the mean, and of the spread over trials if it is shown."""

WORDS = {"better": "better", "worse": "worse", "no clear difference": "≈"}


def plain(text: object, longest: int = LONGEST) -> str:
    r"""Return text as one line without control characters, so that nothing in a table steers the terminal.

    Examples:
        >>> plain("a" + chr(27) + "[31mb" + chr(10) + "c")
        'a\ufffd[31mb c'
    """
    line = " ".join(str(text).split())
    clean = "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c for c in line)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


@contextmanager
def progress_bar(name: str, console: Console) -> Iterator[Callable[[float, float], None]]:
    """Show a bar with the training loss and the time left; yields what to tell (share done, loss)."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("loss {task.fields[loss]:.3f}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(plain(name)[:40], total=1.0, loss=float("nan"))
        yield lambda done, loss: progress.update(task, completed=done, loss=loss)


def results_table(summary: Mapping[str, Any], console: Console) -> None:
    """Print the methods with their scores, best marked, and what won."""
    data, baseline = summary["dataset"], summary["baseline"]
    verdicts = {(c["method"], c["metric"]): c["verdict"] for c in summary["comparisons"]}
    console.print(
        Text(
            f"{plain(data['name'])}: {data['rows']} rows, {data['features']} features, {data['classes']} classes"
            f" ({summary['protocol']}, {plain(summary['settings']['network'])}, {summary['settings']['trials']} trials,"
            f" {summary['reproduce']['device']})"
        )
    )
    for note in summary["notes"]:
        console.print(Text(f"note: {plain(note)}", style="dim"))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("method", no_wrap=True)
    for title in (*(title for title, *_ in COLUMNS.values()), "s"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("vs " + baseline if len(baseline) < 9 else "vs first", no_wrap=True)
    methods = summary["methods"]
    for name, m in methods.items():
        cells = []
        for metric, (_, scale, digits, spread) in COLUMNS.items():
            mean, values = m[metric]["mean"], [other[metric]["mean"] for other in methods.values()]
            text = f"{mean * scale:.{digits}f}"
            if spread is not None and len(m[metric]["trials"]) > 1:
                text += f" ± {m[metric]['std'] * scale:.{spread}f}"
            best = min(values) if metric in LOWER_IS_BETTER else max(values)
            cells.append(Text(text, style="bold green" if mean == best else ""))
        verdict = "" if name == baseline else WORDS.get(verdicts.get((name, "log_loss"), ""), "")
        table.add_row(Text(name), *cells, Text(f"{m['seconds']:.1f}"), Text(verdict))
    console.print(table)
    console.print(
        Text(
            f"vs {baseline}: log loss, 95 % interval of paired differences; ±: std",
            "dim",
        )
    )
    if not summary["complete"]:
        missing = ", ".join(summary["missing"])
        console.print(Text(f"Interrupted: {missing} not run; the same command runs all of them.", style="yellow"))


def two_columns(rows: Mapping[str, str]) -> None:
    """Print names and what they are."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in rows.items():
        table.add_row(Text(name), Text(text))
    Console(highlight=False).print(table)


SCORES = {
    "accuracy": ("clean %", 100, 2),
    "corruption_accuracy": ("corrupted %", 100, 2),
    "ece": ("ECE %", 100, 2),
    "robust_accuracy": ("attacked %", 100, 2),
    "fid": ("FID", 1, 1),
    "seconds": ("training s", 1, 1),
    "space_seconds": ("space s", 1, 1),
}
"""Title, unit and digits of what is printed of a classifier of images."""


def scores_table(rows: Mapping[str, Mapping[str, float]], console: Console) -> None:
    """Print the scores of classifiers of images, by their names."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("method", no_wrap=True)
    shown = [name for name in SCORES if any(name in scores for scores in rows.values())]
    for name in shown:
        table.add_column(SCORES[name][0], justify="right", no_wrap=True)
    for method, scores in rows.items():
        cells = [f"{scores[n] * SCORES[n][1]:.{SCORES[n][2]}f}" if n in scores else "" for n in shown]
        table.add_row(Text(plain(method)), *cells)
    console.print(table)
