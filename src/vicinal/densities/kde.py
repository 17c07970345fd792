"""A kernel density estimate per class: p_c(x) = 1/n_c sum_i N(x; x_i, h^2 Sigma_c)."""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vicinal.core import InputError, check_in, check_number, generator_at
from vicinal.densities.base import TILE, Density
from vicinal.densities.moments import class_moments

__all__ = ["KDE"]

POINTS = 1024
"""Training rows in one tile."""

PAIRS = 1 << 17
"""Kernels in one tile: few enough to stay in a core's cache from their product to their sum."""

NEAR = 2000.0
"""Largest squared norm of whitened rows for which single precision will do: an error of about 1e-4 in a log-density."""

UNDERFLOW = {torch.float64: 1e-280, torch.float32: 1e-30}
"""Sums of kernels below this have lost digits."""

GRID = np.geomspace(0.05, 2.0, 25)
"""Factors tried by `bandwidth='likelihood'`, in units of Scott's factor."""


class KDE(Density):
    """A Gaussian kernel density estimate for every class, with its full covariance (GenLabel, section 1.2).

        log p_c(x) = log sum_i w_i exp(-1/2 |L_c^-1 (x - x_i)|^2 / h^2) - log det(h L_c) - D/2 log(2 pi)

    with L_c L_c^T = Sigma_c the class's sample covariance, w_i = 1/n_c, n_c the class's rows: scipy's `gaussian_kde`.

    Args:
        bandwidth: h by rule, 'scott' n_c^(-1/(D+4)) or 'silverman' (n_c (D+2)/4)^(-1/(D+4)); a number; or 'likelihood',
            the multiple of Scott's factor (0.05 to 2) under which left-out training rows are most likely, class by class.

        max_rows: rows of a class beyond this many are stood for by a random sample of them, so that a query's cost has a
            bound; covariance and the rules come from all rows, 'likelihood' from those kept. None keeps all.

    Points in single precision get log-densities to single precision, about twice as fast.

    Every query meets every kept row, tile by tile, so memory does not grow with their product.

    Examples:
        >>> x = torch.tensor([[-1.0], [1.0], [9.0], [11.0]])
        >>> KDE().fit(x, [0, 0, 1, 1]).posterior(torch.tensor([[5.0]])).tolist()
        [[0.5, 0.5]]
    """

    takes_single: ClassVar[bool] = True

    def __init__(self, bandwidth: str | float = "scott", max_rows: int | None = None) -> None:
        self.bandwidth = bandwidth
        self.max_rows = max_rows

    def _fit(self, x: Tensor, y: Tensor, weight: Tensor) -> None:
        if isinstance(self.bandwidth, str):
            check_in("bandwidth", self.bandwidth, ("scott", "silverman", "likelihood"))
        else:
            check_number("bandwidth", self.bandwidth, 0, open_low=True)
        moments = class_moments(x, y, weight, self.n_classes_)
        d = self.n_features_
        self.shift_, self.scale_ = moments.shift, moments.scale
        self.roots_ = torch.linalg.cholesky(moments.covariance)
        if self.max_rows is not None:
            check_number("max_rows", self.max_rows, 1, whole=True)
            kept = _thin(y, self.max_rows)
            x, y, weight = x[kept], y[kept], weight[kept]
        held = torch.zeros_like(moments.count).index_add(0, y, weight)
        order = torch.argsort(y, stable=True)
        u, y, weight = (x[order] - self.shift_) / self.scale_, y[order], weight[order]
        self.rows_ = torch.bincount(y, minlength=self.n_classes_).tolist()
        # Whitened rows of every class, one below the other: squared distances there are Mahalanobis distances.
        parts = u.split(self.rows_)
        self.points_ = torch.cat([_whiten(self.roots_[c], p) for c, p in enumerate(parts)])
        self.log_weight_ = (weight / held[y]).log()
        self.factor_ = torch.ones(self.n_classes_, dtype=x.dtype, device=x.device)
        for c, (points, w) in enumerate(zip(self.points_.split(self.rows_), weight.split(self.rows_), strict=True)):
            if len(points):
                self.factor_[c] = self._choose(points, w, float(moments.count[c]), d)
        log_det = self.roots_.diagonal(dim1=1, dim2=2).log().sum(1) + self.scale_.log().sum()
        self.log_norm_ = -log_det - d * self.factor_.log() - 0.5 * d * math.log(2 * math.pi)

    def _choose(self, points: Tensor, weight: Tensor, n: float, d: int) -> float:
        scott = n ** (-1 / (d + 4))
        if not isinstance(self.bandwidth, str):
            return float(self.bandwidth)
        if self.bandwidth == "silverman":
            return float((n * (d + 2) / 4) ** (-1 / (d + 4)))
        if self.bandwidth == "scott" or n < 3:
            return float(scott)
        scores = [_left_out(points / h, weight, h, d) for h in scott * GRID]
        return float(scott * GRID[int(np.argmax(scores))])

    def _row_numbers(self) -> int:
        return self.n_features_  # `log_kernel_sum` makes its own tiles

    def _log_prob(self, x: Tensor) -> Tensor:
        single = x.dtype == torch.float32
        u = (x.to(self.scale_.dtype) - self.shift_) / self.scale_
        columns = []
        points, weights = self.points_.split(self.rows_), self.log_weight_.split(self.rows_)
        for c in range(self.n_classes_):
            if self.rows_[c] == 0:
                columns.append(torch.zeros_like(u[:, 0]))
                continue
            z = _whiten(self.roots_[c], u) / self.factor_[c]
            columns.append(log_kernel_sum(z, points[c] / self.factor_[c], weights[c], single))
        result: Tensor = torch.stack(columns, 1) + self.log_norm_
        return result

    def _sample(self, y: Tensor, generator: torch.Generator) -> Tensor:
        first = torch.tensor([0, *self.rows_[:-1]]).cumsum(0)
        picked = torch.empty(len(y), dtype=torch.int64)
        for c in range(self.n_classes_):
            chosen = (y.cpu() == c).nonzero()[:, 0]
            if len(chosen):
                shares = self.log_weight_.split(self.rows_)[c].exp().cpu()
                picked[chosen] = first[c] + torch.multinomial(
                    shares, len(chosen), replacement=True, generator=generator
                )
        noise = torch.randn(len(y), self.n_features_, generator=generator, dtype=torch.float64).to(self.points_)
        z = self.points_[picked.to(y.device)] + noise * self.factor_[y][:, None]
        result: Tensor = (self.roots_[y] @ z[..., None])[..., 0] * self.scale_ + self.shift_
        return result


def _thin(y: Tensor, most: int) -> Tensor:
    """Return which rows to keep so that no class has more than `most`, (N,) booleans."""
    keys = torch.rand(len(y), generator=generator_at(purpose="kde-rows")).to(y.device)
    order = keys.argsort()
    order = order[y[order].argsort(stable=True)]
    counts = torch.bincount(y)
    rank = torch.arange(len(y), device=y.device) - (counts.cumsum(0) - counts)[y[order]]
    return torch.zeros_like(y, dtype=torch.bool).scatter(0, order, rank < most)


def _whiten(root: Tensor, u: Tensor) -> Tensor:
    result: Tensor = torch.linalg.solve_triangular(root, u.T, upper=False).T
    return result


def log_kernel_sum(z: Tensor, points: Tensor, log_weight: Tensor, single: bool = False) -> Tensor:
    """Return log sum_i exp(log_weight_i - 1/2 |z - points_i|^2), (B,), for z (B, D) and points (N, D), in double precision.

    The exponent is one matrix product with two extra columns, [z, -|z|^2/2, 1] [points, 1, log_weight - |points|^2/2]^T, so
    each pair costs its share of a product and one exp. Rows whose every term underflows (far from all points) are done
    again with the largest term taken out.

    With `single`, the product is taken in single precision first: an error of about 1e-7 |z|^2, which points that come in
    single precision have anyway. Rows that underflow there, and points far from the centre, still get double.
    """
    center = points.mean(0)
    z, points = z - center, points - center
    if torch.compiler.is_compiling() or z.requires_grad:
        # A graph can't look at values, and gradients can't pass a shared buffer: the sure way for all.
        return _far_kernel_sum(z, points, log_weight)
    norms = points.square().sum(1)
    left = torch.cat([z, z.square().sum(1, keepdim=True) * -0.5, torch.ones_like(z[:, :1])], 1)
    right = torch.cat([points, torch.ones_like(points[:, :1]), (log_weight - norms / 2)[:, None]], 1)
    result = torch.empty_like(z[:, 0])
    todo = torch.arange(len(z), device=z.device)
    for dtype in (torch.float32, z.dtype) if single and float(norms.max()) < NEAR else (z.dtype,):
        rows = left if len(todo) == len(left) else left[todo]
        total = _kernel_sum(rows.to(dtype), right.to(dtype))
        result[todo] = total.log().to(result.dtype)
        todo = todo[total < UNDERFLOW[dtype]]
        if not len(todo):
            return result
    # Tiles, for the exact way takes memory for all pairs.
    for some in todo.split(max(1, PAIRS // min(POINTS, len(points)))):
        result[some] = _far_kernel_sum(z[some], points, log_weight)
    return result


def _kernel_sum(left: Tensor, right: Tensor) -> Tensor:
    """Return sum_i exp((left right^T)_bi), (B,), in tiles that share one buffer: fresh memory costs more than arithmetic."""
    width = min(POINTS, len(right))
    rows = max(1, min(len(left), PAIRS // width))
    buffer, ones = left.new_empty(rows * width), left.new_ones(width)
    # Below this exp is no normal number, and takes a hundred times as long.
    least = math.log(torch.finfo(left.dtype).tiny) + 1
    totals = left.new_zeros(len(left))
    parts = [(part.T, ones[: len(part)]) for part in right.split(POINTS)]
    for tile, total in zip(left.split(rows), totals.split(rows), strict=True):
        for part, one in parts:
            exponent = torch.mm(tile, part, out=buffer[: len(tile) * len(one)].view(len(tile), len(one)))
            total.addmv_(exponent.clamp_(min=least).exp_(), one)
    return totals


def _far_kernel_sum(z: Tensor, points: Tensor, log_weight: Tensor) -> Tensor:
    """As `log_kernel_sum`, with the largest term taken out, and differences taken before they are squared."""
    best = torch.full_like(z[:, 0], -torch.inf)
    for part, log_part in zip(points.split(POINTS), log_weight.split(POINTS), strict=True):
        distance = torch.cdist(z, part, compute_mode="donot_use_mm_for_euclid_dist")
        best = torch.logaddexp(best, (log_part - distance.square() / 2).logsumexp(1))
    return best


def _left_out(points: Tensor, weight: Tensor, h: float, d: int) -> float:
    """Mean log-likelihood of every row under the kernels of the others; copies of a row do not vouch for it."""
    n, score = float(weight.sum()), 0.0
    rows = max(1, TILE // len(points))
    for part, w in zip(points.split(rows), weight.split(rows), strict=True):
        # Differences are taken before squaring, so that a copy's distance is 0 and not a rounding error.
        squared = torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist").square()
        exponent = (weight.log() - squared / 2).masked_fill(squared < 1e-12, -torch.inf)
        score += float((w * exponent.logsumexp(1).clamp(min=-1e5)).sum())
    if not math.isfinite(score):
        raise InputError("the held-out likelihood is not finite; give `bandwidth` a number.")
    return score / n - d * math.log(h)
