"""Read CIFAR-10-C and Tiny-ImageNet-C as the tests write them."""

import numpy as np
import pytest
import torch

from vicinal.core import InputError
from vicinal.data.images import CORRUPTIONS, SEVERITIES, read_corrupted

pytest.importorskip("torchvision")
from PIL import Image


def write_arrays(folder, n=4, names=(*CORRUPTIONS, "saturate")):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, n)
    written = {name: generator.integers(0, 256, (5 * n, 32, 32, 3), dtype=np.uint8) for name in names}
    for name, x in written.items():
        np.save(folder / f"{name}.npy", x)
    np.save(folder / "labels.npy", np.tile(labels, 5))
    return written, labels


def test_arrays_hold_five_severities_in_a_row(tmp_path):
    written, labels = write_arrays(tmp_path)
    found = read_corrupted(tmp_path)
    assert found.corruptions == CORRUPTIONS  # without saturate, which was held out for validation
    assert found.severities == SEVERITIES
    assert found.name == tmp_path.name
    assert np.array_equal(found.y, labels)
    assert found.y.dtype == torch.int64
    for corruption in ("frost", "gaussian_noise"):
        for severity in SEVERITIES:
            expected = written[corruption][(severity - 1) * 4 : severity * 4].transpose(0, 3, 1, 2)
            batch = found.batch(corruption, severity)
            assert np.array_equal(batch, expected)
            assert batch.is_contiguous()
    batch.zero_()  # the caller's own, not the file's
    assert int(found.batch("gaussian_noise", 5).max()) > 0


def test_those_that_are_there_are_read(tmp_path):
    write_arrays(tmp_path, names=("snow", "shot_noise"))
    found = read_corrupted(str(tmp_path))
    assert found.corruptions == ("shot_noise", "snow")
    with pytest.raises(InputError, match=r"no corruption 'fog' \(one of shot_noise, snow\)"):
        found.batch("fog", 1)


def save(name, array):
    return lambda folder: np.save(folder / name, array)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda folder: (folder / "labels.npy").unlink(), r"must hold labels.npy beside its arrays"),
        (save("labels.npy", np.zeros(19, np.int64)), r"whole numbers, shape \(5 N,\), got int64 \(19,\)"),
        (save("labels.npy", np.zeros(20)), r"whole numbers, shape \(5 N,\), got float64 \(20,\)"),
        (save("labels.npy", np.arange(20)), "the same labels, none negative, for each of 5 severities"),
        (save("labels.npy", np.zeros(10, np.int64)), r"shape \(10, H, W, 3\), as labels.npy has 10 rows, got uint8 \(20,"),
        (save("fog.npy", np.zeros((20, 32, 32), np.uint8)), r"'fog.npy' must be uint8, .* got uint8 \(20, 32, 32\)"),
        (save("fog.npy", np.zeros((20, 3, 32, 32), np.uint8)), r"got uint8 \(20, 3, 32, 32\)"),
        (save("fog.npy", np.zeros((20, 32, 32, 3))), "got float64"),
        (lambda folder: (folder / "fog.npy").write_bytes((folder / "fog.npy").read_bytes()[:-9]), "fog.npy' is damaged"),
        (lambda folder: (folder / "fog.npy").write_bytes(b"text"), r"fog.npy' is damaged: it can't be read as an array"),
        (lambda folder: np.save(folder / "fog.npy", np.array([{}]), allow_pickle=True), "fog.npy' is damaged"),
        (lambda folder: [(folder / f"{name}.npy").unlink() for name in ("fog", "snow")], "has labels.npy, but none of"),
    ],
)  # fmt: skip
def test_arrays_that_are_wrong(tmp_path, spoil, match):
    write_arrays(tmp_path, names=("fog", "snow"))
    spoil(tmp_path)
    with pytest.raises(InputError, match=match) as caught:
        read_corrupted(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_array_that_goes_away(tmp_path):
    write_arrays(tmp_path, names=("fog",))
    found = read_corrupted(tmp_path)
    (tmp_path / "fog.npy").unlink()
    with pytest.raises(InputError, match=r"fog.npy' is damaged"):
        found.batch("fog", 1)


def write_folders(folder, names=("snow", "gaussian_noise"), classes=("n3", "n1")):
    for number, corruption in enumerate(names):
        for severity in SEVERITIES:
            for label in classes:
                place = folder / corruption / str(severity) / label
                place.mkdir(parents=True)
                for image in range(2):
                    colour = (40 * severity, 100 * number, 60 * int(label[1:]) + 30 * image)
                    Image.new("RGB", (64, 64), colour).save(place / f"val_{image}.JPEG", quality=95)


def test_folders_of_images(tmp_path):
    write_folders(tmp_path)
    found = read_corrupted(tmp_path)
    assert found.corruptions == ("gaussian_noise", "snow")
    assert found.y.tolist() == [0, 0, 1, 1]
    batch = found.batch("gaussian_noise", 4).double()
    assert batch.shape == (4, 3, 64, 64)
    assert torch.allclose(batch[:, :2].mean((2, 3)), torch.tensor([160.0, 100.0]).double(), atol=3)
    assert torch.allclose(batch[:, 2].mean((1, 2)), torch.tensor([60.0, 90, 180, 210]).double(), atol=3)
    assert read_corrupted(tmp_path, classes=["n3", "n2", "n1"]).y.tolist() == [2, 2, 0, 0]


def test_folders_that_are_wrong(tmp_path):
    write_folders(tmp_path)
    with pytest.raises(InputError, match=r"`classes` must hold every folder of .*, but lacks 'n3'"):
        read_corrupted(tmp_path, classes=["n1"])
    found = read_corrupted(tmp_path)
    (tmp_path / "snow" / "2" / "n1" / "val_1.JPEG").unlink()
    with pytest.raises(InputError, match=r"snow/2' must hold the same 4 images"):
        found.batch("snow", 2)
    (tmp_path / "snow" / "3" / "n1" / "val_1.JPEG").write_bytes(b"text")
    with pytest.raises(InputError, match=r"val_1.JPEG' is damaged"):
        found.batch("snow", 3)
    (tmp_path / "snow" / "4").rename(tmp_path / "snow" / "6")
    with pytest.raises(InputError, match="lacks severity 4 of 1, 2, 3, 4, 5"):
        read_corrupted(tmp_path)


def test_what_is_neither(tmp_path):
    with pytest.raises(InputError, match=r"no folder '.*nowhere'; unpack CIFAR-10-C"):
        read_corrupted(tmp_path / "nowhere")
    with pytest.raises(InputError, match="got nothing"):
        read_corrupted(tmp_path)
    (tmp_path / "frosted.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"got 'frosted.npy'; did you mean 'frost'\?"):
        read_corrupted(tmp_path)
