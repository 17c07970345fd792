"""One Gaussian per class: p_c(x) = N(x; mu_c, Sigma_c), the 'GM' of the GenLabel paper."""

import math
from typing import Self

import torch
from torch import Tensor

from vicinal.core import check_in, check_number
from vicinal.densities.base import Density
from vicinal.densities.moments import class_moments

__all__ = ["Gaussian"]


class Gaussian(Density):
    """A multivariate normal for every class, from its sample mean and covariance (GenLabel, section 1.2).

        log p_c(x) = -1/2 |L_c^-1 (x - mu_c)|^2 - log det L_c - D/2 log(2 pi),    L_c L_c^T = Sigma_c

    Args:
        covariance: 'full' (as in the paper), 'diagonal', 'spherical' (one variance per class, in units of each feature's
            pooled standard deviation), or 'tied' (one within-class covariance for all classes).
        shrinkage: share in [0, 1] by which each covariance moves towards the spherical one of the same trace, or
            'ledoit-wolf' to estimate the share (scikit-learn's `ledoit_wolf_shrinkage`).

    A covariance that can't be inverted is repaired, as `vicinal.densities.moments` says.

    Examples:
        >>> x = torch.tensor([[-1.0], [1.0], [9.0], [11.0]])
        >>> density = Gaussian().fit(x, [0, 0, 1, 1])
        >>> density.posterior(torch.tensor([[5.0]])).tolist()          # halfway between twins
        [[0.5, 0.5]]
    """

    def __init__(self, covariance: str = "full", shrinkage: float | str = 0.0) -> None:
        self.covariance = covariance
        self.shrinkage = shrinkage

    whiten_: Tensor
    log_norm_: Tensor

    def _fit(self, x: Tensor, y: Tensor, weight: Tensor) -> None:
        check_in("covariance", self.covariance, ("full", "diagonal", "spherical", "tied"))
        if self.shrinkage != "ledoit-wolf":
            check_number("shrinkage", self.shrinkage, 0, 1)
        moments = class_moments(x, y, weight, self.n_classes_, self.covariance, self.shrinkage)
        self._set(moments.shift, moments.scale, moments.mean, moments.covariance)

    def _set(self, shift: Tensor, scale: Tensor, mean: Tensor, covariance: Tensor) -> None:
        k, d = mean.shape
        root = torch.linalg.cholesky(covariance)
        inverse = torch.linalg.solve_triangular(root, torch.eye(d, dtype=root.dtype, device=root.device), upper=False)
        self.shift_, self.root_ = shift, root * scale[:, None]
        self.mean_ = shift + mean * scale
        # All classes in one matrix: [x, 1] -> L_c^-1 (x - mu_c) for every c is one product, in which points come last: sums
        # over features then take vectors of them.
        self.whiten_ = torch.cat([inverse / scale, -inverse @ mean[..., None]], 2).reshape(k * d, d + 1)
        log_det = root.diagonal(dim1=1, dim2=2).log().sum(1) + scale.log().sum()
        self.log_norm_ = -log_det - 0.5 * d * math.log(2 * math.pi)

    @classmethod
    def from_moments(cls, mean: Tensor, covariance: Tensor) -> Self:
        """Return the density of known means (K, D) and covariances (K, D, D), such as a problem's ground truth."""
        density = cls()
        mean, covariance = mean.double(), covariance.double()
        density.n_classes_, density.n_features_ = mean.shape
        density.count_ = mean.new_ones(len(mean))
        density._set(mean.new_zeros(mean.shape[1]), mean.new_ones(mean.shape[1]), mean, covariance)
        return density

    def _log_prob(self, x: Tensor) -> Tensor:
        z = self.whiten_ @ torch.cat([x - self.shift_, torch.ones_like(x[:, :1])], 1).T
        squared = z.view(self.n_classes_, self.n_features_, -1).square_().sum(1)
        return self.log_norm_ - squared.T / 2

    def _sample(self, y: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(y), self.n_features_, generator=generator, dtype=torch.float64).to(self.mean_)
        result: Tensor = self.mean_[y] + (self.root_[y] @ noise[..., None])[..., 0]
        return result
