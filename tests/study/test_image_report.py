"""An image study's page and exports show what the summary says: each part only with data, every string as text."""

import base64
import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from sample_images import METHODS, manifest, picture, simulate
from test_report import Page

from vicinal.core.checks import InputError
from vicinal.study.analysis import analyse_images
from vicinal.study.export import export_csv, export_latex, export_markdown, tidy_tables
from vicinal.study.report import render_study, write_study_report
from vicinal.study.report._image_figures import _apart
from vicinal.study.report._image_samples import png_size
from vicinal.study.report._image_tables import value, value_gap
from vicinal.study.report._image_terms import corruption_word
from vicinal.study.report._palette import IMAGES, THEMES, image_slots
from vicinal.study.report._text import Metric

HOSTILE = "<img src=x onerror=alert(1)>{{ 7 * 7 }}$x$"
SECTIONS = [
    "result",
    "table",
    "corruptions",
    "severity",
    "differences",
    "calibration",
    "linearity",
    "distance",
    "samples",
    "spaces",
    "cost",
    "scores",
    "differing",
    "failures",
    "reproduce",
]


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return analyse_images(*simulate(missing=[{"id": "tiny-imagenet", "why": "the server does not answer"}]))


@pytest.fixture(scope="module")
def page(summary: dict[str, Any]) -> Page:
    return Page(render_study(summary))


def sections(page: Page) -> list[str | None]:
    return [attrs.get("id") for tag, attrs in page.elements if tag == "section"]


def test_every_part_has_its_section_in_order(page: Page) -> None:
    assert sections(page) == SECTIONS
    assert set(page.figures) <= page.ids
    kinds = {re.sub(r"-\d+$", "", name) for name in page.figures}
    assert kinds == {"severity", "linearity", "forest-0", "forest-1", "forest-2", "forest-3"}


def test_numbers_are_those_of_the_summary(page: Page, summary: dict[str, Any]) -> None:
    table, others = page.text("table"), page.text("scores")
    for data in summary["datasets"]:
        for key, text in (("corruption_accuracy", table), ("accuracy", table)):
            for score in data["scores"][key].values():
                assert f"{100 * score['mean']:.2f} ± {100 * score['std']:.2f}" in text
        for score in data["scores"]["log_loss"].values():
            assert f"{score['mean']:.3f} ± {score['std']:.3f}" in others
        for score in data["scores"]["ece"].values():
            assert f"{score['mean']:.3f} ± {score['std']:.3f}" in page.text("calibration")
        for score in data["scores"]["fid"].values():
            assert f"{score['mean']:.1f} ± {score['std']:.1f}" in page.text("distance")
    for row in summary["published"]:
        assert f"[{100 * row['published']:.2f} ± {100 * row['published_std']:.2f}]" in table
    assert table.count("≠") == 1 + sum(row["within"] is False for row in summary["published"])
    heat = page.text("corruptions")
    for part in summary["corruptions"]["tables"]:
        assert f"{100 * part['accuracy']['mixup']['fog']:.1f}" in heat
        assert f"{100 * part['difference']['varmixup']['gaussian_noise']:+.1f}".replace("-", "−") in heat
    for row in summary["differences"]:
        if row["metric"] == "corruption_accuracy":
            assert f"{100 * row['difference']:+.2f}".replace("-", "−") in page.text("differences")
    assert "In the features of: last layer of a small ResNet" in page.text("distance")
    assert "Some spaces lose what a classifier needs." in page.text("spaces")
    assert page.text("spaces").count("✗ 14.5") == 2
    assert "tiny-imagenet the server does not answer" in page.text("failures")
    assert "InputError the loss is no number. 1 CIFAR-10 AT" in page.text("failures")
    for row in summary["cost"]:
        assert f"{row['ratio']:.1f} ×" in page.text("cost")
    assert summary["headline"]["claim"] in page.text("result")


def test_nothing_is_computed(summary: dict[str, Any]) -> None:
    changed = copy.deepcopy(summary)
    changed["datasets"][0]["scores"]["accuracy"]["mixup"] = {"mean": 0.1234, "std": 0.5, "trials": 3}
    changed["corruptions"]["tables"][0]["difference"]["varmixup"]["fog"] = 0.4567
    changed["headline"]["claim"] = "Forty-two."
    found = Page(render_study(changed))
    assert "12.34 ± 50.00" in found.text("table")
    assert "+45.7" in found.text("corruptions")
    assert "Forty-two." in found.text("result")


@pytest.mark.parametrize(
    ("metrics", "gone"),
    [
        (("linearity_",), {"linearity"}),
        (("fid", "kid"), {"distance"}),
        (("reconstruction_",), {"spaces"}),
        (("train_seconds",), {"cost"}),
        (("corruption_accuracy_", "severity_"), {"corruptions", "severity"}),
        (("log_loss", "brier", "corruption_ece"), {"scores"}),
        (("ece", "corruption_ece"), {"calibration"}),
    ],
)
def test_a_part_without_data_is_left_out(metrics: tuple[str, ...], gone: set[str]) -> None:
    frame, study = simulate(datasets=("cifar-10",), methods=("erm", "mixup", "varmixup", "mixup+varmixup"))
    frame = frame[[c for c in frame if not c.startswith(metrics)]]
    found = Page(render_study(analyse_images(frame, study)))
    assert {*SECTIONS} - {*sections(found)} - {"failures", "differing"} == gone


def test_samples_are_left_out_without_pictures() -> None:
    frame, study = simulate(trials=1)
    assert "samples" not in sections(Page(render_study(analyse_images(frame.drop(columns="fact_samples"), study))))
    frame["fact_samples"] = None
    assert "samples" not in sections(Page(render_study(analyse_images(frame, study))))


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ("table", {"table", "differences", "scores"}),
        ("transfer", {"table", "differences", "scores"}),
        ("corruptions", {"corruptions", "severity", "differences"}),
        ("calibration", {"calibration", "differences"}),
        ("linearity", {"linearity", "differences"}),
        ("distance", {"distance"}),
        ("samples", {"samples"}),
        ("cost", {"cost"}),
    ],
)
def test_a_suite_about_one_part_shows_that(part: str, shown: set[str]) -> None:
    found = Page(render_study(analyse_images(*simulate(figures=[part], published=[], remarks=[]))))
    assert {*sections(found)} == shown | {"result", "spaces", "failures", "reproduce"}
    assert set(found.figures) <= found.ids  # a figure without its place would stop the page's script


def test_pictures_are_shown_only_if_they_are_pngs(page: Page, summary: dict[str, Any]) -> None:
    images = [attrs for tag, attrs in page.elements if tag == "img"]
    assert [attrs["src"] for attrs in images] == [row["image"] for row in summary["samples"]]
    assert (images[0]["width"], images[0]["height"]) == ("265", "133")
    data = base64.b64decode(picture().partition(",")[2])
    assert png_size(picture()) == (265, 133)
    text = base64.b64encode(b"<svg onload=alert(1)>" * 9).decode()
    for wrong in (
        None,
        7,
        "",
        "https://example.org/a.png",
        "javascript:alert(1)",
        f"data:image/svg+xml;base64,{text}",
        f"data:image/png;base64,{text}",
        "data:image/png;base64,####",
        'data:image/png;base64,AAAA" onerror="alert(1)',
        "data:image/png;base64," + base64.b64encode(data[:20]).decode(),
        "data:image/png;base64,A",
        picture() + "\n",
    ):
        assert png_size(wrong) is None, wrong
    changed = copy.deepcopy(summary)
    for row in changed["samples"]:
        row["image"] = "https://example.org/a.png"
    found = Page(render_study(changed))
    assert "samples" not in sections(found)
    assert not [tag for tag, _ in found.elements if tag == "img"]


def test_nothing_is_fetched_and_no_string_is_markup(page: Page) -> None:
    frame, study = simulate(methods=("erm", "mixup", "varmixup", "mixup+varmixup"))
    frame["method"] = frame["method"].replace("mixup+varmixup", HOSTILE)
    frame["dataset"] = frame["dataset"].replace("cifar-10", HOSTILE)
    frame["fact_features"] = HOSTILE
    frame["fact_device"] = HOSTILE
    frame.loc[0, ["status", "error_kind", "error_message"]] = ["failed", HOSTILE, HOSTILE]
    frame = frame.rename(columns=lambda c: c.replace("fog", HOSTILE).replace("brier", HOSTILE))
    study |= dict.fromkeys(("title", "question", "citation", "suite", "command", "subject", "network", "date"), HOSTILE)
    study |= {"remarks": [HOSTILE], "notes": [HOSTILE], "missing": [{"id": HOSTILE, "why": HOSTILE}]}
    study |= {"methods": ["erm", "mixup", "varmixup", HOSTILE], "datasets": [HOSTILE, "fashion-mnist"]}
    study |= {"options": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}}
    study |= {"corruption_groups": {HOSTILE: [HOSTILE, "snow"]}, "about": {"fashion-mnist": {"name": HOSTILE}}}
    study["published"] = [{"dataset": HOSTILE, "method": HOSTILE, "metric": "accuracy", "value": 1.0, "note": HOSTILE}]
    text = render_study(analyse_images(frame, study))
    hostile = Page(text)
    assert hostile.scripts[1:] == page.scripts[1:]
    assert not [tag for tag, attrs in hostile.elements if any(name.startswith("on") for name in attrs)]
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in page.elements}
    assert all(attrs["src"].startswith("data:image/png;base64,") for tag, attrs in hostile.elements if tag == "img")
    assert "://" not in text.replace(hostile.scripts[1], "")
    for section in ("header", "result", "table", "corruptions", "distance", "differing", "failures", "reproduce"):
        assert HOSTILE in hostile.text(section), section
    for figure in hostile.figures.values():
        shown = json.dumps([figure["layout"], [trace.get("hovertext") for trace in figure["data"]]])
        assert "<img" not in shown


def test_figures_are_what_plotly_knows(page: Page) -> None:
    def painted(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: painted(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [painted(item, key) for item in value]
        return THEMES["light"].get(value, value) if key.endswith("color") and isinstance(value, str) else value

    for figure in page.figures.values():
        go.Figure(data=painted(figure["data"]), layout=painted(figure["layout"]))


def test_labels_of_curves_keep_apart_and_in_order() -> None:
    ends = [0.5, 0.5, 0.52, 0.98, 0.99, 0.1]
    places = _apart(ends, 0.05)
    assert sorted(range(6), key=lambda i: places[i]) == sorted(range(6), key=lambda i: ends[i])
    gaps = [b - a for a, b in zip(sorted(places), sorted(places)[1:], strict=False)]
    assert min(gaps) == pytest.approx(0.05)
    assert min(places) >= 0
    assert max(places) <= 1 + 1e-9
    assert places[5] == 0.1


def test_every_method_has_a_colour_of_its_own() -> None:
    slots = image_slots([*METHODS, "mine", "yours"])
    assert len({slots[name] for name in (*METHODS, "mine", "yours")}) == len(METHODS) + 2
    assert {*slots.values()} <= {*THEMES["light"]}
    for which in (0, 1):
        assert len({pair[which] for pair in IMAGES.values()}) == len(IMAGES)


@pytest.mark.parametrize(
    "study",
    [
        simulate(datasets=("cifar-10",), methods=("mixup", "varmixup"), trials=1),
        simulate(datasets=("cifar-10",), methods=("erm",)),
        simulate(datasets=("cifar-10", "cifar-100", "fashion-mnist", "svhn"), trials=2),
        simulate(subject=None),
        (pd.DataFrame({"dataset": [], "method": [], "status": []}), manifest(["cifar-10"], ["erm", "mixup"])),
    ],
    ids=["one trial", "one method", "four data sets", "no subject", "nothing yet"],
)
def test_other_studies_make_a_page(study: Any, tmp_path: Path) -> None:
    summary = json.loads(json.dumps(analyse_images(*study)))
    found = Page(render_study(summary))
    assert "result" in found.ids
    assert set(found.figures) <= found.ids
    assert "None" not in " ".join(found.text(section) for section in found.words if section != "title")
    export_csv(summary, tmp_path)
    assert export_markdown(summary, tmp_path / "study.md").read_text(encoding="utf-8").startswith("# Robustness")
    assert r"\end{document}" in export_latex(summary, tmp_path / "study.tex").read_text(encoding="utf-8")


def test_one_trial_shows_no_spread() -> None:
    found = Page(render_study(analyse_images(*simulate(datasets=("cifar-10",), trials=1, published=[]))))
    assert "±" not in found.text("table")
    shown = found.text("differences")
    assert "One trial gives no interval" in shown
    assert not [words for words in ("trial by trial", "over trials", "95 %", "clearly better") if words in shown]
    assert "the differences below say" not in found.text("table")


def test_one_trial_of_several_that_were_planned_is_still_one(page: Page) -> None:
    frame, study = simulate(datasets=("cifar-10",), trials=1, published=[])
    assert "trial by trial" not in Page(render_study(analyse_images(frame, study | {"trials": 3}))).text("differences")
    assert "Differences, trial by trial" in page.text("differences")
    assert "clearly better" in page.text("differences")


def test_an_unfinished_study_says_so(page: Page) -> None:
    assert "not finished: 3 of 90 results are still to come" in page.text("unfinished")
    assert "unfinished" not in Page(render_study(analyse_images(*simulate(gaps=False)))).ids


def test_words_for_numbers_and_corruptions() -> None:
    share, fid = Metric("accuracy", "", "", True, ""), Metric("fid", "", "", False, "")
    assert [value(0.83764, share), value(23.81, fid), value(None, share)] == ["83.76", "23.8", "–"]
    assert [value_gap(-0.0123, share), value_gap(0.5, fid)] == ["−1.23", "+0.500"]
    words = [corruption_word(name) for name in ("gaussian_noise", "jpeg_compression", "elastic_transform", "noise")]
    assert words == ["gaussian", "JPEG", "elastic", "noise"]
    assert [Metric("ece", "", "", False, "").higher, Metric("x", "", "", False, "", lower=True).higher] == [
        False,
        False,
    ]


def test_the_same_summary_gives_the_same_page_and_stays_as_it_was(summary: dict[str, Any], tmp_path: Path) -> None:
    before = copy.deepcopy(summary)
    assert render_study(summary) == render_study(summary)
    assert summary == before
    path = write_study_report(summary, tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == render_study(summary)


def test_another_summary_is_refused(summary: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="`summary` must have schema 1, got 2; run `vicinal study report` again"):
        render_study(summary | {"schema": 2})
    with pytest.raises(
        InputError, match="`summary` must have the part 'headline', got None; run `vicinal study report`"
    ):
        render_study({key: item for key, item in summary.items() if key != "headline"})


def test_csv_reads_back_as_the_summary(summary: dict[str, Any], tmp_path: Path) -> None:
    read = {path.stem: pd.read_csv(path) for path in export_csv(summary, tmp_path)}
    names = {"scores", "datasets", "published", "corruptions", "differences", "spaces", "cost", "failures", "missing"}
    assert set(read) == names == set(tidy_tables(summary))
    scores = read["scores"].set_index(["dataset", "metric", "method"])["mean"]
    for data in summary["datasets"]:
        for metric, by_method in data["scores"].items():
            for name, score in by_method.items():
                assert scores[data["id"], metric, name] == pytest.approx(score["mean"])
    assert len(read["differences"]) == len(summary["differences"])
    assert len(read["corruptions"]) == 15 * sum(len(t["accuracy"]) for t in summary["corruptions"]["tables"])


def test_documents_hold_the_main_tables(summary: dict[str, Any], tmp_path: Path) -> None:
    text = export_markdown(summary, tmp_path / "study.md").read_text(encoding="utf-8")
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 1 + 2 + 1
    for lines in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    for data in summary["datasets"]:
        for name, score in data["scores"]["corruption_accuracy"].items():
            cell = f"{100 * score['mean']:.2f} ± {100 * score['std']:.2f}"
            assert cell in next(line for line in blocks[0] if line.startswith(f"| {summary['names'][name]} |"))
    best = max(score["mean"] for score in summary["datasets"][0]["scores"]["corruption_accuracy"].values())
    assert f"**{100 * best:.2f} ±" in text
    assert text.count("**better**") > 3
    latex = export_latex(summary, tmp_path / "study.tex").read_text(encoding="utf-8")
    assert len(set(re.findall(r"\\label\{(.*?)\}", latex))) == 4
    plain = re.sub(r"\\[{}]", "", latex)
    assert plain.count("{") == plain.count("}")


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
