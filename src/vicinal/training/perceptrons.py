"""Perceptrons side by side: forwards and backwards by hand, for N networks at once.

Points stand in columns, (D, B): matrix products and softmax are quicker so where outputs are few.

    h_0 = x,   h_l = max(W_l h_(l-1) + b_l, 0),   the last layer without the maximum
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Perceptrons", "backward", "forward"]


def forward(parameters: Sequence[Tensor], x: Tensor, activation: bool = True, last: bool = True) -> list[Tensor]:
    """Return the input and every layer's output, each (N, width, B).

    Args:
        parameters: for every layer a weight (N, out, in) and a bias (N, out, 1).
        x: (N, in, B).
        activation: False leaves out every ReLU.
        last: whether the last layer is the network's last, which has no ReLU.
    """
    outputs = [x]
    for i in range(0, len(parameters), 2):
        h = torch.bmm(parameters[i], outputs[-1]).add_(parameters[i + 1])
        if activation and not (last and i + 2 == len(parameters)):
            h = h.relu_()
        outputs.append(h)
    return outputs


def backward(
    parameters: Sequence[Tensor],
    outputs: Sequence[Tensor],
    down: Tensor,
    activation: bool = True,
    to_input: int = 0,
) -> tuple[list[Tensor], Tensor]:
    """Return the gradients in the parameters, and that in the input if asked.

    Args:
        parameters: as of `forward`.
        outputs: what it returned.
        down: (N, out, B) the gradient in the last layer's output before its ReLU, if it has one.
        activation: as of `forward`.
        to_input: the gradient in this many of the input's first columns is asked for.
    """
    gradients: list[Tensor] = []
    for i in reversed(range(0, len(parameters), 2)):
        below = outputs[i // 2]
        gradients = [torch.bmm(down, below.mT), down.sum(2, keepdim=True), *gradients]
        if i or to_input:
            down = torch.bmm(parameters[i].mT, down if i else down[..., :to_input])
        if i and activation:
            # Zero where ReLU was: one pass, where a product with (below > 0) takes three.
            torch.ops.aten.threshold_backward.grad_input(down, below, 0, grad_input=down)
    return gradients, down


class Perceptrons:
    """S x R multi-layer perceptrons as one differentiable function.

    Args:
        parameters: for every layer a weight (S * R, out, in) and a bias (S * R, out, 1).
        streams: S.

    Examples:
        >>> double, minus = torch.tensor([[[2.0]]]), torch.tensor([[[-1.0]]])
        >>> zero = torch.zeros(1, 1, 1)
        >>> networks = Perceptrons([double, zero, minus, zero], streams=1)        # -max(2 x, 0)
        >>> networks(torch.tensor([[[[3.0, -3.0]]]])).tolist()
        [[[[-6.0, 0.0]]]]
    """

    def __init__(self, parameters: Sequence[Tensor], streams: int) -> None:
        self.parameters = list(parameters)
        self.streams = streams
        self.depth = len(parameters) // 2

    def __call__(self, x: Tensor, activation: bool = True, start: int = 0, stop: int | None = None) -> Tensor:
        """Return outputs (S, R, out, B) for x (S, R, in, B).

        Args:
            x: points, or what layer `start` sees of them.
            activation: False leaves out every ReLU.
            start: the first layer to apply.
            stop: the layer to stop before; default none.
        """
        stop = self.depth if stop is None else stop
        part = self.parameters[2 * start : 2 * stop]
        h: Tensor = _Layers.apply(x.flatten(0, 1), activation, stop == self.depth, *part)
        return h.reshape(self.streams, -1, *h.shape[1:])


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: bool, last: bool, *parameters: Tensor) -> Tensor:
        outputs = forward(parameters, x, activation, last)
        ctx.rectified = activation and not last
        ctx.activation, ctx.depth = activation, len(outputs)
        ctx.save_for_backward(*outputs, *parameters)
        return outputs[-1]

    @staticmethod
    def backward(ctx: Any, *down: Tensor) -> tuple[Tensor | None, ...]:
        outputs, parameters = ctx.saved_tensors[: ctx.depth], ctx.saved_tensors[ctx.depth :]
        above = torch.ops.aten.threshold_backward(down[0], outputs[-1], 0) if ctx.rectified else down[0]
        to_input = ctx.needs_input_grad[0]
        gradients, x = backward(parameters, outputs, above, ctx.activation, above.shape[-1] if to_input else 0)
        return (x if to_input else None, None, None, *gradients)
