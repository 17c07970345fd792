"""Folders of image files: one folder per class, or Tiny-ImageNet as it is published.

train/CLASS/*.png     test/CLASS/*.png  (or val/CLASS/*.png)          torchvision's ImageFolder
train/CLASS/images/*.JPEG     val/images/*.JPEG     val/val_annotations.txt     wnids.txt     Tiny-ImageNet
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from vicinal.core import InputError, require
from vicinal.data.images.decoding import decode_files
from vicinal.data.images.sets import ImageProblem, ImageSet
from vicinal.data.readers import one_line

__all__ = ["is_tiny", "read_folder"]

LAYOUTS: Final = (
    "it must hold train/CLASS/ and test/CLASS/ (or val/CLASS/) with image files,"
    " or Tiny-ImageNet's train/, val/ and wnids.txt"
)

Files = list[tuple[str, int]]


def is_tiny(folder: Path) -> bool:
    """Whether a folder has Tiny-ImageNet's layout, recognised by its files of words.

    Examples:
        >>> is_tiny(Path("nowhere"))
        False
    """
    return (folder / "wnids.txt").is_file() and (folder / "val" / "val_annotations.txt").is_file()


def read_folder(folder: Path, name: str, size: int | None = None) -> ImageProblem:
    """Read a folder of images in either layout; classes are the folders' names, sorted.

    Where an ImageFolder has both test/ and val/, test/ is read if its classes are train's.

    Raises:
        InputError: another layout, a class without images, an image that can't be decoded, images of different sizes.
    """
    classes = _class_names(folder / "train")
    if not classes:
        raise InputError(f"{str(folder)!r} can't be read as images: {LAYOUTS}.")
    train = _listed(folder / "train", classes)
    test = _tiny_test(folder, classes) if is_tiny(folder) else _listed(_test_folder(folder, classes), classes)
    # Decoded together, so that both have three channels if any image has.
    x = decode_files([path for path, _ in train + test], size)
    y = torch.tensor([label for _, label in train + test])
    n = len(train)
    return ImageProblem(
        name,
        ImageSet(f"{name}-train", x[:n], y[:n], tuple(classes)),
        ImageSet(f"{name}-test", x[n:], y[n:], tuple(classes)),
    )


def _class_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()) if folder.is_dir() else []


def _listed(folder: Path, classes: Sequence[str]) -> Files:
    torchvision = require("torchvision.datasets.folder", "images")
    numbers = {label: number for number, label in enumerate(classes)}
    try:
        files: Files = torchvision.make_dataset(
            str(folder), numbers, torchvision.IMG_EXTENSIONS, allow_empty=folder.name != "train"
        )
    except FileNotFoundError as error:
        raise InputError(f"{str(folder)!r} lacks images: {one_line(error)}.") from error
    if not files:
        raise InputError(f"{str(folder)!r} holds no image file; {LAYOUTS}.")
    return files


def _test_folder(folder: Path, classes: Sequence[str]) -> Path:
    seen = []
    for part in ("test", "val"):
        found = _class_names(folder / part)
        if found and set(found) <= set(classes):
            return folder / part
        odd = sorted(set(found) - set(classes))
        seen += [f"{part}/ has {odd[0]!r}, which train/ lacks" if odd else f"no folders of classes in {part}/"]
    raise InputError(f"{str(folder)!r} lacks images to test on: {'; '.join(seen)}; {LAYOUTS}.")


def _tiny_test(folder: Path, classes: Sequence[str]) -> Files:
    numbers = {label: number for number, label in enumerate(classes)}
    words = folder / "val" / "val_annotations.txt"
    files = []
    for count, line in enumerate(words.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in numbers:
            raise InputError(
                f"line {count} of {str(words)!r} must be a file and one of the classes of train/, parted by a tab,"
                f" got {line[:60]!r}; unpack tiny-imagenet-200.zip again."
            )
        files.append((str(folder / "val" / "images" / fields[0]), numbers[fields[1]]))
    if not files:
        raise InputError(f"{str(words)!r} is empty; unpack tiny-imagenet-200.zip again.")
    return files
