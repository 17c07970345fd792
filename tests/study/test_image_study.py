"""Studies of images: protocol, plan, one unit's work, and a whole small study through the runner."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from small_images import QUICK, SIZE, write_images
from vicinal.cli.image_parts import make_benchmark, published_set
from vicinal.core import InputError
from vicinal.core.loop import Hardware
from vicinal.data.images import ImageProblem, ImageSet, read_images
from vicinal.spaces import MMDVAE
from vicinal.study.images import (
    IMAGE_METHODS,
    Quality,
    corrupted_images,
    evaluate_checkpoints,
    evaluate_classifier,
    make_image_plan,
    quality_of,
    read_image_methods,
    read_image_protocol,
    run_image_unit,
    space_for,
    summarize_images,
    train_judge,
    train_method,
    work,
)
from vicinal.study.record import stable
from vicinal.study.suite import Suite, list_suites, read_suite
from vicinal.vicinity import Mixup

pytestmark = pytest.mark.filterwarnings("ignore:the space loses")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("bars"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICINAL_DATA", str(tmp_path / "data"))


def _suite(folder: Path, **changes: Any) -> Suite:
    suite = Suite("bars", "Bars", (str(folder),), ("erm", "varmixup"), trials=2, kind="images", images=QUICK)
    return replace(suite, **changes)


@pytest.mark.parametrize("name", [name for name in list_suites() if name.startswith("varmixup/")])
def test_a_suite_of_images_names_methods_and_entries_that_there_are(name: str) -> None:
    suite = read_suite(name)
    assert suite.kind == "images"
    assert [method.name for method in read_image_methods(suite.methods)] == list(suite.methods)
    read_image_protocol(suite.images)
    assert suite.subject in suite.methods


def test_the_published_numbers_are_the_papers() -> None:
    rows = {
        (r["dataset"], r["method"], r["metric"]): (r["value"], r["std"])
        for r in read_suite("varmixup/table1").published
    }
    assert rows["cifar-10", "mixup+varmixup", "corruption_accuracy"] == (83.36, 0.46)
    assert rows["tiny-imagenet", "iat", "accuracy"] == (18.08, 0.34)
    assert ("tiny-imagenet", "manifold-mixup", "accuracy") not in rows
    assert len(rows) == 58


def test_the_papers_settings_are_the_defaults() -> None:
    protocol = read_image_protocol({})
    assert (protocol.optimizer, protocol.learning_rate, protocol.schedule) == ("adam", 1e-3, "constant")
    assert (protocol.alpha, protocol.manifold_alpha, protocol.epsilon, protocol.step_size) == (
        1.0,
        2.0,
        8 / 255,
        2 / 255,
    )
    epochs = {
        name: IMAGE_METHODS[name].epochs
        for name in ("erm", "mixup", "varmixup", "manifold-mixup", "at", "trades", "iat")
    }
    assert list(epochs.values()) == [100, 150, 150, 150, 250, 250, 350]


@pytest.mark.parametrize("name", IMAGE_METHODS)
def test_every_method_trains(name: str, folder: Path) -> None:
    images, protocol = read_images(str(folder)).train, replace(read_image_protocol(QUICK), epochs=1)
    method = IMAGE_METHODS[name]
    space = None if method.space is None else space_for(method.space, images, protocol)
    trained = train_method(method, images, protocol, space=space, seed=1)
    assert trained.result.history[-1]["loss"] < 100
    assert (trained.space is None) == (method.space is None)
    assert trained.classifier(images.pixels([0, 1])).shape == (2, 2)


def test_a_method_that_needs_a_space_says_so(folder: Path) -> None:
    images, protocol = read_images(str(folder)).train, read_image_protocol(QUICK)
    with pytest.raises(InputError, match="mixes in a space"):
        train_method(IMAGE_METHODS["varmixup"], images, protocol)
    other = MMDVAE(latent=(4, 4, 4), width=8, epochs=1, device="cpu").fit(torch.rand(8, 1, 8, 8))
    with pytest.raises(InputError, match=r"`space` must be of images \(1, 16, 16\), got one of \(1, 8, 8\)"):
        train_method(IMAGE_METHODS["varmixup"], images, protocol, space=other)


def test_a_space_is_trained_once_and_kept(folder: Path, tmp_path: Path) -> None:
    images, protocol = read_images(str(folder)).train, read_image_protocol(QUICK)
    first = space_for("vae", images, protocol, folder=tmp_path)
    files = list(tmp_path.iterdir())
    assert [path.name for path in files if path.is_dir()] == [".locks"]
    files = list(tmp_path.glob("*.safetensors"))
    assert files[0].name.startswith(images.name.split("/")[-1]) or images.name in files[0].name
    told: list[Any] = []
    again = space_for("vae", images, protocol, folder=tmp_path, tell=told.append)
    assert not told
    assert again.key() == first.key()
    x = images.pixels([0])
    assert torch.equal(first.encode(x), again.encode(x))
    assert space_for("adv-vae", images, protocol, folder=tmp_path).key() != first.key()
    assert space_for("vae", images, protocol, seed=1, folder=tmp_path).key() != first.key()
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


def test_a_poor_space_is_told_of(folder: Path) -> None:
    problem = read_images(str(folder))
    judge = train_judge(problem.train)
    blurred = space_for("vae", problem.train, read_image_protocol(QUICK))
    good = Quality(1.0, 0.9, 0.85)
    assert good.warning is None
    assert "loses 30 points" in str(Quality(1.0, 0.9, 0.6).warning)
    quality = quality_of(blurred, problem.test, judge)
    again = blurred.decode(blurred.encode(problem.test.pixels()))
    assert quality.error == pytest.approx(float((again - problem.test.pixels()).square().sum()) / len(again), rel=1e-5)


def test_a_plan_has_a_unit_for_every_method_and_trial(folder: Path, tmp_path: Path) -> None:
    plan = make_image_plan(_suite(folder), tmp_path)
    assert sorted((unit.axes[0].method, unit.axes[0].options["trial"]) for unit in plan.units) == [
        ("erm", 0), ("erm", 1), ("varmixup", 0), ("varmixup", 1),
    ]  # fmt: skip
    assert plan.units[0].axes[0].method == "varmixup"  # the longest first
    keys = {unit.keys[0] for unit in plan.units}
    assert len(keys) == 4
    longer = make_image_plan(_suite(folder), tmp_path, options={"epochs": 3})
    assert not keys & {unit.keys[0] for unit in longer.units}
    more = make_image_plan(_suite(folder), tmp_path, trials=3)
    assert keys < {unit.keys[0] for unit in more.units}


def test_a_plan_without_data_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the data sets of bars is to be had"):
        make_image_plan(_suite(tmp_path / "nowhere"), tmp_path)


def test_a_unit_gives_the_same_record_again(folder: Path, tmp_path: Path) -> None:
    unit = next(u for u in make_image_plan(_suite(folder), tmp_path / "a").units if u.axes[0].method == "varmixup")
    (record,) = run_image_unit(unit)
    assert record["status"] == "done", record["error"]
    expected = {
        "accuracy",
        "ece",
        "corruption_accuracy",
        "corruption_accuracy_contrast",
        "severity_accuracy_5",
        "linearity_2.55",
    }
    assert expected <= record.keys()
    assert {"fid", "kid", "reconstruction_error"} <= record.keys()
    assert {"train_seconds", "space_seconds"} <= record["run"].keys()
    (again,) = run_image_unit(replace(unit, scratch=str(tmp_path / "b")))
    assert stable(record) == stable(again)


def test_every_trial_runs_beside_the_others(folder: Path, tmp_path: Path) -> None:
    """All of the training images in each: what is kept of one trial must not be taken for another's."""
    for unit in make_image_plan(_suite(folder), tmp_path, methods="erm").units:
        (record,) = run_image_unit(unit)
        assert record["status"] == "done", record["error"]


def test_judges_of_another_precision_are_others(folder: Path, tmp_path: Path) -> None:
    images = read_images(str(folder)).train
    for precision in ("32-true", "bf16-mixed"):
        train_judge(images, hardware=Hardware(device="cpu", precision=precision), folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_the_input_forbids_is_a_failed_record(folder: Path, tmp_path: Path) -> None:
    plan = make_image_plan(_suite(folder), tmp_path, methods="erm", trials=1, options={"learning_rate": 1e30})
    (record,) = run_image_unit(plan.units[0])
    assert record["status"] == "failed"
    assert record["error"]["kind"] == "DivergedError"


def test_checkpoints_are_compared(folder: Path, tmp_path: Path) -> None:
    problem, protocol = read_images(str(folder)), read_image_protocol({**QUICK, "linearity": []})
    for name in ("erm", "mixup"):
        train_method(IMAGE_METHODS[name], problem.train, protocol, folder=tmp_path / name)
    found = evaluate_checkpoints([tmp_path / "erm", tmp_path / "mixup"], problem, None, protocol)
    assert [one.method for one in found] == ["erm", "mixup"]
    summary = summarize_images(found, "Two")
    assert summary["title"] == "Two"
    other = replace(problem.test, classes=("across", "up"))
    with pytest.raises(InputError, match="a classifier of other classes: 'down' is 'up' in"):
        evaluate_checkpoints([tmp_path / "erm"], replace(problem, train=other, test=other), None, protocol)
    other = replace(problem.test, classes=("a", "b", "c"))
    with pytest.raises(InputError, match="is a classifier of 2 classes"):
        evaluate_checkpoints([tmp_path / "erm"], replace(problem, train=other, test=other), None, protocol)


def test_a_checkpoint_says_what_its_training_took(folder: Path, tmp_path: Path) -> None:
    problem, protocol = read_images(str(folder)), read_image_protocol({**QUICK, "linearity": []})
    images = problem.train.first(20)
    space = space_for("vae", images, protocol)
    train_method(IMAGE_METHODS["varmixup"], images, protocol, space=space, folder=tmp_path)
    (found,) = evaluate_checkpoints([tmp_path], problem, None, protocol)
    assert found.space_seconds == space.seconds_ > 0
    assert found.facts["rows"] == 20


class _Counting(torch.nn.Module):
    """A linear classifier that knows the largest batch it took with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.largest = torch.nn.Linear(SIZE**2, 2), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.requires_grad:
            self.largest = max(self.largest, len(x))
        logits: torch.Tensor = self.layer(x.flatten(1))
        return logits


def test_no_gradient_is_of_more_images_than_a_step_of_training(folder: Path) -> None:
    network, protocol = _Counting(), read_image_protocol({**QUICK, "linearity_images": 16, "batch_size": 5})
    scores = evaluate_classifier(network, read_images(str(folder)).test, None, protocol)
    assert "linearity_2.55" in scores
    assert network.largest == 5


def _like_cifar(folder: Path, size: int = 32) -> ImageProblem:
    """Write a corrupted set in the published format, and return two images under the published name."""
    place = folder / "CIFAR-10-C"
    place.mkdir(parents=True, exist_ok=True)
    np.save(place / "labels.npy", np.tile([0, 1], 5))
    for number, name in enumerate(("fog", "contrast")):
        np.save(place / f"{name}.npy", np.full((10, 32, 32, 3), 50 + number, np.uint8))
    images = ImageSet(
        "cifar-10-test", torch.full((2, 3, size, size), 9, dtype=torch.uint8), torch.arange(2), ("a", "b")
    )
    return ImageProblem("cifar-10", images, images)


def test_the_published_set_is_taken_as_the_protocol_says(tmp_path: Path) -> None:
    problem = _like_cifar(tmp_path)
    asked = {"corruptions": ["fog"], "severities": [3, 1]}
    found = corrupted_images(problem, read_image_protocol(asked), tmp_path)
    assert (found.name, found.corruptions, found.severities) == ("CIFAR-10-C", ("fog",), (1, 3))
    assert found.batch("fog", 3).unique().tolist() == [50]
    with pytest.raises(InputError, match="CIFAR-10-C lacks 'frost'"):
        corrupted_images(problem, read_image_protocol({"corruptions": ["fog", "frost"]}), tmp_path)


def test_the_published_set_is_not_for_images_of_another_size(tmp_path: Path) -> None:
    problem = _like_cifar(tmp_path, size=40)
    protocol = read_image_protocol({"corruptions": ["contrast"], "severities": [1]})
    found = corrupted_images(problem, protocol, tmp_path, workers=1)
    assert found.batch("contrast", 1).shape == (2, 3, 40, 40)


def test_the_command_looks_for_the_published_set_beside_the_images(tmp_path: Path) -> None:
    problem, protocol = _like_cifar(tmp_path), read_image_protocol({"corruptions": ["fog"]})
    assert make_benchmark(problem, protocol, True, tmp_path, Console(quiet=True)).name == "CIFAR-10-C"
    with pytest.raises(InputError, match="--corrupted must hold images of"):
        published_set(tmp_path / "CIFAR-10-C", _like_cifar(tmp_path, size=40))


def test_two_that_want_the_same_corruptions_make_them_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, protocol = read_images(str(folder)), read_image_protocol(QUICK)
    inside, most = 0, 0

    def slow(*_: Any, **__: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.1)
        inside -= 1

    monkeypatch.setattr("vicinal.study.images.evaluate.corrupt_images", slow)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: corrupted_images(problem, protocol), range(2)))
    assert most == 1


def test_workers_take_turns_with_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert work._device() == "auto"  # not a worker
    for name, device in ((0, "cuda:0"), (3, "cuda:1"), ("mine", "auto")):
        monkeypatch.setattr("distributed.get_worker", lambda name=name: SimpleNamespace(name=name))
        assert work._device() == device


def test_a_network_that_there_is_not_is_told_before_anything_is_trained(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="small-resnet"):
        make_image_plan(_suite(folder), tmp_path, options={"network": "small-resne"})


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"epochs": 0}, r"`epochs` must lie in \[1"),
        ({"train_images": -3}, r"`train_images` must lie in \[1"),
        ({"batch_size": 2.5}, "`batch_size` must be an integer, got 2.5"),
        ({"linearity": 0.03}, "`linearity` must be a list, got 0.03"),
        ({"linearity": "none"}, "`linearity` must be a list, got 'none'; write it in brackets"),
        ({"distance_images": 1}, "`distance_images` must be 0 for none, or at least 2, got 1"),
        ({"severities": [9]}, "`severity` must be one of 1, 2, 3, 4, 5, got 9"),
        ({"corruptions": ["fogg"]}, "did you mean 'fog'"),
        ({"corruptions": []}, "must name at least one each"),
        ({"schedule": "cosin"}, "`schedule` must be one of"),
        ({"schedule": "multistep"}, "`milestones` must name"),
        ({"epoch": 3}, "has no entry 'epoch'; did you mean 'epochs'"),
        ({"network": 3}, "'network' of a protocol must be like"),
        ({"augmented": 1}, "'augmented' of a protocol must be like"),
        ({"vae": {"depth": 3}}, "'vae' has no entry 'depth'"),
        ({"vae": 3}, "'vae' of a protocol must be like"),
        ({"alpha": -1.0}, "`alpha` must lie in"),
        ({"epsilon": 8}, "`epsilon` must lie in"),
    ],
)
def test_wrong_entries_are_named(given: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_image_protocol(given)


def test_unknown_methods_are_named() -> None:
    with pytest.raises(InputError, match="did you mean 'varmixup'"):
        read_image_methods("varmixupp")
    with pytest.raises(InputError, match="names none"):
        read_image_methods(" , ")


def test_mixup_here_is_mixup_anywhere() -> None:
    vicinity = IMAGE_METHODS["mixup"].vicinity(read_image_protocol({}), None)
    assert vicinity.key() == Mixup(1.0).key()
