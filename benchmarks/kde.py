"""Kernel density estimates: log-densities of many points under one class, against scipy's and scikit-learn's.

All three compute log p(x) = log 1/n sum_i N(x; x_i, h^2 S) with S the sample covariance and h Scott's factor:

- *vicinal*: `vicinal.densities.KDE`;
- *scipy*: `gaussian_kde(points.T).logpdf(queries.T)`;
- *scikit-learn*: `KernelDensity` on rows whitened by the Cholesky factor of S, with its default tolerances, which ask for
  the exact sum.

All run on one thread, since the other two have no more (`--threads` gives vicinal more). The fits take milliseconds and are
not timed. The ways take turns, and medians count. Peak memory is taken in a process of its own for each way: what
evaluating adds to the process's peak (Linux).
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import medians, print_facts, print_table, timed
from scipy.stats import gaussian_kde
from sklearn.neighbors import KernelDensity

import vicinal as vc

WAYS = ("vicinal", "scipy", "scikit-learn")


def problem(queries: int, points: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return queries and points from one correlated normal distribution."""
    random = np.random.default_rng(0)
    shape = random.normal(size=(features, features))
    x = random.normal(size=(queries + points, features)) @ shape + 3
    return x[:queries], x[queries:]


def log_densities(points: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return the three fitted ways: queries (B, D) to log-densities (B,)."""
    ours = vc.densities.KDE().fit(points, np.zeros(len(points), dtype=int))
    scipys = gaussian_kde(points.T)
    root = np.linalg.cholesky(np.cov(points, rowvar=False))
    whiten = np.linalg.inv(root).T
    factor = len(points) ** (-1 / (points.shape[1] + 4))
    scikit = KernelDensity(bandwidth=factor).fit(points @ whiten)
    log_det = np.log(np.diag(root)).sum()
    return {
        "vicinal": lambda x: ours.log_prob(torch.as_tensor(x))[:, 0].numpy(),
        "scipy": lambda x: scipys.logpdf(x.T),
        "scikit-learn": lambda x: scikit.score_samples(x @ whiten) - log_det,
    }


def peak() -> int:
    """Return the peak memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measure_alone(way: str, queries: int, points: int, features: int) -> None:
    """Print the bytes that evaluating adds to the peak, and the seconds it takes."""
    x, rows = problem(queries, points, features)
    log_density = log_densities(rows)[way]
    log_density(x[:8])  # what the libraries load on first use is not the method's
    before = peak()
    seconds = timed(lambda: log_density(x))
    print(peak() - before, seconds)


def memory_row(queries: int, points: int, features: int, threads: int) -> list[str]:
    """Return a row of the table of memory."""
    cells = [f"{queries:,} x {points:,}"]
    for way in WAYS:
        command = [sys.executable, __file__, "--alone", way, "--threads", threads]
        command += ["--queries", queries, "--points", points, "--features", features]
        output = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
        added, seconds = output.split()
        cells.append(f"{int(added) / 2**20:.1f} MB, {float(seconds):.2f} s")
    return cells


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--large", type=int, default=20_000, help="queries and points of the second row of memory; 0: none"
    )
    parser.add_argument("--alone", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = (options.queries, options.points, options.features)
    if options.alone:
        measure_alone(options.alone, *size)
        return
    print_facts()
    x, rows = problem(*size)
    ways = log_densities(rows)
    seconds = medians({name: lambda way=way: way(x) for name, way in ways.items()}, options.runs)
    values = {name: way(x) for name, way in ways.items()}
    print(
        f"log-densities of {size[0]:,} queries under {size[1]:,} points of {size[2]} features, median of {options.runs}"
    )
    print_table(
        ["", "seconds", "over vicinal's", "largest difference"],
        [
            [way, f"{seconds[way]:.4f}", f"{seconds[way] / seconds['vicinal']:.1f}",
             f"{np.abs(values[way] - values['vicinal']).max():.1e}"]
            for way in WAYS
        ],
    )  # fmt: skip
    if Path("/proc/self/status").exists():
        print("memory that evaluating adds")
        sizes = [size, *([(options.large, options.large, options.features)] if options.large else [])]
        print_table(["queries x points", *WAYS], [memory_row(*each, options.threads) for each in sizes])


if __name__ == "__main__":
    main()
