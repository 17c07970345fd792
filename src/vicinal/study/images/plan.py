"""From a suite of images to units of work: one for every data set, method and trial, each with the key of its record.

What a record says depends on its axes alone: the entries of the protocol that a suite or a user gave are among them.
"""

import datetime
import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vicinal
from vicinal.core import InputError
from vicinal.data.images import CORRUPTION_GROUPS, ImageProblem, read_images
from vicinal.study.images.methods import read_image_methods
from vicinal.study.images.protocol import ImageProtocol, read_image_protocol
from vicinal.study.plan import Plan
from vicinal.study.record import Axes
from vicinal.study.suite import Suite
from vicinal.training.single import Architecture

__all__ = ["ImageUnit", "make_image_plan"]

COSTS: Mapping[str, float] = {"at": 12.0, "trades": 13.0, "iat": 14.0, "adv-varmixup": 3.0, "manifold-mixup": 1.2}
"""Rough costs of trainings, in units of plain training."""


@dataclass(frozen=True)
class ImageUnit:
    """One training and its evaluation.

    Attributes:
        axes: of its record. dataset: a name that `read_images` knows. images: folder of its files, None for the usual.
        scratch: folder for checkpoints, judges and trained spaces, on the disk of whoever does the work.
        given: entries of the protocol, plain JSON. trial: number of the trial. cost: a rough guess, for the order.
    """

    axes: tuple[Axes, ...]
    dataset: str
    images: str | None
    scratch: str
    given: Mapping[str, Any]
    trial: int
    cost: float

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its records."""
        return tuple(axes.key for axes in self.axes)


def make_image_plan(
    suite: Suite,
    scratch: Path,
    *,
    images: Path | None = None,
    methods: str | Sequence[str] | None = None,
    trials: int | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    command: str | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> Plan:
    """Plan a suite's trainings, the longest first.

    Args:
        suite: from `read_suite`, one of images.
        scratch: see `ImageUnit`.
        images: folder of image files; None for the usual ones.
        methods: in place of the suite's; a list, or a text with commas between.
        trials: in place of the suite's.
        seed: of everything.
        options: entries of the protocol in place of the suite's.
        command: what the user typed.
        tell: called with data sets read and data sets in all.

    Raises:
        InputError: no data set is to be had; an unknown method or entry.

    Examples:
        From a suite's name to a report::

            plan = make_image_plan(read_suite("varmixup/fashion"), Path("work"))
            with local_cluster(workers=2) as client:
                run_plan(plan, store := Store("studies/fashion"), client, work=run_image_unit)
            write_study_report(summary_of(store), "report.html")
    """
    given = {**suite.images, **(options or {})}
    protocol = read_image_protocol(given)
    chosen = read_image_methods(suite.methods if methods is None else methods)
    count = suite.trials if trials is None else trials
    read, missing = _read(suite.datasets, images, tell)
    if not read:
        raise InputError(f"none of the data sets of {suite.name} is to be had; the first: {missing[0]['why']}.")
    units = []
    for dataset, problem in read.items():
        Architecture.of(protocol.network, problem.train).make()  # or says what is wrong now, and not in every unit
        mark = f"{problem.train.fingerprint[:8]}{problem.test.fingerprint[:8]}"
        for method in chosen:
            for trial in range(count):
                axes = Axes(
                    dataset, method.name, "images", protocol.network, 1, seed, {**_plain(given), "trial": trial}, mark
                )
                cost = COSTS.get(method.name, 1.0 + (method.space is not None)) * (protocol.epochs or method.epochs)
                where = str(scratch)
                folder = None if images is None else str(images)
                units.append(ImageUnit((axes,), dataset, folder, where, given, trial, cost))
    manifest = {
        "schema": 1,
        "kind": "images",
        "suite": suite.name,
        "title": suite.title,
        "question": suite.question,
        "citation": suite.citation,
        "protocol": "images",
        "network": protocol.network,
        "options": _plain(given),
        "trials": count,
        "seed": seed,
        "methods": [m.name for m in chosen],
        "subject": suite.subject,
        "metrics": list(suite.metrics),
        "figures": list(suite.figures),
        "datasets": list(read),
        "about": {name: {"family": name, "name": name} for name in read},
        "missing": missing,
        "published": [dict(row) for row in suite.published],
        "corruption_groups": {group: list(names) for group, names in CORRUPTION_GROUPS.items()},
        "remarks": list(suite.remarks),
        "notes": [],
        "planned": [[a.key, a.kind, a.dataset, a.method] for unit in units for a in unit.axes],
        "command": command,
        "date": datetime.date.today().isoformat(),
        "versions": {
            "vicinal": vicinal.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy")},
        },
    }
    return Plan(manifest, tuple(sorted(units, key=lambda unit: -unit.cost)), {})


def _read(
    datasets: Sequence[str], folder: Path | None, tell: Callable[[int, int], None] | None
) -> tuple[dict[str, ImageProblem], list[dict[str, str]]]:
    found, missing = {}, []
    for number, dataset in enumerate(datasets):
        try:
            found[dataset] = read_images(dataset, folder)
        except InputError as error:
            missing.append({"id": dataset, "why": str(error).rstrip(".")})
        if tell is not None:
            tell(number + 1, len(datasets))
    return found, missing


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in given.items()}


def protocol_of(unit: ImageUnit) -> ImageProtocol:
    """Return the protocol of a unit."""
    return read_image_protocol(unit.given)
