"""What a worker does with a unit: run it, and say what came of it as records.

Nothing here knows of clusters or folders. A worker uses one thread: many small operations gain nothing from more, and numbers do
not depend on how many cores a machine has.
"""

import platform
import socket
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

import vicinal
from vicinal.core import InputError, generator_at
from vicinal.evaluation import METRICS
from vicinal.study.compare import compare
from vicinal.study.methods import densities_of, read_methods
from vicinal.study.plan import Unit, Work, protocol_for
from vicinal.study.protocol import Protocol
from vicinal.study.record import make_record
from vicinal.study.robustness import robust_accuracies
from vicinal.study.trials import Problem
from vicinal.training import make_group
from vicinal.vicinity import Mixup, intrusions

__all__ = ["failed_records", "run_unit"]


@dataclass(frozen=True)
class _Result:
    metrics: dict[str, Any]
    selected: list[dict[str, Any]] = field(default_factory=list)
    seconds: float | None = None


def run_unit(unit: Unit, problem: Problem) -> list[dict[str, Any]]:
    """Run a unit.

    Args:
        unit: from `make_plan`.
        problem: its data.

    Returns:
        A record for each of the unit's axes. What the input forbids (a class too small to split, say) comes back as
        failed records; any other exception is raised, so that the unit may be tried elsewhere.
    """
    torch.set_num_threads(1)
    axes = unit.axes[0]
    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        options = {key: value for key, value in axes.options.items() if key != "attack"}
        protocol = protocol_for(problem, axes.protocol, axes.network, options)
        facts = _facts(problem, protocol)
        if unit.kind == "profile":
            facts |= _profile(problem, protocol, axes.trials, axes.seed)
            results = [_Result({})]
        else:
            results = _compared(unit, problem, protocol)
    except InputError as error:
        return failed_records(unit, error)
    run = {
        "seconds": round(time.perf_counter() - clock, 3),
        "started": started.isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "versions": {"vicinal": vicinal.__version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    return [
        make_record(
            one,
            r.metrics,
            selected=r.selected,
            facts=facts,
            run=run if r.seconds is None else {**run, "seconds": r.seconds},
        )
        for one, r in zip(unit.axes, results, strict=True)
    ]


def failed_records(unit: Work, error: BaseException) -> list[dict[str, Any]]:
    """Return a record for each of the unit's axes that says why there is no result."""
    run = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "traceback": "".join(traceback.format_exception(error)),
        "versions": {"vicinal": vicinal.__version__},
    }
    said = {"kind": type(error).__name__, "message": str(error) or type(error).__name__}
    return [make_record(axes, error=said, run=run) for axes in unit.axes]


def _facts(problem: Problem, protocol: Protocol) -> dict[str, Any]:
    return {
        "rows": problem.rows,
        "features": problem.features,
        "classes": len(problem.labels),
        "balance": min(problem.counts) / max(problem.counts),
        "test_share": protocol.test_size,
    }


def _compared(unit: Unit, problem: Problem, protocol: Protocol) -> list[_Result]:
    axes = unit.axes[0]
    methods = read_methods([a.method for a in unit.axes], protocol.network)
    result = compare(problem, methods, protocol, trials=axes.trials, seed=axes.seed, device="cpu")
    attack, started = axes.options.get("attack"), time.perf_counter()
    robust = robust_accuracies(result, attack) if attack else {}
    attacking = (time.perf_counter() - started) / len(methods)
    found = []
    for method in methods:
        outcome = result.outcomes[method.name]
        metrics: dict[str, Any] = {metric: outcome.scores[metric] for metric in METRICS}
        if attack:
            metrics["robust_accuracy"] = robust[method.name]
        found.append(_Result(metrics, outcome.selected, round(outcome.seconds + attacking, 4)))
    return found


def _profile(problem: Problem, protocol: Protocol, trials: int, seed: int) -> dict[str, float]:
    """Say how well each density fits the table, and how often mixup intrudes; means over trials, on training rows."""
    found: dict[str, list[float]] = {}
    for number in range(trials):
        trial = problem.trial(number, seed, protocol.test_size)
        group = make_group(trial.x, trial.y, len(problem.labels), {}, scale=protocol.scale)
        for name, density in densities_of(protocol).items():
            if name in ("gaussian", "kde"):
                score = density.fit(group.x, group.y, group.n_classes).score(group.x, group.y)
                found.setdefault(f"{name}_train_accuracy", []).append(score)
        rows = torch.nn.functional.one_hot(group.y, group.n_classes).to(group.x.dtype)
        generator = generator_at(dataset=problem.name, seed=seed, trial=number, purpose="profile")
        batch = Mixup(protocol.alpha, per="sample").draw_rows(group.x, rows, None, generator)
        found.setdefault("intrusion_rate", []).append(float(intrusions(batch, group.x, group.y).double().mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}
