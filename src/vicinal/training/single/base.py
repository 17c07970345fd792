"""What an objective of one network is: the scalar that an ordinary training loop descends.

    x, y = vicinity(x, y)
    loss = objective.loss(network, x, y, generator, extras)

The network is any `nn.Module` from points to logits; what it does to them first, such as normalising pixels, is its own matter.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from vicinal.core import Component, InputError

__all__ = ["NetworkObjective", "soft_cross_entropy", "widen"]


class NetworkObjective(Component):
    """Abstract objective of one network.

    Everything random comes from the generator, but for what the network's own layers draw (dropout).

    Examples:
        >>> class Brier(NetworkObjective):
        ...     def loss(self, network, x, y, generator, extras):
        ...         return (torch.softmax(network(x), 1) - y).square().sum(1).mean()
        >>> objective, network = Brier(), nn.Linear(2, 2)
        >>> extras = objective.extras((2,), n_classes=2, seed=0)
        >>> _ = nn.init.zeros_(network.weight), nn.init.zeros_(network.bias)
        >>> float(objective.loss(network, torch.randn(3, 2), torch.eye(2)[[0, 1, 1]], torch.Generator(), extras).detach())
        0.5
    """

    def extras(self, shape: tuple[int, ...], n_classes: int, seed: int) -> nn.ModuleDict:
        """Return fresh networks that the objective brings along, empty by default.

        They are trained with the classifier, by the same optimiser.

        Args:
            shape: of one point: (C, H, W) or (D,).
            n_classes: K.
            seed: of their initial weights.
        """
        return nn.ModuleDict()

    @abstractmethod
    def loss(
        self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, extras: nn.ModuleDict
    ) -> Tensor:
        """Return the loss of one batch, a scalar.

        Args:
            network: (B, ...) to logits (B, K), in training mode.
            x: (B, ...) points; images as pixels in [0, 1], which the network itself normalises.
            y: (B, K) label rows on the simplex.
            generator: the source of randomness, on the CPU.
            extras: from `extras`, on the network's device.
        """


def soft_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross entropy of every row, -sum_k y_k log softmax(logits)_k, in single precision or better.

    Args:
        logits: (B, K), of any floating type: autocast's half precision is widened first.
        y: (B, K) label rows.

    Returns:
        (B,), in nats.

    Raises:
        InputError: shapes that differ.

    Examples:
        >>> soft_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.3, 0.7]])).exp().tolist()
        [2.0]
    """
    if logits.ndim != 2 or logits.shape != y.shape:
        raise InputError(
            f"`logits` and `y` must both be (B, K), got {tuple(logits.shape)} and {tuple(y.shape)}; "
            "give label rows, one column for each of the network's outputs."
        )
    logits = widen(logits)
    return nn.functional.cross_entropy(logits, y.to(logits.dtype), reduction="none")


def widen(values: Tensor) -> Tensor:
    """Return values in single precision where they come in half, and as they are otherwise.

    Examples:
        >>> widen(torch.ones(1, dtype=torch.bfloat16)).dtype, widen(torch.ones(1, dtype=torch.float64)).dtype
        (torch.float32, torch.float64)
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
