"""Read an image problem by its name, or from a folder of image files.

What is on this machine is read as it is; what isn't is fetched by torchvision. A name is looked up in `folder`, else in
$VICINAL_DATA or ~/.cache/vicinal/images; Fashion-MNIST also where Debian's package dataset-fashion-mnist puts it.
"""

import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from vicinal.core import InputError, check_number, require
from vicinal.data.images.decoding import fit_to
from vicinal.data.images.folders import read_folder
from vicinal.data.images.idx import find_idx, read_idx_problem
from vicinal.data.images.places import damaged, image_folder, patience
from vicinal.data.images.sets import ImageProblem, ImageSet
from vicinal.data.readers import near, one_line

__all__ = ["IMAGE_PROBLEMS", "read_images"]

DEBIAN_FASHION_MNIST: Final = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package dataset-fashion-mnist installs its four files."""

TINY_IMAGENET: Final = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

FETCH_SECONDS: Final = 30.0
"""A server that is silent for longer has no answer."""


@dataclass(frozen=True)
class _Named:
    about: str
    page: str
    read: Callable[["_Named", str, Path, list[Path]], ImageProblem]
    torchvision: str = ""
    places: tuple[str, ...] = ()
    package: str = ""


def read_images(name: str | Path, folder: str | Path | None = None, *, size: int | None = None) -> ImageProblem:
    """Read images to train on and to test on.

    A folder is read by what is in it: `train/CLASS/` and `test/CLASS/` (or `val/CLASS/`) with image files, as torchvision's
    ImageFolder has them, or Tiny-ImageNet as it is published. Images are grey, C = 1, only if all are.

    Args:
        name: one of `IMAGE_PROBLEMS`, or the path of a folder.
        folder: where a named problem's files are, or are to be fetched to. None takes $VICINAL_DATA, else
            ~/.cache/vicinal/images.
        size: height and width of all images to come: the shorter side is resized, then the centre cut out. None takes images
            as they are.

    Raises:
        InputError: no such name or folder, a file that is missing and can't be fetched, a damaged file, images of
            different sizes.

    Examples:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for place in ("train/cat", "train/dog", "test/dog"):
        ...         Path(folder, place).mkdir(parents=True)
        ...         Image.new("RGB", (8, 8)).save(f"{folder}/{place}/one.png")
        ...     problem = read_images(folder)
        >>> problem.classes, problem.shape, problem.test.y.tolist()
        (('cat', 'dog'), (3, 8, 8), [1])
        >>> read_images("cifar10")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        vicinal.core.checks.InputError: no images or folder 'cifar10'; did you mean 'cifar-10'? (names: cifar-10, cifar-100, ...
    """
    if size is not None:
        check_number("size", size, 1, whole=True)
    named = _NAMED.get(str(name))
    if named is None:
        if not os.path.isdir(name):
            guess = near(str(name), list(_NAMED))
            raise InputError(f"no images or folder {str(name)!r}{guess} (names: {', '.join(_NAMED)}).")
        return read_folder(Path(name), Path(name).resolve().name, size)
    home = image_folder(folder)
    others = [] if folder is not None else [Path(place) for place in named.places]
    problem = named.read(named, str(name), home, [home, *others])
    if size is None:
        return problem
    parts = [ImageSet(part.name, _fit_all(part, size), part.y, part.classes) for part in (problem.train, problem.test)]
    return ImageProblem(problem.name, *parts)


def _fit_all(images: ImageSet, size: int) -> torch.Tensor:
    return torch.cat([fit_to(part, size) for part in images.x.split(1024)])


def _read_idx(named: _Named, name: str, home: Path, places: list[Path]) -> ImageProblem:
    kind = getattr(require("torchvision.datasets", "images"), named.torchvision)
    raw = home / named.torchvision / "raw"
    folders = [*(inner for place in places for inner in (place, place / name)), raw]
    for folder in folders:
        files, missing = find_idx(folder)
        if not missing:
            return read_idx_problem(name, files, tuple(kind.classes))
    missing = min((find_idx(folder)[1] for folder in folders), key=len)
    for path in find_idx(raw)[0]:
        if path.suffix == ".gz":  # a fetch that was interrupted
            _check_md5(path, dict(kind.resources).get(path.name))
    _fetch(lambda: kind(str(home), download=True), named, name, missing[0], folders)
    return read_idx_problem(name, find_idx(raw)[0], tuple(kind.classes))


def _read_cifar(named: _Named, name: str, home: Path, places: list[Path]) -> ImageProblem:
    kind = getattr(require("torchvision.datasets", "images"), named.torchvision)
    checksums = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    files = [(home / kind.base_folder / file, md5) for file, md5 in checksums]
    for path, md5 in files:
        _check_md5(path, md5)
    if not all(path.is_file() for path, _ in files):
        _check_md5(home / kind.filename, kind.tgz_md5)
        # Unpacks the archive if it is there.
        _fetch(lambda: kind(str(home), download=True), named, name, kind.filename, [home])
    parts = []
    for part in ("train", "test"):
        source = kind(str(home), train=part == "train")
        x = torch.from_numpy(np.ascontiguousarray(source.data.transpose(0, 3, 1, 2)))
        parts.append(ImageSet(f"{name}-{part}", x, torch.tensor(source.targets), tuple(source.classes)))
    return ImageProblem(name, *parts)


def _read_tiny(named: _Named, name: str, home: Path, places: list[Path]) -> ImageProblem:
    target, archive = home / "tiny-imagenet-200", home / "tiny-imagenet-200.zip"
    if not target.is_dir():
        if not archive.is_file():
            download = require("torchvision.datasets.utils", "images").download_url
            # Under another name until it is whole.
            part = f"{archive.name}.part"
            _fetch(lambda: download(TINY_IMAGENET, str(home), part), named, name, archive.name, [home])
            os.replace(home / part, archive)
        _unpack(archive, target)
    return read_folder(target, name)


def _unpack(archive: Path, target: Path) -> None:
    extract = require("torchvision.datasets.utils", "images").extract_archive
    try:
        # Beside its place until it is whole: what was interrupted is begun anew.
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpacking-") as beside:
            extract(str(archive), beside)
            os.replace(Path(beside, target.name), target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise damaged(archive, f"the archive can't be unpacked ({one_line(error)})") from error
    except OSError as error:
        raise InputError(
            f"{str(archive)!r} can't be unpacked in {str(archive.parent)!r}: {one_line(error)}."
        ) from error


def _check_md5(path: Path, md5: str | None) -> None:
    check = require("torchvision.datasets.utils", "images").check_integrity
    if path.is_file() and not check(str(path), md5):
        raise damaged(path, "its checksum is not the published file's")


def _fetch(download: Callable[[], Any], named: _Named, name: str, missing: str, folders: list[Path]) -> None:
    try:
        with patience(FETCH_SECONDS):
            download()
    except Exception as error:  # torchvision: no network, a wrong checksum, a folder that can't be written
        looked = " or ".join(repr(str(folder)) for folder in folders)
        package = f"run `apt-get install {named.package}`, " if named.package else ""
        raise InputError(
            f"{name} needs {missing!r}, which is not in {looked} and could not be fetched ({one_line(error)});"
            f" {package}get it from {named.page}, or name its folder with `folder` (--images)."
        ) from error


_NAMED: Final = {
    "cifar-10": _Named(
        "60 000 colour images, 32 x 32, 10 classes (Krizhevsky, 2009)",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        _read_cifar,
        "CIFAR10",
    ),
    "cifar-100": _Named(
        "60 000 colour images, 32 x 32, 100 classes (Krizhevsky, 2009)",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        _read_cifar,
        "CIFAR100",
    ),
    "fashion-mnist": _Named(
        "70 000 grey images of clothes, 28 x 28, 10 classes (Xiao et al., 2017)",
        "https://github.com/zalandoresearch/fashion-mnist",
        _read_idx,
        "FashionMNIST",
        (DEBIAN_FASHION_MNIST,),
        "dataset-fashion-mnist",
    ),
    "mnist": _Named(
        "70 000 grey images of digits, 28 x 28, 10 classes (LeCun et al., 1998)",
        "http://yann.lecun.com/exdb/mnist",
        _read_idx,
        "MNIST",
    ),
    "tiny-imagenet": _Named(
        "110 000 colour images, 64 x 64, 200 classes, its validation images as test (Le & Yang, 2015)",
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        _read_tiny,
    ),
}

IMAGE_PROBLEMS: Final = {name: named.about for name, named in _NAMED.items()}
"""The names that `read_images` knows, and one line about each.

Examples:
    >>> list(IMAGE_PROBLEMS)
    ['cifar-10', 'cifar-100', 'fashion-mnist', 'mnist', 'tiny-imagenet']
"""
