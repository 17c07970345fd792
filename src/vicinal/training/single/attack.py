"""Projected gradient ascent in an l-infinity ball, quick enough to run in every step of training.

    x_(t+1) = clip_[low, high](x_t + step_size sign(grad_x loss(F(x_t), y))),   low = max(x - epsilon, bounds[0]),
                                                                               high = min(x + epsilon, bounds[1])

Only the sign counts, so each row's gradient is scaled freely on its way back, and half precision is enough for the network.
`vicinal.evaluation.attacks` is for evaluation: it checks what it claims, in the caller's units.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vicinal.core import InputError, check_in, check_number, draw_uniform
from vicinal.training.single.base import soft_cross_entropy, widen

__all__ = ["Loss", "attack_mode", "pgd"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""A function of logits (B, K) and labels, to one number for every row (B,) or to their sum."""

MODES = ("eval", "train")
HEADROOM = 8
"""Rows' gradients in the logits are scaled to a largest entry below 2^8: float16 goes from 2^-24 to 2^16."""


def pgd(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    generator: torch.Generator,
    random_start: bool = True,
    start: Tensor | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    loss: str | Loss = "cross_entropy",
    mode: str = "eval",
) -> Tensor:
    """Look for the point of an l-infinity ball where the loss is largest, by projected gradient ascent.

        x_(t+1) = clip_[low, high](x_t + step_size sign(grad_x loss(F(x_t), y))),   low = max(x - epsilon, bounds[0]),
                                                                                   high = min(x + epsilon, bounds[1])

    x_0 is uniform in the ball and clipped to the bounds. The network comes back as it was: modes, buffers, the parameters'
    gradients. Under autocast it computes in half precision, but points and loss stay in single.

    Args:
        network: (B, ...) to logits (B, K).
        x: (B, ...) points within the bounds; half precision is widened.
        y: (B, K) label rows or (B,) classes, or whatever `loss` takes.
        epsilon: radius of the ball, in units of x, 0 or more.
        step_size: in units of x, 0 or more.
        steps: how many, 0 or more; with none, the start is returned, clipped.
        generator: the source of the random start, on the CPU.
        random_start: False begins at x.
        start: (B, ...) where to begin instead. It is taken as it is: the first gradient is that at `start`, and only then is
            the point clipped.
        bounds: lowest and highest value of a feature.
        loss: 'cross_entropy', or a function of logits and y, as `Loss`; its sum over rows is maximised.
        mode: 'eval' searches with the network in evaluation mode (running statistics in batch norm, no dropout), 'train' with
            the modes that its modules have.

    Returns:
        (B, ...) points, detached: never outside [x - epsilon, x + epsilon] as computed in the dtype of x, nor outside the bounds.

    Raises:
        InputError: an argument out of its range, `x` outside the bounds or not floating, a `start` of another shape.

    Reference: A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu. Towards deep learning models resistant to adversarial
    attacks. ICLR 2018, section 2.1.

    Examples:
        >>> network = nn.Linear(2, 2, bias=False)
        >>> _ = network.weight.data.copy_(torch.tensor([[1.0, -2.0], [0.0, 0.0]]))
        >>> x, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
        >>> pgd(network, x, y, epsilon=0.25, step_size=0.125, steps=4, generator=torch.Generator()).tolist()
        [[0.25, 0.75]]
    """
    for name, value in {"epsilon": epsilon, "step_size": step_size}.items():
        check_number(name, value, 0, math.inf, open_high=True)
    check_number("steps", steps, 0, whole=True)
    check_in("mode", mode, MODES)
    if isinstance(loss, str):
        check_in("loss", loss, ("cross_entropy",))
    ascend: Loss = _cross_entropy if isinstance(loss, str) else loss
    x = _checked(x, bounds)
    low, high = (x - epsilon).clamp_(min=bounds[0]), (x + epsilon).clamp_(max=bounds[1])
    if start is not None:
        if start.shape != x.shape:
            raise InputError(f"`start` must have the shape of `x`, {tuple(x.shape)}, got {tuple(start.shape)}.")
        point = start.detach().to(x)
    elif random_start:
        point = (x + epsilon * (2 * draw_uniform(tuple(x.shape), x, generator) - 1)).clamp(low, high)
    else:
        point = x
    with attack_mode(network, mode), torch.enable_grad():
        apart = mode == "eval" and not any(_shares_statistics(module) for module in network.modules())
        for _ in range(steps):
            step = _direction(network, point, y, ascend, apart)
            point = torch.clamp(point + step_size * step, low, high)
    return point.clamp(low, high)


@contextmanager
def attack_mode(network: nn.Module, mode: str = "eval") -> Iterator[None]:
    """Put a network in the mode for a search, and everything back afterwards, also after an error.

    Modules get their own modes back, so some that are frozen stay so. In mode 'train' the buffers, such as batch norm's running
    statistics, are set aside for the time, and what is written to copies of them is dropped.

    Args:
        network: any.
        mode: 'eval', or 'train' for the modes that the modules have.

    Raises:
        InputError: another mode.

    Examples:
        >>> network = nn.BatchNorm1d(1)
        >>> with attack_mode(network, "train"):
        ...     _ = network(torch.tensor([[8.0], [6.0]]))
        >>> network.training, network.running_mean.tolist(), int(network.num_batches_tracked)
        (True, [0.0], 0)
    """
    check_in("mode", mode, MODES)
    modes = [(module, module.training) for module in network.modules()]
    buffers = [
        (module, name, buffer)
        for module, _ in modes
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
        if mode == "train"
    ]
    try:
        if mode == "eval":
            network.eval()
        # Copies are written to, and not the buffers put right afterwards, which a graph from before may still need.
        for module, name, buffer in buffers:
            setattr(module, name, buffer.clone())
        yield
    finally:
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
        for module, training in modes:
            module.training = training


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return soft_cross_entropy(logits, y) if y.ndim > 1 else nn.functional.cross_entropy(logits, y, reduction="none")


def _shares_statistics(module: nn.Module) -> bool:
    """Return whether it is batch norm that, in evaluation mode too, takes its statistics from the batch."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None


def _checked(x: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return x in single precision or better, within the bounds."""
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise InputError(f"`bounds` must be two numbers, the lower first, got {bounds!r}.")
    if not x.is_floating_point():
        raise InputError(f"`x` must be floating, got {x.dtype}; convert it first, as in `x.float() / 255`.")
    x = widen(x.detach())
    if x.numel():
        least, largest = (float(end) for end in x.aminmax())
        # A bound is compared as it comes out in the dtype of x, as clipping does.
        floor, ceiling = torch.tensor(bounds, dtype=x.dtype).tolist()
        if not (floor <= least and largest <= ceiling):
            raise InputError(
                f"`x` must lie within `bounds` {tuple(bounds)}, got {least:g}..{largest:g}; "
                "give pixels that the network itself normalises, or other bounds."
            )
    return x


def _direction(network: nn.Module, point: Tensor, y: Tensor, loss: Loss, apart: bool) -> Tensor:
    """Return the sign of the loss's gradient in the points; 0 where it is not a number.

    The gradient in the logits is taken on its own, in single precision, and scaled by a power of two before it goes back through
    the network: a row that is classified with confidence has a gradient that float16 can't hold.

    Args:
        network: see `pgd`.
        point: (B, ...).
        y: see `pgd`.
        loss: see `Loss`.
        apart: whether rows do not see one another, so that each may be scaled by its own factor.
    """
    point = point.detach().requires_grad_()
    logits = network(point)
    outputs = widen(logits.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(loss(outputs, y).sum(), outputs)
    rows = slope.abs().flatten(1).amax(1) if apart else slope.abs().amax()
    exponent = torch.frexp(rows).exponent.clamp(min=-100)
    scale = torch.ldexp(torch.ones_like(rows), HEADROOM - exponent)
    slope = slope * scale.reshape(-1, *[1] * (slope.ndim - 1))
    (gradient,) = torch.autograd.grad(logits, point, slope.to(logits.dtype))
    return gradient.sign()
