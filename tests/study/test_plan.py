"""Plans: what a record's key depends on, and what a manifest says."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import KDTree
from scipy.stats import multivariate_normal
from sklearn.preprocessing import StandardScaler

from vicinal.core import InputError
from vicinal.study.catalogue import Catalogue
from vicinal.study.plan import make_plan
from vicinal.study.suite import Suite, read_suite
from vicinal.study.trials import read_problem
from vicinal.study.work import run_unit

MINE = Suite("mine", "Mine", ("iris", "moon"), ("vanilla", "mixup"), subject="mixup")


def keys(**given):
    units = make_plan(MINE, Catalogue(None), **given).units
    return {axes.dataset: axes.key for unit in units for axes in unit.axes if axes.method == "mixup"}


@pytest.mark.parametrize("options", [{"alpha": 1}, {"alpha": 1.0, "scale": True}, {"folds": 6}, {"keep": None}])
def test_what_the_protocol_does_anyway_is_no_option(options):
    # On the paper's synthetic problems, which choose on fresh rows, folds are no choice.
    assert keys(options=options) == keys()


def test_equal_options_have_equal_keys_and_others_have_not():
    assert keys(options={"alpha": 2}) == keys(options={"alpha": 2.0})
    plain, raw, mixed = keys(), keys(options={"scale": False}), keys(options={"alpha": 2.0})
    assert raw["iris"] != plain["iris"] != mixed["iris"]
    assert raw["moon"] == plain["moon"]  # never scaled
    assert mixed["moon"] != plain["moon"]


def test_trials_on_fresh_rows_hold_nothing_out():
    quick = make_plan(replace(MINE, protocol="tuned", methods=("generative-classifier",)), Catalogue(None), trials=1)
    shares = {}
    for unit in quick.units:
        (record,) = run_unit(unit, quick.problems[unit.source.dataset])
        assert "family" not in record["facts"]
        shares[record["dataset"]] = record["facts"]["test_share"]
    assert shares == {"iris": 0.3, "moon": 0.0}


def test_a_changed_table_has_other_keys_whatever_it_is_called(tmp_path):
    found = []
    for last in "xy":
        pd.DataFrame({"a": range(8), "target": [*"xyxyxyx", last]}).to_csv(tmp_path / "circle.csv", index=False)
        plan = make_plan(replace(MINE, datasets=("circle",)), Catalogue(tmp_path))
        found.append({axes.key for unit in plan.units for axes in unit.axes})
    assert not found[0] & found[1]


def test_families_are_the_manifests(tmp_path):
    pd.DataFrame({"a": range(8), "target": [*"xyxyxyxy"]}).to_csv(tmp_path / "one.csv", index=False)
    plans = []
    for family in ("flowers", "trees"):
        (tmp_path / "index.csv").write_text(f"name,family\none,{family}\n")
        plans.append(make_plan(replace(MINE, datasets=("one",)), Catalogue(tmp_path)))
        assert plans[-1].manifest["about"] == {"one": {"family": family, "name": "one"}}
    assert plans[0].manifest["planned"] == plans[1].manifest["planned"]


def test_published_numbers_stand_beside_the_study_they_are_of():
    suite, catalogue = replace(read_suite("genlabel/table3"), datasets=("iris",)), Catalogue(None)
    suite = replace(suite, published=tuple({**row, "dataset": "iris"} for row in suite.published[:1]))
    for given, there in (
        ({}, True),
        ({"options": {"alpha": 1}}, True),
        ({"options": {"alpha": 2.0}}, False),
        ({"protocol": "tuned"}, False),
        ({"network": "mlp"}, False),
    ):
        manifest = make_plan(suite, catalogue, **given).manifest
        assert (bool(manifest["published"]), bool(manifest["published_counts"])) == (there, there), given


def test_a_run_of_fewer_methods_is_still_the_suites():
    best = {"name": "best", "methods": ["genlabel-gaussian", "genlabel-kde"]}
    suite = replace(MINE, methods=("mixup", *best["methods"]), best_of=best, subject="best")
    fewer = make_plan(suite, Catalogue(None), methods=" mixup, genlabel-kde").manifest
    assert (fewer["methods"], fewer["best_of"], fewer["subject"]) == (["mixup", "genlabel-kde"], best, "best")


def test_openml_is_left_alone_after_three_failures_in_a_row(monkeypatch):
    asked = []

    def refuse(path, target, name):
        if path.startswith("openml:"):
            asked.append(path)
            raise InputError("the network is down.")
        return read_problem(path, target, name)

    monkeypatch.setattr("vicinal.study.plan.read_problem", refuse)
    plan = make_plan(replace(MINE, datasets=("iris", *(f"openml:{i}" for i in range(1, 6)))), Catalogue(None))
    assert asked == ["openml:1", "openml:2", "openml:3"]
    assert [entry["why"] for entry in plan.manifest["missing"]] == ["the network is down"] * 3 + [
        "not tried, since OpenML failed 3 times in a row"
    ] * 2


def test_a_profile_says_how_well_a_gaussian_fits_and_how_often_mixup_intrudes():
    """Against scipy's density and a brute-force count of mixed points whose nearest row is of a third class."""
    plan = make_plan(replace(MINE, datasets=("iris",)), Catalogue(None), trials=2)
    unit = next(unit for unit in plan.units if unit.kind == "profile")
    (record,) = run_unit(unit, plan.problems["iris"])
    fits, rates = [], []
    rng = np.random.default_rng(0)
    for number in range(2):
        trial = plan.problems["iris"].trial(number, 0, 0.3)
        x, y = StandardScaler().fit_transform(trial.x), trial.y
        parts = [x[y == c] for c in range(3)]
        logs = [multivariate_normal(p.mean(0), np.cov(p.T), allow_singular=True).logpdf(x) for p in parts]
        fits.append((np.argmax(logs, 0) == y).mean())
        a, b = rng.integers(len(x), size=(2, 20_000))
        lam = rng.random((20_000, 1))
        nearest = y[KDTree(x).query(lam * x[a] + (1 - lam) * x[b])[1]]
        rates.append(((nearest != y[a]) & (nearest != y[b])).mean())
    assert record["facts"]["gaussian_train_accuracy"] == pytest.approx(np.mean(fits), abs=0.011)  # one row of 105
    assert record["facts"]["intrusion_rate"] == pytest.approx(np.mean(rates), abs=0.08)
    assert 0.95 < record["facts"]["kde_train_accuracy"] <= 1
