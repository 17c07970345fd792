"""The report shows what the summary holds, claims no more, fetches nothing, and treats each string as text."""

import ast
import base64
import copy
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from sample_summary import METHODS, crowded, hostile, realistic

from vicinal.core.checks import InputError
from vicinal.study import report
from vicinal.study.report import render, write_report
from vicinal.study.report._figures import class_mark
from vicinal.study.report._palette import THEMES, method_slots
from vicinal.study.report._text import clean, wrapped
from vicinal.study.report._words import headline, verdict

REQUIRED = ("schema", "dataset", "protocol", "methods")


class Page(HTMLParser):
    """Elements with their attributes, the visible text by section, and the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: dict[str, list[str]] = {}
        self.inside = ""
        self.section = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag in ("script", "style"):
            self.inside = tag
        if tag in ("section", "header", "title") or "banner" in (found.get("class") or ""):
            self.section = found.get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts.append(data)
        elif not self.inside:
            self.words.setdefault(self.section, []).append(data)

    def text(self, section: str) -> str:
        return " ".join(" ".join(self.words[section]).split())

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])["figures"]

    @property
    def ids(self) -> set[str]:
        return {attrs["id"] or "" for _, attrs in self.elements if "id" in attrs}


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(realistic()))


@pytest.fixture(scope="module")
def hostile_page() -> Page:
    return Page(render(hostile()))


def test_every_part_has_its_section_in_order(page: Page) -> None:
    order = [attrs.get("id") for tag, attrs in page.elements if tag == "section"]
    assert order == [
        "result",
        "methods",
        "scores",
        "differences",
        "reliability",
        "projection-section",
        "densities",
        "selected",
        "reproduce",
    ]
    assert set(page.figures) <= page.ids
    assert len(page.figures) == 3 + 4 + len(METHODS) + 1


@pytest.mark.parametrize("part", [part for part in realistic() if part not in REQUIRED])
def test_a_missing_part_leaves_out_its_section_only(part: str) -> None:
    summary = realistic(trials=2)
    del summary[part]
    sections = {
        "comparisons": "differences",
        "projection": "projection-section",
        "reliability": part,
        "densities": part,
    }
    ids = Page(render(summary)).ids
    assert {"methods", "scores"} <= ids
    if part in sections:
        assert sections[part] not in ids


def test_only_the_required_parts_still_make_a_page() -> None:
    bare = {"schema": 1, "dataset": {"name": "x"}, "protocol": "tuned", "methods": {"vanilla": {}}}
    assert Page(render(bare)).figures == {}


def test_parts_that_a_broken_run_left_empty_are_dashes() -> None:
    summary = realistic(trials=2)
    summary["methods"]["mixup"] = None
    summary["methods"]["cutmix"]["ece"] = None
    summary["reliability"]["mixup"] = None
    summary["densities"]["kde"] = None
    summary["comparisons"][0] = None
    summary["projection"]["points"][0] = None
    summary["projection"]["labels"][1] = None
    summary["projection"]["mixed"][0] = [float("nan"), 1.0]
    text = Page(render(summary)).text("methods")
    assert "mixup – ± – – ± – – ± – – ± – –" in text


def test_numbers_are_those_of_the_summary(page: Page) -> None:
    text, summary = page.text("methods"), realistic()
    for result in summary["methods"].values():
        assert f"{100 * result['accuracy']['mean']:.1f} % ± {100 * result['accuracy']['std']:.1f}" in text
        assert f"{result['log_loss']['mean']:.3f} ± {result['log_loss']['std']:.3f}" in text
    dots, means = page.figures["scores-accuracy"]["data"]
    assert len(dots["x"]) == 10 * len(METHODS)
    assert means["x"] == pytest.approx([100 * r["accuracy"]["mean"] for r in summary["methods"].values()])
    counts = page.figures["reliability-0"]["data"][1]
    assert counts["text"] == [str(b["count"]) for b in summary["reliability"]["vanilla"] if b["count"]]


def test_nothing_is_computed() -> None:
    summary = realistic()
    summary["methods"]["mixup"]["accuracy"] |= {"mean": 0.123, "std": 0.045}
    assert "12.3 % ± 4.5" in Page(render(summary)).text("methods")


def test_the_best_mean_is_marked_once_per_column_unless_tied(page: Page) -> None:
    summary = realistic()
    best = [t for t, a in page.elements if t == "td" and "best" in (a.get("class") or "").split()]
    ties = 0
    for metric, pick in (("accuracy", max), ("log_loss", min), ("brier", min), ("ece", min)):
        digits = [round(r[metric]["mean"], 3) for r in summary["methods"].values()]
        ties += digits.count(pick(digits))
    assert len(best) == ties


def test_plotly_accepts_each_figure(page: Page) -> None:
    def painted(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: painted(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [painted(item, key) for item in value]
        return THEMES["dark"].get(value, value) if key.endswith("color") and isinstance(value, str) else value

    for name, figure in page.figures.items():
        whole = painted({"data": figure["data"], "layout": figure["layout"]})
        assert "color" in json.dumps(whole), name
        go.Figure(whole)


def test_nothing_is_fetched(page: Page) -> None:
    text = render(realistic())
    own = text.replace(page.scripts[1], "")  # plotly.js names addresses that it fetches for maps only
    assert "://" not in own
    assert "@import" not in text
    assert not re.search(r"url\(", own)
    for tag, attrs in page.elements:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base", "form", "a")
        assert not {"src", "href", "srcset", "action"} & set(attrs)
    policy = next(attrs["content"] for tag, attrs in page.elements if "http-equiv" in attrs) or ""
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "script-src 'sha256-" in policy


def test_the_policy_names_the_scripts_that_run(page: Page) -> None:
    policy = next(attrs["content"] for tag, attrs in page.elements if "http-equiv" in attrs) or ""
    for script in page.scripts[1:]:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy


def test_hostile_strings_are_text(page: Page, hostile_page: Page) -> None:
    assert len(hostile_page.scripts) == len(page.scripts) == 3
    assert hostile_page.scripts[1:] == page.scripts[1:]
    assert {tag for tag, _ in hostile_page.elements} <= {tag for tag, _ in page.elements} | {"strong"}
    drawn = [(tag, attrs) for tag, attrs in hostile_page.elements if any(name.startswith("on") for name in attrs)]
    assert drawn == []
    for section in ("title", "header", "interrupted", "methods", "densities", "selected", "reproduce"):
        assert "<img src=x onerror=alert(2)>" in hostile_page.text(section)
    assert "{{ 7 * 7 }}" in hostile_page.text("methods")


def test_hostile_strings_are_text_for_plotly_too(hostile_page: Page) -> None:
    assert "<" not in hostile_page.scripts[0]
    tags = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, str):
            tags.extend(re.findall(r"<[^>]*>?", value))

    for figure in hostile_page.figures.values():
        walk({"data": figure["data"], "layout": figure["layout"]})
        assert "hovertemplate" not in json.dumps(figure)
    assert set(tags) <= {"<br>"}


def test_control_characters_and_lone_surrogates_are_gone() -> None:
    text = render(hostile())
    own = text.replace(text.split("<script>")[1], "")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", own)
    assert clean({"a": float("nan"), "b": ("\x1b[1m", "\ud800")}) == {"a": None, "b": ["\ufffd[1m", "\ufffd"]}


@pytest.mark.parametrize(
    ("low", "high", "said", "expected"),
    [
        (0.01, 0.03, "better", "better"),
        (-0.03, -0.01, "worse", "worse"),
        (-0.01, 0.03, "better", "unclear"),  # whatever the summary says, an interval with zero in it is not clear
        (0.01, 0.03, "no clear difference", "unclear"),
        (None, None, "better", "unknown"),
    ],
)
def test_a_difference_is_clear_only_if_its_interval_says_so(low: Any, high: Any, said: str, expected: str) -> None:
    assert verdict({"low": low, "high": high, "verdict": said}) == expected


def test_the_headline_claims_no_more_than_the_intervals() -> None:
    summary = realistic()
    assert "genlabel" in headline(summary)[0]
    assert "clearly more accurate than vanilla" in headline(summary)[0]
    unsure = copy.deepcopy(summary)
    for comparison in unsure["comparisons"]:
        comparison |= {"low": -1.0, "high": 1.0}
    claim, sentences = headline(unsure)
    assert claim == "Nothing is clearly better than vanilla."
    assert "Every 95 % interval includes zero, so all differences may be chance." in sentences
    only_loss = copy.deepcopy(unsure)
    next(c for c in only_loss["comparisons"] if c["metric"] == "log_loss").update(low=-0.2, high=-0.1, verdict="better")
    but = "Nothing is clearly more accurate than vanilla, but mixup has clearly better probabilities."
    assert headline(only_loss)[0] == but
    only_worse = copy.deepcopy(unsure)
    only_worse["comparisons"][0] |= {"low": -0.2, "high": -0.1, "verdict": "worse"}
    claim, sentences = headline(only_worse)
    assert claim == "Nothing is clearly better than vanilla."
    assert sentences[-1] == "Clearly worse: mixup (accuracy)."
    assert headline(realistic(trials=1))[0] == "This run cannot tell the methods apart."


def test_one_trial_has_no_spread_and_no_verdict() -> None:
    text = Page(render(realistic(trials=1))).text("methods")
    assert text.count("± –") == 4 * len(METHODS)
    assert text.count("cannot tell from one trial") == len(METHODS) - 1


def test_an_interrupted_run_says_what_is_missing(page: Page) -> None:
    banner = Page(render(crowded())).text("interrupted")
    assert "interrupted" in banner
    assert "genlabel, trial 2" in banner
    assert "and 6 more" in banner
    assert "interrupted" not in page.ids


def test_a_method_keeps_its_colour_and_classes_differ() -> None:
    slots = method_slots(["mine", "genlabel", "yours", "mine"])
    assert slots["genlabel"] == method_slots([])["genlabel"]
    assert len({slots[name] for name in (*METHODS, "mine", "yours")}) == len(METHODS) + 2
    assert len({class_mark(k) for k in range(32)}) == 32
    assert THEMES["light"].keys() == THEMES["dark"].keys()


def test_long_names_take_two_lines() -> None:
    text, length = wrapped("unbroken_method_name_without_any_hyphen_in_it_at_all")
    assert text.count("<br>") == 1
    assert text.endswith("…")
    assert length <= 19


def test_the_same_summary_gives_the_same_page_and_stays_as_it_was() -> None:
    summary = realistic(trials=2)
    before = copy.deepcopy(summary)
    assert render(summary) == render(summary)
    assert summary == before


@pytest.mark.parametrize("part", REQUIRED[1:])
def test_a_required_part_must_be_there(part: str) -> None:
    summary = realistic(trials=1)
    del summary[part]
    with pytest.raises(InputError, match=f"`summary` must have the part '{part}', got None; run `vicinal compare`"):
        render(summary)


def test_another_schema_is_refused() -> None:
    with pytest.raises(InputError, match="`summary` must have schema 1, got 2; run `vicinal compare` again"):
        render(realistic(trials=1) | {"schema": 2})
    with pytest.raises(TypeError, match="`summary` must be a mapping as read from JSON, got list"):
        render([])  # type: ignore[arg-type]


def test_the_report_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report(realistic(trials=1), tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == render(realistic(trials=1))
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    path.write_text("before")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match=r"must be a file that can be written, got .* \(No space left on device\)"):
        write_report(realistic(trials=1), path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_an_unwritable_path_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`path` must name a file, got the folder"):
        write_report(realistic(trials=1), tmp_path)
    with pytest.raises(InputError, match=r"must be a file that can be written, got .*nowhere.*No such file"):
        write_report(realistic(trials=1), tmp_path / "nowhere" / "report.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder"):
        write_report(realistic(trials=1), tmp_path / "file" / "report.html")


def test_the_report_itself_asks_for_little() -> None:
    asked = set()
    for file in Path(report.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                asked |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                asked.add(node.module or "")
    ours = {name for name in asked if name.startswith("vicinal") and not name.startswith("vicinal.study.report")}
    assert ours == {
        "vicinal.core.checks",
        "vicinal.core.extras",
        "vicinal.evaluation",
    }  # the last for the names of scores
    others = {"jinja2", "pandas", "plotly", "vicinal"}  # pandas for the drawing of critical differences only
    assert {name.split(".")[0] for name in asked} <= {*sys.stdlib_module_names, *others}
