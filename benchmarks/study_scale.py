"""A large study's own cost: planning, status, analysis and report over 100,000 simulated records, and the runner's cost a record.

    python benchmarks/study_scale.py [--records 100000] [--run 5000]

Records are simulated, not trained: 1,000 data sets x 100 methods, five trials each. The runner drives 64 simulated workers
(threads) whose work takes no time, so that all that is measured is the study's own.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vicinal.core.extras import require
from vicinal.study.record import Axes, make_record
from vicinal.study.report import write_study_report
from vicinal.study.store import Store
from vicinal.study.tally import summary_of, tally_of

if TYPE_CHECKING:  # loads torch, which the commands that only read a folder do without
    from vicinal.study.plan import Plan, Unit

METRICS = ("accuracy", "log_loss", "brier", "ece")
METHODS = 100
WORKERS = 64


def simulated_plan(records: int) -> "Plan":
    """Plan `records` records of scores over 100 methods, as `make_plan` would over that many tables."""
    from vicinal.study.catalogue import Source  # noqa: PLC0415
    from vicinal.study.plan import Plan, Unit  # noqa: PLC0415

    units, rows = [], []
    for d in range(max(1, records // METHODS)):
        source = Source(f"table-{d}", "")
        base = Axes(source.dataset, "", "paper", "linear", trials=5, fingerprint=f"{d:012x}")
        for m in range(min(METHODS, records)):
            axes = replace(base, method=f"method-{m}")
            units.append(Unit("scores", source, (axes,), 1.0))
            rows.append([axes.key, "scores", axes.dataset, axes.method])
    manifest = {
        "schema": 1, "suite": "simulated", "title": "Simulated", "question": "How long does a large study take?",
        "citation": "", "protocol": "paper", "network": "linear", "trials": 5, "seed": 0,
        "methods": [f"method-{m}" for m in range(METHODS)], "subject": "method-0", "metrics": ["accuracy", "log_loss"],
        "datasets": [f"table-{d}" for d in range(max(1, records // METHODS))], "missing": [], "criterion": None,
        "balanced": None, "published": [], "published_counts": [], "best_of": None, "attack": None, "remarks": [],
        "notes": [], "planned": rows, "command": None, "versions": {},
        "about": {unit.source.dataset: {"family": unit.source.dataset, "name": "simulated"} for unit in units},
    }  # fmt: skip
    return Plan(manifest, tuple(units), {})


def simulate(unit: "Unit", _: Any) -> list[dict[str, Any]]:
    """Make a unit's record without any training."""
    rng = np.random.default_rng(int(unit.keys[0], 16))
    scores = {metric: rng.uniform(0.5, 1.0, 5).tolist() for metric in METRICS}
    selected = [{"learning_rate": 0.01, "density": "kde", "gamma": 0.6, "epochs": 57}] * 5
    facts = {"rows": 500, "features": 8, "classes": 3, "balance": 1.0, "test_share": 0.3}
    return [make_record(unit.axes[0], scores, selected=selected, facts=facts, run={"seconds": 1.5})]


def write(store: Store, plan: "Plan") -> None:
    """Write every record of a plan."""
    for unit in plan.units:
        store.write(simulate(unit, None)[0])


def timed(what: str, work: Callable[..., Any], *given: Any) -> None:
    """Run in a fresh process, as the commands do, and print the seconds (without imports) and that process's peak of memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, peak = pool.apply(_measured, (work, given))
    print(f"{what:<44} {seconds:8.2f} s   peak {peak:.2f} GB", flush=True)


def _measured(work: Callable[..., Any], given: tuple[Any, ...]) -> tuple[float, float]:
    started = time.perf_counter()
    work(*given)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def plan(folder: Path, records: int) -> None:
    """Plan, and write the manifest."""
    Store(folder).extend_manifest(simulated_plan(records).manifest)


def fill(folder: Path, records: int) -> None:
    """Write every record."""
    write(Store(folder), simulated_plan(records))


def status(folder: Path) -> None:
    """What `vicinal study status` does."""
    tally_of(Store(folder))


def analysis(folder: Path) -> None:
    """Read all records and analyse them; the summary is left for the report."""
    (folder / "summary.json").write_text(json.dumps(summary_of(Store(folder))))


def report(folder: Path) -> None:
    """Write the page."""
    write_study_report(json.loads((folder / "summary.json").read_text()), folder / "report.html")


def seal(folder: Path) -> None:
    """Seal."""
    Store(folder).seal()


def run(records: int, processes: int) -> None:
    """Drive simulated workers, in other processes or (0) in this one, and print what a record costs."""
    from vicinal.study.runner import SETTINGS, run_plan  # noqa: PLC0415

    workers = {"n_workers": processes or WORKERS, "threads_per_worker": WORKERS // processes if processes else 1}
    small = simulated_plan(records)
    distributed, dask = require("distributed", "study"), require("dask", "study")
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set(SETTINGS),
        distributed.LocalCluster(**workers, processes=processes > 0, dashboard_address=None, memory_limit=0) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(simulate, small.units[0], None)  # what a worker imports
        started, own = time.perf_counter(), time.process_time()
        run_plan(small, Store(folder), client, work=simulate)
        wall, own = time.perf_counter() - started, time.process_time() - own
    where = f"in {processes} processes" if processes else "in this process, whose lock all share"
    print(f"runner, {WORKERS} simulated workers {where}, {records} records: ", end="")
    print(f"{1000 * wall / records:.2f} ms a record, CPU of this process {1000 * own / records:.2f} ms", flush=True)


def main() -> None:
    """Measure."""
    from measure import print_facts  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--run", type=int, default=5_000, help="records that go through the runner")
    parser.add_argument("--folder", type=Path, help="default: a temporary one")
    given = parser.parse_args()
    print_facts()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        timed(f"plan {given.records} records", plan, folder, given.records)
        timed("write them, without a cluster", fill, folder, given.records)
        timed("status", status, folder)
        timed("analysis, reading included", analysis, folder)
        timed("report", report, folder)
        timed("seal", seal, folder)
        timed("status (sealed)", status, folder)
        timed("analysis (sealed)", analysis, folder)
    for processes in (2, 0):
        run(given.run, processes)


if __name__ == "__main__":
    main()
