"""Image files as one tensor of bytes: decoded by Pillow, as torchvision does, and brought to one size if asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from vicinal.core import InputError, require
from vicinal.data.images.places import damaged
from vicinal.data.readers import one_line

__all__ = ["decode_files", "fit_to"]

GREY: Final = ("1", "L", "LA")
"""Pillow's modes of one channel of at most 8 bits."""

DEEP: Final = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of one channel of more than 8 bits, which would be cut off at 255."""


def fit_to(x: Tensor, size: int) -> Tensor:
    """Resize the shorter side to `size` pixels (bilinear, antialiased), then cut the centre square.

    Args:
        x: (..., C, H, W) uint8.
        size: height and width to come.

    Returns:
        (..., C, size, size) uint8; `x` itself if it has that size.

    Examples:
        >>> fit_to(torch.full((1, 20, 10), 7, dtype=torch.uint8), 5).tolist() == [[[7] * 5] * 5]
        True
    """
    if x.shape[-2:] == (size, size):
        return x
    functional = require("torchvision.transforms.v2.functional", "images")
    resized: Tensor = functional.center_crop(functional.resize(x, [size], antialias=True), [size, size])
    return resized


def decode_files(paths: Sequence[str | Path], size: int | None = None, *, colour: bool = False) -> Tensor:
    """Decode image files of one size, or bring them to one.

    Args:
        paths: N files in any format that Pillow reads.
        size: height and width to bring them to, see `fit_to`; None takes them as they are.
        colour: three channels even if all images are grey.

    Returns:
        (N, C, H, W) uint8; C is 1 if all images are grey, else 3.

    Raises:
        InputError: a file that can't be decoded or has more than 8 bits a pixel, or images of different sizes.
    """
    images: Tensor | None = None
    for row, path in enumerate(paths):
        image = _decode(path)
        if size is not None:
            image = fit_to(image, size)
        if images is None:
            channels = 3 if colour else len(image)
            images = torch.empty(len(paths), channels, *image.shape[1:], dtype=torch.uint8)
        if image.shape[1:] != images.shape[2:]:
            got = " and ".join(
                f"{width} x {height} in {str(name)!r}"
                for name, height, width in ((paths[0], *images.shape[2:]), (path, *image.shape[1:]))
            )
            raise InputError(f"images must have one size, got {got}; give `size` (--size), the pixels to bring all to.")
        if len(image) > images.shape[1]:
            images = images.expand(-1, 3, -1, -1).clone()
        images[row] = image
    if images is None:
        raise InputError("`paths` must name at least one image file, got none.")
    return images


def _decode(path: str | Path) -> Tensor:
    pillow: Any = require("PIL.Image", "images")
    try:
        with open(path, "rb") as file, pillow.open(file) as image:
            mode = image.mode
            if mode not in DEEP:
                pixels = np.array(image.convert("L" if mode in GREY else "RGB"))
    except FileNotFoundError as error:
        raise InputError(f"no file {str(path)!r}; fetch the images again.") from error
    except Exception as error:  # a damaged image raises whatever its decoder trips over
        raise damaged(path, f"it can't be decoded ({one_line(error)})") from error
    if mode in DEEP:
        raise InputError(f"{str(path)!r} must have 8 bits a pixel, got mode {mode!r}; save it as 8-bit grey or colour.")
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
