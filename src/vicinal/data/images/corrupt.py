"""Corrupt images once: made in parallel, kept on disk, read when they are asked for.

A folder NAME-HASH holds one array per corruption and severity, and the recipe that its hash is of. An array appears whole or not
at all, so an interrupted run goes on where it was, more severities are added to what is there, and two runs at once do each
other no harm.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO, Final

import joblib
import numpy as np
import torch
from torch import Tensor

from vicinal.core import InputError, check_number, require
from vicinal.data.images.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    CorruptedSet,
    check_corruptions,
    check_severities,
)
from vicinal.data.images.places import image_folder
from vicinal.data.images.sets import ImageSet
from vicinal.data.images.spoiling import SMALLEST, Bytes, spoil_rows

__all__ = ["corrupt_images"]

RECIPE: Final = 1
"""Changes when the same images would be corrupted to other bytes."""

LIBRARY: Final = "imagecorruptions-imaug"

BESIDE: Final = ("numpy", "numba", "opencv-python", "pillow", "scikit-image", "scipy")
"""What the library computes with; noted in the recipe, not hashed."""

SLOWEST: Final = ("zoom_blur", "glass_blur", "motion_blur", "snow", "brightness")
"""What goes first, so that no worker is left alone with it at the end."""

TASK: Final = 1 << 18
"""Pixels of one task: 256 images of 32 x 32, some tenths of a second of the slowest corruption."""

WORTH: Final = 1 << 23
"""Pixels that a process should have to do, as it takes some seconds to load the library."""

Pair = tuple[str, int]


def corrupt_images(
    images: ImageSet,
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    folder: str | Path | None = None,
    workers: int | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> CorruptedSet:
    """Return images under common corruptions, made by the library imagecorruptions or found on disk.

    The draws for an image depend on (seed, corruption, severity, its row number) alone: not on the workers, nor on what else
    is asked for. Images of less than 32 pixels are padded to 32 by repeating their edge, and cut back; grey images are
    corrupted as colour images of equal channels and averaged.

    Args:
        images: one or three channels, any size.
        corruptions: names from `CORRUPTIONS`.
        severities: from `SEVERITIES`.
        seed: names the draws.
        folder: where arrays are kept, in a folder of their own. None takes `corrupted` in $VICINAL_DATA, else in
            ~/.cache/vicinal/images.
        workers: processes; None takes one for each processor that may be used, fewer where there is little to do. 1 works in
            this process.
        tell: called with the images done and the images to do (those that are not on disk yet), as work proceeds.

    Raises:
        InputError: an unknown corruption or severity, images of other than one or three channels, a folder that can't be
            written or a disk that is full.
        ImportError: the extra `images` is not installed.

    References:
        Hendrycks & Dietterich (2019), "Benchmarking neural network robustness to common corruptions and perturbations".

    Examples:
        >>> import tempfile
        >>> grey = ImageSet("grey", torch.full((2, 1, 28, 28), 100, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     corrupted = corrupt_images(grey, corruptions=["brightness"], severities=[5], folder=folder, workers=1)
        ...     corrupted.batch("brightness", 5).unique().tolist()                  # 100 + 255 / 2, rounded down
        [227]
    """
    names = (corruptions,) if isinstance(corruptions, str) else tuple(corruptions)
    check_corruptions(names)
    check_severities(tuple(severities))
    if not names or not severities:
        raise InputError("`corruptions` and `severities` must name at least one each, got none.")
    check_number("seed", seed, whole=True)
    if workers is not None:
        check_number("workers", workers, 1, whole=True)
    if images.x.shape[1] not in (1, 3):
        raise InputError(f"`images` must have one or three channels, got {images.x.shape[1]}.")
    require("imagecorruptions", "images")
    chosen = tuple(name for name in CORRUPTIONS if name in names)
    strengths = tuple(severity for severity in SEVERITIES if severity in severities)
    home = image_folder() / "corrupted" if folder is None else Path(folder).expanduser()
    try:
        place = _prepare(home, images, seed)
        shape = tuple(images.x.shape)
        todo = [
            (name, severity)
            for name in sorted(chosen, key=lambda name: SLOWEST.index(name) if name in SLOWEST else len(SLOWEST))
            for severity in strengths
            if not _is_whole(_array(place, name, severity), shape)
        ]
        if todo:
            worth = 1 + len(todo) * images.x[:, 0].numel() // WORTH
            _make(images, todo, place, int(seed), min(joblib.cpu_count(), worth) if workers is None else workers, tell)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{str(home)!r} can't be written: {reason}; make room, or give another `folder=`.") from error
    return CorruptedSet(images.name, chosen, strengths, images.y, functools.partial(_read, place))


def _prepare(home: Path, images: ImageSet, seed: int) -> Path:
    recipe = {
        "recipe": RECIPE,
        "fingerprint": images.fingerprint,
        "shape": list(images.x.shape),
        "seed": int(seed),
        "library": LIBRARY,
        "version": version(LIBRARY),
        "smallest": SMALLEST,
        "padding": "edge",
        "grey": "mean of three channels",
    }
    text = json.dumps(recipe, sort_keys=True)
    short = re.sub(r"[^\w.-]+", "_", images.name)[:60] or "images"
    place = home / f"{short}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "recipe.json").is_file():
        note = {**recipe, "name": images.name, "with": {name: _version(name) for name in BESIDE}}
        with _appearing(place / "recipe.json") as file:
            file.write(json.dumps(note, indent=2).encode())
    return place


def _make(
    images: ImageSet, todo: list[Pair], place: Path, seed: int, workers: int, tell: Callable[[int, int], None] | None
) -> None:
    x = images.x.cpu().numpy()
    rows = max(1, TASK // (max(x.shape[2], SMALLEST) * max(x.shape[3], SMALLEST)))
    starts = range(0, len(x), rows)
    tasks = (
        joblib.delayed(spoil_rows)(x[start : start + rows], start, *pair, seed) for pair in todo for start in starts
    )
    total, done = len(todo) * len(x), 0
    # Results come in the order of the tasks, so at most one array is open; arrays are small enough to be sent as they are.
    parallel = joblib.Parallel(
        n_jobs=min(workers, len(todo) * len(starts)),
        backend="loky",
        return_as="generator",
        batch_size=1,
        pre_dispatch="4*n_jobs",
        max_nbytes=None,
    )
    with _closing(parallel(tasks)) as results:
        for pair in todo:
            with _appearing(_array(place, *pair)) as file:
                head = {"descr": "|u1", "fortran_order": False, "shape": x.shape}
                np.lib.format.write_array_header_1_0(file, head)
                for _ in starts:
                    part = next(results)
                    file.write(part.data)
                    done += len(part)
                    if tell is not None:
                        tell(done, total)


@contextlib.contextmanager
def _closing(results: Generator[Bytes, None, None]) -> Iterator[Iterator[Bytes]]:
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            # After an error or an interrupt, joblib warns that it cancels what nobody waits for.
            warnings.simplefilter("ignore", UserWarning)
            results.close()


@contextlib.contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name when it is whole, and is gone if it never is."""
    # A name of its own for each writer; not by tempfile, whose files are for one user only.
    beside = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _array(place: Path, corruption: str, severity: int) -> Path:
    return place / f"{corruption}-{severity}.npy"


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return bool(found.dtype == np.uint8 and found.shape == shape)


def _read(place: Path, corruption: str, severity: int) -> Tensor:
    path = _array(place, corruption, severity)
    try:
        return torch.from_numpy(np.array(np.load(path, mmap_mode="r")))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{str(path)!r} can't be read any more; corrupt the images again.") from error


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
