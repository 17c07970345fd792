"""Ensemble selection against what it must find, and against a plain loop."""

import numpy as np
import pytest
import torch

import vicinal as vc
from vicinal.core import InputError
from vicinal.networks import MLP
from vicinal.training import Setting, ensemble, fit_stack, make_group, predict_ensemble, select_ensemble


@pytest.fixture(scope="module")
def library():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    logits = rng.normal(size=(30, 200, 3)) + 1.5 * np.eye(3)[y] * rng.random((30, 1, 1))
    return np.exp(logits) / np.exp(logits).sum(2, keepdims=True), y


def cross_entropy(p, y, weight):
    return float(np.average(-np.log(p[np.arange(len(y)), y]), weights=weight))


def error_rate(p, y, weight):
    return float(np.average(p.argmax(1) != y, weights=weight))


def greedy(predictions, y, weight, rounds, loss):
    """The reference's algorithm, model by model."""
    path = [[]]
    while len(path[-1]) < rounds:
        grown = [[*path[-1], m] for m in range(len(predictions))]
        path.append(min(grown, key=lambda members: loss(predictions[members].mean(0), y, weight)))
    best = min(path[1:], key=lambda members: loss(predictions[members].mean(0), y, weight))
    return np.bincount(best, minlength=len(predictions)) / len(best), loss(predictions[best].mean(0), y, weight)


@pytest.mark.parametrize(("scoring", "loss"), [("log_loss", cross_entropy), ("accuracy", error_rate)])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_plain_loop(library, scoring, loss, weighted):
    predictions, y = library
    weight = np.random.default_rng(1).integers(1, 4, len(y)).astype(float) if weighted else None
    found, reached = select_ensemble(predictions, y, weight, scoring=scoring, rounds=8, bags=0)
    expected, least = greedy(predictions, y, weight, 8, loss)
    assert reached == pytest.approx(least)
    if scoring == "log_loss":  # error rates tie
        np.testing.assert_allclose(found, expected)


def test_bags_are_selections_on_resampled_rows(library):
    predictions, y = library
    counts = np.random.default_rng(3).multinomial(len(y), np.full(len(y), 1 / len(y)), 4)
    expected = np.mean([greedy(predictions, y, c, 5, cross_entropy)[0] for c in counts], 0)
    found, _ = select_ensemble(predictions, y, rounds=5, bags=4, most=30, seed=3)
    np.testing.assert_allclose(found, expected)
    heaviest = np.argsort(-expected, kind="stable")[:2]
    fewer, _ = select_ensemble(predictions, y, rounds=5, bags=4, most=2, seed=3)
    np.testing.assert_allclose(fewer[heaviest], expected[heaviest] / expected[heaviest].sum())
    assert (fewer > 0).sum() == 2


def test_is_at_least_as_good_as_any_single_model(library):
    predictions, y = library
    weight, least = select_ensemble(predictions, y, bags=0)
    assert weight.sum() == pytest.approx(1)
    assert least <= min(cross_entropy(p, y, None) for p in predictions)
    assert least == pytest.approx(cross_entropy(np.tensordot(weight, predictions, 1), y, None))


def test_finds_the_mixture_that_the_labels_come_from():
    """Labels are drawn from 0.7 p + 0.3 q, so by Gibbs' inequality nothing has less expected log loss than that."""
    rng = np.random.default_rng(0)
    p, q, other = (rng.dirichlet([0.3, 0.3], 200_000) for _ in range(3))
    y = (rng.random(len(p)) < (0.7 * p + 0.3 * q)[:, 1]).astype(int)
    np.testing.assert_allclose(select_ensemble(np.stack([p, q, other]), y)[0], [0.7, 0.3, 0], atol=0.051)


def test_a_weight_of_two_is_a_row_twice(library):
    predictions, y = library
    weight = np.random.default_rng(2).integers(1, 4, len(y))
    twice = np.repeat(np.arange(len(y)), weight)
    a, loss_a = select_ensemble(predictions, y, weight, bags=0)
    b, loss_b = select_ensemble(predictions[:, twice], y[twice], bags=0)
    np.testing.assert_array_equal(a, b)
    assert loss_a == pytest.approx(loss_b)


def test_a_certain_mistake_costs_much_but_not_everything():
    y = np.zeros(4, dtype=int)
    p = np.array([[[1.0, 0.0]] * 3 + [[0.0, 1.0]], [[0.5, 0.5]] * 4])
    weight, least = select_ensemble(p, y, bags=0)
    assert np.isfinite(least)
    assert 0 < weight[1] < 1


@pytest.mark.parametrize("hidden", [(), (6,)])
def test_kept_predictions_are_the_networks_own(hidden, monkeypatch):
    monkeypatch.setattr("vicinal.training.held_out.EVALUATION_NUMBERS", 50)  # several pieces
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2)), np.arange(60) % 3
    groups = [
        make_group(x[v:], y[v:], 3, {"seed": v}, scale=False, held_out=(x[:v], y[:v], np.arange(1.0, v + 1)))
        for v in (9, 14)
    ]
    settings = [Setting(vicinity, rate) for vicinity in (vc.Vanilla(), vc.Mixup()) for rate in (0.1, 0.01)]
    fit = fit_stack(groups, settings, hidden=hidden, epochs=4, checkpoints=[2, 4], keep_predictions=True)
    for g, group in enumerate(groups):
        v = len(group.y_eval)
        assert fit.predictions[g].shape == (4, 2, v, 3)
        at = fit.predictions[g][:, :, np.arange(v), group.y_eval]
        np.testing.assert_allclose(
            np.average(-np.log(at), axis=2, weights=group.weight_eval), fit.log_loss[g], rtol=1e-5
        )
        for r in range(4):
            np.testing.assert_allclose(fit.predictions[g][r, 1], fit.probabilities(g, r, group.x_eval), atol=1e-6)
    assert fit_stack(groups, settings, hidden=hidden, epochs=4, checkpoints=[2, 4]).predictions == []


@pytest.mark.parametrize("hidden", [(), (5,), (4, 3)])
def test_prediction_is_the_mean_over_networks(hidden, monkeypatch):
    monkeypatch.setattr(ensemble, "PREDICTED_NUMBERS", 100)  # several pieces
    networks = [MLP(2, 3, hidden, torch.Generator().manual_seed(i)) for i in range(3)]
    parameters = [torch.stack(p).detach() for p in zip(*(n.parameters() for n in networks), strict=True)]
    x, weight = torch.randn(50, 2, generator=torch.Generator().manual_seed(9)), torch.tensor([0.5, 0.3, 0.2])
    with torch.no_grad():
        expected = sum(w * torch.softmax(n(x).double(), 1) for w, n in zip(weight.double(), networks, strict=True))
    torch.testing.assert_close(predict_ensemble(parameters, weight, x), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("scoring", ["log_loss", "accuracy"])
def test_a_network_that_went_astray_is_left_out(library, scoring):
    predictions, y = library
    with_nan = np.concatenate([np.full((1, 200, 3), np.nan), predictions])
    weight, least = select_ensemble(with_nan, y, scoring=scoring)
    expected, expected_least = select_ensemble(predictions, y, scoring=scoring)
    assert weight[0] == 0
    np.testing.assert_allclose(weight[1:], expected)
    assert least == pytest.approx(expected_least)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scoring": "auc"}, "`scoring` must be one of"),
        ({"rounds": 0}, "`rounds` must"),
        ({"bags": -1}, "`bags` must"),
        ({"most": 0}, "`most` must"),
        ({"y": np.zeros(3, dtype=int)}, r"`predictions` must be \(M, 3, K\)"),
    ],
)
def test_errors(library, options, message):
    predictions, y = library
    with pytest.raises(InputError, match=message):
        select_ensemble(predictions, **{"y": y, **options})


def test_trust_moves_weight_to_the_other_members():
    p = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.1, 0.9]]])
    even, _ = select_ensemble(p, np.array([0, 1]), bags=0)
    wary, loss = select_ensemble(p, np.array([0, 1]), bags=0, trust=np.array([1.0, 0.5]))
    assert even.tolist() == [0.5, 0.5]
    assert wary.tolist() == pytest.approx([2 / 3, 1 / 3])
    mixed = np.tensordot(wary, p, 1)
    assert loss == pytest.approx(-np.log([mixed[0, 0], mixed[1, 1]]).mean())
