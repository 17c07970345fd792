"""The analysis agrees with brute force, with closed forms and with published numbers, and survives whatever is missing."""

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sample_study import METHODS, manifest, simulate
from scipy import stats

from vicinal.core.checks import InputError
from vicinal.evaluation import paired_difference
from vicinal.study.analysis import analyse


def records(scores: dict[str, dict[str, Any]], metric: str = "accuracy", **columns: Any) -> pd.DataFrame:
    """A frame from scores by data set and method: a list is the trials, None a failure."""
    rows = []
    for dataset, by_method in scores.items():
        for method, values in by_method.items():
            trials = np.atleast_1d(np.array(values if values is not None else [], dtype=float))
            done = values is not None
            row = {"dataset": dataset, "method": method, "status": "done" if done else "failed"}
            mean = trials.mean() if done else np.nan
            rows.append(row | {metric: mean, f"{metric}_trials": trials} | {k: v[dataset] for k, v in columns.items()})
    return pd.DataFrame(rows)


def study_of(frame: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    return manifest(list(dict.fromkeys(frame["dataset"])), list(dict.fromkeys(frame["method"])), **changes)


@pytest.fixture(scope="module")
def simulated() -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    return simulate(50, failing=0.08, criterion=0.95, balanced=0.5)


@pytest.fixture(scope="module")
def summary(simulated: Any) -> dict[str, Any]:
    return analyse(*simulated)


def rows_of(summary: dict[str, Any], part: str, **wanted: str) -> list[Any]:
    return [row for row in summary[part] if all(row[key] == value for key, value in wanted.items())]


def members(summary: dict[str, Any], subset: str) -> list[Any]:
    return [data for data in summary["datasets"] if subset in data["subsets"]]


@pytest.mark.parametrize("subset", ["all", "criterion", "balanced"])
def test_counts_equal_a_loop_over_the_data_sets(simulated: Any, summary: dict[str, Any], subset: str) -> None:
    frame = simulated[0].set_index(["dataset", "method"])
    for row in rows_of(summary, "counts", subset=subset):
        count = dict.fromkeys(("ahead", "on_par", "behind", "clearly_ahead", "clearly_behind"), 0)
        for data in members(summary, subset):
            ours, theirs = (frame.loc[(data["id"], name)] for name in ("genlabel", row["baseline"]))
            if "failed" in (ours["status"], theirs["status"]):
                continue
            count["on_par"] += abs(ours["accuracy"] - theirs["accuracy"]) < 1e-9
            count["ahead"] += ours["accuracy"] - theirs["accuracy"] > 1e-9
            count["behind"] += ours["accuracy"] - theirs["accuracy"] < -1e-9
            said = paired_difference(ours["accuracy_trials"], theirs["accuracy_trials"], 0.3).verdict(True)
            count["clearly_ahead"] += said == "better"
            count["clearly_behind"] += said == "worse"
        assert {key: row[key] for key in count} == count
        assert row["datasets"] == count["ahead"] + count["on_par"] + count["behind"]


def test_trials_on_fresh_rows_need_no_correction() -> None:
    frame = records({"t": {"mixup": [0.50, 0.52, 0.54], "genlabel": [0.53, 0.56, 0.57]}})  # gains 3, 4, 3 points
    found = {
        size: analyse(frame.assign(fact_test_share=size), None, study_of(frame))["counts"][0] for size in (0.0, 0.9)
    }
    assert (found[0.0]["clearly_ahead"], found[0.9]["clearly_ahead"]) == (1, 0)


def test_differences_equal_a_loop_over_families(simulated: Any, summary: dict[str, Any]) -> None:
    wide = simulated[0].pivot(index="dataset", columns="method", values="accuracy")
    family = {dataset: said["family"] for dataset, said in simulated[2]["about"].items()}
    raw = {}
    for row in rows_of(summary, "differences", subset="all"):
        means: dict[Any, list[float]] = {}
        for dataset, gain in (wide["genlabel"] - wide[row["baseline"]]).dropna().items():
            means.setdefault(dataset if pd.isna(family[dataset]) else family[dataset], []).append(gain)
        values = np.array([np.mean(v) for v in means.values()])
        assert (row["families"], row["datasets"]) == (len(values), sum(map(len, means.values())))
        assert row["mean"] == pytest.approx(values.mean())
        assert row["median"] == pytest.approx(np.median(values))
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        assert row["low"] == pytest.approx(values.mean() - half, abs=0.2 * half)
        assert row["high"] == pytest.approx(values.mean() + half, abs=0.2 * half)
        raw[row["baseline"]] = row["p"]
    adjusted, reached = {}, 0.0
    for place, name in enumerate(sorted(raw, key=raw.__getitem__)):  # Holm, step by step
        reached = max(reached, min(1.0, (len(raw) - place) * raw[name]))
        adjusted[name] = reached
    for row in rows_of(summary, "differences", subset="all"):
        assert row["p_holm"] == pytest.approx(adjusted[row["baseline"]])
        assert (row["verdict"] == "better") == (adjusted[row["baseline"]] < 0.05 and row["low"] > 0)


def test_wilcoxon_has_its_closed_form_where_one_method_always_wins() -> None:
    frame = records({f"t{i}": {"mixup": [0.5], "genlabel": [0.51 + i / 1000]} for i in range(8)})
    row = analyse(frame, None, study_of(frame))["differences"][0]
    assert row["p"] == pytest.approx(2 / 2**8)  # all of the 2^8 signs agree, on either side
    assert row["verdict"] == "better"


def test_a_few_large_gains_are_no_clear_win_where_most_tables_lose() -> None:
    """The interval of the mean speaks for the gains, Wilcoxon's test for the losses: they do not agree."""
    gains = [*(-0.001 - 0.0001 * np.arange(26)), 0.2, 0.21, 0.22, 0.23]
    frame = records({f"t{i}": {"mixup": [0.5], "genlabel": [0.5 + gain]} for i, gain in enumerate(gains)})
    row = analyse(frame, None, study_of(frame))["differences"][0]
    assert row["low"] > 0
    assert row["p_holm"] < 0.05
    assert row["verdict"] == "no clear difference"


def test_ranks_are_those_of_demsar() -> None:
    table = """.763 .768 .771 .798  .599 .591 .590 .569  .954 .971 .968 .967  .628 .661 .654 .657  .882 .888 .886 .898
        .936 .931 .916 .931  .661 .668 .609 .685  .583 .583 .563 .625  .775 .838 .866 .875  1 1 1 1
        .940 .962 .965 .962  .619 .666 .614 .669  .972 .981 .9751 .975  .957 .978 .946 .970"""
    names = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]
    values = np.array(table.split(), dtype=float).reshape(14, 4)
    frame = records({f"t{i}": {n: [v] for n, v in zip(names, row, strict=True)} for i, row in enumerate(values)})
    view = analyse(frame, None, study_of(frame))["ranks"][0]
    # J. Demsar, JMLR 7, 2006, Table 6 where two accuracies print as .975 but rank 2 and 3; the
    # critical difference for 4 methods on 14 data sets is 2.569 sqrt(20 / 84).
    assert [round(view["methods"][n], 3) for n in names] == [3.143, 2.0, 2.893, 1.964]
    assert view["critical_difference"] == pytest.approx(2.569 * np.sqrt(20 / 84), rel=1e-3)
    for a in names:
        for b in names:
            far = abs(view["methods"][a] - view["methods"][b]) > view["critical_difference"]
            assert (view["nemenyi"][a][b] < 0.05) == far


def test_ranks_use_the_data_sets_that_every_method_has(simulated: Any, summary: dict[str, Any]) -> None:
    frame = simulated[0]
    for view in summary["ranks"]:
        ids = {data["id"] for data in members(summary, view["subset"])}
        done = frame[frame["dataset"].isin(ids)].groupby("dataset")["status"].agg(lambda s: (s == "done").all())
        assert view["datasets"] == done.sum()
        k = len(METHODS)
        assert sum(view["methods"].values()) == pytest.approx(k * (k + 1) / 2)


def test_a_method_that_is_seldom_done_does_not_take_the_others_away() -> None:
    scores = {f"t{i}": {"a": [0.5], "b": [0.6], "rare": [0.9] if i == 0 else None} for i in range(6)}
    view = analyse(frame := records(scores), None, study_of(frame))["ranks"][0]
    assert view["left_out"] == ["rare"]
    assert (view["datasets"], view["methods"]) == (6, {"b": 1.0, "a": 2.0})


def test_lower_is_better_for_losses() -> None:
    scores = {f"t{i}": {"mixup": [0.5, 0.5], "genlabel": [0.4 - 0.01 * i, 0.4]} for i in range(6)}
    frame = records(scores, metric="log_loss")
    summary = analyse(frame, None, study_of(frame, metrics=["log_loss"]))
    assert summary["counts"][0]["ahead"] == 6
    assert summary["differences"][0]["mean"] < 0
    assert summary["differences"][0]["verdict"] == "better"
    assert summary["ranks"][0]["methods"]["genlabel"] == 1.0


def test_subsets_follow_their_rules(simulated: Any) -> None:
    frame = records(
        {n: {"mixup": [0.5], "genlabel": [0.6]} for n in "abcde"}, fact_balance=dict.fromkeys("acde", 1.0) | {"b": 0.4}
    )
    profiles = pd.DataFrame(
        {
            "dataset": list("abcd"),
            "fact_gaussian_train_accuracy": [0.5, 0.99, 0.95, np.nan],
            "fact_kde_train_accuracy": [0.96, 0.5, 0.95, np.nan],
        }
    )
    summary = analyse(frame, profiles, study_of(frame, criterion=0.95, balanced=0.5))
    assert [s["key"] for s in summary["subsets"]] == ["all", "criterion", "balanced"]
    ids = {key: "".join(d["id"] for d in members(summary, key)) for key in ("all", "criterion", "balanced")}
    assert ids == {"all": "abcde", "criterion": "ab", "balanced": "a"}  # the better density, strictly above 0.95
    assert [s["unknown"] for s in summary["subsets"]] == [0, 2, 0]
    assert summary["main"] == {"metric": "accuracy", "subset": "criterion", "baseline": "mixup"}
    counts = [{"baseline": "mixup", "subset": "all", "higher": 50.0, "on_par": 0.0, "lower": 50.0}]
    counted = analyse(frame, profiles, study_of(frame, criterion=0.95, published_counts=counts))
    assert counted["main"]["subset"] == "all"  # as published


def test_published_scores_are_flagged_beyond_two_standard_deviations() -> None:
    frame = records({"openml:1413": {"mixup": [0.90, 0.92, 0.94], "genlabel": [0.95]}})  # s = 0.02 for mixup
    entry = {"dataset": "openml:1413", "method": "mixup", "metric": "accuracy"}
    published = [
        entry | {"value": 88.1},
        entry | {"value": 87.9, "note": "A later version of the table."},
        entry | {"value": 87.9, "std": 1.0},  # 2 sqrt(2^2 + 1^2) = 4.47 points
        entry | {"value": 50.0, "method": "genlabel"},  # one trial has no spread
        entry | {"value": 50.0, "dataset": "openml:1"},
        {"dataset": "openml:1413", "metric": "kde_train_accuracy", "value": 98.0},  # of the data set itself
    ]
    profiles = pd.DataFrame({"dataset": ["openml:1413"], "status": ["done"], "fact_kde_train_accuracy": [0.96]})
    found = analyse(frame, profiles, study_of(frame, published=published))["published"]
    assert [row["differs"] for row in found] == [False, True, False, False, False, False]
    assert found[1]["difference"] == pytest.approx(0.041)
    said = "Ours is 4.10 points higher, more than twice the spread over trials (2.00 here, none published)."
    assert found[1]["explanation"] == f"{said} A later version of the table."
    assert found[-2]["ours"] is None
    assert found[-1]["difference"] == pytest.approx(-0.02)


def test_published_counts_stand_beside_ours() -> None:
    frame = records({"t": {"mixup": [0.5], "vanilla": [0.5], "genlabel": [0.6]}})
    counts = [{"baseline": "mixup", "subset": "all", "higher": 54.88, "on_par": 7.32, "lower": 35.37}]
    by_name = {row["baseline"]: row for row in analyse(frame, None, study_of(frame, published_counts=counts))["counts"]}
    assert by_name["mixup"]["published"] == pytest.approx({"ahead": 0.5488, "on_par": 0.0732, "behind": 0.3537})
    assert by_name["vanilla"]["published"] is None


def test_best_of_takes_the_better_member_and_is_not_compared_with_it() -> None:
    scores = {"s": {"mixup": [0.5], "gm": [0.6], "nn": [0.7]}, "t": {"mixup": [0.5], "gm": [0.6], "nn": None}}
    frame = records(scores)
    study = study_of(frame, best_of={"name": "best", "methods": ["gm", "nn"]}, subject=None)
    summary = analyse(frame, None, study)
    assert [data["scores"]["accuracy"]["best"]["mean"] for data in summary["datasets"]] == [0.7, 0.6]
    assert (summary["subject"], summary["baselines"]) == ("best", ["mixup"])
    assert all("best" not in rank["methods"] and "best" not in rank["left_out"] for rank in summary["ranks"])
    fewer = analyse(frame, None, study | {"methods": ["mixup", "gm"], "subject": "best"})
    assert (fewer["methods"], fewer["best_of"], fewer["subject"]) == (["mixup", "gm"], None, None)
    assert fewer["counts"] == []
    assert fewer["notes"] == [
        "best, with which the suite compares the others, was not run, so nothing is compared with it."
    ]


def test_status_counts_each_record_once(simulated: Any, summary: dict[str, Any]) -> None:
    frame, profiles, study = simulated
    status = summary["status"]
    assert (status["planned"], status["left"]) == (450, 0)
    assert status["done"] + status["failed"] == 450
    assert sum(cause["records"] for cause in status["causes"]) == status["failed"] == len(status["failures"])
    listed = [[f"k{i}", "profile" if i < 3 else "scores", "t", "m"] for i in range(503)]
    missing = [{"id": "openml:1", "why": "gone"}]
    later = analyse(frame, profiles, study | {"planned": listed, "missing": missing})["status"]
    assert (later["planned"], later["left"], later["missing"]) == (503, 53, missing)
    # A profile that failed is no less a failure: without it nobody knows whether a density fits.
    wrong = {"status": "failed", "method": "profile", "error_kind": "InputError", "error_message": "too few rows"}
    told = analyse(frame, profiles.assign(**wrong), study)["status"]
    assert (told["done"], told["failed"]) == (status["done"] - 50, status["failed"] + 50)
    assert next(c for c in told["causes"] if c["error_message"] == "too few rows")["methods"] == ["profile"]


def test_cost_is_a_median_of_ratios_within_data_sets() -> None:
    frame = records({n: {"vanilla": [0.5], "mixup": [0.5]} for n in "abc"})
    frame["seconds"] = [1.0, 2.0, 10.0, 30.0, 1.0, 9.0]
    cost = {row["method"]: row for row in analyse(frame, None, study_of(frame))["cost"]}
    assert cost["mixup"] == {"method": "mixup", "records": 3, "seconds": 41.0, "ratio": 3.0}


def test_the_histogram_holds_every_data_set_once(summary: dict[str, Any]) -> None:
    for view in summary["increases"]:
        count = rows_of(summary, "counts", subset=view["subset"], baseline=view["baseline"])[0]
        centres = np.convolve(view["edges"], [0.5, 0.5], "valid")
        held = np.array(view["counts"])
        assert (held[centres > 0].sum(), view["on_par"], held[centres < 0].sum()) == (
            count["ahead"],
            count["on_par"],
            count["behind"],
        )


EDGES = {
    "one data set": {"t": {"mixup": [0.5, 0.6], "genlabel": [0.7, 0.8]}},
    "one method": {f"t{i}": {"mixup": [0.5, 0.6]} for i in range(5)},
    "only ties": {f"t{i}": {"vanilla": [0.5], "mixup": [0.5], "genlabel": [0.5]} for i in range(9)},
    "equal differences": {f"t{i}": {"mixup": [0.5], "genlabel": [0.75]} for i in range(9)},
    "all failed": {f"t{i}": {"mixup": None, "genlabel": None} for i in range(3)},
    "subject failed": {f"t{i}": {"vanilla": [0.4], "mixup": [0.5], "genlabel": None} for i in range(6)},
    "unknown numbers": {f"t{i}": {"mixup": [0.5, np.nan], "genlabel": [np.nan]} for i in range(6)},
    "no subject": {f"t{i}": {"a": [0.5 + i / 9], "b": [0.6], "c": [0.4]} for i in range(6)},
}


@pytest.mark.parametrize("name", EDGES)
def test_edges_make_plain_json(name: str) -> None:
    frame = records(EDGES[name])
    summary = analyse(frame, None, study_of(frame, criterion=0.95, balanced=0.5))
    json.dumps(summary, allow_nan=False)
    assert summary["main"] is None or name not in ("one method", "no subject")


def test_nothing_yet_is_no_error() -> None:
    frame = pd.DataFrame({"dataset": [], "method": [], "status": []})
    status = analyse(frame, None, manifest(["t"], ["mixup", "genlabel"]))["status"]
    assert (status["done"], status["left"]) == (0, 2)


def test_ties_are_not_chances() -> None:
    frame = records(EDGES["only ties"])
    summary = analyse(frame, None, study_of(frame))
    assert {(row["on_par"], row["ahead"]) for row in summary["counts"]} == {(9, 0)}
    assert {row["p_holm"] for row in summary["differences"]} == {1.0}
    assert set(summary["ranks"][0]["methods"].values()) == {2.0}


def test_the_order_of_the_records_does_not_matter(simulated: Any, summary: dict[str, Any]) -> None:
    frame, profiles, study = simulated
    shuffled = analyse(frame.sample(frac=1, random_state=3), profiles.iloc[::-1], study)
    for found in (one := json.loads(json.dumps(summary)), shuffled):
        del found["status"]["failures"], found["status"]["causes"]  # these follow the records
    assert shuffled == one


def test_errors_name_what_is_wrong() -> None:
    frame = records({"t": {"mixup": [0.5], "genlabel": [0.6]}})
    with pytest.raises(InputError, match="`study` must have the part 'metrics' with at least one name, got \\[\\]"):
        analyse(frame, None, study_of(frame, metrics=[]))
    with pytest.raises(InputError, match="got two of 't' with 'mixup'; select one network, protocol and seed"):
        analyse(pd.concat([frame, frame]), None, study_of(frame))


@pytest.mark.slow
def test_a_hundred_thousand_records_take_seconds() -> None:
    parts = simulate(1000, [*METHODS, *(f"m{i}" for i in range(92))], criterion=0.95, balanced=0.8)
    start = time.perf_counter()
    summary = analyse(*parts)
    assert time.perf_counter() - start < 60  # about 7 on a laptop
    assert len(summary["counts"]) == 3 * 99


def test_no_torch_is_needed() -> None:
    code = "import sys, vicinal.study.analysis, vicinal.study.report, vicinal.study.export; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_published_number_on_one_split_is_weighed_against_that_splits_luck():
    frame = pd.DataFrame(
        {
            "dataset": ["a", "b"],
            "method": ["mixup", "mixup"],
            "status": ["done", "done"],
            "accuracy": [0.5, 0.5],
            "accuracy_trials": [[0.49, 0.51], [0.49, 0.51]],
            "fact_rows": [100, 10_000],
        }
    )
    published = [{"dataset": name, "method": "mixup", "metric": "accuracy", "value": 60.0} for name in "ab"]
    study = {"datasets": ["a", "b"], "methods": ["mixup"], "metrics": ["accuracy"], "published": published}
    told = [row["explanation"] for row in analyse(frame, None, study | {"published_on": "one split"})["published"]]
    # 30 rows at 60 %: sqrt(0.6 * 0.4 / 30) = 8.94 points.
    assert "the luck of its 30 test rows, 8.94 points" in told[0]
    assert "our own spread explain the difference" in told[0]
    assert "our own spread do not explain it" in told[1]
    fresh = analyse(frame.assign(fact_test_share=0.0), None, study | {"published_on": "one split"})
    assert all(
        "luck" not in row["explanation"] for row in (*analyse(frame, None, study)["published"], *fresh["published"])
    )
