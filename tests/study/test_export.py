"""Exports say what the summary says: CSV reads back, Markdown and LaTeX keep their columns whatever a table is called."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sample_study import manifest, simulate

from vicinal.core.checks import InputError
from vicinal.study.analysis import analyse
from vicinal.study.export import export_csv, export_latex, export_markdown, tidy_tables

HOSTILE = "[50 % of A & B | #1_x~^\\ {*} $y$ <b> 日本"


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    frame, profiles, study = simulate(12, criterion=0.95, balanced=0.3)
    first = frame[frame["status"] == "done"].iloc[0]
    study["published"] = [{"dataset": first["dataset"], "method": first["method"], "metric": "accuracy", "value": 12.3}]
    study["published_counts"] = [
        {"baseline": "mixup", "subset": "all", "higher": 54.88, "on_par": 7.32, "lower": 35.37}
    ]
    study["missing"] = [{"id": "openml:1", "why": "gone"}]
    found = analyse(frame, profiles, study)
    found["datasets"][1]["id"] = HOSTILE
    return found


def test_csv_reads_back_as_the_summary(summary: dict[str, Any], tmp_path: Path) -> None:
    files = export_csv(summary, tmp_path / "new" / "folder")
    read = {path.stem: pd.read_csv(path) for path in files}
    assert {path.name for path in files} == {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    scores = read["scores"].set_index(["dataset", "method"])
    for data in summary["datasets"]:
        for name, score in data["scores"]["accuracy"].items():
            assert scores.loc[(data["id"], name), "mean"] == pytest.approx(score["mean"])
    assert len(scores) == sum(len(data["scores"]["accuracy"]) for data in summary["datasets"])
    assert read["counts"]["ahead"].tolist() == [row["ahead"] for row in summary["counts"]]
    assert read["counts"]["published_ahead"].dropna().tolist() == pytest.approx([0.5488])
    assert len(read["nemenyi"]) == sum(8 * 7 for view in summary["ranks"] if view["nemenyi"])
    assert read["missing"].to_dict("records") == summary["status"]["missing"]
    assert {"differences", "ranks", "cost", "failures", "published", "datasets"} <= set(read)


def test_an_empty_part_has_no_file() -> None:
    study = manifest(["t"], ["mixup"])
    empty = analyse(pd.DataFrame({"dataset": [], "method": [], "status": []}), None, study)
    assert set(tidy_tables(empty)) == {"datasets"}


def test_markdown_keeps_its_columns(summary: dict[str, Any], tmp_path: Path) -> None:
    text = export_markdown(summary, tmp_path / "study.md").read_text(encoding="utf-8")
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 2 + 3 + 1  # scores of six and of two methods, counts of three subsets, ranks
    for lines in blocks:
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(bars) == 1
    assert len(blocks[0]) == 2 + len(summary["datasets"])
    data = summary["datasets"][0]
    for score in data["scores"]["accuracy"].values():
        assert f"{100 * score['mean']:.2f} ± {100 * score['std']:.2f}" in text
    assert r"\[12.30\]" in text
    assert "54.88 %" in text


def test_the_best_of_a_row_is_bold(summary: dict[str, Any], tmp_path: Path) -> None:
    text = export_markdown(summary, tmp_path / "study.md").read_text(encoding="utf-8")
    data = summary["datasets"][2]
    best = max(score["mean"] for score in data["scores"]["accuracy"].values())
    lines = [line for line in text.splitlines() if line.startswith(f"| {data['id']} ")]
    bold = re.findall(r"\*\*([\d.]+) ", " ".join(lines))
    assert bold
    assert {float(number) for number in bold} == {round(100 * best, 2)}


def test_latex_is_balanced_and_escaped(summary: dict[str, Any], tmp_path: Path) -> None:
    text = export_latex(summary, tmp_path / "study.tex").read_text(encoding="utf-8")
    assert r"{[}50 \% of A \& B | \#1\_x\textasciitilde{}\textasciicircum{}\textbackslash{} \{{*}\} \$y\$" in text
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == text.count(r"\bottomrule") == 6
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == 6
    for table in text.split(r"\begin{longtable}")[1:]:
        body = table.split(r"\endlastfoot")[1].split(r"\end{longtable}")[0]
        columns = len(table[1 : table.index("}\n")])
        for line in body.strip().splitlines():
            assert len(re.findall(r"(?<!\\)&", line)) == columns - 1, line


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(summary: dict[str, Any], tmp_path: Path) -> None:
    path = export_latex(summary, tmp_path / "study.tex")
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout.decode(errors="replace")[-800:]


def test_what_cannot_be_written_is_an_input_error(summary: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=r"`folder` must be a folder that can be made, got .*file'.* choose another folder"
    ):
        export_csv(summary, tmp_path / "file")
    for export in (export_markdown, export_latex):
        with pytest.raises(InputError, match=r"`path` must be a file that can be written, got .*nowhere"):
            export(summary, tmp_path / "nowhere" / "study")
