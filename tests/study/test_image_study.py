"""Studies of images: protocol, plan, one unit's work, and a whole small study through the runner."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from small_images import QUICK, write_images
from vicinal.core import InputError
from vicinal.data.images import read_images
from vicinal.spaces import MMDVAE
from vicinal.study.images import (
    IMAGE_METHODS,
    Quality,
    evaluate_checkpoints,
    make_image_plan,
    quality_of,
    read_image_methods,
    read_image_protocol,
    run_image_unit,
    space_for,
    summarize_images,
    train_judge,
    train_method,
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
    assert len(files) == 1
    assert files[0].name.startswith(images.name.split("/")[-1]) or images.name in files[0].name
    told: list[Any] = []
    again = space_for("vae", images, protocol, folder=tmp_path, tell=told.append)
    assert not told
    assert again.key() == first.key()
    x = images.pixels([0])
    assert torch.equal(first.encode(x), again.encode(x))
    assert space_for("adv-vae", images, protocol, folder=tmp_path).key() != first.key()
    assert space_for("vae", images, protocol, seed=1, folder=tmp_path).key() != first.key()
    assert len(list(tmp_path.iterdir())) == 3


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
    other = replace(problem.test, classes=("a", "b", "c"))
    with pytest.raises(InputError, match="is a classifier of 2 classes"):
        evaluate_checkpoints([tmp_path / "erm"], replace(problem, train=other, test=other), None, protocol)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"epoch": 3}, "has no entry 'epoch'; did you mean 'epochs'"),
        ({"network": 3}, "'network' of a protocol must be like"),
        ({"augmented": 1}, "'augmented' of a protocol must be like"),
        ({"vae": {"depth": 3}}, "'vae' has no entry 'depth'"),
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
