"""The IDX format of MNIST and Fashion-MNIST, gzipped or not (LeCun, Cortes & Burges, 1998).

A file is two zero bytes, 8 for unsigned bytes, the number of axes, the length of each axis as a big-endian 32-bit number, then
the bytes. torchvision's reader takes only unpacked files, and ends in an assertion or in nothing where one is damaged.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from vicinal.core import InputError
from vicinal.data.images.places import damaged
from vicinal.data.images.sets import ImageProblem, ImageSet

__all__ = ["IDX_FILES", "find_idx", "read_idx", "read_idx_problem"]

IDX_FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""The four files, which may end in .gz."""


def find_idx(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the files of `IDX_FILES` that a folder has, unpacked ones first choice, and the names that it lacks.

    Examples:
        >>> find_idx(Path("nowhere"))[1][0]
        'train-images-idx3-ubyte.gz'
    """
    found, missing = [], []
    for name in IDX_FILES:
        paths = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
        found += paths[:1]
        missing += [] if paths else [f"{name}.gz"]
    return found, missing


def read_idx(path: Path, axes: int) -> Tensor:
    """Read a file of unsigned bytes.

    Args:
        path: the file; .gz is unpacked in memory.
        axes: how many it must have.

    Returns:
        uint8, of the shape that the file names.

    Raises:
        InputError: the archive is torn, the first bytes aren't IDX's, or the length isn't what they promise.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "labels")
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
        ...     read_idx(path, axes=1).tolist()
        [7, 9]
    """
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(path, f"the archive can't be unpacked ({error})") from error
    except OSError as error:
        raise InputError(f"{str(path)!r} can't be read: {error.strerror}.") from error
    head = 4 + 4 * axes
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) < head:
        raise damaged(path, f"it must begin with {bytes([0, 0, 8, axes]).hex()}, got {data[:4].hex() or 'nothing'}")
    shape = struct.unpack(f">{axes}I", data[4:head])
    if len(data) != head + math.prod(shape):
        raise damaged(path, f"it must have {head + math.prod(shape)} bytes, got {len(data)}")
    # A copy that torch may write to.
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)[head:].view(shape)


def read_idx_problem(name: str, files: list[Path], classes: tuple[str, ...]) -> ImageProblem:
    """Read the four files as images (N, 1, H, W) and labels.

    Raises:
        InputError: a damaged file, or labels that don't belong to the images.
    """
    parts = []
    for part, (images, labels) in (("train", files[:2]), ("test", files[2:])):
        x, y = read_idx(images, axes=3).unsqueeze(1), read_idx(labels, axes=1).long()
        if len(x) != len(y) or len(y) == 0 or int(y.max()) >= len(classes):
            raise damaged(labels, f"{len(x)} images need as many labels in 0..{len(classes) - 1}, got {len(y)}")
        parts.append(ImageSet(f"{name}-{part}", x, y, classes))
    return ImageProblem(name, *parts)
