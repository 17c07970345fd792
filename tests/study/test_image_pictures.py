"""A space's picture: the images as they are, a label at every row, whatever their size and colour."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from vicinal.data.images import ImageSet
from vicinal.spaces import Identity
from vicinal.study.images import space_picture
from vicinal.training.single import mixed_images, ready_for
from vicinal.vicinity import Mixup

LINE = 2
"""Pixels between images."""


def _images(channels: int, size: int, count: int = 3) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    return ImageSet("noise", x, torch.zeros(count, dtype=torch.int64), ("one",))


@pytest.mark.parametrize(("channels", "size", "scale"), [(1, 28, 2), (3, 32, 2), (1, 8, 7), (3, 64, 1)])
def test_every_row_has_its_images_and_a_label(channels: int, size: int, scale: int) -> None:
    images = _images(channels, size)
    space = Identity().fit(images.pixels())
    picture = Image.open(io.BytesIO(space_picture(space, images, columns=3)))
    assert picture.mode == ("L" if channels == 1 else "RGB")
    pixels = np.asarray(picture.convert("RGB"))
    cell = size * scale + LINE
    left = pixels.shape[1] - 3 * cell - LINE
    assert pixels.shape[0] == 5 * cell + LINE

    x = images.first(3).x.double()
    rows = [x, x, *(torch.lerp(x, x.roll(-1, 0), share) for share in (0.25, 0.5, 0.75))]
    labels = []
    for number, row in enumerate(rows):
        top = number * cell + LINE
        for column, expected in enumerate(row):
            start = left + column * cell + LINE
            shown = pixels[top : top + size * scale : scale, start : start + size * scale : scale]
            assert np.abs(shown.astype(float) - expected.expand(3, -1, -1).permute(1, 2, 0).numpy()).max() <= 0.51
        band = pixels[top : top + size * scale, :left].min(-1)
        assert (band < 100).sum() > 50  # ink
        assert (band[:2] == 255).all()  # within its row
        assert (band[-2:] == 255).all()
        assert (band[:, :2] == 255).all()
        labels.append(band)
    assert len({label.tobytes() for label in labels}) == 5


def test_fewer_images_than_columns() -> None:
    images = _images(1, 28, count=2)
    narrow, wide = (
        Image.open(io.BytesIO(space_picture(Identity().fit(images.pixels()), images, columns))).width
        for columns in (1, 16)
    )
    assert wide - narrow == 28 * 2 + LINE


def test_mixed_images_are_of_their_own_batch() -> None:
    """Black and white images: every batch of eight has one ratio, and so one gray and its complement."""
    x = torch.tensor([0, 255], dtype=torch.uint8).repeat(32)[:, None, None, None].expand(-1, 1, 8, 8)
    images = ImageSet("plain", x.contiguous(), torch.arange(64) % 2, ("black", "white"))
    mixed = mixed_images(ready_for(Mixup(), images), images, 32, torch.Generator().manual_seed(0), batch_size=8)
    assert mixed.shape == (32, 1, 8, 8)
    found = [
        {round(min(v, 1 - v), 5) for v in batch[:, 0, 0, 0].tolist() if 1e-4 < v < 1 - 1e-4} for batch in mixed.split(8)
    ]
    assert all(len(ratios) == 1 for ratios in found)
    assert len(set.union(*found)) == 4
