"""The k-nearest-neighbour density of every class: p_c(x) = k / (n_c V)."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from vicinal.core import check_in, check_number, nearest_rows
from vicinal.densities.base import Density

__all__ = ["KNN"]


class KNN(Density):
    """k over n_c times the volume of the smallest ball around x that holds k rows of class c (GenLabel, section 1.2).

        log p_c(x) = log k - log n_c - log V_D - D log r_c(x),    V_D = pi^(D/2) / Gamma(D/2 + 1)

    with r_c(x) the distance to the k-th nearest row of class c (Bishop, 2006, section 2.5.2). It does not integrate to one
    (its tails are too heavy), so it labels but can't be sampled. Distances are Euclidean in the features as they come.

    Args:
        k: neighbours; at most n_c are used. The paper's experiments take 1, the default; 'sqrt' takes sqrt(n_c), rounded up.

    A distance of 0 counts as 1e-9 of the table's spread, so a query on a training row has a large, finite density.

    Examples:
        >>> density = KNN(k=1).fit(torch.tensor([[0.0], [4.0]]), [0, 1])
        >>> density.posterior(torch.tensor([[1.0]])).tolist()          # 1/1 against 1/3
        [[0.75, 0.25]]
    """

    normalized: ClassVar[bool] = False

    def __init__(self, k: int | str = 1) -> None:
        self.k = k

    def _fit(self, x: Tensor, y: Tensor, weight: Tensor) -> None:
        if isinstance(self.k, str):
            check_in("k", self.k, ("sqrt",))
        else:
            check_number("k", self.k, 1, whole=True)
        order = torch.argsort(y, stable=True)
        self.points_, self.weight_ = x[order], weight[order]
        self.rows_ = torch.bincount(y, minlength=self.n_classes_).tolist()
        spread = float((x - x.mean(0)).square().sum(1).mean().sqrt())
        self.least_ = 1e-9 * (spread or 1.0)
        # Plain numbers, so that `log_prob` never waits for a device and compiles.
        self.held_, self.fewest_ = [], []
        for n, own in zip(self.count_.tolist(), self.weight_.split(self.rows_), strict=True):
            k = min(math.ceil(math.sqrt(n)) if isinstance(self.k, str) else float(self.k), n)
            self.held_.append(k)
            self.fewest_.append(min(len(own), max(1, math.ceil(k / float(own.min())))) if len(own) else 0)
        self.log_share_ = [math.log(k / n) if n else 0.0 for k, n in zip(self.held_, self.count_.tolist(), strict=True)]

    def _row_numbers(self) -> int:
        return 1  # `nearest_rows` makes its own tiles

    def _log_prob(self, x: Tensor) -> Tensor:
        d = self.n_features_
        log_unit_ball = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1)
        columns = []
        for c, (points, weight) in enumerate(
            zip(self.points_.split(self.rows_), self.weight_.split(self.rows_), strict=True)
        ):
            if len(points) == 0:
                columns.append(torch.zeros_like(x[:, 0]))
                continue
            squared = self._kth_squared(x, points, weight, self.held_[c], self.fewest_[c])
            log_radius = squared.clamp(min=self.least_**2).log() / 2
            columns.append(self.log_share_[c] - log_unit_ball - d * log_radius)
        return torch.stack(columns, 1)

    @staticmethod
    def _kth_squared(x: Tensor, points: Tensor, weight: Tensor, k: float, fewest: int) -> Tensor:
        """Squared radius of the smallest ball that holds weight k, which `fewest` rows do."""
        squared, index = nearest_rows(x, points, fewest)
        held = weight[index].cumsum(1)
        kth = (held < k - 1e-9).sum(1, keepdim=True).clamp(max=fewest - 1)
        return squared.gather(1, kth)[:, 0]
