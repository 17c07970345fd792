"""How the benchmarks measure: runs taken in turns, medians, plain tables, and what they ran on."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version

import torch

__all__ = ["medians", "print_facts", "print_table", "timed"]


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def medians(functions: Mapping[str, Callable[[], object]], runs: int, calls: int = 1) -> dict[str, float]:
    """Return the median seconds of one call of each function.

    The functions take turns, after one turn that does not count, so that a machine that slows down slows all of them.

    Args:
        functions: by name.
        runs: turns.
        calls: calls in one turn, for what takes less than a clock can tell.
    """

    def turn(function: Callable[[], object]) -> None:
        for _ in range(calls):
            function()

    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for run in range(runs + 1):
        for name, function in functions.items():
            taken = timed(lambda function=function: turn(function)) / calls
            if run:
                seconds[name].append(taken)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns, the first flush left, the others flush right."""
    table = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *others in table:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))
    print()


def print_facts() -> None:
    """Print what the numbers depend on besides the code: versions, cores, threads, and how busy the machine is."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "scikit-learn"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; {packages}")
    load = ", ".join(f"{number:.2f}" for number in os.getloadavg())
    policy = os.environ.get("OMP_WAIT_POLICY", "not set")
    print(f"load average of the last 1, 5 and 15 minutes: {load}; OMP_WAIT_POLICY: {policy}\n")
