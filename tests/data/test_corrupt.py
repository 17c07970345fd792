import contextlib
import json
import resource
import threading

import numpy as np
import pytest
import torch

from vicinal.core import InputError, seed_at
from vicinal.data.images import CORRUPTION_GROUPS, CORRUPTIONS, SEVERITIES, ImageSet, corrupt_images
from vicinal.data.images import corrupt as corrupt_module

library = pytest.importorskip("imagecorruptions")


def some(n: int = 4, channels: int = 3, height: int = 32, width: int = 32) -> ImageSet:
    generator = np.random.default_rng(channels)
    x = torch.from_numpy(generator.integers(0, 256, (n, channels, height, width), dtype=np.uint8))
    return ImageSet("some", x, torch.arange(n) % 2, ("a", "b"))


def by_the_library(images: ImageSet, corruption: str, severity: int, seed: int = 0) -> np.ndarray:
    """The plain loop: one call of the library for every image."""
    out = []
    height, width = images.x.shape[2:]
    above, before = (max(0, 32 - height)) // 2, (max(0, 32 - width)) // 2
    rows = np.clip(np.arange(max(32, height)) - above, 0, height - 1)
    columns = np.clip(np.arange(max(32, width)) - before, 0, width - 1)
    for row, image in enumerate(images.x.numpy()):
        colour = np.broadcast_to(image, (3, height, width)).transpose(1, 2, 0)
        own = seed_at(row=row, severity=severity, corruption=corruption, seed=seed, purpose="corruption") % 2**32
        np.random.seed(own)  # noqa: NPY002
        drawn = {"seed": own} if corruption in ("glass_blur", "impulse_noise") else {}
        whole = library.corrupt(np.ascontiguousarray(colour[rows][:, columns]), severity, corruption, **drawn)
        cut = whole[above : above + height, before : before + width].transpose(2, 0, 1)
        out.append(cut if len(image) == 3 else np.rint(cut.mean(0, keepdims=True)).astype(np.uint8))
    return np.stack(out)


def test_names_are_the_librarys_in_its_order():
    assert list(CORRUPTIONS) == library.get_corruption_names("common")
    for group, names in CORRUPTION_GROUPS.items():
        assert list(names) == library.get_corruption_names(group)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("images", [some(), some(3, 1, 28, 28), some(2, 3, 20, 41)], ids=["32x32", "grey", "oblong"])
def test_it_is_a_loop_over_the_library(tmp_path, monkeypatch, corruption, images):
    monkeypatch.setattr(corrupt_module, "TASK", 2 * 1024)  # several tasks
    found = corrupt_images(images, corruptions=[corruption], severities=[2, 5], folder=tmp_path, workers=1)
    for severity in (2, 5):
        x = found.batch(corruption, severity)
        assert x.dtype == torch.uint8
        assert np.array_equal(x.numpy(), by_the_library(images, corruption, severity))
    assert torch.equal(found.y, images.y)


def test_frost_on_an_image_larger_than_its_photographs(tmp_path):
    images = some(3, 3, 700, 900)
    found = corrupt_images(images, corruptions=["frost"], severities=[3], folder=tmp_path, workers=1)
    assert np.array_equal(found.batch("frost", 3).numpy(), by_the_library(images, "frost", 3))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_only_the_seed_decides(tmp_path, corruption):
    images = some(2)
    draws = {}
    for place, state, seed in (("a", 0, 0), ("b", 1, 0), ("c", 1, 1)):
        np.random.seed(state)  # noqa: NPY002
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        made = corrupt_images(
            images, corruptions=[corruption], severities=[3], folder=tmp_path / place, seed=seed, workers=1
        )
        draws[place] = made.batch(corruption, 3)
        assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(draws["a"], draws["b"])
    drawn = corruption not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
    assert torch.equal(draws["a"], draws["c"]) != drawn


def test_a_row_does_not_depend_on_the_others(tmp_path):
    images = some(9)
    args = {"corruptions": ["fog"], "severities": [1], "workers": 1}
    whole = corrupt_images(images, folder=tmp_path, **args).batch("fog", 1)
    part = corrupt_images(images.take(slice(4)), folder=tmp_path, **args).batch("fog", 1)
    assert torch.equal(whole[:4], part)


@pytest.mark.slow
def test_workers_change_nothing(tmp_path, monkeypatch):
    images = some(10, 1, 28, 28)
    monkeypatch.setattr(corrupt_module, "TASK", 3 * 1024)
    args = {"corruptions": ["glass_blur", "impulse_noise", "frost", "snow"], "severities": [4]}
    told = []
    two = corrupt_images(images, folder=tmp_path / "2", workers=2, tell=lambda *now: told.append(now), **args)
    one = corrupt_images(images, folder=tmp_path / "1", workers=1, **args)
    for corruption in args["corruptions"]:
        assert torch.equal(one.batch(corruption, 4), two.batch(corruption, 4))
    assert told[-1] == (40, 40)
    # An error in the middle leaves nothing half done.
    with pytest.raises(InputError, match="quota"):
        corrupt_images(images, folder=tmp_path / "3", workers=2, tell=_raise(OSError(122, "quota exceeded")), **args)
    assert [path.name for path in (tmp_path / "3").glob("*/*")] == ["recipe.json"]


def _raise(error):
    def raising(done, total):
        raise error

    return raising


@pytest.fixture
def made(monkeypatch):
    """What was computed, one pair for each task."""
    pairs = []
    spoil = corrupt_module.spoil_rows

    def counting(x, start, corruption, severity, seed):
        pairs.append((corruption, severity))
        return spoil(x, start, corruption, severity, seed)

    monkeypatch.setattr(corrupt_module, "spoil_rows", counting)
    return pairs


def test_nothing_is_made_twice_and_severities_are_added(tmp_path, made):
    images, told = some(), []
    args = {"folder": tmp_path, "workers": 1, "tell": lambda *now: told.append(now)}
    first = corrupt_images(images, corruptions=["contrast", "fog"], severities=[1], **args)
    assert sorted(made) == [("contrast", 1), ("fog", 1)]
    assert told == [(4, 8), (8, 8)]
    made.clear()
    more = corrupt_images(images, corruptions=["fog", "contrast"], severities=[2, 1], **args)
    assert sorted(made) == [("contrast", 2), ("fog", 2)]
    assert more.corruptions == ("fog", "contrast")
    assert more.severities == (1, 2)
    assert torch.equal(first.batch("fog", 1), more.batch("fog", 1))
    made.clear()
    told.clear()
    corrupt_images(images, corruptions=["fog"], severities=[1, 2], **args)
    assert made == told == []
    (place,) = tmp_path.iterdir()
    recipe = json.loads((place / "recipe.json").read_text())
    assert recipe["fingerprint"] == images.fingerprint
    assert recipe["library"] == "imagecorruptions-imaug"
    assert sorted(path.name for path in place.iterdir()) == [
        "contrast-1.npy", "contrast-2.npy", "fog-1.npy", "fog-2.npy", "recipe.json",
    ]  # fmt: skip
    # Other images and other seeds have other folders.
    corrupt_images(images, corruptions=["fog"], severities=[1], seed=1, **args)
    corrupt_images(images.take([0, 1]), corruptions=["fog"], severities=[1], **args)
    assert len(list(tmp_path.iterdir())) == 3


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch, made):
    images = some()
    monkeypatch.setattr(corrupt_module, "TASK", 2 * 1024)
    args = {"corruptions": ["contrast"], "severities": [1, 2], "folder": tmp_path, "workers": 1}

    def stop(done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corrupt_images(images, tell=stop, **args)
    (place,) = tmp_path.iterdir()
    assert sorted(path.name for path in place.iterdir()) == ["contrast-1.npy", "recipe.json"]
    made.clear()
    found = corrupt_images(images, **args)
    assert set(made) == {("contrast", 2)}
    assert np.array_equal(found.batch("contrast", 2).numpy(), by_the_library(images, "contrast", 2))


def test_a_torn_array_is_made_again(tmp_path):
    args = {"corruptions": ["contrast"], "severities": [1], "folder": tmp_path, "workers": 1}
    found = corrupt_images(some(), **args)
    whole = found.batch("contrast", 1)
    (path,) = tmp_path.glob("*/contrast-1.npy")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"contrast-1.npy' can't be read any more; corrupt the images again"):
        found.batch("contrast", 1)
    assert torch.equal(corrupt_images(some(), **args).batch("contrast", 1), whole)


@contextlib.contextmanager
def largest_file(size: int):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_torn_file(tmp_path):
    images = some(40)
    args = {"corruptions": ["contrast"], "severities": [1], "folder": tmp_path, "workers": 1}
    with (
        largest_file(20_000),
        pytest.raises(InputError, match=r"can't be written: File too large; make room, or") as caught,
    ):
        corrupt_images(images, **args)
    assert repr(str(tmp_path)) in str(caught.value)
    assert [path.name for path in tmp_path.glob("*/*")] == ["recipe.json"]
    assert len(corrupt_images(images, **args).batch("contrast", 1)) == 40


def test_a_folder_that_can_not_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/inner' can't be written: Not a directory"):
        corrupt_images(some(), folder=tmp_path / "file" / "inner", workers=1)


def test_two_writers_at_once(tmp_path):
    images, found = some(6), {}
    args = {"corruptions": ["fog", "pixelate"], "severities": [1, 2, 3], "folder": tmp_path, "workers": 1}

    def write(name: int) -> None:
        found[name] = corrupt_images(images, **args)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in range(3):
        assert np.array_equal(found[name].batch("fog", 3).numpy(), by_the_library(images, "fog", 3))
    assert sum(1 for _ in tmp_path.glob("*/*")) == 7


def test_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VICINAL_DATA", str(tmp_path))
    images = ImageSet("../a b", some().x, some().y, ("a", "b"))
    corrupt_images(images, corruptions=["contrast"], severities=[1], workers=1)
    (place,) = (tmp_path / "corrupted").iterdir()
    assert place.name.startswith(".._a_b-")


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ({"corruptions": ["glass"]}, r"no corruption 'glass'; did you mean 'glass_blur'\? \(one of gaussian_noise, "),
        ({"corruptions": "snows"}, "no corruption 'snows'; did you mean 'snow'"),
        ({"corruptions": []}, "must name at least one each"),
        ({"severities": [6]}, "`severity` must be one of 1, 2, 3, 4, 5, got 6"),
        ({"severities": [True]}, "got True"),
        ({"workers": 0}, r"`workers` must lie in \[1, inf\), got 0"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(tmp_path, args, match):
    with pytest.raises(InputError, match=match):
        corrupt_images(some(), folder=tmp_path, **args)
    assert list(tmp_path.iterdir()) == []


def test_two_channels_are_no_image(tmp_path):
    with pytest.raises(InputError, match="`images` must have one or three channels, got 2"):
        corrupt_images(some(2, 2), folder=tmp_path)


def test_a_batch_that_is_not_there(tmp_path):
    found = corrupt_images(some(), corruptions=["snow"], severities=[1], folder=tmp_path, workers=1)
    assert len(found) == 4
    with pytest.raises(InputError, match=r"no corruption 'fog' \(one of snow\)"):
        found.batch("fog", 1)
    with pytest.raises(InputError, match="`severity` must be one of 1, got 2"):
        found.batch("snow", SEVERITIES[1])
