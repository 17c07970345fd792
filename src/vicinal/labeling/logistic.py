"""Logistic labels: the label turns from one endpoint to the other as a posterior between two Gaussians does."""

import torch
from torch import Tensor

from vicinal.core import MixedBatch, check_number
from vicinal.labeling.base import Labeler

__all__ = ["LogisticLabels"]


class LogisticLabels(Labeler):
    """y = rho y_a + (1 - rho) y_b with rho = 1 / (1 + exp(-2 (lam - 1/2) / sigma^2)) (GenLabel, section 3.2).

    Args:
        sigma: above 0; the spread of a class in units of the distance between the endpoints. Small: nearly a step at
            lam = 1/2. The paper takes 1 / (2 sqrt(d)) for endpoints 2 sqrt(2) d apart (Example 2) and gives no value for its
            study of 133 tables, where its published code has sigma^2 = 1/10; 0.5 labels an endpoint 0.982.

    Example 3's formula lacks the factor 2: its sigma^2 is half of this one.

    Examples:
        >>> ones = torch.ones(1)
        >>> batch = MixedBatch(ones, ones, ones, torch.eye(2)[:1], torch.eye(2)[1:], torch.tensor([0.5]), ones)
        >>> LogisticLabels()(batch).tolist()
        [[0.5, 0.5]]
    """

    def __init__(self, sigma: float = 0.5) -> None:
        self.sigma = sigma

    def _label(self, batch: MixedBatch) -> Tensor:
        check_number("sigma", self.sigma, 0, open_low=True)
        rho = torch.sigmoid(2 * (batch.lam - 0.5) / self.sigma**2)
        return torch.lerp(batch.y_b, batch.y_a, rho[..., None])
