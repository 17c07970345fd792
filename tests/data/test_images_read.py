"""Read what the tests write in the published formats."""

import gzip
import hashlib
import pickle
import shutil
import struct
import tarfile
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from vicinal.core import InputError
from vicinal.data.images import IMAGE_PROBLEMS, read_images
from vicinal.data.images import read as read_module

torchvision = pytest.importorskip("torchvision")
from PIL import Image  # noqa: E402
from torchvision.datasets import utils as torchvision_utils  # noqa: E402

DEBIAN = Path(read_module.DEBIAN_FASHION_MNIST)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(torchvision_utils.urllib.request, "urlopen", refuse)
    monkeypatch.delenv("VICINAL_DATA", raising=False)


# MNIST and Fashion-MNIST


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, *, packed: bool = True) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for part, n in (("train", 20), ("t10k", 12)):
        written[f"{part}-images-idx3-ubyte"] = generator.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        written[f"{part}-labels-idx1-ubyte"] = generator.integers(0, 10, n, dtype=np.uint8)
    for name, array in written.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
        else:
            (folder / name).write_bytes(idx_bytes(array))
    return written


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("inner", ["", "{name}", "{kind}/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read_wherever_they_lie(tmp_path, name, inner, packed):
    kind = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name]
    written = write_idx(tmp_path / inner.format(name=name, kind=kind), packed=packed)
    problem = read_images(name, tmp_path)
    assert problem.shape == (1, 28, 28)
    assert np.array_equal(problem.train.x[:, 0], written["train-images-idx3-ubyte"])
    assert np.array_equal(problem.test.y, written["t10k-labels-idx1-ubyte"])
    assert problem.classes == tuple(getattr(torchvision.datasets, kind).classes)
    assert (problem.train.name, problem.test.name) == (f"{name}-train", f"{name}-test")


def test_idx_is_what_torchvision_reads(tmp_path):
    write_idx(tmp_path / "MNIST" / "raw", packed=False)
    theirs = torchvision.datasets.MNIST(tmp_path, train=False)
    ours = read_images("mnist", tmp_path).test
    assert torch.equal(ours.x[:, 0], theirs.data)
    assert torch.equal(ours.y, theirs.targets)


def test_the_folder_is_named_by_the_environment(tmp_path, monkeypatch):
    write_idx(tmp_path)
    monkeypatch.setenv("VICINAL_DATA", str(tmp_path))
    assert len(read_images("mnist").train) == 20


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_as_debian_installs_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VICINAL_DATA", str(tmp_path))
    problem = read_images("fashion-mnist")
    assert (len(problem.train), len(problem.test), problem.shape) == (60000, 10000, (1, 28, 28))
    assert torch.bincount(problem.test.y).tolist() == [1000] * 10
    mean, std = problem.train.channel_statistics()
    assert (round(float(mean), 4), round(float(std), 4)) == (0.2860, 0.3530)  # as published with many models
    assert list(tmp_path.iterdir()) == []


def torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("file", "data", "match"),
    [
        ("train-images-idx3-ubyte.gz", torn(gzip.compress(bytes(range(256)) * 90)), "the archive can't be unpacked"),
        ("train-images-idx3-ubyte.gz", b"<html>not found</html>", "the archive can't be unpacked"),
        (
            "train-labels-idx1-ubyte.gz",
            gzip.compress(b"\0\0\x0b\1" + b"\0" * 30),
            "must begin with 00000801, got 00000b01",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            gzip.compress(idx_bytes(np.zeros((12, 28, 28), np.uint8))[:-1]),
            "9424 bytes, got 9423",
        ),
        ("t10k-labels-idx1-ubyte.gz", gzip.compress(b""), "got nothing"),
        (
            "t10k-labels-idx1-ubyte.gz",
            gzip.compress(idx_bytes(np.zeros(11, np.uint8))),
            "12 images need as many labels",
        ),
        ("t10k-labels-idx1-ubyte.gz", gzip.compress(idx_bytes(np.full(12, 10, np.uint8))), r"labels in 0\.\.9"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, file, data, match):
    write_idx(tmp_path)
    (tmp_path / file).write_bytes(data)
    with pytest.raises(InputError, match=rf"{file}' is damaged: .*{match}.*; delete it and fetch it again\.") as caught:
        read_images("fashion-mnist", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_fetch_that_was_torn_is_not_overwritten_in_silence(tmp_path):
    write_idx(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz' is damaged: its checksum"):
        read_images("mnist", tmp_path)


@pytest.mark.parametrize("name", list(IMAGE_PROBLEMS))
def test_without_files_and_network_the_way_out_is_named(tmp_path, name):
    with pytest.raises(InputError, match=r"which is not in .* could not be fetched \(.*no network") as caught:
        read_images(name, tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "`folder` (--images)" in message
    assert "http" in message
    assert ("apt-get install dataset-fashion-mnist" in message) == (name == "fashion-mnist")
    assert "\n" not in message


def test_the_file_that_lacks_is_named(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"fashion-mnist needs 't10k-labels-idx1-ubyte.gz'"):
        read_images("fashion-mnist", tmp_path)


# CIFAR


def write_cifar(folder: Path, kind: type, monkeypatch) -> dict[str, np.ndarray]:
    """Write CIFAR in its own format: pickled dictionaries of rows (3072,), with checksums that torchvision then expects."""
    generator = np.random.default_rng(0)
    fine = kind.__name__ == "CIFAR100"
    base = folder / kind.base_folder
    base.mkdir(parents=True)
    classes = [f"class {number}" for number in range(100 if fine else 10)]

    def write(name: str, content: dict) -> str:
        data = pickle.dumps(content)
        (base / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    written: dict[str, list] = {"train": [], "test": []}
    lists = {}
    for part, files in (("train", kind.train_list), ("test", kind.test_list)):
        lists[part] = []
        for name, _ in files:
            data = generator.integers(0, 256, (6, 3072), dtype=np.uint8)
            labels = generator.integers(0, len(classes), 6).tolist()
            written[part].append((data, labels))
            lists[part].append([name, write(name, {"data": data, "fine_labels" if fine else "labels": labels})])
    meta = {**kind.meta, "md5": write(kind.meta["filename"], {kind.meta["key"]: classes})}
    monkeypatch.setattr(kind, "train_list", lists["train"])
    monkeypatch.setattr(kind, "test_list", lists["test"])
    monkeypatch.setattr(kind, "meta", meta)
    return {part: np.concatenate([data for data, _ in found]) for part, found in written.items()} | {
        f"{part} labels": np.concatenate([labels for _, labels in found]) for part, found in written.items()
    }


@pytest.mark.parametrize(("name", "kind"), [("cifar-10", "CIFAR10"), ("cifar-100", "CIFAR100")])
def test_cifar_in_its_own_format(tmp_path, monkeypatch, name, kind):
    written = write_cifar(tmp_path, getattr(torchvision.datasets, kind), monkeypatch)
    problem = read_images(name, tmp_path)
    for part, images in (("train", problem.train), ("test", problem.test)):
        assert np.array_equal(images.x.numpy().reshape(-1, 3072), written[part])
        assert np.array_equal(images.y, written[f"{part} labels"])
    assert problem.classes[3] == "class 3"
    assert problem.train.x.is_contiguous()
    small = read_images(name, tmp_path, size=16)
    assert small.shape == (3, 16, 16)
    assert abs(float(small.train.pixels().mean() - problem.train.pixels().mean())) < 0.01


def test_cifar_from_an_archive_that_is_there(tmp_path, monkeypatch):
    kind = torchvision.datasets.CIFAR10
    written = write_cifar(tmp_path, kind, monkeypatch)
    archive = tmp_path / kind.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / kind.base_folder, kind.base_folder)
    shutil.rmtree(tmp_path / kind.base_folder)
    with pytest.raises(InputError, match=r"cifar-10-python.tar.gz' is damaged: its checksum"):
        read_images("cifar-10", tmp_path)
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    assert np.array_equal(read_images("cifar-10", tmp_path).test.x.numpy().reshape(-1, 3072), written["test"])


def test_a_damaged_batch_is_named(tmp_path, monkeypatch):
    kind = torchvision.datasets.CIFAR10
    write_cifar(tmp_path, kind, monkeypatch)
    path = tmp_path / kind.base_folder / "data_batch_3"
    path.write_bytes(torn(path.read_bytes()))
    with pytest.raises(InputError, match=r"data_batch_3' is damaged: its checksum .* delete it and fetch it again"):
        read_images("cifar-10", tmp_path)


# Folders


def write_image(path: Path, colour: object, shape: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, shape, colour).save(path)


def test_a_folder_of_classes(tmp_path):
    for count, label in enumerate(["ant", "bee", "cat"]):
        write_image(tmp_path / "train" / label / "b.png", (count, 0, 9))
        write_image(tmp_path / "train" / label / "sub" / "a.bmp", (count, 1, 9))
    write_image(tmp_path / "val" / "cat" / "z.png", (7, 7, 7))
    (tmp_path / "train" / "ant" / "notes.txt").write_text("no image")
    problem = read_images(tmp_path)
    assert problem.classes == ("ant", "bee", "cat")
    assert problem.train.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert problem.train.x[:, :, 0, 0].tolist() == [[0, 0, 9], [0, 1, 9], [1, 0, 9], [1, 1, 9], [2, 0, 9], [2, 1, 9]]
    assert problem.test.y.tolist() == [2]
    theirs = torchvision.datasets.ImageFolder(str(tmp_path / "train"))
    assert np.array_equal(problem.train.x[3].permute(1, 2, 0), np.asarray(theirs[3][0]))
    # test/ is preferred to val/ where its classes are train's, such as not in Tiny-ImageNet's test/images.
    write_image(tmp_path / "test" / "images" / "t.png", (1, 1, 1))
    assert read_images(tmp_path).test.y.tolist() == [2]
    shutil.rmtree(tmp_path / "test")
    write_image(tmp_path / "test" / "bee" / "t.png", (1, 1, 1))
    assert read_images(tmp_path).test.y.tolist() == [1]


def test_images_are_grey_only_if_all_are(tmp_path):
    for part in ("train", "test"):
        write_image(tmp_path / part / "a" / "1.png", 5, mode="L")
        write_image(tmp_path / part / "a" / "2.png", 1, mode="1")
    problem = read_images(tmp_path)
    assert problem.shape == (1, 8, 8)
    assert problem.train.x[:, 0, 0, 0].tolist() == [5, 255]
    write_image(tmp_path / "test" / "a" / "3.png", (1, 2, 3))
    problem = read_images(tmp_path)
    assert problem.train.x[:, :, 0, 0].tolist() == [[5, 5, 5], [255, 255, 255]]
    assert problem.test.x[2, :, 0, 0].tolist() == [1, 2, 3]


def test_images_of_different_sizes_need_a_size(tmp_path):
    write_image(tmp_path / "train" / "a" / "1.png", (9, 9, 9), (20, 10))
    write_image(tmp_path / "test" / "a" / "1.png", (9, 9, 9), (10, 30))
    with pytest.raises(InputError, match=r"one size, got 20 x 10 in .*1.png' and 10 x 30 in .*; give `size` "):
        read_images(tmp_path)
    # The left third is black: the centre of 20 x 10 at 5 x 5 begins at 5 of 20.
    wide = np.full((10, 20, 3), 200, np.uint8)
    wide[:, :5] = 0
    Image.fromarray(wide).save(tmp_path / "train" / "a" / "1.png")
    problem = read_images(tmp_path, size=10)
    assert problem.shape == (3, 10, 10)
    assert problem.train.x.unique().tolist() == [200]
    assert read_images(tmp_path, size=5).test.x.unique().tolist() == [9]
    with pytest.raises(InputError, match=r"`size` must lie in \[1, inf\), got 0"):
        read_images(tmp_path, size=0)


def write_tiny(folder: Path) -> None:
    wnids = ["n02", "n01"]
    for label in wnids:
        for number in range(2):
            write_image(
                folder / "train" / label / "images" / f"{label}_{number}.JPEG", (int(label[1:]) * 50, 0, 0), (64, 64)
            )
    for number, colour in enumerate([50, 100, 50]):
        write_image(folder / "val" / "images" / f"val_{number}.JPEG", (colour, 0, 0), (64, 64))
    lines = [f"val_{number}.JPEG\t{label}\t0\t0\t62\t62" for number, label in enumerate(["n01", "n02", "n01"])]
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    (folder / "wnids.txt").write_text("\n".join(wnids))
    write_image(folder / "test" / "images" / "test_0.JPEG", (0, 0, 0), (64, 64))


@pytest.mark.parametrize("how", ["path", "name", "archive"])
def test_tiny_imagenet_as_it_is_published(tmp_path, how):
    write_tiny(tmp_path / "tiny-imagenet-200")
    if how == "archive":
        shutil.make_archive(str(tmp_path / "tiny-imagenet-200"), "zip", tmp_path, "tiny-imagenet-200")
        shutil.rmtree(tmp_path / "tiny-imagenet-200")
    problem = read_images(tmp_path / "tiny-imagenet-200") if how == "path" else read_images("tiny-imagenet", tmp_path)
    assert problem.classes == ("n01", "n02")
    assert problem.shape == (3, 64, 64)
    assert problem.train.y.tolist() == [0, 0, 1, 1]
    assert problem.test.y.tolist() == [0, 1, 0]
    assert [round(value / 50) for value in problem.test.x[:, 0, 5, 5].tolist()] == [1, 2, 1]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_torn_archive_of_tiny_imagenet(tmp_path):
    write_tiny(tmp_path / "tiny-imagenet-200")
    archive = Path(shutil.make_archive(str(tmp_path / "tiny-imagenet-200"), "zip", tmp_path, "tiny-imagenet-200"))
    shutil.rmtree(tmp_path / "tiny-imagenet-200")
    archive.write_bytes(torn(archive.read_bytes()))
    with pytest.raises(InputError, match=r"tiny-imagenet-200.zip' is damaged: the archive can't be unpacked"):
        read_images("tiny-imagenet", tmp_path)
    assert zipfile.is_zipfile(archive) is False
    assert list(tmp_path.iterdir()) == [archive]


def test_a_wrong_line_of_annotations(tmp_path):
    write_tiny(tmp_path)
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn01\t0\nval_1.JPEG n02\n")
    with pytest.raises(InputError, match=r"line 2 of .*val_annotations.txt' must be .* got 'val_1.JPEG n02'"):
        read_images(tmp_path)
    (tmp_path / "val" / "val_annotations.txt").write_text("val_9.JPEG\tn01\n")
    with pytest.raises(InputError, match=r"no file '.*val_9.JPEG'"):
        read_images(tmp_path)
    (tmp_path / "val" / "val_annotations.txt").write_text("")
    with pytest.raises(InputError, match=r"val_annotations.txt' is empty"):
        read_images(tmp_path)


def test_a_damaged_image_is_named(tmp_path):
    write_image(tmp_path / "train" / "a" / "1.png", (1, 2, 3))
    write_image(tmp_path / "test" / "a" / "1.jpg", (1, 2, 3), (64, 64))
    path = tmp_path / "test" / "a" / "1.jpg"
    path.write_bytes(torn(path.read_bytes()))
    with pytest.raises(
        InputError, match=r"1.jpg' is damaged: it can't be decoded \(.*\); delete it and fetch it again"
    ):
        read_images(tmp_path, size=8)
    path.write_bytes(b"text")
    with pytest.raises(InputError, match=r"1.jpg' is damaged"):
        read_images(tmp_path, size=8)


def test_sixteen_bits_are_not_cut_off(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        Image.fromarray(np.full((8, 8), 1000, np.uint16)).save(tmp_path / part / "a" / "1.png")
    with pytest.raises(InputError, match="must have 8 bits a pixel, got mode 'I;16'"):
        read_images(tmp_path)


def test_what_is_no_folder_of_images(tmp_path):
    with pytest.raises(InputError, match=r"no images or folder 'fasion-mnist'; did you mean 'fashion-mnist'\?"):
        read_images("fasion-mnist")
    with pytest.raises(InputError, match="must hold train/CLASS/"):
        read_images(tmp_path)
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"train' lacks images: Found no valid file for the classes a"):
        read_images(tmp_path)
    write_image(tmp_path / "train" / "a" / "1.png", (0, 0, 0))
    with pytest.raises(InputError, match=r"lacks images to test on: no folders of classes in test/; no folders of"):
        read_images(tmp_path)
    write_image(tmp_path / "val" / "b" / "1.png", (0, 0, 0))
    with pytest.raises(InputError, match=r"val/ has 'b', which train/ lacks"):
        read_images(tmp_path)
