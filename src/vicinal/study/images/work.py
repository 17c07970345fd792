"""What a worker does with a unit of an image study: train, evaluate, and say what came of it as a record."""

import platform
import shutil
import socket
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

import vicinal
from vicinal.core import InputError, seed_at
from vicinal.core.loop import Hardware
from vicinal.data.images import ImageProblem, ImageSet, read_images
from vicinal.study.images.evaluate import corrupted_images, evaluate_training
from vicinal.study.images.methods import IMAGE_METHODS
from vicinal.study.images.plan import ImageUnit, protocol_of
from vicinal.study.images.protocol import ImageProtocol
from vicinal.study.images.train import train_judge, train_method
from vicinal.study.record import make_record
from vicinal.study.work import failed_records

__all__ = ["run_image_unit"]


def run_image_unit(unit: ImageUnit, problem: Any = None) -> list[dict[str, Any]]:
    """Run a unit; a training of it that was begun on this machine goes on.

    Args:
        unit: from `make_image_plan`.
        problem: not used; a worker reads the images itself.

    Returns:
        One record. What the input forbids (a loss that is no number, say) comes back as a failed one.
    """
    if torch.get_num_threads() > 1 and not torch.cuda.is_available():
        torch.set_num_threads(1)
    axes, protocol, method = unit.axes[0], protocol_of(unit), IMAGE_METHODS[unit.axes[0].method]
    started, clock = datetime.now(UTC), time.perf_counter()
    scratch = Path(unit.scratch)
    run = scratch / "runs" / axes.key
    try:
        problem = _problem(unit.dataset, unit.images)
        seed = seed_at(dataset=unit.dataset, seed=axes.seed, trial=unit.trial, purpose="images") % 2**31
        images = _training_images(problem, protocol, seed)
        trained = train_method(
            method, images, protocol, seed=seed, folder=run, spaces=scratch / "spaces", hardware=Hardware()
        )
        judge = train_judge(images, seed, folder=scratch / "judges" / images.fingerprint[:16])
        corrupted = corrupted_images(problem, protocol, workers=1)
        metrics, facts = evaluate_training(
            method, trained, images, problem, corrupted, protocol, judge, seed, grid=unit.trial == 0
        )
    except InputError as error:
        return failed_records(unit, error)
    shutil.rmtree(run, ignore_errors=True)
    said = {
        "seconds": round(time.perf_counter() - clock, 3),
        "started": started.isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "versions": {"vicinal": vicinal.__version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    return [make_record(axes, {name: [value] for name, value in metrics.items()}, facts=facts, run=said)]


@lru_cache(maxsize=2)
def _problem(dataset: str, folder: str | None) -> ImageProblem:
    return read_images(dataset, folder)


def _training_images(problem: ImageProblem, protocol: ImageProtocol, seed: int) -> ImageSet:
    count = protocol.train_images
    return problem.train if count is None or count >= len(problem.train) else problem.train.first(count, seed)
