"""A large study's own cost: planning, status, analysis and report over 100,000 simulated records, and the runner's cost a record.

    python benchmarks/study_scale.py [--records 100000] [--run 5000]

Records are simulated, not trained: 1,000 data sets x 100 methods, five trials each. The runner drives 64 simulated workers
(threads of this process) whose work takes no time, so that all that is measured is the study's own.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vicinal.core import require
from vicinal.study.catalogue import Source
from vicinal.study.plan import Plan, Unit
from vicinal.study.record import Axes, make_record
from vicinal.study.report import write_study_report
from vicinal.study.runner import run_plan
from vicinal.study.store import Store
from vicinal.study.tally import summary_of, tally_of

METRICS = ("accuracy", "log_loss", "brier", "ece")
METHODS = 100


def simulated_plan(records: int) -> Plan:
    """Plan `records` records of scores over 100 methods, as `make_plan` would over that many tables."""
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
    }  # fmt: skip
    return Plan(manifest, tuple(units), {})


def simulate(unit: Unit, _: Any) -> list[dict[str, Any]]:
    """Make a unit's record without any training."""
    rng = np.random.default_rng(int(unit.keys[0], 16))
    scores = {metric: rng.uniform(0.5, 1.0, 5).tolist() for metric in METRICS}
    selected = [{"learning_rate": 0.01, "density": "kde", "gamma": 0.6, "epochs": 57}] * 5
    facts = {
        "rows": 500,
        "features": 8,
        "classes": 3,
        "balance": 1.0,
        "family": unit.source.dataset,
        "name": "simulated",
    }
    return [make_record(unit.axes[0], scores, selected=selected, facts=facts, run={"seconds": 1.5})]


def write(store: Store, plan: Plan) -> None:
    """Write every record of a plan."""
    for unit in plan.units:
        store.write(simulate(unit, None)[0])


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Run, and print the seconds and the peak of memory so far."""
    started = time.perf_counter()
    result = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what:<44} {time.perf_counter() - started:8.2f} s   peak {peak:.2f} GB", flush=True)
    return result


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--run", type=int, default=5_000, help="records that go through the runner")
    parser.add_argument("--folder", type=Path, help="default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        store = Store(folder / "large")
        timed("what is imported", lambda: None)
        plan = timed(f"plan {given.records} records", lambda: simulated_plan(given.records))
        store.write_manifest(dict(plan.manifest))
        timed("write them, without a cluster", lambda: write(store, plan))
        timed("status", lambda: tally_of(store))
        summary = timed("analysis (loose records)", lambda: summary_of(store))
        timed("report", lambda: write_study_report(summary, folder / "report.html"))
        timed("seal", store.seal)
        timed("status (sealed)", lambda: tally_of(store))
        timed("analysis (sealed)", lambda: summary_of(store))
        small = simulated_plan(given.run)
        distributed = require("distributed", "study")
        with (
            distributed.LocalCluster(64, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            started = time.perf_counter()
            run_plan(small, Store(folder / "run"), client, work=simulate)
            seconds = time.perf_counter() - started
        print(f"runner, 64 simulated workers, {given.run} records: {1000 * seconds / given.run:.2f} ms a record")


if __name__ == "__main__":
    main()
