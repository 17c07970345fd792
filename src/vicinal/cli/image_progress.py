"""What a long training says while it runs: bars in a terminal, a line a minute in a file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console

__all__ = ["counting", "epochs_text", "say", "watching"]

LINE_SECONDS = 60.0
"""How often progress is said where there is no terminal to draw a bar in."""


def say(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(text, markup=False, soft_wrap=True)


@contextmanager
def watching(console: Console) -> Iterator[Any]:
    """Show a bar with epochs, loss, scores and the time left for each stage of a training."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("done,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    seen = console.is_terminal
    with Progress(*columns, console=console, transient=True, refresh_per_second=4, disable=not seen) as progress:
        tasks: dict[str, Any] = {}
        said = time.monotonic()

        def tell(stage: str, p: Any) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=p.steps)
                if p.resumed:
                    say(console, f"{stage}: {_went_on(p)}")
            scores = "".join(
                f", {name} {value:.3f}" for name, value in p.scores.items() if name in ("accuracy", "log_loss", "error")
            )
            text = f"{stage}: epoch {min(p.epoch + 1, p.epochs)} of {p.epochs}, loss {p.loss:.3f}{scores}"
            progress.update(tasks[stage], description=text, completed=p.step)
            nonlocal said
            if not seen and time.monotonic() - said > LINE_SECONDS:  # a file that somebody looks into now and then
                said = time.monotonic()
                left = "" if p.left is None else f", about {timedelta(seconds=round(p.left))} left"
                say(console, f"{text}{left}")

        yield tell


def _went_on(p: Any) -> str:
    """Return in words where a training that was begun before goes on."""
    done, within = divmod(p.resumed, p.steps // p.epochs)
    if done == p.epochs:
        return f"was trained before, {epochs_text(p.epochs)}"
    return f"goes on in epoch {done + 1} of {p.epochs}" if within else f"goes on after epoch {done} of {p.epochs}"


def epochs_text(count: int) -> str:
    """Return a number of epochs in words."""
    return f"{count} epoch{'s' * (count != 1)}"


@contextmanager
def counting(console: Console, text: str) -> Iterator[Any]:
    """Show a bar that counts."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left"))
    seen, said = console.is_terminal, time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not seen) as progress:
        task = progress.add_task(text, total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)
            nonlocal said
            if not seen and time.monotonic() - said > LINE_SECONDS:
                said = time.monotonic()
                say(console, f"{text}: {done} of {total}")

        yield tell
