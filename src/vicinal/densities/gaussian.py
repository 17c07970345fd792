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

    A covariance that can't be inverted is repaired, as `vicinal.densities.moments` says. 'tied' makes one matrix for all
    classes and its posteriors are linear discriminants (Bishop, 2006, section 4.2.1); 'diagonal' and 'spherical' make none, D
    numbers a class and as many operations a point. So these three fit images' codes of thousands of features.

    Attributes:
        mean_: (K, D). root_: L_c, (K, D, D); of 'tied' L, (1, D, D); of 'diagonal' and 'spherical' the diagonals, standard
            deviations (K, D).

    Examples:
        >>> x = torch.tensor([[-1.0], [1.0], [9.0], [11.0]])
        >>> density = Gaussian().fit(x, [0, 0, 1, 1])
        >>> density.posterior(torch.tensor([[5.0]])).tolist()          # halfway between twins
        [[0.5, 0.5]]
        >>> Gaussian("diagonal").fit(x.repeat(1, 5000), [0, 0, 1, 1]).root_.shape
        torch.Size([2, 5000])
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
        self.shift_, self.mean_ = shift, shift + mean * scale
        if covariance.ndim == 2:
            deviation = covariance.sqrt()
            self.root_ = deviation * scale
            # Rows a, b of every class: a (x - shift) + b = (x - mu_c) / sigma_c.
            self.whiten_ = torch.stack([1 / self.root_, -mean / deviation], 1)
        else:
            root = torch.linalg.cholesky(covariance)
            deviation = root.diagonal(dim1=1, dim2=2)
            self.root_ = root * scale[:, None]
            if len(root) == 1:
                # The same of L^-1 (x - shift).
                centre = torch.linalg.solve_triangular(root[0], mean.T, upper=False).T
                self.whiten_ = torch.stack([torch.ones_like(centre), -centre], 1)
            else:
                inverse = torch.linalg.solve_triangular(root, torch.eye(d).to(root), upper=False)
                # All classes in one matrix: [x, 1] -> L_c^-1 (x - mu_c) for every c is one product, in which points come last:
                # sums over features then take vectors of them.
                self.whiten_ = torch.cat([inverse / scale, -inverse @ mean[..., None]], 2).reshape(k * d, d + 1)
        log_det = deviation.log().sum(1) + scale.log().sum()
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

    def _row_numbers(self) -> int:
        return self.n_features_ if self.whiten_.ndim == 3 else super()._row_numbers()

    def _log_prob(self, x: Tensor) -> Tensor:
        # By what was fitted: `from_moments` has dense covariances, and parameters may be set after a fit.
        u = x - self.shift_
        if self.whiten_.ndim == 3:
            if self.root_.ndim == 3:
                u = torch.linalg.solve_triangular(self.root_[0], u.T, upper=False).T
            # Class by class, for all at once would leave the cache. Squares multiplied out would be faster, and cancel.
            z = (torch.addcmul(offset, u, factor) for factor, offset in self.whiten_)
            squared = torch.stack([torch.linalg.vector_norm(part, dim=1) for part in z]).square_()
        else:
            product = self.whiten_ @ torch.cat([u, torch.ones_like(x[:, :1])], 1).T
            squared = product.view(self.n_classes_, self.n_features_, -1).square_().sum(1)
        return self.log_norm_ - squared.T / 2

    def _sample(self, y: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(y), self.n_features_, generator=generator, dtype=torch.float64).to(self.mean_)
        if self.root_.ndim == 2:
            return self.mean_[y] + self.root_[y] * noise
        if len(self.root_) == 1:
            return self.mean_[y] + noise @ self.root_[0].T
        result: Tensor = self.mean_[y] + (self.root_[y] @ noise[..., None])[..., 0]
        return result
