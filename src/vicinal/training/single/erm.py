"""Empirical or vicinal risk: the mean cross entropy on the points that come."""

import torch
from torch import Tensor, nn

from vicinal.training.single.base import NetworkObjective, soft_cross_entropy

__all__ = ["ERM"]


class ERM(NetworkObjective):
    """Mean cross entropy, 1/B sum_i CE(F(x_i), y_i), on points and labels as a vicinity gives them.

    On the data themselves that is the empirical risk, on a vicinity's points the vicinal risk (Chapelle, Weston, Bottou, Vapnik.
    Vicinal risk minimization. NIPS 2000).

    Examples:
        >>> network = nn.Sequential(nn.Identity())
        >>> logits, y = torch.tensor([[0.0, 0.0], [3.0, 3.0]]), torch.eye(2)
        >>> float(ERM().loss(network, logits, y, torch.Generator(), nn.ModuleDict()).exp())
        2.0
    """

    def loss(
        self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, extras: nn.ModuleDict
    ) -> Tensor:
        """Return the mean cross entropy; see `NetworkObjective.loss`."""
        return soft_cross_entropy(network(x), y).mean()
