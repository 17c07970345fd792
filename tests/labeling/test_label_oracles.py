"""Labels against closed forms and loops."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from vicinal.core import InputError, MixedBatch
from vicinal.densities import KNN, Density, Gaussian
from vicinal.labeling import LinearLabels, LogisticLabels, NeighbourLabels, PosteriorLabels


def between(x: torch.Tensor, lam: list[float], k: int = 2) -> MixedBatch:
    """A batch at the points x (B, D), said to lie between a row of class 0 and a row of class 1."""
    rows = torch.eye(k, dtype=x.dtype)
    share = torch.tensor(lam, dtype=x.dtype)
    n = len(x)
    return MixedBatch(x, x, x, rows[:1].expand(n, k), rows[1:2].expand(n, k), share, torch.ones_like(share))


def known(mean: torch.Tensor, covariance: torch.Tensor, **options: object) -> PosteriorLabels:
    """Posterior labels of a problem whose densities are known, without fitting."""
    labels = PosteriorLabels(Gaussian(), **options)
    labels.density_ = Gaussian.from_moments(mean, covariance)
    return labels


LAM = [0.0, 0.2, 0.45, 0.5, 0.51, 0.9, 1.0]


def test_linear_labels() -> None:
    y = LinearLabels()(between(torch.zeros(7, 1, dtype=torch.float64), LAM, k=3))
    assert y.tolist() == [pytest.approx([lam, 1 - lam, 0.0]) for lam in LAM]


def test_logistic_labels_are_section_3_2() -> None:
    """rho = 1 / (1 + exp(-2 (lam - 1/2) / sigma^2)); sigma = 1 / (2 sqrt d) makes the exponent -8 d (lam - 1/2)."""
    d = 5
    batch = between(torch.zeros(7, 1, dtype=torch.float64), LAM)
    for y, lam in zip(LogisticLabels(1 / (2 * math.sqrt(d)))(batch).tolist(), LAM, strict=True):
        rho = 1 / (1 + math.exp(-8 * d * (lam - 0.5)))
        assert y == pytest.approx([rho, 1 - rho], abs=1e-12)
    for sigma in (0.1, 0.5, 2.0):
        for y, lam in zip(LogisticLabels(sigma)(batch).tolist(), LAM, strict=True):
            assert y[0] == pytest.approx(1 / (1 + math.exp(-2 * (lam - 0.5) / sigma**2)), abs=1e-12)


def test_logistic_labels_are_the_posterior_between_two_normals() -> None:
    """Normals of spread s around endpoints a distance r apart: on the line, sigma = sqrt(2) s / r."""
    a, b = np.array([1.0, 2.0]), np.array([4.0, -2.0])
    spread, r = 1.3, 5.0
    x = torch.tensor(np.outer(LAM, a) + np.outer(1 - np.array(LAM), b))
    posterior = known(torch.tensor(np.stack([a, b])), spread**2 * torch.eye(2).expand(2, 2, 2))(between(x, LAM))
    logistic = LogisticLabels(math.sqrt(2) * spread / r)(between(x, LAM))
    np.testing.assert_allclose(posterior.numpy(), logistic.numpy(), atol=1e-6)


def test_posterior_labels_are_bayes_rule() -> None:
    """Two normals of known moments: scipy's densities, Bayes' rule, and the mixture with the linear label."""
    mean = torch.tensor([[0.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
    covariance = torch.tensor([[[1.0, 0.4], [0.4, 2.0]], [[0.5, -0.2], [-0.2, 1.0]]], dtype=torch.float64)
    x = torch.tensor(np.random.default_rng(0).normal(size=(7, 2)) * 2)
    p = np.stack([multivariate_normal(mean[c].numpy(), covariance[c].numpy()).pdf(x.numpy()) for c in range(2)], 1)
    exact = p / p.sum(1, keepdims=True)
    linear = np.stack([LAM, 1 - np.array(LAM)], 1)
    for gamma in (1.0, 0.3, 0.0):
        y = known(mean, covariance, gamma=gamma)(between(x, LAM)).numpy()
        np.testing.assert_allclose(y, gamma * exact + (1 - gamma) * linear, atol=1e-10)
    warm = p ** (1 / 3)
    y = known(mean, covariance, temperature=3.0)(between(x, LAM)).numpy()
    np.testing.assert_allclose(y, warm / warm.sum(1, keepdims=True), atol=1e-10)


def test_empirical_prior_weighs_the_classes() -> None:
    """Three quarters of the rows are of class 0: Bayes' rule with 3/4 and 1/4."""
    x = torch.tensor([[-1.0], [1.0], [0.0], [-2.0], [2.0], [0.0], [4.0], [6.0]], dtype=torch.float64)
    y = [0] * 6 + [1] * 2
    points = torch.tensor([[1.0], [2.5], [3.0], [5.0]], dtype=torch.float64)
    batch = between(points, [0.5] * 4)
    p = np.exp(Gaussian().fit(x, y).log_prob(points).numpy()) * [0.75, 0.25]
    labels = PosteriorLabels(Gaussian(), prior="empirical").fit(x, y)(batch).numpy()
    np.testing.assert_allclose(labels, p / p.sum(1, keepdims=True), atol=1e-10)


def test_posterior_labels_fit_a_clone() -> None:
    density = Gaussian()
    labels = PosteriorLabels(density).fit([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1])
    assert labels.density is density
    assert not hasattr(density, "count_")


@pytest.mark.parametrize("k", [2, 3, 5])
def test_top2(k: int) -> None:
    """The two largest entries, renormalised; a loop over rows."""
    rng = np.random.default_rng(k)
    mean = torch.tensor(rng.normal(size=(k, 2)))
    x = torch.tensor(rng.normal(size=(20, 2)))
    covariance = torch.eye(2).expand(k, 2, 2)
    batch = between(x, [0.5] * 20, k)
    full = known(mean, covariance)(batch).tolist()
    for y, row in zip(known(mean, covariance, top2=True)(batch).tolist(), full, strict=True):
        second = sorted(row)[-2]
        kept = [v if v >= second else 0.0 for v in row]
        assert y == pytest.approx([v / sum(kept) for v in kept], abs=1e-12)


@pytest.mark.parametrize("k", [1, 3, 100])
def test_neighbour_labels_against_a_loop(k: int) -> None:
    rng = np.random.default_rng(1)
    x, y, queries = rng.normal(size=(30, 2)), rng.permutation(np.arange(30) % 3), rng.normal(size=(9, 2))
    labels = NeighbourLabels(k).fit(x, y)(between(torch.tensor(queries), [0.5] * 9, 3))
    for query, found in zip(queries, labels.tolist(), strict=True):
        ranked = sorted(range(30), key=lambda j: math.dist(query, x[j]))[:k]
        assert found == pytest.approx([float(np.mean(y[ranked] == c)) for c in range(3)])


def test_neighbours_of_weight_zero_do_not_count() -> None:
    x, y = torch.tensor([[0.0], [1.0], [5.0]]), [0, 1, 0]
    labels = NeighbourLabels().fit(x, y, sample_weight=[1.0, 0.0, 1.0])
    assert labels(between(torch.tensor([[1.0]]), [0.5])).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("density", [Gaussian(), KNN()], ids=str)
def test_terms_share_one_density(density: Density) -> None:
    """Whatever gamma, the posterior's term is the same labeler, so that it is evaluated once."""
    keys = {PosteriorLabels(density, gamma).terms()[0][1].key() for gamma in (0.2, 0.7, 1.0)}
    assert len(keys) == 1
    assert [w for w, _ in PosteriorLabels(density, 0.2).terms()] == pytest.approx([0.2, 0.8])
    assert isinstance(PosteriorLabels(density, 0).terms()[0][1], LinearLabels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (LogisticLabels(0.0), r"`sigma` must lie in \(0, inf\), got 0.0"),
        (lambda b: NeighbourLabels(0).fit([[0.0]], [0]), r"`k` must lie in \[1, inf\), got 0"),
        (NeighbourLabels(), "the neighbours' rows are not known; call `fit"),
        (lambda b: PosteriorLabels(Gaussian(), 1.5).fit([[0.0]], [0]), r"`gamma` must lie in \[0, 1\], got 1.5"),
        (PosteriorLabels(Gaussian()), "the labels' density is not fitted; call `fit"),
        (
            PosteriorLabels(Gaussian(), prior="flat").fit([[0.0], [1.0]], [0, 1]),
            "`prior` must be one of 'uniform', 'empirical', got 'flat'",
        ),
    ],
)
def test_messages(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=message):
        call(between(torch.zeros(1, 1), [0.5]))
