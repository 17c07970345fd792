"""What a worker does with a unit of an image study: train, evaluate, and say what came of it as a record."""

import platform
import shutil
import socket
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

import vicinal
from vicinal.core import InputError, require, seed_at
from vicinal.core.loop import Hardware
from vicinal.data.images import ImageProblem, ImageSet, read_images
from vicinal.study.images.evaluate import corrupted_images, evaluate_training
from vicinal.study.images.methods import IMAGE_METHODS
from vicinal.study.images.plan import ImageUnit, protocol_of
from vicinal.study.images.protocol import ImageProtocol
from vicinal.study.images.train import quality_of, space_for, train_judge, train_method
from vicinal.study.record import make_record
from vicinal.study.work import failed_records

__all__ = ["corrupt_ahead", "run_image_unit"]


def corrupt_ahead(unit: ImageUnit, tell: Callable[[int, int], None] | None = None) -> None:
    """Corrupt the test images of a unit, and so of all of its study on that data set, by all cores.

    What is on the disk is not made again, and a worker on this machine finds it there. One on another corrupts them itself.

    Args:
        unit: from `make_image_plan`.
        tell: called with images done and images to do.

    Raises:
        InputError: the images are gone, the published set lacks a corruption, or the disk is full.

    Examples:
        Before workers start::

            corrupt_ahead(plan.units[0])
    """
    corrupted_images(read_images(unit.dataset, unit.images), protocol_of(unit), unit.images, tell=tell)


def run_image_unit(unit: ImageUnit, problem: Any = None) -> list[dict[str, Any]]:
    """Run a unit; a training of it that was begun on this machine goes on.

    Args:
        unit: from `make_image_plan`.
        problem: not used; a worker reads the images itself.

    Returns:
        One record. What the input forbids (a loss that is no number, say) comes back as a failed one.

    Examples:
        Without a cluster::

            for unit in make_image_plan(read_suite("varmixup/fashion"), Path("work")).units:
                store.write(*run_image_unit(unit))
    """
    if torch.get_num_threads() > 1 and not torch.cuda.is_available():
        torch.set_num_threads(1)
    axes, protocol, method = unit.axes[0], protocol_of(unit), IMAGE_METHODS[unit.axes[0].method]
    started, clock = datetime.now(UTC), time.perf_counter()
    scratch, hardware = Path(unit.scratch), Hardware(device=_device())
    run = scratch / "runs" / axes.key
    try:
        problem = _problem(unit.dataset, unit.images)
        seed = seed_at(dataset=unit.dataset, seed=axes.seed, trial=unit.trial, purpose="images") % 2**31
        images = _training_images(problem, protocol, seed)
        judge = train_judge(images, seed, hardware, folder=scratch / "judges")
        space, quality = None, None
        if method.space is not None:
            learnt_from = _space_images(protocol, images, unit.images)
            space = space_for(method.space, learnt_from, protocol, seed, scratch / "spaces", hardware)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # the report says it
                quality = quality_of(space, problem.test, judge)
        trained = train_method(method, images, protocol, space=space, seed=seed, folder=run, hardware=hardware)
        corrupted = corrupted_images(problem, protocol, unit.images, workers=1)
        metrics, facts = evaluate_training(
            method, trained, images, problem, corrupted, protocol, judge, quality, seed, grid=unit.trial == 0
        )
    except InputError as error:
        return failed_records(unit, error)
    shutil.rmtree(run, ignore_errors=True)
    said = {
        "seconds": round(time.perf_counter() - clock, 3),
        "train_seconds": round(trained.result.seconds, 3),
        "space_seconds": round(trained.space_seconds, 3),
        "started": started.isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "versions": {"vicinal": vicinal.__version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    return [make_record(axes, {name: [value] for name, value in metrics.items()}, facts=facts, run=said)]


def _device() -> str:
    """Return where this worker computes: workers on one machine, numbered from 0, take turns with its GPUs."""
    if torch.cuda.device_count() < 2:
        return "auto"
    try:
        number = int(require("distributed", "study").get_worker().name)
    except ValueError:  # not a worker, or one that somebody else named
        return "auto"
    return f"cuda:{number % torch.cuda.device_count()}"


@lru_cache(maxsize=2)
def _problem(dataset: str, folder: str | None) -> ImageProblem:
    return read_images(dataset, folder)


def _training_images(problem: ImageProblem, protocol: ImageProtocol, seed: int) -> ImageSet:
    count = protocol.train_images
    return problem.train if count is None or count >= len(problem.train) else problem.train.first(count, seed)


def _space_images(protocol: ImageProtocol, images: ImageSet, folder: str | None) -> ImageSet:
    """Return what spaces learn from: the training images, or those of another data set in their size."""
    if not protocol.space_images:
        return images
    other = read_images(protocol.space_images, folder).train
    if other.x.shape[1] != images.x.shape[1]:
        raise InputError(
            f"'space_images' must have the {images.x.shape[1]} channels of the images, {protocol.space_images} has"
            f" {other.x.shape[1]}."
        )
    height, width = images.x.shape[2:]
    if tuple(other.x.shape[2:]) == (height, width):
        return other
    resize = require("torchvision.transforms.v2.functional", "images").resize
    small = torch.cat([resize(part, [height, width], antialias=True) for part in other.x.split(4096)])
    return ImageSet(f"{other.name}-{height}x{width}", small, other.y, other.classes)
