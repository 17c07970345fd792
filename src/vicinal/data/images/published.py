"""Corrupted images as they are published: CIFAR-10-C and CIFAR-100-C, Tiny-ImageNet-C (Hendrycks & Dietterich, 2019).

brightness.npy     (5 N, H, W, 3) uint8: severities 1 to 5, N images each         CIFAR-10-C
labels.npy         (5 N,): the same N labels five times

brightness/1/CLASS/*.JPEG                                                         Tiny-ImageNet-C
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vicinal.core import InputError, require
from vicinal.data.images.corruptions import CORRUPTIONS, SEVERITIES, CorruptedSet
from vicinal.data.images.decoding import decode_files
from vicinal.data.images.places import damaged
from vicinal.data.readers import near, one_line

__all__ = ["read_corrupted"]

PARTS = len(SEVERITIES)


def read_corrupted(folder: str | Path, *, classes: Sequence[str] | None = None) -> CorruptedSet:
    """Read corrupted images as CIFAR-10-C, CIFAR-100-C and Tiny-ImageNet-C are published.

    Those of `CORRUPTIONS` that are there are read; the four that were held out for validation, and other files, are left.
    Arrays stay on disk until a batch is asked for.

    Args:
        folder: what holds `labels.npy` and `<corruption>.npy`, or `<corruption>/<severity>/<class>/`.
        classes: for folders, the classes in the order of their labels, such as those of the training set; None sorts them.
            Arrays hold labels themselves.

    Raises:
        InputError: no such folder or layout, no `labels.npy`, an array of another shape or that is torn, a severity or a
            class that is missing or unknown.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/labels.npy", np.tile([3, 1], 5))
        ...     np.save(f"{folder}/fog.npy", np.arange(10, dtype=np.uint8).repeat(12).reshape(10, 2, 2, 3))
        ...     images = read_corrupted(folder)
        ...     images.corruptions, images.y.tolist(), images.batch("fog", 5).amax((1, 2, 3)).tolist()
        (('fog',), [3, 1], [8, 9])
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"no folder {str(folder)!r}; unpack CIFAR-10-C or Tiny-ImageNet-C and name its folder.")
    if any((place / f"{name}.npy").is_file() for name in (*CORRUPTIONS, "labels")):
        return _read_arrays(place)
    if any((place / name).is_dir() for name in CORRUPTIONS):
        return _read_folders(place, classes)
    found = sorted(entry.name for entry in os.scandir(place))[:3]
    guess = "".join(near(name.removesuffix(".npy"), list(CORRUPTIONS)) for name in found[:1])
    raise InputError(
        f"{str(folder)!r} must hold <corruption>.npy and labels.npy, or <corruption>/<severity>/<class>/,"
        f" got {', '.join(map(repr, found)) or 'nothing'}{guess}."
    )


def _read_arrays(place: Path) -> CorruptedSet:
    path = place / "labels.npy"
    if not path.is_file():
        raise InputError(f"{str(place)!r} must hold labels.npy beside its arrays; unpack the archive again.")
    labels = _mapped(path)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) == 0 or len(labels) % PARTS:
        raise InputError(f"{str(path)!r} must be whole numbers, shape ({PARTS} N,), got {labels.dtype} {labels.shape}.")
    rows = np.asarray(labels, dtype=np.int64).reshape(PARTS, -1)
    if (rows != rows[0]).any() or rows.min() < 0:
        raise InputError(f"{str(path)!r} must hold the same labels, none negative, for each of {PARTS} severities.")
    names = tuple(name for name in CORRUPTIONS if (place / f"{name}.npy").is_file())
    if not names:
        raise InputError(f"{str(place)!r} has labels.npy, but none of {', '.join(CORRUPTIONS)} as .npy.")
    for name in names:
        x = _mapped(place / f"{name}.npy")
        if x.dtype != np.uint8 or x.ndim != 4 or len(x) != len(labels) or x.shape[3] not in (1, 3):
            raise InputError(
                f"'{name}.npy' must be uint8, shape ({len(labels)}, H, W, 3), as labels.npy has {len(labels)} rows,"
                f" got {x.dtype} {x.shape}."
            )
    read = functools.partial(_part, place, rows.shape[1])
    return CorruptedSet(place.resolve().name, names, SEVERITIES, torch.from_numpy(rows[0].copy()), read)


def _part(place: Path, rows: int, corruption: str, severity: int) -> Tensor:
    start = SEVERITIES.index(severity) * rows
    x = _mapped(place / f"{corruption}.npy")[start : start + rows]
    return torch.from_numpy(np.array(x.transpose(0, 3, 1, 2), order="C"))


def _mapped(path: Path) -> npt.NDArray[Any]:
    try:
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, f"it can't be read as an array ({one_line(error)})") from error
    return found


def _read_folders(place: Path, classes: Sequence[str] | None) -> CorruptedSet:
    names = tuple(name for name in CORRUPTIONS if (place / name).is_dir())
    for name in names:
        missing = [str(severity) for severity in SEVERITIES if not (place / name / str(severity)).is_dir()]
        if missing:
            raise InputError(
                f"{str(place / name)!r} lacks severity {', '.join(missing)} of {', '.join(map(str, SEVERITIES))};"
                " unpack the archive again."
            )
    first = place / names[0] / str(SEVERITIES[0])
    found = sorted(entry.name for entry in os.scandir(first) if entry.is_dir())
    known = found if classes is None else list(classes)
    odd = [name for name in found if name not in known]
    if odd:
        raise InputError(
            f"`classes` must hold every folder of {str(first)!r}, but lacks {odd[0]!r}{near(odd[0], known)}."
        )
    files = _images_of(first)
    if not files:
        raise InputError(f"{str(first)!r} holds no folders with images; unpack the archive again.")
    y = torch.tensor([known.index(label) for label, _ in files])
    return CorruptedSet(place.resolve().name, names, SEVERITIES, y, functools.partial(_decoded, place, files))


def _decoded(place: Path, files: list[tuple[str, str]], corruption: str, severity: int) -> Tensor:
    inner = place / corruption / str(severity)
    if _images_of(inner) != files:
        raise InputError(
            f"{str(inner)!r} must hold the same {len(files)} images as the other folders; unpack the archive again."
        )
    return decode_files([inner / label / name for label, name in files], colour=True)


def _images_of(folder: Path) -> list[tuple[str, str]]:
    endings = require("torchvision.datasets.folder", "images").IMG_EXTENSIONS
    return [
        (label, name)
        for label in sorted(os.listdir(folder))
        if (folder / label).is_dir()
        for name in sorted(os.listdir(folder / label))
        if name.lower().endswith(endings)
    ]
