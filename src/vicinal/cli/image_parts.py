"""What the commands for images have in common: data, spaces, judges, benchmarks, reports."""

import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from vicinal.cli.image_progress import counting, watching

__all__ = [
    "check_folder",
    "fetch_features",
    "make_benchmark",
    "make_judge",
    "measure_quality",
    "not_first",
    "published_set",
    "read_problem",
    "read_space",
    "shape_text",
    "write_evaluation",
]


def read_problem(data: str, images: Path | None, size: int | None, count: int | None, seed: int) -> tuple[Any, Any]:
    """Return the images, and what of them to train on."""
    from vicinal.data.images import read_images  # noqa: PLC0415

    problem = read_images(data, images, size=size)
    train = problem.train if count is None or count >= len(problem.train) else problem.train.first(count, seed)
    return problem, train


def read_space(file: Path, problem: Any) -> Any:
    """Return a trained space of such images."""
    from vicinal.core import InputError, load  # noqa: PLC0415
    from vicinal.core.files import read_tensors  # noqa: PLC0415
    from vicinal.spaces import MMDVAE  # noqa: PLC0415

    read_tensors(file)  # says what is wrong with the file itself
    try:
        found = load(file)
    except InputError:
        found = None
    if not isinstance(found, MMDVAE):
        raise InputError(f"{file} holds no space of images; `vicinal vae train` makes one.")
    if tuple(found.shape_) != tuple(problem.shape):
        raise InputError(
            f"{file} is a space of images {shape_text(found.shape_)}, but those of {problem.name} are {shape_text(problem.shape)}"
            " (channels, height, width); train one on these, or give --size."
        )
    return found


def shape_text(sizes: Any) -> str:
    """Return a shape as people write it."""
    return " x ".join(map(str, sizes))


def check_folder(folder: Path) -> None:
    """Say before hours of training what would only fail after them."""
    from vicinal.core import InputError  # noqa: PLC0415

    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"can't write in {folder}: {place} is a file; give another folder.")
    if not os.access(place, os.W_OK):
        raise InputError(f"can't write in {folder}: {place} is read-only; give a folder that can be written to.")


def fetch_features(wanted: bool, protocol: Any) -> None:
    """Fetch Inception's weights, where they are asked for and of use."""
    from vicinal.core import InputError  # noqa: PLC0415
    from vicinal.evaluation import fetch_inception  # noqa: PLC0415

    if wanted and not protocol.distance_images:
        raise InputError(
            "--inception is for the distances of mixed images from real ones, and none are measured; add"
            " --set distance_images=2000, or leave it out."
        )
    if wanted:
        fetch_inception()


def measure_quality(space: Any, problem: Any, judge: Any) -> Any:
    """Return how good a space is, without the library's own warning."""
    from vicinal.study.images import quality_of  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the command says it in its own way
        return quality_of(space, problem.test, judge)


def make_judge(train: Any, hardware: Any, console: Console, folder: Path | None = None) -> Any:
    """Return a plainly trained small classifier, whose features and judgement measure what others draw."""
    from vicinal.study.images import train_judge  # noqa: PLC0415

    with watching(console) as tell:
        return train_judge(
            train, hardware=hardware, tell=lambda p: tell("small network, to judge by", p), folder=folder
        )


def not_first() -> bool:
    """Whether this is one of several processes that train, and not the first, which alone tests and reports."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def published_set(folder: Path, problem: Any) -> Any:
    """Return a published corrupted set, one of such images and classes."""
    from vicinal.core import InputError  # noqa: PLC0415
    from vicinal.data.images import read_corrupted  # noqa: PLC0415

    found = read_corrupted(folder, classes=problem.classes)
    shape = tuple(found.batch(found.corruptions[0], found.severities[0]).shape[1:])
    if shape != tuple(problem.shape):
        raise InputError(
            f"--corrupted must hold images of {shape_text(problem.shape)} (channels, height, width), as the test images are, got"
            f" {shape_text(shape)} in {folder}; give the set of these images, and leave out --size."
        )
    if int(found.y.max()) >= len(problem.classes):
        raise InputError(
            f"--corrupted must have labels in 0..{len(problem.classes) - 1}, the classes of {problem.name}, got"
            f" {int(found.y.max())} in {folder}; give the set of these images."
        )
    return found


def make_benchmark(problem: Any, protocol: Any, wanted: bool, folder: Path | None, console: Console) -> Any:
    """Return the test images corrupted here, or the published set beside them; None if none are wanted."""
    from vicinal.study.images import corrupted_images  # noqa: PLC0415

    if not wanted:
        return None
    with counting(console, "corrupting test images") as tell:
        return corrupted_images(problem, protocol, folder, workers=None, tell=tell)


def write_evaluation(found: Any, title: str, path: Path) -> None:
    """Print the scores, and write the report."""
    from vicinal.cli.terminal import scores_table  # noqa: PLC0415
    from vicinal.study.images import summarize_images  # noqa: PLC0415
    from vicinal.study.report import write_study_report  # noqa: PLC0415

    methods = [one.method for one in found]
    rows, remarks = {}, []
    for one in found:
        name = one.method if methods.count(one.method) == 1 else f"{one.method} ({one.source})"
        rows[name] = {**one.metrics, "seconds": one.seconds, "space_seconds": one.space_seconds}
    for method in dict.fromkeys(name for name in methods if methods.count(name) > 1):
        sources = ", ".join(one.source for one in found if one.method == method)
        remarks.append(f"Taken for trials of {method}, so that the report shows their mean: {sources}.")
    scores_table(rows, Console(highlight=False))
    summary = summarize_images(found, title, shlex.join(["vicinal", *sys.argv[1:]]), remarks)
    for remark in remarks:
        typer.echo(remark)
    typer.echo(f"report: {write_study_report(summary, path)}")
