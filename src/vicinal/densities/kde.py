"""A kernel density estimate per class: p_c(x) = 1/n_c sum_i N(x; x_i, h^2 Sigma_c)."""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from vicinal.core import InputError, check_in, check_number, generator_at
from vicinal.densities.base import TILE, Density
from vicinal.densities.moments import class_moments

__all__ = ["KDE"]

POINTS = 512
"""Training rows in one tile."""

PAIRS = 1 << 18
"""Kernels in one tile in single precision, half as many in double: 1 MB, which stays in a core's cache until they are summed."""

NEAR = 2000.0
"""Largest squared norm of a whitened query for which single precision will do: an error of about 1e-4 in a log-density."""

QUERIES = 4096
"""Queries that are whitened at once."""

LIFT = 80.0
"""Added to all exponents, which are at most 0: exp has room above in single precision, and little below."""

LOWEST = {torch.float64: -720.0, torch.float32: -149.0}
"""Log-sums of kernels below this have lost digits."""

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

    Points in single precision get log-densities to single precision, faster.

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
        self._arrange(y)

    def _arrange(self, y: Tensor) -> None:
        """Lay out once what every query meets: z_c = L_c^-1 u / h_c - m_c, and kernels as `_log_kernel_sum` takes them."""
        points = self.points_ / self.factor_[y][:, None]
        count = torch.bincount(y, minlength=self.n_classes_).clamp(min=1)[:, None]
        center = points.new_zeros(self.n_classes_, self.n_features_).index_add_(0, y, points) / count
        points = points - center[y]
        norm = points.square().sum(1)
        last = self.log_weight_ + LIFT - norm / 2
        self.kernels_ = torch.cat([points, torch.ones_like(norm)[:, None], last[:, None]], 1)
        self.reach_ = torch.zeros_like(self.log_norm_).scatter_reduce_(0, y, norm, "amax")
        eye = torch.eye(self.n_features_).to(points)
        inverse = torch.linalg.solve_triangular(self.roots_, eye, upper=False) / self.factor_[:, None, None]
        # [u, 1] -> [z_c, 0, 1]
        self.whiten_ = pad(torch.cat([inverse, -center[..., None]], 2), (0, 0, 0, 2))
        self.whiten_[:, -1, -1] = 1

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
        return TILE // QUERIES

    def _log_prob(self, x: Tensor) -> Tensor:
        return self._log_prob_within(x, math.inf)

    def _log_prob_within(self, x: Tensor, gap: float) -> Tensor:
        d = self.n_features_
        u = (x.to(self.scale_.dtype) - self.shift_) / self.scale_
        u = torch.cat([u, torch.ones_like(u[:, :1])], 1).T
        kernels, weights = self.kernels_.split(self.rows_), self.log_weight_.split(self.rows_)
        if torch.compiler.is_compiling() or x.requires_grad:
            # A graph can't look at values, and gradients can't pass a shared buffer: the sure way for all.
            sums = [
                _far_kernel_sum(own[:, :d], weights[c], (self.whiten_[c] @ u)[:d])
                if len(own)
                else torch.zeros_like(u[0])
                for c, own in enumerate(kernels)
            ]
            far_away: Tensor = torch.stack(sums, 1) + self.log_norm_
            return far_away
        classes = [c for c, n in enumerate(self.rows_) if n]
        log_sum = u.new_full((self.n_classes_, len(x)), -torch.inf)
        todo = torch.ones_like(log_sum, dtype=torch.bool)
        if x.dtype == torch.float32:
            # In single precision first, with errors as large as the points have anyway.
            norm, single = torch.zeros_like(log_sum), self.kernels_.float().split(self.rows_)
            for c in classes:
                z = self._whiten(c, u)
                norm[c] = -2 * z[d]
                log_sum[c] = _log_kernel_sum(single[c], z.float())
            todo = self._unsure(log_sum, norm, gap)
        for c in classes:
            index = todo[c].nonzero()[:, 0]
            if not len(index):
                continue
            z = self._whiten(c, u[:, index])
            found = _log_kernel_sum(kernels[c], z)
            far = (found < LOWEST[found.dtype]).nonzero()[:, 0]
            # Tiles, for this way takes memory for all pairs.
            for some in far.split(max(1, PAIRS // min(POINTS, self.rows_[c]))):
                found[some] = _far_kernel_sum(kernels[c][:, :d], weights[c], z[:d, some])
            log_sum[c, index] = found
        result: Tensor = log_sum.T + self.log_norm_
        return result

    def _whiten(self, c: int, u: Tensor) -> Tensor:
        """Return what `_log_kernel_sum` asks of points, (D + 2, B), for [u; 1] (D + 1, B)."""
        z: Tensor = self.whiten_[c] @ u
        z[-2] = z[:-2].square().sum(0) / -2
        return z

    def _unsure(self, log_sum: Tensor, norm: Tensor, gap: float) -> Tensor:
        """Return which of the sums (K, B) found in single precision, for points of squared norm (K, B), need better.

        Those of points far from the centre, whose exponents are differences of large numbers, and those that underflow, unless
        their upper bound still leaves them more than `gap` below another class.
        """
        least = LOWEST[torch.float32]
        sure = (log_sum >= least) & (norm <= NEAR)
        if bool(sure.all()):
            return ~sure
        best = torch.where(sure, log_sum + self.log_norm_[:, None], -torch.inf).amax(0)
        error = (self.n_features_ + 6) * 2.0**-24 * (norm + self.reach_[:, None])
        most: Tensor = log_sum.clamp(min=least) + error + self.log_norm_[:, None]
        return ~sure & (most + gap < best).logical_not()

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


def _log_kernel_sum(kernels: Tensor, z: Tensor) -> Tensor:
    """Return log sum_i exp(log_weight_i - 1/2 |z - p_i|^2), (B,).

    The exponents, lifted, are one matrix product, kernels [p, 1, log_weight + lift - |p|^2 / 2] (N, D + 2) by points
    [z; -|z|^2 / 2; 1] (D + 2, B), so each pair costs its share of a product and one exp. Tiles share one buffer: fresh memory
    costs more than the arithmetic.
    """
    height = min(POINTS, len(kernels))
    width = min(PAIRS * 4 // z.element_size() // max(1, height), z.shape[1])
    buffer = z.new_empty(height * width)
    ones = z.new_ones(1, height)
    # Below this exp is no normal number, and takes far longer.
    least = math.log(torch.finfo(z.dtype).tiny) + 1
    total = z.new_zeros(1, z.shape[1])
    parts = list(zip(z.split(width, 1), total.split(width, 1), strict=True))
    for tile in kernels.split(POINTS):
        n = len(tile)
        for part, sums in parts:
            exponent = torch.mm(tile, part, out=buffer[: n * part.shape[1]].view(n, -1))
            sums.addmm_(ones[:, :n], exponent.clamp_(min=least).exp_())
    return total[0].log() - LIFT


def _far_kernel_sum(points: Tensor, log_weight: Tensor, z: Tensor) -> Tensor:
    """As `_log_kernel_sum`, with the largest term taken out, and differences taken before they are squared."""
    best = torch.full_like(z[0], -torch.inf)
    for part, log_part in zip(points.split(POINTS), log_weight.split(POINTS), strict=True):
        distance = torch.cdist(z.T, part, compute_mode="donot_use_mm_for_euclid_dist")
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
