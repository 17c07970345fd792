"""`vicinal study`, as a user types it: one small study through all commands, and what goes wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SUITE = """
title = "A small study"
question = "Does it run?"
protocol = "tuned"
trials = 2
datasets = ["iris", "wine", "nowhere"]
methods = ["vanilla", "mixup", "generative-classifier"]
subject = "mixup"
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from vicinal.cli import main; main()", "study", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("study")
    (place / "small.toml").write_text(SUITE)
    done = run("run", "small.toml", "--workers", "1", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "8 done of 8 records in studies/small" in done.stdout
    assert "report: studies/small/report.html" in done.stdout
    assert "1 missing, no such table: nowhere" in done.stderr
    return place


def test_the_folder_holds_what_the_documents_say(place):
    folder = place / "studies" / "small"
    shown = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert shown == {"study.json", "records", "report.html"}
    manifest = json.loads((folder / "study.json").read_text())
    assert manifest["missing"] == [{"id": "nowhere", "why": "no such table"}]
    assert "A small study" in (folder / "report.html").read_text()


def test_status_counts_by_method(place):
    done = run("status", "studies/small", cwd=place)
    assert done.returncode == 0, done.stderr
    for text in ("A small study", "generative-classifier", "2 done", "8 done of 8 records", "nowhere"):
        assert text in done.stdout


def test_running_again_does_nothing_and_says_so(place):
    before = {path: path.stat().st_mtime_ns for path in (place / "studies/small/records").rglob("*.json")}
    done = run("run", "small.toml", "--workers", "1", "--quiet", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in (place / "studies/small/records").rglob("*.json")} == before


@pytest.mark.parametrize(
    ("form", "file"),
    [("csv", "scores.csv"), ("markdown", "study.md"), ("latex", "study.tex"), ("records", "records.parquet")],
)
def test_exports(form, file, place):
    done = run("export", "studies/small", "--format", form, "--to", "tables", cwd=place)
    assert done.returncode == 0, done.stderr
    assert f"tables/{file}" in done.stdout
    if form == "records":
        frame = pd.read_parquet(place / "tables" / file)
        assert len(frame) == 8
        assert frame.loc[frame.kind == "scores", "accuracy"].between(0.5, 1).all()
    else:
        assert "mixup" in (place / "tables" / file).read_text()


def test_an_export_that_cannot_be_written(place):
    (place / "file").write_text("")
    done = run("export", "studies/small", "--to", "file", cwd=place)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "must be a folder that can be written, got 'file'" in done.stderr


def test_merge_seal_and_a_report_elsewhere(place, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(place / "studies" / "small", half)
    shutil.rmtree(half / "records" / "wine")
    assert "4 left" in run("status", "half", cwd=tmp_path).stdout
    done = run("merge", "half", str(place / "studies" / "small"), cwd=tmp_path)
    assert done.stdout == "4 records added, 4 were there already, 0 conflict.\n"
    assert "8 records in half/records.parquet" in run("seal", "half", cwd=tmp_path).stdout
    assert "8 done of 8 records" in run("status", "half", cwd=tmp_path).stdout
    assert run("report", "half", "--to", "page.html", cwd=tmp_path).stdout == "report: page.html\n"
    assert "A small study" in (tmp_path / "page.html").read_text()


def test_what_cannot_be_read_is_told(place, tmp_path):
    shutil.copytree(place / "studies" / "small", tmp_path / "small")
    (record,) = (tmp_path / "small" / "records" / "iris").glob("vanilla.*.json")
    record.write_text(record.read_text().replace('{"schema":1', '{"schema":2'))
    for command in ("report", "export"):
        done = run(command, "small", cwd=tmp_path)
        assert done.returncode == 0
        assert "is of a newer schema" in done.stderr
    assert "is of a newer schema" in (tmp_path / "small" / "report.html").read_text()


def test_a_suites_name_is_a_suite_whatever_the_folder_is_called(tmp_path):
    (tmp_path / "genlabel" / "table4").mkdir(parents=True)
    done = run("run", "genlabel/table4", "--tables", ".", cwd=tmp_path)
    assert ". holds no tables" in done.stderr


def test_list_names_the_papers_tables(tmp_path):
    done = run("list", cwd=tmp_path)
    assert "genlabel/table4" in done.stdout
    assert "selected tables" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "table4"], "did you mean 'genlabel/table4'"),
        (["run", "genlabel/table4", "--tables", "nowhere"], "no folder of tables"),
        (["run", "genlabel/table4", "--methods", "mixip", "--tables", "."], "holds no tables"),
        (["run", "genlabel/table4", "--attack-steps", "5"], "attacks nothing"),
        (["status", "nowhere"], "no study at nowhere"),
        (["report", "nowhere"], "no study at nowhere"),
        (["export", "nowhere"], "no study at nowhere"),
        (["export", "nowhere", "--format", "xml"], "must be one of"),
        (["merge", "nowhere"], "Missing argument"),
        (["seal", "nowhere"], "no study at nowhere"),
        (["run", ""], "no suite is called ''"),
        (["run", "genlabel/table4", "--scheduler", "tcp://a:1", "--workers", "2"], "with --scheduler, leave it out"),
        (["rum"], "rum"),
    ],
)
def test_a_mistake_ends_with_status_2_and_one_line(arguments, message, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
