"""Test images are corrupted once, ahead of the workers, which find them; where they don't, they make them."""

from pathlib import Path
from typing import Any

import pytest

from small_images import QUICK, write_images
from vicinal.study.images import corrupt_ahead, make_image_plan, run_image_unit
from vicinal.study.images.plan import ImageUnit
from vicinal.study.suite import Suite


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageUnit:
    monkeypatch.setenv("VICINAL_DATA", str(tmp_path / "data"))
    options = {**QUICK, "epochs": 1, "linearity": [], "distance_images": 0, "corruptions": ["contrast"]}
    suite = Suite(
        "bars", "Bars", (str(write_images(tmp_path / "bars")),), ("erm",), trials=1, kind="images", images=options
    )
    (found,) = make_image_plan(suite, tmp_path / "work").units
    assert isinstance(found, ImageUnit)
    return found


def _arrays(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("data/corrupted/*/*.npy")}


def test_what_was_made_ahead_is_not_made_again(
    unit: ImageUnit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    corrupt_ahead(unit, lambda *now: told.append(now))
    assert told[-1] == (32, 32)  # 16 test images, at 2 severities
    made = _arrays(tmp_path)
    assert sorted(made) == ["contrast-1.npy", "contrast-5.npy"]

    def never(*given: Any) -> None:
        raise AssertionError("corrupted twice")

    monkeypatch.setattr("vicinal.data.images.corrupt._make", never)
    corrupt_ahead(unit)
    (record,) = run_image_unit(unit)
    assert record["status"] == "done", record["error"]
    assert record["corruption_accuracy"]
    assert _arrays(tmp_path) == made


def test_a_worker_without_them_makes_them(unit: ImageUnit, tmp_path: Path) -> None:
    (record,) = run_image_unit(unit)
    assert record["status"] == "done", record["error"]
    assert sorted(_arrays(tmp_path)) == ["contrast-1.npy", "contrast-5.npy"]
