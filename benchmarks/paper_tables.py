"""The GenLabel paper's protocol over a whole collection of tables, and the same trainings one by one.

For every table and method: 5 trials (70/30 splits) x 6 folds x 4 learning rates (x 6 loss ratios of GenLabel, x 2 densities)
logistic regressions, each 100 epochs of Adam, evaluated on the held-out fold after every epoch; the setting and epoch of the
best mean accuracy is trained again on all training rows and tested.

- *vicinal*: `compare` on every table, in worker processes of one torch thread each, the longest tables first. The methods of
  a table run together and share what they have in common: GenLabel (CV) chooses among the trainings of the other two.
- *one by one*: each distinct training on a fold as an ordinary PyTorch loop (`paper_protocol.one_by_one`) over a DataLoader,
  with scipy's densities and its tree of neighbours, on one thread. A sample is timed: for each method, tables drawn in
  proportion to their rows, then trial, fold and setting at random, so that the mean time of a row in an epoch, times all
  rows and epochs, estimates the whole. What scipy's densities refuse (collinear features) is drawn again. Training the
  choices again is left out, and so are methods that have no such loop.

CPU seconds are sums over processes. The wall time depends on what else the machine does, they only through its caches.
"""

import argparse
import multiprocessing
import os
import random
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measure import print_facts, print_table
from paper_protocol import GAMMAS, RATES, Fold, one_by_one
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from vicinal.study.compare import compare
from vicinal.study.methods import METHODS, read_methods
from vicinal.study.protocol import read_protocol
from vicinal.study.trials import Problem, read_problem
from vicinal.training import split_folds

WANTED = (
    "vanilla",
    "mixup",
    "mixup-excluding-intrusion",
    "adamixup",
    "genlabel-gaussian",
    "genlabel-kde",
    "genlabel",
    "generative-classifier",
)
PLAIN = {
    "vanilla": ("vanilla", None),
    "mixup": ("mixup", None),
    "mixup-excluding-intrusion": ("excluding intrusion", None),
    "genlabel-gaussian": ("mixup", "Gaussian"),
    "genlabel-kde": ("mixup", "KDE"),
}
"""Mixing and density of the methods that have a loop; GenLabel (CV) has no trainings of its own."""


@dataclass(frozen=True)
class Taken:
    """What one table took: CPU seconds, and each method's share of them."""

    table: str
    cpu: float
    shares: dict[str, float]


def prepare_worker() -> None:
    """Give a worker one thread, and silence."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    warnings.simplefilter("ignore")


def run_table(path: Path, methods: Sequence[str], trials: int) -> Taken:
    """Compare methods on a table."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = compare(read_problem(path), read_methods(methods), read_protocol("paper"), trials=trials)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Taken(path.stem, cpu, {name: outcome.seconds * cpu / wall for name, outcome in found.outcomes.items()})


def run_tables(paths: Sequence[Path], methods: Sequence[str], trials: int, workers: int) -> list[Taken]:
    """Compare methods on every table, several tables at a time."""
    taken = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, prepare_worker) as pool:
        for done in as_completed([pool.submit(run_table, path, methods, trials) for path in paths]):
            taken.append(done.result())
            print(f"{taken[-1].table}: {taken[-1].cpu:.1f}", end="; ", flush=True)
    print("\n")
    return taken


def draw_fold(problem: Problem, trials: int, draw: random.Random) -> Fold:
    """Return a random fold of a random trial, its features standardised."""
    trial = problem.trial(draw.randrange(trials), 0, read_protocol("paper").test_size)
    folds = list(split_folds(trial.y, read_protocol("paper").folds, trial.number))
    train, held_out = draw.choice(folds)
    scaler = StandardScaler().fit(trial.x[train])
    x, x_eval = (scaler.transform(trial.x[part]) for part in (train, held_out))
    return Fold(x, trial.y[train], x_eval, trial.y[held_out])


def plain_seconds(problems: Sequence[Problem], method: str, options: argparse.Namespace) -> tuple[float, float]:
    """Return the CPU seconds that all of a method's trainings would take one by one, and the sampled ones' mean."""
    draw, protocol = random.Random(method), read_protocol("paper")
    mixing, density = PLAIN[method]
    gammas = GAMMAS if density else (0.0,)
    seconds, paces = [], []
    while len(paces) < options.sample:
        problem = draw.choices(problems, [p.rows for p in problems])[0]
        fold = draw_fold(problem, options.trials, draw)
        started = time.process_time()
        try:
            one_by_one(
                fold, density, draw.choice(gammas), draw.choice(RATES), protocol.epochs(1), options.lean, mixing, True
            )
        except (np.linalg.LinAlgError, ValueError):
            continue
        seconds.append(time.process_time() - started)
        paces.append(seconds[-1] / len(fold.x))
    # A fold trains on this share of a table's rows.
    share = (1 - protocol.test_size) * (1 - 1 / protocol.folds)
    trainings = options.trials * protocol.folds * len(gammas) * len(RATES)
    return float(np.mean(paces)) * share * sum(p.rows for p in problems) * trainings, float(np.mean(seconds))


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="folder of tables, *.parquet or *.csv")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--methods", default=",".join(name for name in WANTED if name in METHODS))
    parser.add_argument("--sample", type=int, default=12, help="trainings one by one, for each method; 0: none")
    parser.add_argument("--lean", action="store_true", help="one by one without a DataLoader, see paper_protocol")
    options = parser.parse_args()
    prepare_worker()
    print_facts()
    methods = options.methods.split(",")
    paths = sorted(path for path in options.tables.iterdir() if path.suffix in {".parquet", ".csv"})
    rows = {path: read_problem(path).rows for path in paths if path.stem != "index"}
    print(f"{len(rows)} tables, {sum(rows.values()):,} rows, {options.trials} trials; CPU seconds of each table:")
    started = time.perf_counter()
    taken = run_tables(sorted(rows, key=lambda path: -rows[path]), methods, options.trials, options.workers)
    wall, cpu = time.perf_counter() - started, sum(t.cpu for t in taken)
    shares = {name: sum(t.shares[name] for t in taken) for name in methods}
    print(f"wall time {wall:.0f} s with {options.workers} workers; CPU time {cpu:.0f} s")
    print("CPU seconds by method, where shared trainings count for each that uses them:")
    whole = {}
    if options.sample:
        problems = [read_problem(path) for path in rows]
        whole = {name: plain_seconds(problems, name, options) for name in methods if name in PLAIN}
    table = []
    for name in methods:
        plain = (
            [f"{whole[name][0]:,.0f}", f"{whole[name][1]:.1f}", f"{whole[name][0] / shares[name]:,.0f}"]
            if name in whole
            else [""] * 3
        )
        table.append([name, f"{shares[name]:.0f}", *plain])
    print_table(["method", "vicinal", "one by one", "mean of the sample", "ratio"], table)
    if whole:
        theirs = sum(seconds for seconds, _ in whole.values())
        print(
            f"one by one, {options.sample} trainings of each of {len(whole)} methods timed: {theirs:,.0f} CPU seconds for all of"
            f" theirs, {theirs / cpu:,.0f} times vicinal's for all methods"
        )


if __name__ == "__main__":
    main()
