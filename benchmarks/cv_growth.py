"""How the time of `VicinalClassifierCV().fit` grows with rows, features and classes.

The labels of a mixed batch cost rows x features x classes, with a bounded number of rows in each class's KDE, so a fit's
time should grow no faster than their product, once there are more rows than the least number of steps needs. Each sweep
changes one of the three on `make_classification` data; *per cell* is the time over rows x features x classes, and *power*
the exponent p of time ~ size^p from the line above. Over a whole sweep p should be at most 1.
"""

import argparse
import math
import statistics
from pathlib import Path

import numpy as np
from measure import print_facts, print_table, timed
from sklearn.datasets import make_classification

from vicinal.estimators import VicinalClassifierCV

AXES = ("rows", "features", "classes")


def problem(rows: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a table; half of its features tell the classes apart, the others are noise."""
    informative = max(math.ceil(math.log2(classes)), features // 2)
    return make_classification(
        rows, features, n_informative=informative, n_redundant=0, n_classes=classes, n_clusters_per_class=1, random_state=0
    )  # fmt: skip


def sweep(axis: str, sizes: list[int], base: dict[str, int], runs: int) -> list[tuple[int, float]]:
    """Time a fit for every size of one axis, the others as in `base`; print and return (size, median seconds)."""
    curve: list[tuple[int, float]] = []
    rows = []
    for size in sizes:
        shape = {**base, axis: size}
        x, y = problem(**shape)
        seconds = statistics.median(
            timed(lambda x=x, y=y: VicinalClassifierCV(random_state=0).fit(x, y)) for _ in range(runs)
        )
        curve.append((size, seconds))
        power = f"{exponent(*curve[-2:]):.2f}" if len(curve) > 1 else "-"
        cells = math.prod(shape.values())
        rows.append([*(f"{shape[name]:,}" for name in AXES), f"{seconds:.2f}", f"{seconds / cells * 1e6:.2f}", power])
    if len(curve) > 1:
        rows.append(["whole sweep", *[""] * 4, f"{exponent(curve[0], curve[-1]):.2f}"])
    print_table([*AXES, "seconds", "microseconds per cell", "power"], rows)
    return curve


def exponent(first: tuple[int, float], last: tuple[int, float]) -> float:
    """Return p of time ~ size^p through two points (size, seconds)."""
    return math.log(last[1] / first[1]) / math.log(last[0] / first[0])


def plot(curves: dict[str, list[tuple[int, float]]], file: Path) -> None:
    """Write the curves to an HTML page, or to an image where the suffix is of one (which needs kaleido)."""
    from plotly import graph_objects as go  # noqa: PLC0415 - only where a plot was asked for

    figure = go.Figure()
    for axis, curve in curves.items():
        sizes, seconds = zip(*curve, strict=True)
        figure.add_scatter(x=sizes, y=seconds, name=axis, mode="lines+markers")
    figure.update_xaxes(type="log", title="rows, features or classes")
    figure.update_yaxes(type="log", title="seconds of a fit")
    if file.suffix == ".html":
        figure.write_html(file, include_plotlyjs=True)
    else:
        figure.write_image(file)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 3_000, 10_000, 30_000, 100_000])
    parser.add_argument("--features", type=int, nargs="*", default=[5, 10, 20, 40])
    parser.add_argument("--classes", type=int, nargs="*", default=[2, 3, 5, 10])
    parser.add_argument("--base", type=int, nargs=3, default=(3_000, 10, 3), help="rows, features, classes held fixed")
    parser.add_argument("--runs", type=int, default=3, help="of every fit, the median counts")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the curves to FILE (.html or .svg)")
    options = parser.parse_args()
    print_facts()
    base = dict(zip(AXES, options.base, strict=True))
    VicinalClassifierCV(random_state=0).fit(*problem(200, *options.base[1:]))  # the warm-up
    curves = {axis: sweep(axis, getattr(options, axis), base, options.runs) for axis in AXES if getattr(options, axis)}
    if options.plot:
        plot(curves, options.plot)


if __name__ == "__main__":
    main()
