"""Trainings killed by SIGKILL, in processes of their own, go on as if nothing had been.

As a script, this file starts all those trainings, each a fork of it, and sees them die.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vicinal.core.loop import Batch, Descent, Hardware, LoopResult, Task, read_checkpoint, run_loop

EPOCHS, STEPS = 4, 8


class Blobs(Task):
    """A small network with dropout and batch norm; dies before a step, if asked to."""

    rows = 8 * STEPS - 3

    def __init__(self, die: int = -1) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.4), nn.Linear(32, 3))
        self.x, self.y = torch.randn(self.rows, 6), torch.arange(self.rows) % 3
        self.die, self.step = die, 0

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        if self.step == self.die:
            os.kill(os.getpid(), signal.SIGKILL)
        self.step += 1
        noise = torch.randn(len(batch.index), 6, generator=batch.generator)
        index = batch.index[batch.part]
        return cross_entropy(module(self.x[index] + 0.2 * noise[batch.part]), self.y[index])

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        return {"accuracy": float((module(self.x).argmax(1) == self.y).float().mean())}


def train(folder: Path | None, minutes: float = 5.0, die: int = -1) -> tuple[Blobs, LoopResult]:
    torch.set_num_threads(1)
    task = Blobs(die)
    descent = Descent(learning_rate=0.02, schedule="cosine", warmup=0.5)
    options: dict[str, Any] = {"batch_size": 8, "descent": descent, "hardware": Hardware(device="cpu")}
    with torch.random.fork_rng():
        return task, run_loop(
            task, epochs=EPOCHS, keep="accuracy", folder=folder, checkpoint_minutes=minutes, **options
        )


def killed_by_itself(folder: Path, minutes: float, die: int) -> None:
    """Fork a training, which kills itself before a step."""
    if (child := os.fork()) == 0:
        train(folder, minutes, die)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def killed_from_outside(folder: Path, wanted: int) -> None:
    """Fork a training, and kill it some time after a step, wherever it is."""
    if (child := os.fork()) == 0:
        train(folder, 0.0)
        os._exit(1)
    path = folder / "last.safetensors"
    while not path.exists() or (found := read_checkpoint(path)).epoch * STEPS + found.step < wanted:  # never torn
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def without_seconds(result: LoopResult) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in result.history]


def assert_goes_on(folder: Path, minutes: float) -> LoopResult:
    expected, before = train(None)
    task, result = train(folder, minutes)
    for name, value in expected.module.state_dict().items():
        assert torch.equal(task.module.state_dict()[name], value), name
    assert without_seconds(result) == without_seconds(before)
    assert result.best_epoch == before.best_epoch
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == list(result.history)
    assert not list(folder.glob(".*"))
    return result


# Minutes between checkpoints, the step at which it dies, and the one from which it must go on.
DEATHS = {"in an epoch": (0.0, 13, 13), "without checkpoints in epochs": (5.0, 21, 16), "between epochs": (0.0, 16, 16)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the killed trainings are."""
    folder = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, __file__, str(folder)], check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", DEATHS)
def test_killed_at_a_step(name: str, folder: Path) -> None:
    minutes, _, resumed = DEATHS[name]
    assert assert_goes_on(folder / name, minutes).resumed == resumed


@pytest.mark.slow
def test_killed_at_any_moment(folder: Path) -> None:
    """Three times, also while it wrote."""
    assert assert_goes_on(folder / "outside", 0.0).resumed >= 20


if __name__ == "__main__":
    import lightning_fabric  # noqa: F401 - once, and not in every fork

    for name, (minutes, die, _) in DEATHS.items():
        killed_by_itself(Path(sys.argv[1]) / name, minutes, die)
    for wanted in (1, 9, 20):
        killed_from_outside(Path(sys.argv[1]) / "outside", wanted)
