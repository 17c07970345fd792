"""Pictures of what a training sees: mixed images for a report, and a space's images with labels that explain them."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vicinal.core import generator_at, require
from vicinal.data.images import ImageSet
from vicinal.spaces import Space
from vicinal.training.single import mixed_images
from vicinal.vicinity import BaseVicinity

__all__ = ["sample_grid", "space_picture"]

GRID = (4, 8)
"""Rows and columns of a grid of samples."""

WAY = {0.25: "1/4", 0.5: "1/2", 0.75: "3/4"}
"""Where between two codes a space's picture looks."""

CELL = 56
"""Pixels that an image takes at least in a space's picture: two lines of a label fit beside it."""

LINE, FONT, MARGIN, INK = 2, 14, 12, 51


def sample_grid(vicinity: BaseVicinity, images: ImageSet, seed: int = 0) -> str:
    """Return a grid of mixed images, a batch a row, as a PNG in a data URI (VarMixup, Figure 5).

    Examples:
        For a page::

            f'<img src="{sample_grid(ready_for(Mixup(), images), images)}">'
    """
    rows, columns = GRID
    mixed = mixed_images(vicinity, images, rows * columns, generator_at(seed=seed, purpose="samples"), columns)
    return "data:image/png;base64," + base64.b64encode(_png(_grid(mixed, columns))).decode()


def space_picture(space: Space, images: ImageSet, columns: int = 16) -> bytes:
    """Return a PNG that shows a space: images, their reconstructions, and the way from each to its right neighbour.

    Every row has its label; the last image's way leads to the first.

    Args:
        space: fitted.
        images: some that it has not seen.
        columns: how many of them.

    Examples:
        To a file::

            Path("space.png").write_bytes(space_picture(space, problem.test))
    """
    x = images.first(min(columns, len(images))).pixels()
    z = space.encode(x)
    ways = [space.decode(torch.lerp(z, z.roll(-1, 0), share)) for share in (0.0, *WAY)]
    scale = -(-CELL // x.shape[2])
    shown = torch.cat([x, *ways]).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    labels = ["images", "reconstructions", *(f"{share} of the way\nto the next" for share in WAY.values())]
    return _png(_labelled(_grid(shown, len(x), LINE), labels, shown.shape[2] + LINE))


def _grid(x: Tensor, columns: int, line: int = 1) -> Any:
    """Return images (N, C, H, W) side by side as one of Pillow's, a white line of so many pixels around each."""
    make_grid = require("torchvision.utils", "images").make_grid
    pixels = (make_grid(x, nrow=columns, padding=line, pad_value=1.0).clamp(0, 1) * 255).round().to(torch.uint8)
    array = pixels.permute(1, 2, 0).numpy()
    # A grid of grey images comes with three equal channels.
    grey = bool((array == array[..., :1]).all())
    return require("PIL.Image", "images").fromarray(array[..., 0] if grey else array)


def _labelled(grid: Any, labels: Sequence[str], height: int) -> Any:
    """Return a grid with a label left of each of its rows, `height` pixels each."""
    pillow, draw = require("PIL.Image", "images"), require("PIL.ImageDraw", "images").Draw
    font = require("PIL.ImageFont", "images").load_default(size=FONT)
    edges = [draw(grid).multiline_textbbox((0, 0), label, font=font) for label in labels]
    left = round(max(right for _, _, right, _ in edges)) + 2 * MARGIN
    whole = pillow.new(grid.mode, (left + grid.width, grid.height), "white")
    whole.paste(grid, (left, 0))
    pen, ink = draw(whole), (INK,) * len(grid.getbands())
    for row, label in enumerate(labels):
        where = (left - MARGIN, round((row + 0.5) * height))
        pen.multiline_text(where, label, fill=ink, font=font, anchor="rm", align="right")
    return whole


def _png(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()
