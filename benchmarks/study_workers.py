"""How much faster a study is on two workers than on one: the whole command, in fresh processes, one after the other.

    python benchmarks/study_workers.py --tables DIR [--every 6] [--pairs 1]

Every so-manieth table of a folder, by size, under the paper's protocol. Of each run's time some is the command's own: imports,
reading tables, starting workers, writing the report. It is taken off by a run of nothing but a single quick unit, and both
ratios are printed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import print_facts, print_table

METHODS = "vanilla,mixup,mixup-excluding-intrusion,genlabel-gaussian,genlabel-kde,genlabel"
COMMAND = [sys.executable, "-c", "from vicinal.cli import main; main()", "study", "run"]


def seconds(folder: Path, workers: int, methods: str) -> float:
    """Run a study in a folder of its own and return the wall time."""
    with tempfile.TemporaryDirectory() as out:
        given = ["--protocol", "paper", "--methods", methods, "--workers", str(workers), "--out", out]
        started = time.perf_counter()
        subprocess.run([*COMMAND, str(folder), *given], check=True, capture_output=True)
        return time.perf_counter() - started


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=Path, required=True, help="folder of *.parquet")
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=1)
    given = parser.parse_args()
    print_facts()
    paths = sorted(given.tables.glob("*.parquet"), key=lambda path: path.stat().st_size)
    rows = []
    with tempfile.TemporaryDirectory() as all_of_them, tempfile.TemporaryDirectory() as smallest:
        for path in paths[:: -given.every]:
            (Path(all_of_them) / path.name).symlink_to(path.resolve())
        (Path(smallest) / paths[0].name).symlink_to(paths[0].resolve())
        for _ in range(given.pairs):
            own = seconds(Path(smallest), 1, "generative-classifier")
            one, two = (seconds(Path(all_of_them), workers, METHODS) for workers in (1, 2))
            ratios = one / two, (one - own) / (two - own)
            rows.append([f"{own:.1f}", f"{one:.1f}", f"{two:.1f}", *(f"{ratio:.2f}" for ratio in ratios)])
    print_table(["the command's own", "1 worker", "2 workers", "ratio", "without the command's own"], rows)


if __name__ == "__main__":
    main()
