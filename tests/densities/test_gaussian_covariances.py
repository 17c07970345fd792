"""Gaussians that keep variances or one matrix for all classes, against a matrix for every class."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from torch.distributions import MultivariateNormal

from vicinal.densities import Gaussian

FLOOR = 1e-6


def tables() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows (N, 4) and classes, three of them; correlated, and what can't be inverted."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(60) % 3)
    x = (rng.normal(size=(60, 4)) + y[:, None]) @ rng.normal(size=(4, 4))
    constant, collinear, copies, tight = x.copy(), x.copy(), x.copy(), x.copy()
    constant[:, 1] = 7.0
    collinear[:, 2] = collinear[:, 0] - 2 * collinear[:, 1]
    copies[y == 1] = x[0]
    tight[y == 2] = 1e4 + 1e-2 * x[y == 2]
    one, three = (np.where((y == 2) & ((y == 2).cumsum() > n), 1, y) for n in (1, 3))
    return {
        "plain": (x, y),
        "a class of one row": (x, one),
        "a class of three rows": (x, three),
        "a constant column": (constant, y),
        "collinear columns": (collinear, y),
        "a class of copies of one row": (copies, y),
        "a class far away and tight": (tight, y),
        "scales from 1e-6 to 1e6": (x * np.array([1e-6, 1.0, 1e3, 1e6]), y),
    }


def matrices(x: np.ndarray, y: np.ndarray, w: np.ndarray, kind: str, shrinkage: float | str) -> MultivariateNormal:
    """Every class's mean and (D, D) covariance, as the docstrings of `Gaussian` and `vicinal.densities.moments` say."""
    eye = np.eye(x.shape[1])
    scale = np.sqrt(np.average((x - np.average(x, 0, w)) ** 2, 0, w))
    scale = np.where(scale == 0, x[0], scale)
    mean = np.stack([np.average(x[y == c], 0, w[y == c]) for c in range(3)])
    z = (x - mean[y]) / scale
    count = np.array([w[y == c].sum() for c in range(3)])
    scatter = np.stack([(z[y == c] * w[y == c, None]).T @ z[y == c] for c in range(3)])
    within, covariances = scatter.sum(0) / (w.sum() - 3), []
    for c in range(3):
        own = z if kind == "tied" else z[y == c]
        covariance = within if kind == "tied" else eye * (scatter[c] / (count[c] - 1) if count[c] > 1 else within)
        spherical = eye * np.trace(covariance) / len(eye)
        if kind == "spherical":
            covariance = spherical
        share = shrinkage
        if share == "ledoit-wolf":
            share = ledoit_wolf(own, assume_centered=True)[1] if len(own) > 1 else 1.0
        values, vectors = np.linalg.eigh((1 - share) * covariance + share * spherical)
        covariances.append(vectors @ np.diag(np.maximum(values, FLOOR)) @ vectors.T * np.outer(scale, scale))
    return MultivariateNormal(torch.tensor(mean), torch.tensor(np.stack(covariances)))


@pytest.mark.parametrize(("shrinkage", "most"), [(0.0, 3), (0.3, 1), (0.3, 3), (1.0, 1), ("ledoit-wolf", 1)])
@pytest.mark.parametrize("kind", ["diagonal", "spherical", "tied"])
@pytest.mark.parametrize("what", tables())
def test_all_is_as_of_matrices(what: str, kind: str, shrinkage: float | str, most: int) -> None:
    """With weights of 1 to `most`, but for the last class: where it is one row, it stays one."""
    x, y = tables()[what]
    weight = np.where(y == 2, 1.0, np.arange(60) % most + 1.0)
    dense = matrices(x, y, weight, kind, shrinkage)
    fitted = Gaussian(kind, shrinkage).fit(x, y, sample_weight=weight)
    rows = torch.tensor(x)
    queries = torch.cat([rows, 0.3 * rows.roll(1, 0) + 0.7 * rows, rows + rows.abs().amax(0)])
    expected = torch.stack([dense.log_prob(query) for query in queries])
    torch.testing.assert_close(fitted.log_prob(queries), expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(fitted.posterior(queries), expected.softmax(1), rtol=1e-6, atol=1e-9)
    covariance = fitted.root_ @ fitted.root_.mT if kind == "tied" else torch.diag_embed(fitted.root_.square())
    assert covariance.shape[0] == (1 if kind == "tied" else 3)
    size = dense.stddev[:, :, None] * dense.stddev[:, None]
    torch.testing.assert_close(covariance / size, dense.covariance_matrix / size, rtol=1e-9, atol=1e-9)


def test_in_single_precision_a_class_far_away_keeps_its_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """On devices without double precision the square of its distance from the centre, in its deviations, is all digits."""
    x, y = (torch.tensor(part) for part in tables()["a class far away and tight"])
    queries = torch.cat([x, x + 0.1]).float()
    expected = Gaussian("diagonal").fit(x.float(), y).log_prob(queries)
    monkeypatch.setattr("vicinal.densities.base.working_dtype", lambda device: torch.float32)
    single = Gaussian("diagonal").fit(x.float(), y).log_prob(queries)
    assert single.dtype == torch.float32
    near = expected > -100
    assert bool(near.any(0).all())
    torch.testing.assert_close(single[near].double(), expected[near], rtol=0, atol=1e-2)
