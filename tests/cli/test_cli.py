"""The command, as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vicinal

QUICK = ["--methods", "vanilla,mixup,genlabel-gaussian", "--trials", "2", "--folds", "2"]


def run(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from vicinal.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False, **options)


def test_compare_prints_a_table_and_writes_a_report(tmp_path):
    done = run("compare", "iris", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("iris: 150 rows, 4 features, 3 classes", "vanilla", "genlabel-gaussian", "report: report.html"):
        assert word in done.stdout
    page = (tmp_path / "report.html").read_text()
    assert "<title>" in page
    assert sorted(os.listdir(tmp_path)) == ["report.html"]


def test_json_goes_to_stdout_alone(tmp_path):
    done = run("compare", "wine", *QUICK, "--json", "-", "--report", "none", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert summary["schema"] == 1
    assert set(summary["methods"]) == {"vanilla", "mixup", "genlabel-gaussian"}
    assert {"mean", "std", "trials"} <= set(summary["methods"]["mixup"]["accuracy"])
    assert "vanilla" in done.stderr
    quiet = run("compare", "wine", *QUICK, "--json", "-", "--report", "none", "--quiet", cwd=tmp_path)
    assert quiet.stderr == ""
    again = json.loads(quiet.stdout)
    for name in summary["methods"]:
        np.testing.assert_allclose(
            again["methods"][name]["log_loss"]["trials"], summary["methods"][name]["log_loss"]["trials"], rtol=1e-4
        )


def test_a_csv_with_text_and_gaps(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    frame = pd.DataFrame(
        {"x": rng.normal(size=60) + 2 * y, "word": np.array(["a", "b"])[y], "class ": np.array(["no", "yes"])[y]}
    )
    frame.loc[::7, "x"] = np.nan
    frame.to_csv(tmp_path / "my data.csv", index=False)
    done = run("compare", "my data.csv", "--target", "class ", *QUICK, "--json", "out.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["dataset"]["features"] == 2


def test_a_real_table(tmp_path, tables):
    done = run("compare", str(tables / "penguins.parquet"), *QUICK, "--json", "-", "--report", "r.html", cwd=tmp_path)
    assert json.loads(done.stdout)["dataset"]["rows"] == 342


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nowhere.csv"], "nowhere.csv"),
        (["compare", "irs"], "did you mean 'iris'"),
        (["compare", "iris", "--target", "speces"], "species|target"),
        (["compare", "iris", "--methods", "mixip"], "did you mean 'mixup'"),
        (["compare", "iris", "--protocol", "quick"], "must be one of 'tuned', 'paper'"),
        (["compare", "iris", "--network", "cnn"], "must be one of 'linear', 'mlp'"),
        (["compare", "iris", "--report", "no/such/folder/r.html"], "can't write"),
        (["compare", "iris", "--device", "quantum"], "device"),
        (["compare", "iris", "--trials", "0"], "--trials"),
        (["compare"], "Missing argument"),
        (["compair"], "compair"),
    ],
)
def test_a_mistake_ends_with_status_2_and_no_traceback(arguments, message, tmp_path):
    import re

    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_version_methods_and_tables(tmp_path):
    assert run("--version", cwd=tmp_path).stdout == f"vicinal {vicinal.__version__}\n"
    methods = run("methods", cwd=tmp_path).stdout
    assert "genlabel-kde" in methods
    tables = run("tables", cwd=tmp_path).stdout
    assert "breast_cancer" in tables
    assert "four-circle" in tables


def test_hostile_names_do_not_reach_the_terminal(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"\x1b[2J\u202e<b>": rng.normal(size=40), "target": ["\x1b]0;owned\x07", "<img src=x onerror=1>"] * 20}
    )
    path = tmp_path / "evil\x1b[31m.csv"
    frame.to_csv(path, index=False)
    done = run("compare", path.name, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b[31m" not in done.stdout + done.stderr
    page = (tmp_path / "report.html").read_text()
    assert "<img src=x" not in page
    assert "\x1b" not in page


@pytest.mark.parametrize(
    ("command", "message"), [("study", "the same command goes on"), ("methods", "nothing was written")]
)
def test_ctrl_c_is_told(command, message, monkeypatch, capsys):
    from vicinal.cli import main, terminal

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(terminal, "two_columns", interrupt)
    monkeypatch.setattr(sys, "argv", ["vicinal", command, *(["list"] if command == "study" else [])])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert message in capsys.readouterr().err


def test_ctrl_c_leaves_what_is_done(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(3000, 12))).add_prefix("f").assign(target=np.arange(3000) % 3)
    frame.to_parquet(tmp_path / "big.parquet")
    command = [
        sys.executable, "-c", "from vicinal.cli import main; main()",
        "compare", "big.parquet", "--network", "mlp", "--trials", "50", "--methods", "vanilla",
        "--json", "out.json", "--report", "none",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err
    if process.returncode == 0:
        summary = json.loads((tmp_path / "out.json").read_text())
        assert summary["complete"] is False
        assert "Interrupted" in out
    else:
        assert "interrupted" in err


def test_importing_the_package_loads_no_extra(tmp_path):
    extras = ("skrub", "plotly", "typer", "polars", "torchvision", "matplotlib")
    code = f"import sys, vicinal; print([m for m in {extras} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "[]\n"
