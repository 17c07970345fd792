"""What an objective is: a loss of a batch that may look into the network, and bring networks of its own.

    vicinity --points, labels, weights--> objective --loss--> gradients, by automatic differentiation

Draws are split from the loss: what is random is drawn for many batches at once, by the group's address, and the loss is a
function of it.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vicinal.core import Component
from vicinal.networks import MLP
from vicinal.training.perceptrons import Perceptrons

__all__ = ["Objective", "take"]


class Objective(Component):
    """Abstract objective.

    Every replica has its own copy of the objective's networks, and they are trained with the classifier: one loss, one
    optimiser, one learning rate. A subclass writes `draw` and `loss`; gradients come by automatic differentiation.

    Examples:
        >>> import vicinal as vc
        >>> from vicinal.training import Group, Setting, fit_stack
        >>> class SquaredError(Objective):
        ...     def draw(self, weight, generator):
        ...         return {}
        ...
        ...     def loss(self, networks, x, y, weight, draws):
        ...         p = torch.softmax(networks[0](x[:, None].expand(-1, y.shape[1], -1, -1)), 2)
        ...         return (weight[:, None] * (p - y).square().sum(2)).sum(-1)
        >>> x, y = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> setting = Setting(vc.Vanilla(), 0.05, objective=SquaredError())
        >>> fit = fit_stack([Group(x, y, n_classes=2, address={"seed": 0})], [setting])
        >>> fit.network(0, 0)(x).argmax(1).tolist()
        [0, 0, 1, 1]
    """

    def networks(self, n_features: int, generator: torch.Generator) -> list[MLP]:
        """Return fresh networks that the objective brings along; none by default."""
        return []

    @abstractmethod
    def draw(self, weight: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw what is random in M batches.

        Args:
            weight: (M, B), 0 for a row that does not count.
            generator: the source of randomness.

        Returns:
            Named tensors (M, ...), on the device of `weight`.
        """

    @abstractmethod
    def loss(
        self, networks: Sequence[Perceptrons], x: Tensor, y: Tensor, weight: Tensor, draws: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the loss of every replica on one batch, (S, R).

        Args:
            networks: the classifier, then the objective's own.
            x: (S, D, B) points in columns.
            y: (S, R, K, B) labels in columns.
            weight: (S, B), which sum to one (or to zero where a filter took every row).
            draws: from `draw`, one batch of each stream: (S, ...).
        """

    def gradients(
        self, networks: Sequence[Perceptrons], x: Tensor, y: Tensor, weight: Tensor, draws: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return the gradients of `loss` in all parameters of the networks in turn; an objective may do so by hand."""
        parameters = [p.requires_grad_() for network in networks for p in network.parameters]
        with torch.enable_grad():
            return list(torch.autograd.grad(self.loss(networks, x, y, weight, draws).sum(), parameters))


def take(values: Tensor, index: Tensor) -> Tensor:
    """Return columns (S, ..., B) of values (S, ..., B) by index (S, B).

    Examples:
        >>> take(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[1, 0]])).tolist()
        [[[2.0, 1.0]]]
    """
    index = index.reshape(len(index), *[1] * (values.ndim - 2), -1)
    return values.gather(-1, index.expand_as(values))
