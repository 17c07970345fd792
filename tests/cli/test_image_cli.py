"""`vicinal train`, `evaluate`, `vae` and a study of images, from the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors import safe_open

from small_images import write_images
from vicinal.cli import main
from vicinal.core.loop import read_checkpoint
from vicinal.data.images import read_images
from vicinal.study.images import IMAGE_METHODS, read_image_protocol, train_method

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


POWER_CUT = """
import os
from vicinal.core.loop import Checkpoint
write = Checkpoint.write
def write_and_die(self, path):
    write(self, path)
    if path.parent.suffix == ".training":
        os._exit(9)
Checkpoint.write = write_and_die
"""
"""Before a command: it dies when the first epoch of a space is done."""


def _vicinal(*words: object, cwd: Path, before: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "VICINAL_DATA": str(cwd / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-c", f"{before}from vicinal.cli import main; main()", *map(str, words)],
        cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    return process


def _said(*words: object, cwd: Path, before: str = "") -> tuple[int, str]:
    process = _vicinal(*words, cwd=cwd, before=before)
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
    assert f"classifier: goes on after epoch {begun} of 60" in text
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
def test_two_processes_train_and_one_reports(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text("from vicinal.cli import main\nmain()\n")
    environment = {**os.environ, "VICINAL_DATA": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    two = ["--data", data, "--epochs", 1, "--processes", 2, "--device", "cpu"]
    small = ["--width", 8, "--latent", "4,4,4"]
    for words, said in (
        (["train", "varmixup", *two, *QUICK], "report: "),
        (["vae", "train", *two, *small], "picture: "),
    ):
        done = subprocess.run(
            [sys.executable, script, *map(str, words)],
            cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(said) == 1
    assert list((tmp_path / "runs" / "spaces").glob("*.safetensors"))
    assert list((tmp_path / "spaces").glob("*.safetensors"))


@pytest.mark.slow
def test_a_space_is_trained_shown_and_used(data: Path, tmp_path: Path) -> None:
    train = ["vae", "train", "--data", data, "--epochs", 2, "--width", 8, "--latent", "4,4,4", "--out", "s.safetensors"]
    assert _said(*train, cwd=tmp_path, before=POWER_CUT)[0] == 9
    assert [path.name for path in tmp_path.glob("s*")] == ["s.training"]
    status, text = _said(*train, cwd=tmp_path)
    assert status == 0, text
    assert "space: goes on after epoch 1 of 2" in text
    assert "squared error" in text
    assert sorted(path.name for path in tmp_path.glob("s*")) == ["s.png", "s.safetensors"]
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    status, text = _said(*train, cwd=tmp_path)
    assert status == 2, text
    assert "s.safetensors is there already; look at it by `vicinal vae show s.safetensors" in text
    status, text = _said("vae", "show", "s.safetensors", "--data", data, "--to", "other.png", cwd=tmp_path)
    assert status == 0, text
    assert (tmp_path / "other.png").exists()
    status, text = _said(
        "train", "mixup+varmixup", "--data", data, "--space", "s.safetensors", "--epochs", 1, *QUICK, cwd=tmp_path
    )
    assert status == 0, text
    assert "the space: squared error" in text


SUITE = """
title = "Bars"
kind = "images"
trials = 1
datasets = ["{data}"]
methods = ["erm", "mixup"]
subject = "mixup"
[images]
network = "lenet-5"
epochs = 1
linearity = []
corruptions = ["contrast"]
severities = [1]
"""


@pytest.mark.slow
def test_a_study_corrupts_images_only_for_what_it_has_to_do(data: Path, tmp_path: Path) -> None:
    (tmp_path / "bars.toml").write_text(SUITE.format(data=data))
    run = ["study", "run", "bars.toml", "--workers", 2]
    status, text = _said(*run, cwd=tmp_path)
    assert status == 0, text
    assert "2 done of 2 records" in text
    corrupted = tmp_path / "cache" / "corrupted"
    assert len(list(corrupted.rglob("*.npy"))) == 1
    shutil.rmtree(corrupted)
    status, text = _said(*run, "--set", "epochs=2", "--set", "severities=[1]", cwd=tmp_path)
    assert status == 2, text
    assert "studies/bars holds another study (epochs: 1 there, 2 asked); choose another with --out" in text
    status, text = _said(*run, cwd=tmp_path)
    assert status == 0, text
    assert not corrupted.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "varmixu", "--data", "bars"], "did you mean 'varmixup'"),
        (["train", "erm", "--data", "fashion-mnits"], "did you mean 'fashion-mnist'"),
        (["train", "erm", "--data", "bars", "--network", "small-resne"], "small-resnet"),
        (["train", "erm", "--data", "bars", "--set", "epochs"], "--set must be ENTRY=VALUE"),
        (["train", "erm", "--data", "bars", "--device", "gpu"], "`device` must be one that torch can use here"),
        (["train", "varmixup", "--data", "bars", "--space", "bars/nothing"], "no such file"),
        (["evaluate", "nowhere", "--data", "bars", "--no-corruptions"], "no such file"),
        (["train", "varmixup", "--data", "bars", "--set", "severities=[7]"], "`severity` must be one of"),
        (["train", "erm", "--data", "bars", "--epochs", "0"], "`vicinal train --help` shows"),
        (["train", "erm", "--data", "bars", "--validation", "0.001"], "--validation must leave images"),
        (["train", "erm", "--data", "bars", "--out", "bars/train/down/000.png"], "is a file; give another folder"),
        (["train", "varmixup", "--data", "bars", "--space", "bars"], "bars is a folder; name a file in it"),
        (["train", "erm", "--data", "bars", "--corrupted", "nowhere"], "no folder 'nowhere'"),
        (["evaluate", "nowhere", "--data", "bars"], "no such file"),
        (["evaluate", "nowhere", "--data", "bars", "--report", "bars"], "--report must be a file"),
        (["vae", "train", "--data", "bars", "--out", "space"], "--out must be a file that ends in .safetensors"),
        (["study", "run", "varmixup/fashion", "--alpha", "0.4"], "--alpha is for suites of tables"),
        (["study", "run", "genlabel/table8", "--inception"], "--inception is for suites of images"),
        (["study", "run", "varmixup/fashion", "--inception", "--scheduler", "tcp://a:1"], "run on each: python -c"),
        (
            ["study", "run", "varmixup/fashion", "--inception", "--set", "distance_images=0"],
            "add --set distance_images=",
        ),
        (["train", "erm", "--data", "bars", "--inception"], "--inception is for the distances of mixed images"),
        (
            ["evaluate", "nowhere", "--data", "bars", "--set", "epochs=3"],
            "linearity_images, severities, test_images here",
        ),
        (
            ["evaluate", "nowhere", "--data", "bars", "--set", "linearity=none"],
            "`linearity` must be a list, got 'none'",
        ),
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


def test_classifiers_are_evaluated_where_one_wants(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = read_image_protocol({"network": "small-resnet", "epochs": 1})
    train_method(IMAGE_METHODS["erm"], read_images(data).train, protocol, folder=tmp_path / "erm")
    words = ["evaluate", tmp_path / "erm", "--data", data, "--no-corruptions", "--device", "gpu"]
    monkeypatch.setattr(sys, "argv", ["vicinal", *map(str, words)])
    with pytest.raises(SystemExit):
        main()
    assert "`device` must be one that torch can use here" in capsys.readouterr().err
    words = ["evaluate", tmp_path / "erm", "--data", data, "--no-corruptions", "--report", tmp_path / "r.html"]
    for entry, measured in (("linearity=[0.01]", True), ("linearity=[]", False)):
        monkeypatch.setattr(sys, "argv", ["vicinal", *map(str, words), "--set", entry, "--set", "linearity_images=2"])
        with suppress(SystemExit):
            main()
        assert ("local linearity" in capsys.readouterr().err) == measured
        assert ('id="linearity"' in (tmp_path / "r.html").read_text()) == measured


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "erm"], "the epochs that are done are kept"),
        (["vae", "train"], "the epochs that are done are kept"),
        (["evaluate", "a"], "no report was written"),
        (["study", "run", "a"], "every record that is done is kept"),
        (["tables"], "nothing was written"),
    ],
)
def test_ctrl_c_says_what_is_left(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*words: object, **options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["vicinal.cli.main"], "app", interrupted)
    monkeypatch.setattr(sys, "argv", ["vicinal", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    text = capsys.readouterr().err
    assert ended.value.code == 130
    assert said in text
    assert len(text.splitlines()) == 1
