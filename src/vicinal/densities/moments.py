"""Class moments: the mean and covariance of every class, safe to invert whatever the table holds.

Features are first shifted and scaled by the pooled mean and standard deviation of all rows, so that scales of 1e-6 and 1e6
may stand side by side. In those units the sample covariance S_c of a class is kept as it is (the papers' estimate), but for
two repairs that only act where it could not be inverted:

- a class with too few rows for its own covariance (n_c <= D + 1) borrows from the pooled within-class covariance S_w:
  S_c <- (1 - a) S_c + a S_w with a = max(0, 1 - (n_c - 1) / (D + 1)); a class of one row takes S_w alone;
- eigenvalues below `FLOOR` (constant columns, duplicated rows, collinear features) are raised to it.
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
        shift: (D,). scale: (D,). mean: (K, D). covariance: (K, D, D), positive definite. count: (K,) sum of weights.
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
    scale = ((weight @ (u / largest).square()) / total).sqrt() * largest
    # A column whose spread is rounding error of its offset is constant.
    flat = scale <= 1e-12 * (shift.abs() + largest)
    scale = torch.where(flat, torch.where(shift.abs() > 0, shift.abs(), torch.ones_like(scale)), scale)
    u = u / scale

    onehot = torch.nn.functional.one_hot(y, n_classes).to(x.dtype) * weight[:, None]
    count = onehot.sum(0)
    mean = (onehot.T @ u) / torch.where(count > 0, count, 1.0)[:, None]
    centred = u - mean[y]
    d = x.shape[1]
    scatter = torch.stack([(centred * onehot[:, c : c + 1]).T @ centred for c in range(n_classes)])
    within = scatter.sum(0) / (total - (count > 0).sum()).clamp(min=1.0)
    own = scatter / torch.where(count > 1, count - 1, 1.0)[:, None, None]
    share = (1 - (count - 1) / (d + 1)).clamp(0, 1)[:, None, None]
    if covariance == "diagonal":
        share = (count < 2)[:, None, None].to(x.dtype)
        own, within = (torch.diag_embed(s.diagonal(dim1=-2, dim2=-1)) for s in (own, within))
    elif covariance == "spherical":
        share = (count < 2)[:, None, None].to(x.dtype)
        eye = torch.eye(d, dtype=x.dtype, device=x.device)
        own, within = (s.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * eye for s in (own, within))
    result = within.expand_as(own) if covariance == "tied" else (1 - share) * own + share * within
    if shrinkage:
        result = _shrink(result, centred, y, weight, n_classes, shrinkage)
    values, vectors = torch.linalg.eigh(result)
    if bool((values < FLOOR).any()):
        result = vectors @ torch.diag_embed(values.clamp(min=FLOOR)) @ vectors.mT
    return Moments(shift, scale, mean, result, count)


def _shrink(s: Tensor, centred: Tensor, y: Tensor, weight: Tensor, n_classes: int, shrinkage: float | str) -> Tensor:
    if shrinkage == "ledoit-wolf":
        if bool((weight != weight[0]).any()):
            raise InputError("`shrinkage='ledoit-wolf'` takes no sample weights; give a number in [0, 1] instead.")
        rows = [centred[y == c].cpu().numpy() for c in range(n_classes)]
        share = s.new_tensor([ledoit_wolf_shrinkage(r, assume_centered=True) if len(r) > 1 else 1.0 for r in rows])
    else:
        share = s.new_full((n_classes,), float(shrinkage))
    share = share[:, None, None]
    eye = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    return (1 - share) * s + share * s.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] * eye
