"""Class moments: the mean and covariance of every class, safe to invert whatever the table holds.

Features are first shifted and scaled by the pooled mean and standard deviation of all rows, so that scales of 1e-6 and 1e6
may stand side by side. In those units the sample covariance S_c of a class is kept as it is (the papers' estimate), but for
two repairs that only act where it could not be inverted:

- a class with too few rows for its own covariance (n_c <= D + 1) borrows from the pooled within-class covariance S_w:
  S_c <- (1 - a) S_c + a S_w with a = max(0, 1 - (n_c - 1) / (D + 1)); a class of one row takes S_w alone;
- eigenvalues below `FLOOR` (constant columns, duplicated rows, collinear features) are raised to it.

A diagonal or spherical covariance is its diagonal wherever it goes, (K, D) variances: no matrix is made, so images' codes are
no more than their features. Two rows are enough for it; only a class of one row borrows. A tied covariance is S_w, one matrix
however many classes there are.
"""

from dataclasses import dataclass

import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor

from vicinal.core import InputError

__all__ = ["Moments", "class_moments"]

FLOOR = 1e-6
"""Least variance along any direction, in units of the pooled variance."""


@dataclass(frozen=True)
class Moments:
    """Means and covariances in scaled units u = (x - shift) / scale.

    Attributes:
        shift: (D,). scale: (D,). mean: (K, D). count: (K,) sum of weights.
        covariance: (K, D, D), positive definite; where tied, (1, D, D); where diagonal or spherical, the diagonals (K, D).
    """

    shift: Tensor
    scale: Tensor
    mean: Tensor
    covariance: Tensor
    count: Tensor


def class_moments(
    x: Tensor, y: Tensor, weight: Tensor, n_classes: int, covariance: str = "full", shrinkage: float | str = 0.0
) -> Moments:
    """Estimate the moments of every class.

    Args:
        x: (N, D).
        y: (N,) class indices.
        weight: (N,) frequencies.
        n_classes: K; a class without rows takes the pooled moments and a count of 0.
        covariance: 'full', 'diagonal', 'spherical' or 'tied' (one within-class covariance for all classes).
        shrinkage: share in [0, 1] of the spherical covariance of the same trace, or 'ledoit-wolf'.
    """
    total = weight.sum()
    shift = (weight @ x) / total
    u = x - shift
    largest = u.abs().amax(0).clamp(min=torch.finfo(x.dtype).tiny)
    scale = ((weight @ (u / largest).square_()) / total).sqrt() * largest
    # A column whose spread is rounding error of its offset is constant.
    flat = scale <= 1e-12 * (shift.abs() + largest)
    scale = torch.where(flat, torch.where(shift.abs() > 0, shift.abs(), torch.ones_like(scale)), scale)
    u = u / scale

    onehot = torch.nn.functional.one_hot(y, n_classes).to(x.dtype) * weight[:, None]
    count = onehot.sum(0)
    mean = (onehot.T @ u) / torch.where(count > 0, count, 1.0)[:, None]
    centred = u.sub_(mean[y])
    tied = covariance == "tied"
    if covariance in ("diagonal", "spherical"):
        scatter = onehot.T @ centred.square()
        share = (count < 2).to(x.dtype)
    else:
        groups = [weight[:, None]] if tied else onehot.split(1, 1)
        scatter = torch.stack([(centred * group).T @ centred for group in groups])
        share = (1 - (count - 1) / (x.shape[1] + 1)).clamp(0, 1)
    within = scatter.sum(0) / (total - (count > 0).sum()).clamp(min=1.0)
    if tied:
        result = within[None]
    else:
        of_class = (n_classes, *[1] * (scatter.ndim - 1))
        own = scatter / torch.where(count > 1, count - 1, 1.0).view(of_class)
        share = share.view(of_class)
        result = (1 - share) * own + share * within
    if covariance == "spherical":
        result = _spherical(result)
    if shrinkage:
        result = _shrink(result, centred, torch.zeros_like(y) if tied else y, weight, shrinkage)
    return Moments(shift, scale, mean, _raise(result), count)


def _spherical(s: Tensor) -> Tensor:
    """Return the spherical covariances of the same traces: matrices of matrices, diagonals (K, D) of diagonals."""
    if s.ndim == 2:
        return s.mean(-1, keepdim=True).expand_as(s)
    return s.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] * torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)


def _shrink(s: Tensor, centred: Tensor, y: Tensor, weight: Tensor, shrinkage: float | str) -> Tensor:
    if shrinkage == "ledoit-wolf":
        if bool((weight != weight[0]).any()):
            raise InputError("`shrinkage='ledoit-wolf'` takes no sample weights; give a number in [0, 1] instead.")
        rows = [centred[y == c].cpu().numpy() for c in range(len(s))]
        share = s.new_tensor([ledoit_wolf_shrinkage(r, assume_centered=True) if len(r) > 1 else 1.0 for r in rows])
    else:
        share = s.new_full((len(s),), float(shrinkage))
    share = share.view(-1, *[1] * (s.ndim - 1))
    return (1 - share) * s + share * _spherical(s)


def _raise(s: Tensor) -> Tensor:
    """Raise eigenvalues to `FLOOR`; those of a diagonal are its entries."""
    if s.ndim == 2:
        return s.clamp(min=FLOOR)
    floor = FLOOR * torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    if not bool(torch.linalg.cholesky_ex(s - floor).info.any()):
        return s  # no eigenvalue is below, and none had to be computed
    values, vectors = torch.linalg.eigh(s)
    raised: Tensor = vectors @ torch.diag_embed(values.clamp(min=FLOOR)) @ vectors.mT
    return raised
