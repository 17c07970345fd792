"""Local linearity: how far the loss is from its tangent plane, within a ball around each row.

A loss that is linear near the data can't hide an attack that its gradient misses; training that makes it so makes the
network more robust. What is searched is the worst point of the ball, by projected gradient ascent, so a value is a lower
bound of the maximum.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vicinal.core import InputError, check_features, check_labels, check_number, draw_uniform, generator_at
from vicinal.evaluation.corruption import evaluating

__all__ = ["local_linearity"]


def local_linearity(
    network: nn.Module,
    x: Any,
    y: Any,
    epsilon: float,
    *,
    steps: int = 20,
    step_size: float | None = None,
    restarts: int = 1,
    seed: int = 0,
    batch_size: int = 128,
    clip: bool = False,
    device: torch.device | str | None = None,
) -> Tensor:
    """Measure the local linearity error of the loss at each row.

        gamma(eps, x, y) = max_{|delta|_inf <= eps} |L(F(x + delta), y) - L(F(x), y) - delta^T grad_x L(F(x), y)|

    with L the cross entropy of logits F(x), one value for each row. Ascent starts at a random point of the ball and takes
    `steps` steps along the gradient's sign, back onto the ball each time; the largest value met on the way counts. Starts
    come in opposite
    pairs: an even number of restarts looks on both sides of x.

    Args:
        network: takes (B, ...) to logits (B, K). It works in evaluation mode; its mode and gradients stay as they were.
        x: (N, ...) rows.
        y: (N,) classes 0..K-1.
        epsilon: radius of the ball, in units of x; 0 gives 0.
        steps: gradient steps of each start.
        step_size: length of a step, in units of x; None is 2.5 `epsilon` / `steps`, which reaches any point of the ball.
        restarts: how many starts; the largest value counts. One is usual for images; with two features, one finds 0.6 to 0.85
            of the maximum on average, two 0.85 to 0.95, ten 0.98 and forty nearly all.
        seed: of the starts, which scale with `epsilon`; they don't depend on `batch_size`.
        batch_size: B, rows at a time.
        clip: keep points in [0, 1], where pixels are; the ball of the equation is not clipped.
        device: where to work; None is where the network is.

    Returns:
        (N,) gamma in nats, float64, on the CPU. The network's precision bounds it: single precision adds about 1e-6.

    Raises:
        TypeError: pixels 0..255 in uint8.
        InputError: a radius below 0 or other numbers out of range, rows outside [0, 1] with `clip`, classes outside
            0..K-1, or a network without finite (B, K) outputs.

    Reference: C. Qin et al. Adversarial robustness through local linearization. NeurIPS 2019. The VarMixup
    paper, Eq. 12.

    Examples:
        The loss of logistic regression, log(1 + exp(-x)) for class 1, at x = 0 is furthest from its tangent at the ball's
        ends: log(1 + exp(1)) - log(2) - 1/2 = 0.1201.

        >>> from vicinal.networks import MLP
        >>> line = MLP.from_parameters([torch.tensor([[0.0], [1.0]]), torch.zeros(2)])
        >>> round(float(local_linearity(line, torch.zeros(1, 1), torch.ones(1), epsilon=1.0)), 4)
        0.1201
    """
    check_number("epsilon", epsilon, 0)
    check_number("steps", steps, 1, whole=True)
    check_number("restarts", restarts, 1, whole=True)
    check_number("batch_size", batch_size, 1, whole=True)
    check_number("seed", seed, 0, whole=True)
    if step_size is not None:
        check_number("step_size", step_size, 0, open_low=True)
    length = 2.5 * epsilon / steps if step_size is None else step_size
    if getattr(x, "dtype", None) in (torch.uint8, np.uint8):
        raise TypeError(f"`x` must hold floating numbers, in which the ball is, got {x.dtype}; give pixels as x / 255.")
    x = check_features(x).detach()
    y, _ = check_labels(y, rows=len(x))
    if clip and not bool(((x >= 0) & (x <= 1)).all()):
        raise InputError(
            f"`x` must lie in [0, 1] with `clip`, got {float(x.min()):g} to {float(x.max()):g}; leave `clip` out."
        )
    best = torch.zeros(len(x), dtype=torch.float64)
    unit = torch.empty(0)
    with evaluating(network, device, x) as (ready, like):
        for restart in range(restarts):
            generator = generator_at(purpose="local linearity", seed=seed, pair=restart // 2)
            unit = -unit if restart % 2 else 2 * draw_uniform(tuple(x.shape), torch.empty(0), generator) - 1
            for rows in torch.arange(len(x)).split(batch_size):
                ball = _Ball(ready, x[rows.to(x.device)].to(like), y[rows.to(y.device)].to(like.device), epsilon, clip)
                found = ball.climb(unit[rows].to(like) * epsilon, steps, length)
                best[rows] = best[rows].maximum(found.cpu().double())
    return best


class _Ball:
    """Rows, the tangent plane of the loss at each, and the ball around them."""

    def __init__(self, network: nn.Module, x: Tensor, y: Tensor, epsilon: float, clip: bool) -> None:
        self.network, self.x, self.y, self.epsilon, self.clip = network, x, y, epsilon, clip
        self.loss, self.slope = self._tangent(x)

    def climb(self, delta: Tensor, steps: int, length: float) -> Tensor:
        """Return the largest |L(x + delta) - L(x) - delta^T slope| of each row met on the way up, (B,)."""
        best = torch.zeros_like(self.loss)
        for step in range(steps + 1):
            point = self._project(self.x + delta)
            loss, slope = self._tangent(point)
            # What was asked for is rounded in x + delta; with it in place of this, small balls would measure the rounding.
            taken = (point - self.x).to(self.loss.dtype)
            gap = loss - self.loss - (taken * self.slope).flatten(1).sum(1)
            best = best.maximum(gap.abs())
            if step < steps:
                side = gap.sign().reshape(-1, *[1] * (self.x.ndim - 1))
                delta = point - self.x + length * (side * (slope - self.slope)).sign().to(self.x)
        return best

    def _project(self, point: Tensor) -> Tensor:
        point = torch.clamp(point, self.x - self.epsilon, self.x + self.epsilon)
        return point.clamp(0, 1) if self.clip else point

    def _tangent(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each row, (B,), and its gradient, in double precision where the device has it."""
        precise = torch.float32 if point.device.type == "mps" else torch.float64
        with torch.enable_grad():
            point = point.detach().requires_grad_()
            logits = self.network(point)
            if not isinstance(logits, Tensor) or logits.ndim != 2:
                got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise InputError(f"`network` must give logits of shape (B, K), got {got}; take its classifier.")
            if int(self.y.max()) >= logits.shape[1]:
                raise InputError(f"`y` must lie in 0..{logits.shape[1] - 1}, got {int(self.y.max())}.")
            loss = nn.functional.cross_entropy(logits.to(precise), self.y, reduction="none")
            (slope,) = torch.autograd.grad(loss.sum(), point)
        if not bool(loss.isfinite().all()):
            raise InputError("`network` must give finite logits, got NaN or infinite values; check how it was trained.")
        return loss.detach(), slope.to(precise)
