"""What long commands say while they run: where a training goes on, what a study is at."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from vicinal.cli import image_progress
from vicinal.cli.image_progress import counting, watching
from vicinal.cli.study_progress import running
from vicinal.core.loop import LoopProgress
from vicinal.study.tally import Tally


def _console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=120), file


@pytest.mark.parametrize(
    ("resumed", "said"),
    [
        (0, ""),
        (20, "space: goes on after epoch 2 of 5\n"),
        (23, "space: goes on in epoch 3 of 5\n"),
        (50, "space: was trained before, 5 epochs\n"),
    ],
)
def test_a_training_that_was_begun_says_so_once(resumed: int, said: str) -> None:
    console, file = _console()
    with watching(console) as tell:
        for step in range(resumed, min(resumed + 3, 51)):
            tell("space", LoopProgress(step // 10, 5, step, 50, 1.0, {}, 1.0, None, resumed))
    assert file.getvalue() == said


def test_a_study_says_what_runs_before_anything_is_done() -> None:
    console, file = _console(terminal=True)
    with running(console) as tell:
        assert "starting workers" in file.getvalue()
        tell(Tally(48, 0, 0, running=2))
    assert "2 running, 0 of 48 done" in file.getvalue().rpartition("starting workers")[2]


def test_counting_is_a_line_now_and_then_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_progress, "LINE_SECONDS", -1.0)
    console, file = _console()
    with counting(console, "corrupting the images of [x] {y}") as tell:
        tell(3, 8)
    assert file.getvalue() == "corrupting the images of [x] {y}: 3 of 8\n"


def test_a_name_is_no_markup_in_a_bar() -> None:
    console, file = _console(terminal=True)
    with counting(console, "corrupting the images of [bold] {y}") as tell:
        tell(3, 8)
    assert "corrupting the images of [bold] {y}" in file.getvalue()


def test_images_are_corrupted_before_workers_start_and_only_for_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vicinal.cli import study
    from vicinal.study.plan import Plan
    from vicinal.study.store import Store

    class Unit:
        cost, axes = 1.0, ()

        def __init__(self, dataset: str, key: str) -> None:
            self.dataset, self.keys = dataset, (key,)

    class Known:
        def __init__(self, status: str) -> None:
            self.status = status

    asked: list[str] = []
    monkeypatch.setattr("vicinal.study.images.corrupt_ahead", lambda unit, tell: asked.append(unit.dataset))
    known: dict[str, Any] = {"a": Known("done"), "b": Known("failed")}
    monkeypatch.setattr(Store, "index", lambda self: known)
    units = (Unit("mnist", "a"), Unit("cifar-10", "b"), Unit("svhn", "c"), Unit("svhn", "d"))
    plan = Plan({"planned": []}, units, {})
    for retry_failed, expected in ((False, ["svhn"]), (True, ["cifar-10", "svhn"])):
        asked.clear()
        study._corrupt(plan, Store(tmp_path), retry_failed, Console(quiet=True))
        assert asked == expected
