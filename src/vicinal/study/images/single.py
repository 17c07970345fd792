"""Trainings outside a study: the same scores, record and report for what somebody trained by hand."""

import datetime
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import vicinal
from vicinal.core import InputError
from vicinal.data.images import CORRUPTION_GROUPS, CorruptedSet, ImageProblem
from vicinal.networks import Normalized
from vicinal.study.analysis import analyse_images
from vicinal.study.images.evaluate import evaluate_classifier
from vicinal.study.images.protocol import ImageProtocol
from vicinal.study.record import Axes, Record, make_record
from vicinal.study.store.columns import frame_of, table_of
from vicinal.training.single import read_classifier

__all__ = ["Evaluated", "evaluate_checkpoints", "read_checkpoints", "summarize_images"]


@dataclass(frozen=True)
class Evaluated:
    """A classifier's scores, and what is known of it.

    Attributes:
        dataset, method, network: names. metrics: by name. facts: as a study's record has them.
        seconds: of its training. space_seconds: of the training of its space.
        source: its file or folder, where it was read from one.
    """

    dataset: str
    method: str
    network: str
    metrics: Mapping[str, float]
    facts: Mapping[str, Any]
    seconds: float
    space_seconds: float = 0.0
    source: str = ""


def read_checkpoints(paths: Sequence[Path], problem: ImageProblem) -> list[tuple[Normalized, Mapping[str, Any]]]:
    """Read classifiers that `vicinal train` left, each of a problem's images and classes; see `read_classifier`.

    Raises:
        InputError: a file that is no classifier, or one of other images.

    Examples:
        Before what takes long::

            read_checkpoints([Path("runs/a"), Path("runs/b")], problem)
    """
    found = []
    for path in paths:
        classifier, about = read_classifier(path)
        architecture = about["architecture"]
        if tuple(architecture.shape) != problem.shape or len(architecture.classes) != len(problem.classes):
            raise InputError(
                f"{path} is a classifier of {len(architecture.classes)} classes of images {tuple(architecture.shape)};"
                f" {problem.name} has {len(problem.classes)} of {problem.shape}. Give its own data with --data, and its --size."
            )
        if differ := [pair for pair in zip(architecture.classes, problem.classes, strict=True) if pair[0] != pair[1]]:
            raise InputError(
                f"{path} is a classifier of other classes: {differ[0][0]!r} is {differ[0][1]!r} in {problem.name}. Give its own"
                " data with --data."
            )
        found.append((classifier, about))
    return found


def evaluate_checkpoints(
    paths: Sequence[Path],
    problem: ImageProblem,
    corrupted: CorruptedSet | None,
    protocol: ImageProtocol,
    *,
    seed: int = 0,
    device: str = "cpu",
    tell: Callable[[str], None] | None = None,
) -> list[Evaluated]:
    """Score classifiers that `vicinal train` left.

    Args:
        paths: their files or folders.
        problem: the images; the classifiers must be of such ones.
        corrupted: images corrupted in many ways, or None.
        protocol: says what is measured.
        seed: of searches and attacks.
        device: where to compute.
        tell: called with what comes next.

    Raises:
        InputError: a file that is no classifier, or one of other images.

    Examples:
        Two trainings side by side::

            found = evaluate_checkpoints([Path("runs/a"), Path("runs/b")], problem, None, ImageProtocol())
            write_study_report(summarize_images(found, "a and b"), "report.html")
    """
    found = []
    for path, (classifier, about) in zip(paths, read_checkpoints(paths, problem), strict=True):
        architecture = about["architecture"]
        name = about.get("method", Path(path).stem)
        classifier.to(device)

        def said(what: str, path: Path = path) -> None:
            if tell is not None:
                tell(f"testing {path}: {what}")

        scores = evaluate_classifier(classifier, problem.test, corrupted, protocol, seed, said)
        facts = {
            "rows": about.get("rows", len(problem.train)),
            "test_rows": len(problem.test),
            "corrupted_rows": 0 if corrupted is None else len(corrupted),
            "classes": len(problem.classes),
            "channels": problem.shape[0],
            "size": problem.shape[1],
            "parameters": sum(p.numel() for p in classifier.parameters()),
            "epochs": about["epoch"],
            "device": device,
        }
        seconds = about["seconds"], about.get("space_seconds", 0.0)
        found.append(Evaluated(problem.name, name, architecture.network, scores, facts, *seconds, str(path)))
    return found


def summarize_images(
    evaluated: Sequence[Evaluated], title: str, command: str | None = None, remarks: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the summary of classifiers side by side, as a study's report shows it.

    Args:
        evaluated: several of one method count as its trials.
        title: at the head of the report.
        command: what the user typed.
        remarks: sentences to show.

    Examples:
        See `evaluate_checkpoints`::

            summarize_images(found, "a and b")["headline"]
    """
    seen: Counter[tuple[str, str]] = Counter()
    records: list[Record] = []
    for one in evaluated:
        trial = seen[one.dataset, one.method]
        seen[one.dataset, one.method] += 1
        axes = Axes(one.dataset, one.method, "images", one.network, 1, options={"trial": trial})
        metrics = {name: [value] for name, value in one.metrics.items()}
        run = {"seconds": one.seconds, "train_seconds": one.seconds, "space_seconds": one.space_seconds}
        records.append(make_record(axes, metrics, facts=one.facts, run=run))
    study = {
        "kind": "images",
        "title": title,
        "protocol": "images",
        "network": ", ".join(dict.fromkeys(one.network for one in evaluated)),
        "trials": max(seen.values()),
        "methods": list(dict.fromkeys(one.method for one in evaluated)),
        "datasets": list(dict.fromkeys(one.dataset for one in evaluated)),
        "metrics": ["corruption_accuracy", "accuracy", "ece"],
        "planned": [[r["key"], r["kind"], r["dataset"], r["method"]] for r in records],
        "corruption_groups": {group: list(names) for group, names in CORRUPTION_GROUPS.items()},
        "remarks": list(remarks),
        "command": command,
        "date": datetime.date.today().isoformat(),
        "versions": {"vicinal": vicinal.__version__, "torch": torch.__version__},
    }
    return analyse_images(frame_of(table_of(records)), study)
