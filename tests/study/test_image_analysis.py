"""The summary of a study of images: numbers against plain recomputation, and nothing claimed that the trials do not show."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sample_images import GROUPS, METHODS, manifest, picture, simulate
from scipy import stats

from vicinal.core.checks import InputError
from vicinal.study.analysis import analyse_images
from vicinal.study.analysis._image_metrics import goal, ordered
from vicinal.study.analysis._image_names import METHOD_NAMES
from vicinal.study.record import Axes, make_record
from vicinal.study.store import Store
from vicinal.study.tally import summary_of


@pytest.fixture(scope="module")
def study() -> tuple[pd.DataFrame, dict[str, Any]]:
    return simulate()


@pytest.fixture(scope="module")
def summary(study: tuple[pd.DataFrame, dict[str, Any]]) -> dict[str, Any]:
    return analyse_images(*study)


def values(frame: pd.DataFrame, dataset: str, method: str, metric: str) -> pd.Series:
    if metric == "mce":
        names = [c for c in frame if c.startswith("corruption_accuracy_") and not c.endswith("_trials")]
        errors = [1 - values(frame, dataset, method, name) for name in names]
        plain = [1 - values(frame, dataset, "erm", name) for name in names]
        return 100 * sum(a / b for a, b in zip(errors, plain, strict=True)).dropna() / len(names)
    rows = frame[(frame["dataset"] == dataset) & (frame["method"] == method) & (frame["status"] == "done")]
    trials = [json.loads(text)["trial"] for text in rows["options"]]
    return pd.Series(rows[metric].to_numpy(dtype=float), trials).dropna()


def scores(summary: dict[str, Any], dataset: str) -> dict[str, Any]:
    return next(data["scores"] for data in summary["datasets"] if data["id"] == dataset)


def test_means_and_spreads_are_those_of_the_records(study: Any, summary: dict[str, Any]) -> None:
    frame, manifest_ = study
    names = [c.removesuffix("_trials") for c in frame if c.endswith("_trials")] + ["mce"]
    assert {m["key"] for m in summary["metrics"]} == set(names)
    told = 0
    for dataset in manifest_["datasets"]:
        for metric in names:
            found = scores(summary, dataset)[metric]
            for method in METHODS:
                expected = values(frame, dataset, method, metric)
                assert (method in found) == (len(expected) > 0)
                if len(expected):
                    told += 1
                    assert found[method]["mean"] == pytest.approx(expected.mean())
                    assert found[method]["std"] == pytest.approx(np.std(expected, ddof=1))
                    assert found[method]["trials"] == len(expected)
    assert told > 500
    assert scores(summary, "cifar-10")["accuracy"]["at"]["trials"] == 2  # one failed
    assert "iat" not in scores(summary, "cifar-10")["ece"]  # null in every record
    assert "varmixup-genlabel" not in scores(summary, "fashion-mnist")["accuracy"]  # not run


def test_differences_are_paired_t_intervals(study: Any, summary: dict[str, Any]) -> None:
    frame, _ = study
    rows = {(r["dataset"], r["metric"], r["method"], r["baseline"]): r for r in summary["differences"]}
    assert {key[3] for key in rows} == {"erm", "mixup", "mixup-r"}
    assert not any(key[1].startswith(("corruption_accuracy_", "severity_")) for key in rows)
    for (dataset, metric, method, baseline), row in rows.items():
        ours, theirs = (values(frame, dataset, name, metric) for name in (method, baseline))
        d = (ours - theirs).dropna()
        assert row["difference"] == pytest.approx(d.mean())
        assert row["trials"] == len(d)
        low, high = stats.t.interval(0.95, len(d) - 1, d.mean(), stats.sem(d)) if len(d) > 1 else (None, None)
        assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))
        if len(d) < 3:
            assert row["verdict"] is None
        elif low <= 0 <= high:
            assert row["verdict"] == "no clear difference"
        else:
            assert row["verdict"] == ("better" if (d.mean() > 0) == (goal(metric) == "higher") else "worse")
    assert rows["cifar-10", "accuracy", "at", "mixup"]["trials"] == 2


def test_equal_numbers_are_no_clear_difference() -> None:
    frame = pd.DataFrame(
        {"dataset": "d", "status": "done", "method": ["mixup"] * 3 + ["mine"] * 3, "trial": [0, 1, 2] * 2}
    )
    frame["accuracy"] = [0.5, 0.6, 0.7] * 2
    frame["accuracy_trials"] = [[value] for value in frame["accuracy"]]
    told = {"datasets": ["d"], "methods": ["mixup", "mine"], "subject": "mine"}
    (row,) = analyse_images(frame, told)["differences"]
    assert (row["difference"], row["verdict"]) == (0.0, "no clear difference")
    frame.loc[3:, "accuracy"] += 0.1
    found = analyse_images(frame, told)
    assert found["differences"][0]["verdict"] == "better"
    assert found["headline"]["claim"].endswith("Mixup 60.0 % (3 trials): clearly more than Mixup.")
    frame.loc[3:, "accuracy"] -= 0.2
    assert "clearly fewer than Mixup" in analyse_images(frame, told)["headline"]["claim"]


def test_published_numbers_stand_beside_ours(study: Any, summary: dict[str, Any]) -> None:
    frame, manifest_ = study
    for row, entry in zip(summary["published"], manifest_["published"], strict=True):
        found = values(frame, entry["dataset"], entry["method"], entry["metric"])
        gap = 100 * found.mean() - entry["value"]
        assert 100 * row["difference"] == pytest.approx(gap)
        assert row["within"] == (abs(gap) <= 2 * np.hypot(100 * found.std(), entry["std"]))
    assert {row["within"] for row in summary["published"]} == {True, False}
    frame, manifest_ = simulate(trials=1)
    manifest_["published"].append({"dataset": "imagenet", "method": "mixup", "metric": "accuracy", "value": 70.0})
    manifest_["published"].append({"dataset": "cifar-10", "method": "mixup", "metric": "ece", "value": 0.05})
    found = analyse_images(frame, manifest_)["published"]
    assert [row["within"] for row in found] == [None] * len(found)  # one trial has no spread
    assert found[-2]["ours"] is None
    assert found[-1]["published"] == 0.05


def test_ratios_are_medians_over_trials(study: Any, summary: dict[str, Any]) -> None:
    frame, _ = study
    for row in summary["cost"]:
        plain, own, space = (
            values(frame, row["dataset"], name, metric)
            for name, metric in (
                ("erm", "train_seconds"),
                (row["method"], "train_seconds"),
                (row["method"], "space_seconds"),
            )
        )
        assert row["seconds"] == pytest.approx(own.mean())
        assert row["ratio"] == pytest.approx((own / plain).median())
        assert row["ratio_with_space"] == pytest.approx(((own + space) / plain).median())
    without = analyse_images(*simulate(methods=("mixup", "varmixup")))
    assert {row["ratio"] for row in without["cost"]} == {None}


def test_corruptions_are_differences_from_mixup(study: Any, summary: dict[str, Any]) -> None:
    frame, _ = study
    assert summary["corruptions"]["groups"] == GROUPS
    table = summary["corruptions"]["tables"][0]
    assert table["reference"] == "mixup"
    fog = [values(frame, "cifar-10", name, "corruption_accuracy_fog").mean() for name in ("varmixup", "mixup")]
    assert table["difference"]["varmixup"]["fog"] == pytest.approx(fog[0] - fog[1])
    assert set(table["difference"]["mixup"].values()) == {0.0}
    plain = analyse_images(*simulate(methods=("erm", "varmixup"), corruption_groups={"weather": ["fog", "rain"]}))
    assert plain["corruptions"]["tables"][0]["reference"] == "erm"
    assert plain["corruptions"]["groups"]["weather"] == ["fog"]
    assert len(plain["corruptions"]["groups"]["other"]) == 14


def test_a_space_that_loses_much_is_said(summary: dict[str, Any]) -> None:
    rows = {(row["dataset"], row["method"]): row for row in summary["spaces"]}
    assert rows["cifar-10", "adv-varmixup"]["drop"] == pytest.approx(0.145)
    assert {method for (_, method), row in rows.items() if row["poor"]} == {"adv-varmixup"}
    assert any("the space of adv-VarMixup" in text for text in summary["headline"]["sentences"])
    frame, told = simulate(datasets=("cifar-10",))
    frame = frame.drop(columns=["judge_accuracy", "judge_accuracy_trials"])
    row = next(r for r in analyse_images(frame, told)["spaces"] if r["method"] == "varmixup")
    assert row["reference"] == pytest.approx(values(frame, "cifar-10", "erm", "accuracy").mean())


def test_what_is_planned_done_and_failed(summary: dict[str, Any]) -> None:
    status = summary["status"]
    assert (status["planned"], status["done"], status["failed"], status["left"]) == (90, 86, 1, 3)
    assert status["failures"][0]["trial"] == 1
    assert status["causes"][0]["error_message"] == "the loss is no number."
    frame, told = simulate(trials=2)
    del told["planned"]
    assert analyse_images(frame, told)["status"]["planned"] == 60


def test_the_headline_claims_no_more_than_the_trials(summary: dict[str, Any]) -> None:
    claim = summary["headline"]["claim"]
    assert claim == "Mixup + VarMixup keeps clearly more corrupted images right than Mixup on both data sets."
    text = " ".join(summary["headline"]["sentences"])
    assert "no clear difference from Mixup and plain training" in text  # clean images of CIFAR-10
    assert "Best mean in accuracy on corrupted images: Mixup + VarMixup, sampled" in text
    one = analyse_images(*simulate(datasets=("cifar-10",), trials=1))["headline"]
    assert one["claim"].endswith("(1 trial).")
    assert not any("clearly" in sentence for sentence in one["sentences"])
    assert any("no verdict is given" in sentence for sentence in one["sentences"])
    two = analyse_images(*simulate(trials=2))["headline"]
    assert "clearly" not in two["claim"] + " ".join(two["sentences"])
    nobody = analyse_images(*simulate(subject=None))
    assert "clearly" not in nobody["headline"]["claim"]
    assert any("picked for its mean" in sentence for sentence in nobody["headline"]["sentences"])


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("calibration", "calibration error"),
        ("linearity", "local linear error"),
        ("distance", "Fréchet distance"),
        ("cost", "seconds a training"),
        ("corruptions", "corrupted images"),
        ("samples", "corrupted images"),
        ("transfer", "corrupted images"),
    ],
)
def test_the_headline_is_about_the_suite(part: str, words: str) -> None:
    found = analyse_images(*simulate(figures=[part]))
    assert found["parts"] == [part]
    assert words in found["headline"]["claim"]


def test_mixed_verdicts_are_told_apart() -> None:
    frame, told = simulate(datasets=("cifar-10", "fashion-mnist", "cifar-100"), gaps=False)
    mine = frame["method"] == "mixup+varmixup"
    for dataset, shift in (("fashion-mnist", -0.3), ("cifar-100", np.nan)):
        rows = mine & (frame["dataset"] == dataset)
        other = frame[(frame["method"] == "mixup") & (frame["dataset"] == dataset)]["corruption_accuracy"].to_numpy()
        noise = np.array([0.01, -0.01, 0.002]) if np.isnan(shift) else shift
        frame.loc[rows, "corruption_accuracy"] = other + noise
    claim = analyse_images(frame, told)["headline"]["claim"]
    assert claim == (
        "Mixup + VarMixup keeps clearly more corrupted images right than Mixup on CIFAR-10 and keeps clearly fewer corrupted"
        " images right than Mixup on Fashion-MNIST; no clear difference on CIFAR-100."
    )
    frame.loc[frame["method"] == "mixup+varmixup", "corruption_accuracy"] = frame.loc[
        frame["method"] == "mixup", "corruption_accuracy"
    ].to_numpy()
    assert analyse_images(frame, told)["headline"]["claim"] == (
        "No clear difference between Mixup + VarMixup and Mixup in accuracy on corrupted images on all 3 data sets."
    )


def test_nothing_yet_and_all_failed() -> None:
    empty = pd.DataFrame({"dataset": [], "method": [], "status": []})
    found = analyse_images(empty, manifest(["cifar-10"], ["erm", "mixup"]))
    assert found["headline"]["claim"] == "Nothing is done yet, so there is nothing to compare."
    assert (found["parts"], found["metrics"], found["main"]) == ([], [], None)
    frame, told = simulate(trials=1)
    frame = frame[["dataset", "method", "options", "status", "error_kind", "error_message"]].assign(status="failed")
    found = analyse_images(frame, told)
    assert found["status"]["failed"] == len(frame)
    assert found["headline"]["claim"] == "Nothing is done yet, so there is nothing to compare."


def test_a_subject_that_did_not_run_is_noted(summary: dict[str, Any]) -> None:
    found = analyse_images(*simulate(methods=("erm", "mixup"), subject="varmixup"))
    assert found["subject"] is None
    assert "VarMixup, which the suite is about, was not run." in found["notes"]
    frame, told = simulate()
    frame.loc[frame["method"] == "mixup+varmixup", "status"] = "failed"
    assert analyse_images(frame, told)["headline"]["claim"] == "Mixup + VarMixup has no result yet."


def test_different_devices_are_noted() -> None:
    frame, told = simulate(trials=1)
    assert not analyse_images(frame, told)["notes"]
    frame.loc[0, "fact_device"] = "cuda"
    assert any("different devices (cpu, cuda)" in note for note in analyse_images(frame, told)["notes"])


def test_the_summary_is_plain_json_and_the_frame_stays(study: Any, summary: dict[str, Any]) -> None:
    before = study[0].copy()
    assert json.loads(json.dumps(analyse_images(*study), allow_nan=False)) == summary
    pd.testing.assert_frame_equal(study[0], before)


def test_what_is_missing_or_twice_there_is_an_error(study: Any) -> None:
    frame, told = study
    with pytest.raises(InputError, match="`study` must have the part 'methods' with at least one name, got None"):
        analyse_images(frame, {"datasets": ["cifar-10"]})
    with pytest.raises(
        InputError, match="one record for each data set, method and trial, got two of 'cifar-10' with 'erm'"
    ):
        analyse_images(pd.concat([frame, frame.head(1)]), told)


def test_order_of_metrics() -> None:
    assert ordered(["severity_accuracy_5", "linearity_16", "linearity_2.5", "accuracy", "severity_accuracy_1"]) == [
        "accuracy",
        "linearity_2.5",
        "linearity_16",
        "severity_accuracy_1",
        "severity_accuracy_5",
    ]


def test_every_method_has_a_name() -> None:
    from vicinal.study.images.methods import IMAGE_METHODS

    assert {*IMAGE_METHODS} <= {*METHOD_NAMES}


@pytest.mark.parametrize("sealed", [False, True])
def test_from_a_store_to_the_summary(sealed: bool, tmp_path: Path) -> None:
    store, planned = Store(tmp_path), []
    for method, base in (("erm", 0.7), ("mixup", 0.75)):
        for trial in range(3):
            axes = Axes("cifar-10", method, "images", "small-resnet", 1, 0, {"epochs": 3, "trial": trial})
            planned.append([axes.key, "scores", "cifar-10", method])
            facts = {"rows": 100, "device": "cpu"} | ({"samples": picture(trial)} if trial == 0 else {})
            number = base + trial / 100 + (trial == 2) * (base - 0.7) / 10
            metrics = {"accuracy": [number], "ece": [None if trial else 0.1]}
            store.write(make_record(axes, metrics, facts=facts))
    store.write_manifest(manifest(["cifar-10"], ["erm", "mixup"], subject="mixup", planned=planned))
    if sealed:
        store.seal()
    found = summary_of(Store(tmp_path))
    assert found["kind"] == "images"
    assert scores(found, "cifar-10")["accuracy"]["mixup"]["mean"] == pytest.approx(0.75 + 0.01 + 0.005 / 3)
    assert scores(found, "cifar-10")["ece"]["mixup"] == {"mean": 0.1, "std": None, "trials": 1}
    assert [row["method"] for row in found["samples"]] == ["erm", "mixup"]
    assert (
        next(r for r in found["differences"] if r["metric"] == "accuracy" and r["method"] == "mixup")["verdict"]
        == "better"
    )
