"""Two processes train as one does; started by torchrun, or by the loop itself.

As a script, this file is what they run: FOLDER, and the names of trainings, or of another thing to do.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import vicinal as vc
from vicinal.core import InputError
from vicinal.core.files import read_tensors, write_tensors
from vicinal.core.loop import Descent, Hardware, LoopResult, read_checkpoint
from vicinal.data.images import ImageSet
from vicinal.spaces import MMDVAE, PCA
from vicinal.training.single import ERM, Architecture, train_classifier
from vicinal.vicinity import BaseVicinity, VarMixup

STEPS = 26  # an epoch, so that processes agree on a checkpoint once in the middle of it


def images() -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(8 * STEPS - 2) % 3  # the last batch is short
    x = 40 * y[:, None, None, None] + torch.randint(100, (len(y), 1, 12, 12), generator=generator)
    return ImageSet("blobs", x.to(torch.uint8), y, ("a", "b", "c"))


def vicinity(name: str) -> BaseVicinity:
    return {
        "erm": vc.Vanilla,
        "mixup": vc.Mixup,
        "varmixup": lambda: VarMixup(PCA(12).fit(images().pixels()), sample=True),
        "excluding": vc.MixupExcludingIntrusion,
    }[name.removesuffix("-accumulated")]()


class Deadly(ERM):
    """Kills its process at a step."""

    def __init__(self, die: int) -> None:
        self.die = die

    def loss(self, network: Any, x: Tensor, y: Tensor, generator: torch.Generator, extras: Any) -> Tensor:
        self.die -= 1
        if self.die < 0 and os.environ["RANK"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(network, x, y, generator, extras)

    def key(self) -> str:
        return ERM().key()


def train(name: str, processes: int, folder: Path | None, die: int | None = None) -> tuple[torch.nn.Module, LoopResult]:
    torch.set_num_threads(1)
    return train_classifier(
        Architecture.of("lenet-5", images()),
        images(),
        vicinity(name),
        None if die is None else Deadly(die),
        epochs=2,
        batch_size=8,
        descent=Descent(learning_rate=1e-3, optimizer="sgd"),
        hardware=Hardware(device="cpu", processes=processes),
        accumulate=2 if name.endswith("-accumulated") else 1,
        seed=3,
        folder=folder,
        checkpoint_minutes=0,
    )


NAMES = ("erm", "mixup", "varmixup", "excluding", "erm-accumulated", "mixup-accumulated")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def run(command: list[str], folder: Path, *names: str, file: str = __file__) -> subprocess.CompletedProcess[str]:
    """Run this file, as a process that nobody has started as one of several."""
    free = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE", "RANK")}
    free["OMP_NUM_THREADS"] = "1"
    return subprocess.run(
        [*command, file, str(folder), *names], check=False, capture_output=True, text=True, timeout=240, env=free
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes of torchrun trained."""
    folder = tmp_path_factory.mktemp("processes")
    done = run(TORCHRUN, folder, *NAMES)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_as_one(name: str, folder: Path) -> None:
    """To rounding: weights, and the history."""
    alone, result = train(name.removesuffix("-accumulated"), 1, None)
    first, second = (read_tensors(folder / f"{name}-{rank}.safetensors")[0] for rank in (0, 1))
    for key, value in alone.state_dict().items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], value, atol=1e-6, rtol=1e-5)
    found = read_checkpoint(folder / name / "last.safetensors")
    losses = [line["loss"] for line in found.history]
    assert losses == pytest.approx([line["loss"] for line in result.history], rel=1e-5)


@pytest.mark.slow
def test_one_process_writes_and_tells(folder: Path) -> None:
    for name in NAMES:
        assert sorted(path.name for path in (folder / name).iterdir()) == ["last.safetensors", "metrics.jsonl"]
        assert len((folder / name / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of torchrun's that was killed at step 24, which the loop's own processes go on with; and another command."""
    folder = tmp_path_factory.mktemp("again")
    assert run(TORCHRUN, folder, "die").returncode != 0
    found = read_checkpoint(folder / "mixup" / "last.safetensors")
    assert (found.epoch, found.step) == (0, 20)
    done = run([sys.executable], folder, "mixup", "space")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_two_processes_go_on(folder: Path, again: Path) -> None:
    """As if they had never stopped, whoever started them."""
    found, expected = (read_tensors(where / "mixup-1.safetensors")[0] for where in (again, folder))
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    after, before = (read_checkpoint(where / "mixup" / "last.safetensors").history for where in (again, folder))
    assert [line["loss"] for line in after] == pytest.approx([line["loss"] for line in before], rel=1e-6)


@pytest.mark.slow
def test_started_by_the_loop(again: Path) -> None:
    """A classifier, a space with batch norm, and a classifier in the space, in one command."""
    first, second = (read_tensors(again / f"space-{rank}.safetensors")[0] for rank in (0, 1))
    for key, value in first.items():
        assert torch.equal(second[key], value), key


def test_the_number_of_processes_must_be_that_of_torchrun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(
        InputError, match=r"`processes` must be the 2 that were started, got 1; give 2, or start the com"
    ):
        train("erm", 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_interactive_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(
        InputError, match=r"`processes` can't be 2 in an interactive session.*torchrun --nproc-per-node 2"
    ):
        train("erm", 2, None)
    monkeypatch.delattr(sys, "ps1")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys, "argv", ["-c"])
    with pytest.raises(InputError, match="`processes` can't be 2"):
        train("erm", 2, None)


def main(folder: Path, *names: str) -> None:
    for name in names:
        if name == "die":
            train("mixup", 2, folder / "mixup", die=24)
        elif name == "space":
            made = MMDVAE(latent=(4,), width=8, epochs=1, device="cpu", batch_size=16)
            space = made.fit(images().x, folder=folder / "space", processes=2)
            _, result = train_classifier(
                Architecture.of("lenet-5", images()),
                images(),
                VarMixup(space),
                epochs=1,
                hardware=Hardware(device="cpu", processes=2),
                folder=folder / "classifier",
            )
            assert result.resumed == 0
            write_tensors(folder / f"space-{os.environ['LOCAL_RANK']}.safetensors", space.weights_, {})
        else:
            network, _ = train(name, 2, folder / name)
            write_tensors(folder / f"{name}-{os.environ['LOCAL_RANK']}.safetensors", network.state_dict(), {})


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
