"""How far a set of codes is from the prior N(0, I): the maximum mean discrepancy, and the Kullback-Leibler divergence."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["kl_to_standard_normal", "maximum_mean_discrepancy"]


def maximum_mean_discrepancy(a: Tensor, b: Tensor, bandwidths: Sequence[float] = (0.5, 1.0, 2.0)) -> Tensor:
    """Return the unbiased estimate of the squared maximum mean discrepancy of two samples (Gretton et al., 2007).

        MMD^2 = E k(a, a') + E k(b, b') - 2 E k(a, b)
        k(u, v) = mean over h of exp(-|u - v|^2 / (2 h D))

    The mean distance of two points of N(0, I) grows with D, and so does the kernel's scale. Unbiased means that it may be
    slightly below 0.

    Args:
        a: (N, ...) points, axes after the first flattened to D. N >= 2.
        b: (M, ...) points.
        bandwidths: the h, in units of D.

    Returns:
        A number, with gradients.

    Examples:
        >>> a = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
        >>> far = maximum_mean_discrepancy(a[:250], a[250:] + 9)
        >>> round(float(far), 1), abs(float(maximum_mean_discrepancy(a[:250], a[250:]))) < 0.01
        (0.9, True)
    """
    a, b = a.flatten(1).float(), b.flatten(1).float()
    both = torch.cat([a, b])
    # One product for all distances; the diagonal is 0 whatever rounding says.
    norms = both.square().sum(1)
    squared = (norms[:, None] + norms - 2 * both @ both.T).clamp(min=0) / both.shape[1]
    kernel = torch.stack([torch.exp(squared / (-2 * h)) for h in bandwidths]).mean(0)
    n, m = len(a), len(b)
    within = [(k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in (kernel[:n, :n], kernel[n:, n:])]
    return within[0] + within[1] - 2 * kernel[:n, n:].sum() / (n * m)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the mean over rows of KL(N(mean, exp(log_variance)) || N(0, I)), summed over dimensions, in nats.

        KL = 1/2 sum_d (mean_d^2 + exp(v_d) - v_d - 1)

    Args:
        mean: (B, ...).
        log_variance: the same shape.

    Examples:
        >>> float(kl_to_standard_normal(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)))
        0.5
    """
    each = mean.square() + log_variance.exp() - log_variance - 1
    return each.flatten(1).sum(1).mean() / 2
