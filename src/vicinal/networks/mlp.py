"""A multi-layer perceptron with ReLU; without hidden layers it is multinomial logistic regression."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """Fully connected layers with ReLU between them.

    Args:
        n_features: D.
        n_classes: K.
        hidden: widths of the hidden layers; () is logistic regression, (128, 128) the GenLabel paper's network.
        generator: source of the initial weights, U(-1/sqrt(fan_in), 1/sqrt(fan_in)) as torch's `nn.Linear`; None for
            torch's own state.

    Examples:
        >>> MLP(4, 3, hidden=(128, 128))(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        widths = [n_features, *hidden, n_classes]
        self.layers = nn.ModuleList()
        for fan_in, fan_out in pairwise(widths):
            layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
            bound = 1 / math.sqrt(fan_in)
            for parameter in (layer.weight, layer.bias):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            self.layers.append(layer)

    @classmethod
    def from_parameters(cls, parameters: Sequence[Tensor]) -> "MLP":
        """Return the frozen network of weights and biases in turn, (out, in) and (out,), first layer first."""
        weights, biases = parameters[::2], parameters[1::2]
        network = cls(weights[0].shape[1], weights[-1].shape[0], tuple(w.shape[0] for w in weights[:-1])).to(weights[0])
        for layer, weight, bias in zip(network.layers, weights, biases, strict=True):
            layer.load_state_dict({"weight": weight, "bias": bias})
        return network.requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features, (B, hidden[-1]), or x itself without hidden layers."""
        for layer in list(self.layers)[:-1]:
            x = torch.relu(layer(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) for x (B, D)."""
        return cast(Tensor, self.layers[-1](self.features(x)))
