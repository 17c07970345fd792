"""`vicinal train`, `evaluate`, `vae` and a study of images, from the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from small_images import write_images
from vicinal.cli import main
from vicinal.core.loop import read_checkpoint

QUICK = [
    "--network",
    "small-resnet",
    "--batch-size",
    "16",
    "--no-augment",
    "--set",
    "linearity=[]",
    "--set",
    "severities=[1]",
    "--set",
    'corruptions=["contrast"]',
    "--set",
    "vae={width=8,latent=[4,4,4]}",
    "--vae-epochs",
    "1",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images") / "bars")


def _vicinal(*words: object, cwd: Path, start: bool = False) -> subprocess.Popen[str]:
    environment = {**os.environ, "VICINAL_DATA": str(cwd / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from vicinal.cli import main; main()", *map(str, words)], cwd=cwd, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    return process


def _said(*words: object, cwd: Path) -> tuple[int, str]:
    process = _vicinal(*words, cwd=cwd)
    out, err = process.communicate(timeout=300)
    return process.returncode, out + err


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_to_the_same_numbers(data: Path, tmp_path: Path) -> None:
    train = ["train", "varmixup", "--data", data, "--epochs", 60, *QUICK]
    process = _vicinal(*train, "--out", "killed", cwd=tmp_path)
    last = tmp_path / "killed" / "last.safetensors"
    for _ in range(2400):
        if last.exists() and read_checkpoint(last).epoch >= 3:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    begun = read_checkpoint(last).epoch
    assert 3 <= begun < 60
    status, text = _said(*train, "--out", "killed", cwd=tmp_path)
    assert status == 0, text
    assert "went on from step" in text
    status, text = _said(*train, "--out", "whole", cwd=tmp_path)
    assert status == 0, text
    with safe_open(last, "pt") as a, safe_open(tmp_path / "whole" / "last.safetensors", "pt") as b:
        assert all((a.get_tensor(name) == b.get_tensor(name)).all() for name in a.keys())  # noqa: SIM118
    lines = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 61))
    assert "<html" in (tmp_path / "killed" / "report.html").read_text()[:500]

    status, text = _said("evaluate", "killed", "whole", "--data", data, "--no-corruptions", cwd=tmp_path)
    assert status == 0, text
    assert text.count("varmixup") >= 1
    assert (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_a_space_is_trained_shown_and_used(data: Path, tmp_path: Path) -> None:
    status, text = _said(
        "vae",
        "train",
        "--data",
        data,
        "--epochs",
        2,
        "--width",
        8,
        "--latent",
        "4,4,4",
        "--out",
        "s.safetensors",
        cwd=tmp_path,
    )
    assert status == 0, text
    assert "squared error" in text
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    status, text = _said("vae", "show", "s.safetensors", "--data", data, "--to", "other.png", cwd=tmp_path)
    assert status == 0, text
    assert (tmp_path / "other.png").exists()
    status, text = _said(
        "train", "mixup+varmixup", "--data", data, "--space", "s.safetensors", "--epochs", 1, *QUICK, cwd=tmp_path
    )
    assert status == 0, text
    assert "the space: squared error" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "varmixu", "--data", "bars"], "did you mean 'varmixup'"),
        (["train", "erm", "--data", "fashion-mnits"], "did you mean 'fashion-mnist'"),
        (["train", "erm", "--data", "bars", "--network", "small-resne"], "small-resnet"),
        (["train", "erm", "--data", "bars", "--set", "epochs"], "--set must be ENTRY=VALUE"),
        (["train", "erm", "--data", "bars", "--device", "gpu"], "`device` must be one that torch can use here"),
        (["train", "varmixup", "--data", "bars", "--space", "bars/nothing"], "no such file"),
        (["evaluate", "nowhere", "--data", "bars"], "no such file"),
        (["vae", "train", "--data", "bars", "--latent", "big"], "--latent must be whole numbers"),
        (["vae", "train", "--data", "bars", "--latent", "4,5,5"], "`latent` must be (channels, rows, columns)"),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str], said: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(data.parent)
    monkeypatch.setattr(sys, "argv", ["vicinal", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    text = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in text
    assert len(text.splitlines()[-1]) > 10
    assert "Traceback" not in text
