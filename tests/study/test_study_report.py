"""A study's page shows what its summary says, fetches nothing, and says what is left out."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sample_study import METHODS, manifest, simulate
from test_report import Page

from vicinal.core.checks import InputError
from vicinal.study.analysis import analyse
from vicinal.study.report import render_study, write_study_report
from vicinal.study.report._study_words import headline, p_value, tables

HOSTILE = "<img src=x onerror=alert(1)>{{ 7 * 7 }}$x$"


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    frame, profiles, study = simulate(30, criterion=0.95, balanced=0.4)
    done = frame[frame["status"] == "done"]
    study["published"] = [
        {"dataset": row["dataset"], "method": row["method"], "metric": "accuracy", "value": value}
        for (_, row), value in zip(done.head(2).iterrows(), (1.25, 100 * done.iloc[1]["accuracy"]), strict=True)
    ]
    study["published"].append({"dataset": "openml:700", "metric": "gaussian_train_accuracy", "value": 62.0})
    study["published_counts"] = [
        {"baseline": "mixup", "subset": "criterion", "higher": 54.88, "on_par": 7.32, "lower": 35.37}
    ]
    study["missing"] = [{"id": "openml:1", "why": "OpenML does not answer."}]
    return analyse(frame, profiles, study)


@pytest.fixture(scope="module")
def page(summary: dict[str, Any]) -> Page:
    return Page(render_study(summary))


def test_every_part_has_its_section_in_order(page: Page) -> None:
    order = [attrs.get("id") for tag, attrs in page.elements if tag == "section"]
    parts = [
        "result",
        "counts",
        "differences",
        "histogram",
        "ranks",
        "table-accuracy",
        "quoted",
        "differing",
        "cost",
        "failures",
    ]
    assert order == [*parts, "reproduce"]
    assert set(page.figures) <= page.ids
    assert set(page.figures) == {"forest-accuracy", "histogram-accuracy"}


def test_numbers_are_those_of_the_summary(page: Page, summary: dict[str, Any]) -> None:
    table = page.text("table-accuracy")
    for data in summary["datasets"]:
        for score in data["scores"]["accuracy"].values():
            assert f"{100 * score['mean']:.2f} ± {100 * score['std']:.2f}" in table
    counts = page.text("counts")
    for row in summary["counts"]:
        assert f"{row['baseline']} {row['ahead']} {100 * row['ahead'] / row['datasets']:.1f} %" in counts
    assert "54.88 % 7.32 % 35.37 %" in counts
    assert "[1.25] ≠" in table
    assert page.text("differing").count("more than twice the spread over trials") == 1
    assert "openml:700 gaussian train accuracy" in page.text("quoted")
    assert page.text("quoted").endswith("62.0 %")
    assert "OpenML does not answer." in page.text("failures")


def test_nothing_is_computed(summary: dict[str, Any]) -> None:
    changed = copy.deepcopy(summary)
    changed["datasets"][0]["scores"]["accuracy"]["mixup"] = {"mean": 0.1234, "std": 0.5, "trials": 5}
    changed["counts"][0]["ahead"] = 471
    found = Page(render_study(changed))
    assert "12.34 ± 50.00" in found.text("table-accuracy")
    assert " 471 " in found.text("counts")


def test_the_diagram_takes_its_colours_from_the_theme(page: Page, summary: dict[str, Any]) -> None:
    drawings = re.findall(r'<div class="diagram">(.*?)</svg>', render_study(summary), flags=re.DOTALL)
    assert len(drawings) == 3
    for svg, view in zip(drawings, summary["ranks"], strict=True):
        assert "var(--ink)" in svg
        assert "var(--m8)" in svg  # genlabel's own
        assert not re.search(r"#[0-9a-f]{6}[\"; ]", svg)
        assert "<style" not in svg
        for name, rank in view["methods"].items():
            assert re.search(rf"{name}\s{rank:.2f}|{rank:.2f}\s{name}", svg)


def test_nothing_is_fetched_and_no_string_is_markup(page: Page) -> None:
    frame, profiles, study = simulate(6, methods=["vanilla", "mixup", HOSTILE])
    for key in ("title", "question", "citation", "suite", "command"):
        study[key] = HOSTILE
    study |= {
        "remarks": [HOSTILE],
        "notes": [HOSTILE],
        "subject": HOSTILE,
        "missing": [{"id": HOSTILE, "why": HOSTILE}],
    }
    frame.loc[0, ["status", "error_kind", "error_message"]] = ["failed", HOSTILE, HOSTILE]
    study["about"] = {name: {"name": HOSTILE} for name in study["datasets"]}
    text = render_study(analyse(frame, profiles, study))
    hostile = Page(text)
    assert hostile.scripts[1:] == page.scripts[1:]
    assert not [tag for tag, attrs in hostile.elements if any(name.startswith("on") for name in attrs)]
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in page.elements}
    assert "://" not in text.replace(hostile.scripts[1], "")
    for section in ("header", "result", "ranks", "failures", "reproduce"):
        assert HOSTILE in hostile.text(section)


def test_an_unfinished_study_says_so(page: Page) -> None:
    frame, profiles, study = simulate(6)
    text = Page(render_study(analyse(frame.head(20), profiles, study))).text("unfinished")
    assert "not finished: 28 of 54 results are still to come" in text
    assert "unfinished" not in page.ids


@pytest.mark.parametrize(
    "study",
    [
        simulate(1, ["mixup", "genlabel"], failing=0),
        simulate(3, ["mixup"], failing=0),
        simulate(4, ["a", "b", "c"], failing=0),
        simulate(4, failing=1.0),
        simulate(3, ["vanilla", "genlabel"], trials=1, metrics=("robust_accuracy", "accuracy")),
        (pd.DataFrame({"dataset": [], "method": [], "status": []}), None, manifest(["t"], ["mixup", "genlabel"])),
    ],
    ids=["one data set", "one method", "no subject", "all failed", "one trial", "nothing yet"],
)
def test_a_small_study_makes_a_page(study: Any) -> None:
    found = Page(render_study(json.loads(json.dumps(analyse(*study)))))
    assert {"result", "ranks"} <= found.ids
    assert "None" not in " ".join(found.text(section) for section in found.words if section not in ("title",))


def test_a_large_study_says_what_is_not_shown() -> None:
    frame, profiles, study = simulate(160, [*METHODS, *(f"m{i}" for i in range(40))], failing=0)
    summary = analyse(frame, profiles, study)
    text = render_study(summary)
    found = Page(text)
    lead = found.text("table-accuracy")
    assert "Only 150 of 160 data sets are shown; the exported tables have all. Only 16 of 48 methods are shown." in lead
    heads = [attrs for tag, attrs in found.elements if tag == "th" and "subject" in (attrs.get("class") or "")]
    assert len(heads) == 1
    assert "With 48 methods pairs are not tested one by one" in found.text("ranks")
    assert len(text) - len(found.scripts[1]) < 1_500_000


def test_the_headline_claims_no_more_than_the_tests(summary: dict[str, Any]) -> None:
    claim, sentences = headline(summary)
    row = next(r for r in summary["counts"] if (r["subset"], r["baseline"]) == ("criterion", "mixup"))
    assert claim.startswith(f"genlabel is ahead of mixup on {row['ahead']} of {row['datasets']} data sets")
    assert any("Published: ahead on 54.9 % of the data sets and behind on 35.4 %" in s for s in sentences)
    assert "Of 2 published scores, 1 lies within two standard deviations of ours and 1 does not." in sentences
    unsure = copy.deepcopy(summary)
    for difference in unsure["differences"]:
        difference["verdict"] = "no clear difference"
    _, sentences = headline(unsure)
    assert any(s.endswith("that may be chance.") for s in sentences)
    assert not any("clearly better" in s for s in sentences)
    nobody = copy.deepcopy(summary) | {"main": None, "subject": None}
    assert headline(nobody)[0].startswith("Best mean rank: ")
    nothing = copy.deepcopy(summary)
    nothing["status"]["done"] = 0
    assert headline(nothing)[0] == "Nothing is done yet, so there is nothing to compare."


def test_words_for_numbers() -> None:
    assert [p_value(p) for p in (0.0004, 0.0312, None)] == ["< 0.001", "0.031", "–"]
    assert [tables(*pair) for pair in ((52, 52), (52, 30), (2, 1), (1, 1))] == [
        "52 data sets",
        "52 data sets in 30 families",
        "2 data sets in 1 family",
        "1 data set",
    ]


def test_the_same_summary_gives_the_same_page_and_stays_as_it_was(summary: dict[str, Any]) -> None:
    before = copy.deepcopy(summary)
    assert render_study(summary) == render_study(summary)
    assert summary == before


def test_another_summary_is_refused(summary: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`summary` must have schema 1, got 2; run `vicinal study report` again"):
        render_study(summary | {"schema": 2})
    with pytest.raises(InputError, match="`summary` must have the part 'ranks', got None; run `vicinal study report`"):
        render_study({key: value for key, value in summary.items() if key != "ranks"})
    with pytest.raises(TypeError, match="`summary` must be a mapping as read from JSON, got list"):
        render_study([])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"`path` must be a file that can be written, got .*nowhere"):
        write_study_report(summary, tmp_path / "nowhere" / "report.html")
    path = write_study_report(summary, tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == render_study(summary)
