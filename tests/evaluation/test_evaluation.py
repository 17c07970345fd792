"""Scores against other libraries', and intervals against what they claim."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torchmetrics.functional.classification import multiclass_calibration_error

from vicinal.core import InputError
from vicinal.evaluation import (
    expected_calibration_error,
    paired_difference,
    reliability_bins,
    score_probabilities,
)


def predictions(n: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(k, 0.3), n), rng.integers(0, k, n)


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_error_is_torchmetrics(k, bins):
    p, y = predictions(500, k, seed=k)
    theirs = multiclass_calibration_error(torch.tensor(p), torch.tensor(y), num_classes=k, n_bins=bins, norm="l1")
    assert expected_calibration_error(p, y, bins) == pytest.approx(float(theirs), abs=1e-6)


def test_a_calibrated_predictor_has_almost_no_error_and_a_sure_one_its_error_rate():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 50_000)
    y = (p.cumsum(1) < rng.random(len(p))[:, None]).sum(1)
    assert expected_calibration_error(p, y) < 0.01
    sure = np.eye(3)[np.zeros(50_000, dtype=int)]
    assert expected_calibration_error(sure, y) == pytest.approx((y != 0).mean())


@given(st.integers(2, 6), st.integers(1, 60), st.integers(1, 20))
def test_bins_hold_every_prediction_once(k, n, bins):
    p, y = predictions(n, k, seed=n)
    found = reliability_bins(p, y, bins)
    assert sum(b["count"] for b in found) == n
    for b in found:
        assert (b["confidence"] is None) == (b["count"] == 0)
        if b["count"]:
            assert b["low"] <= b["confidence"] <= b["high"]


def test_edges_go_to_the_lower_bin_as_calibration_curve_has_it():
    p = np.array([[0.6, 0.4], [0.8, 0.2], [1.0, 0.0]])
    assert [b["count"] for b in reliability_bins(p, np.zeros(3, dtype=int), bins=5)] == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("k", [2, 4])
def test_scores_are_their_formulas(k):
    p, y = predictions(200, k, seed=1)
    scores = score_probabilities(p, y)
    squared = ((p - np.eye(k)[y]) ** 2).sum(1).mean()
    assert scores["accuracy"] == (p.argmax(1) == y).mean()
    assert scores["log_loss"] == pytest.approx(-np.log(np.clip(p[np.arange(200), y], 2e-16, 1)).mean(), rel=1e-6)
    assert scores["brier"] == pytest.approx(squared / 2 if k == 2 else squared)


def test_scores_survive_certain_mistakes_and_classes_that_never_come():
    p = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    scores = score_probabilities(p, np.array([0, 1]))
    assert all(np.isfinite(v) for v in scores.values())


def test_fresh_trials_give_scipys_interval():
    a, b = np.array([0.9, 0.8, 0.95, 0.7]), np.array([0.85, 0.82, 0.9, 0.6])
    ours = paired_difference(a, b, test_share=0)
    theirs = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_overlapping_splits_widen_the_interval_by_the_correction():
    a, b = [0.9, 0.8, 0.95, 0.7], [0.85, 0.82, 0.9, 0.6]
    plain, corrected = (paired_difference(a, b, share) for share in (0, 0.3))
    widths = [r.high - r.low for r in (plain, corrected)]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt((1 / 4 + 0.3 / 0.7) / (1 / 4)))


def test_the_interval_covers_what_it_says():
    rng = np.random.default_rng(0)
    d = rng.normal(0.1, 1, size=(2000, 5))
    results = [paired_difference(row, np.zeros(5), 0) for row in d]
    covered = np.mean([r.low <= 0.1 <= r.high for r in results])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_verdicts():
    up = paired_difference([1.0, 1.1, 0.9], [0.0, 0.0, 0.0], 0)
    assert (up.verdict(True), up.verdict(False)) == ("better", "worse")
    one = paired_difference([1.0], [0.0], 0.3)
    assert (one.low, one.verdict(True)) == (None, "no clear difference")
    with pytest.raises(InputError, match="one score a trial"):
        paired_difference([1.0], [1.0, 2.0], 0)
