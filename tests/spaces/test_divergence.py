"""The divergences against their exact values for Gaussians, a double loop, and torch's distributions."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vicinal.spaces import kl_to_standard_normal, maximum_mean_discrepancy

BANDWIDTHS = (0.5, 1.0, 2.0)


def exact(shift: float, scale: float, d: int, bandwidths: tuple[float, ...] = BANDWIDTHS) -> float:
    """Squared MMD of N(m, scale^2 I) and N(0, I), m = shift (1, ..., 1), for the mean of RBF kernels exp(-|u - v|^2 / (2 h D)).

    With u - v ~ N(m, t I) and s = h D:  E exp(-|u - v|^2 / (2 s)) = (s / (s + t))^(D / 2) exp(-|m|^2 / (2 (s + t))).
    """

    def kernel(t: float, squared: float, h: float) -> float:
        s = h * d
        return (s / (s + t)) ** (d / 2) * math.exp(-squared / (2 * (s + t)))

    values = [
        kernel(2 * scale**2, 0, h) + kernel(2.0, 0, h) - 2 * kernel(1 + scale**2, d * shift**2, h) for h in bandwidths
    ]
    return sum(values) / len(values)


def by_loops(a: Tensor, b: Tensor, bandwidths: tuple[float, ...] = BANDWIDTHS) -> float:
    """Pair by pair, without a point and itself (Gretton et al., 2012, Eq. 3)."""
    a, b = a.flatten(1).double(), b.flatten(1).double()

    def kernel(u: Tensor, v: Tensor) -> float:
        squared = float((u - v).square().sum()) / len(u)
        return sum(math.exp(-squared / (2 * h)) for h in bandwidths) / len(bandwidths)

    n, m = len(a), len(b)
    within = sum(kernel(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    without = sum(kernel(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within + without - 2 * sum(kernel(u, v) for u in a for v in b) / (n * m)


def samples(n: int, m: int, d: int, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(n, d, generator=generator), torch.randn(m, d, generator=generator)


@pytest.mark.parametrize(("shift", "scale", "d"), [(0.5, 1.0, 3), (0.0, 1.7, 6), (-0.3, 0.6, 20), (1.0, 2.0, 1)])
def test_a_large_sample_has_the_exact_value(shift: float, scale: float, d: int) -> None:
    """Within 4 standard errors, estimated from 40 parts of it."""
    parts = torch.tensor(
        [float(maximum_mean_discrepancy(*samples(400, 400, d, shift, scale, seed))) for seed in range(40)]
    )
    value = exact(shift, scale, d)
    assert abs(float(parts.mean()) - value) < 4 * float(parts.std()) / math.sqrt(len(parts))
    assert value > 6 * float(parts.std()) / math.sqrt(len(parts))  # and the tolerance is worth something


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.4, 1.0)])
def test_small_samples_are_right_on_average(shift: float, scale: float) -> None:
    """Of 2 and 5 points; a biased estimate would be far off."""
    values = torch.tensor([float(maximum_mean_discrepancy(*samples(2, 5, 4, shift, scale, s))) for s in range(4000)])
    assert abs(float(values.mean()) - exact(shift, scale, 4)) < 4 * float(values.std()) / math.sqrt(len(values))
    assert bool((values < 0).any())


@pytest.mark.parametrize(("n", "m", "d"), [(7, 9, 5), (2, 2, 1), (12, 3, 40)])
@pytest.mark.parametrize("bandwidths", [BANDWIDTHS, (0.3,)])
def test_all_pairs_one_by_one(n: int, m: int, d: int, bandwidths: tuple[float, ...]) -> None:
    a, b = samples(n, m, d, 0.3, 1.4)
    found = float(maximum_mean_discrepancy(a, b, bandwidths))
    assert found == pytest.approx(by_loops(a, b, bandwidths), abs=1e-6)
    assert float(maximum_mean_discrepancy(b, a, bandwidths)) == pytest.approx(found, abs=1e-6)


def test_codes_of_any_shape_are_flattened() -> None:
    a, b = samples(6, 8, 24)
    found = maximum_mean_discrepancy(a.view(6, 2, 3, 4), b.view(8, 2, 3, 4))
    assert torch.equal(found, maximum_mean_discrepancy(a, b))


def test_the_gradient_is_that_of_differences() -> None:
    a, b = samples(5, 4, 3, 0.4)
    a.requires_grad_()
    torch.autograd.backward(maximum_mean_discrepancy(a, b))
    step = 1e-4
    for i, j in ((0, 0), (2, 1), (4, 2)):
        up, down = a.detach().double(), a.detach().double()
        up[i, j] += step
        down[i, j] -= step
        expected = (by_loops(up, b) - by_loops(down, b)) / (2 * step)
        assert a.grad is not None
        assert float(a.grad[i, j]) == pytest.approx(expected, abs=1e-5)


def test_far_from_the_origin_and_equal_points() -> None:
    """Distances come of one product, whose rounding must give no NaN, nor gradients of it."""
    a = torch.ones(4, 8).mul(300).requires_grad_()
    value = maximum_mean_discrepancy(a, torch.zeros(4, 8))
    torch.autograd.backward(value)
    assert float(value.detach()) == pytest.approx(1 + 1, abs=1e-5)
    assert a.grad is not None
    assert bool(a.grad.isfinite().all())


def test_kl_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = (2 * torch.randn(6, 3, 2, 2, generator=generator) for _ in range(2))
    theirs = kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), theirs.flatten(1).sum(1).mean())
    assert float(kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3))) == 0
