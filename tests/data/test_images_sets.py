import subprocess
import sys

import numpy as np
import pytest
import torch

from vicinal.core import InputError
from vicinal.data.images import ImageProblem, ImageSet
from vicinal.data.images import sets as sets_module


def some(n: int = 50, shape: tuple[int, int, int] = (3, 5, 4), k: int = 4, name: str = "some") -> ImageSet:
    generator = np.random.default_rng(n)
    x = torch.from_numpy(generator.integers(0, 256, (n, *shape), dtype=np.uint8))
    return ImageSet(name, x, torch.from_numpy(generator.integers(0, k, n)), tuple("abcdefgh"[:k]))


def test_statistics_are_numpys_whatever_the_chunks(monkeypatch):
    images = some()
    pixels = images.x.numpy().astype(np.float64) / 255
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    monkeypatch.setattr(sets_module, "CHUNK", 7 * images.x[0].numel())
    found = images.channel_statistics()
    assert np.allclose(found[0], mean, rtol=1e-6)
    assert np.allclose(found[1], std, rtol=1e-6)
    assert found[0].dtype == found[1].dtype == torch.float32
    assert images.channel_statistics()[1].shape == (3,)


def test_statistics_of_one_value():
    mean, std = ImageSet(
        "m", torch.full((3, 2, 4, 4), 255, dtype=torch.uint8), torch.zeros(3).long(), ("a",)
    ).channel_statistics()
    assert mean.tolist() == [1, 1]
    assert std.tolist() == [0, 0]


def test_the_fingerprint_is_of_the_content(monkeypatch):
    images = some()
    other = images.x.clone()
    other[49, 2, 4, 3] ^= 1
    labels = images.y.clone()
    labels[0] = (labels[0] + 1) % 4
    prints = {
        images.fingerprint,
        ImageSet("some", other, images.y, images.classes).fingerprint,
        ImageSet("some", images.x, labels, images.classes).fingerprint,
        ImageSet("some", images.x, images.y, ("a", "b", "c", "e")).fingerprint,
        ImageSet("some", images.x.view(50, 3, 4, 5), images.y, images.classes).fingerprint,
        images.take(slice(49)).fingerprint,
    }
    assert len(prints) == 6
    strided = images.x.to(memory_format=torch.channels_last)
    monkeypatch.setattr(sets_module, "CHUNK", 60)
    assert ImageSet("another", strided, images.y, images.classes).fingerprint == images.fingerprint


@pytest.mark.parametrize(
    "index",
    [
        [3, 1, 1],
        torch.tensor([0, -1]),
        np.array([2, 4]),
        slice(5, 20, 3),
        torch.arange(50) % 2 == 0,
        np.arange(50) > 40,
    ],
)
def test_take_is_indexing(index):
    images = some()
    rows = np.arange(50)[index.numpy() if isinstance(index, torch.Tensor) else index]
    assert torch.equal(images.take(index).x, images.x[rows])
    assert torch.equal(images.take(index).y, images.y[rows])
    assert np.array_equal(images.pixels(index), images.x[rows].numpy().astype(np.float32) / np.float32(255))


def test_first_is_a_prefix_of_one_order():
    images = some()
    order = torch.tensor([int(row) for row in images.first(50, seed=3).x.flatten(1).double().sum(1)])
    assert sorted(order.tolist()) == sorted(images.x.flatten(1).double().sum(1).long().tolist())
    assert torch.equal(images.first(20, seed=3).x, images.first(50, seed=3).x[:20])
    assert not torch.equal(images.first(20, seed=3).x, images.first(20, seed=4).x)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.33, 0.9])
def test_a_split_has_its_share_of_every_class(share):
    images = some(203, (1, 1, 2))
    rest, held = images.split(share, seed=1)
    assert len(rest) + len(held) == 203
    assert len(held) == round(share * 203)
    counts, all_counts = torch.bincount(held.y, minlength=4), torch.bincount(images.y, minlength=4)
    assert bool(((counts - share * all_counts).abs() < 1).all())
    # Every image is in one of the two, in the order of rows.
    both = torch.cat([rest.x, held.x]).flatten(1).long() @ torch.tensor([1000, 1])
    assert sorted(both.tolist()) == sorted((images.x.flatten(1).long() @ torch.tensor([1000, 1])).tolist())
    again = images.split(share, seed=1)[1]
    assert torch.equal(again.x, held.x)
    assert not torch.equal(images.split(share, seed=2)[1].x, held.x)


def test_a_split_gives_the_remainders_to_the_largest():
    y = torch.tensor([0] * 9 + [1] * 4 + [2] * 7)  # a tenth of each: 0.9, 0.4, 0.7
    held = ImageSet("r", torch.zeros(20, 1, 1, 1, dtype=torch.uint8), y, ("a", "b", "c")).split(0.1)[1]
    assert held.y.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda s: ImageSet("a", s.x.numpy(), s.y, s.classes), TypeError, r"`x` must be a tensor .* got ndarray"),
        (
            lambda s: ImageSet("a", s.x.float(), s.y, s.classes),
            TypeError,
            r"`x` must be torch.uint8 .* got torch.float32",
        ),
        (lambda s: ImageSet("a", s.x, s.y.int(), s.classes), TypeError, r"`y` must be torch.int64 .* got torch.int32"),
        (lambda s: ImageSet("a", s.x[0], s.y, s.classes), InputError, r"at least one image, .* got \(3, 5, 4\)"),
        (
            lambda s: ImageSet("a", s.x[:0], s.y[:0], s.classes),
            InputError,
            r"at least one image, .* got \(0, 3, 5, 4\)",
        ),
        (lambda s: ImageSet("a", s.x, s.y[:9], s.classes), InputError, r"shape \(50,\), got \(9,\)"),
        (lambda s: ImageSet("a", s.x, s.y, ("a",)), InputError, r"`y` must lie in 0..0, .* got 0..3"),
        (lambda s: ImageSet("a", s.x, s.y - 1, s.classes), InputError, r"`y` must lie in 0..3, .* got -1..2"),
        (lambda s: s.take([50]), InputError, r"rows in 0..49, .* 50"),
        (lambda s: s.take([]), InputError, "at least one of the 50 images"),
        (lambda s: s.take(torch.zeros(50).bool()), InputError, "at least one of the 50 images"),
        (lambda s: s.take([0.5]), TypeError, "whole numbers or a mask, got torch.float32"),
        (lambda s: s.take(torch.ones(49).bool()), InputError, r"a mask \(50,\)"),
        (lambda s: s.take([[1]]), InputError, r"shape \(B,\), got \(1, 1\)"),
        (lambda s: s.first(51), InputError, r"`n` must lie in \[1, 50\], got 51"),
        (lambda s: s.split(1.0), InputError, r"`share` must lie in \(0, 1\), got 1.0"),
        (lambda s: s.split(0.001), InputError, "must leave images in both sets, got 0.001 of 50"),
        (
            lambda s: ImageProblem("p", s, some(shape=(1, 5, 4))),
            InputError,
            r"one shape .* \(3, 5, 4\) and \(1, 5, 4\)",
        ),
        (lambda s: ImageProblem("p", s, some(k=3)), InputError, "the same classes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, error, match):
    with pytest.raises(error, match=match) as caught:
        call(some())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_importing_loads_no_extra():
    code = (
        "import sys, vicinal.data.images;"
        "print([name for name in ('torchvision', 'cv2', 'imagecorruptions', 'PIL', 'skimage') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
