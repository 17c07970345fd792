"""What a study says in a terminal while it is planned and while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console

__all__ = ["counted", "reading", "running"]


def counted(done: int, failed: int, left: int) -> str:
    """Return how many records are done, failed and left.

    Examples:
        >>> counted(3, 0, 2)
        '3 done, 2 left'
    """
    return f"{done} done" + (f", {failed} failed" if failed else "") + (f", {left} left" if left else "")


@contextmanager
def reading(console: Console) -> Iterator[Any]:
    """Show a bar of data sets read."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (TextColumn("reading data sets"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda read, total: progress.update(task, completed=read, total=total)


@contextmanager
def running(console: Console) -> Iterator[Any]:
    """Show what runs, what is done, and the time left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=2, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("starting workers", total=None)

        def tell(tally: Any) -> None:
            over = tally.done + tally.failed
            progress.update(task, description=running_text(tally), total=tally.planned, completed=over)

        yield tell


def running_text(tally: Any) -> str:
    """Return where a running study stands.

    Examples:
        >>> from vicinal.study.tally import Tally
        >>> running_text(Tally(48, 0, 0, running=2)), running_text(Tally(48, 3, 1, seconds_left=90.4, running=2))
        ('2 running, 0 of 48 done', '2 running, 3 of 48 done, 1 failed, about 0:01:30 left')
    """
    text = f"{tally.running} running, {tally.done} of {tally.planned} done"
    text += f", {tally.failed} failed" if tally.failed else ""
    return text + ("" if tally.seconds_left is None else f", about {timedelta(seconds=round(tally.seconds_left))} left")
