"""What is attacked: a network and rows, in the caller's units and in those of the libraries.

The libraries want features in one interval and one radius for all. A row x in the box [low, high] becomes

    u = (x - low) / s,    s = max_d (high_d - low_d)

with one s for all features: shapes of balls stay as they are, a radius r becomes r / s. The box may be narrower than [0, 1] in
some features (and of width 0 in a constant one), so the network sees u clipped to the box. That is exact: a box that holds x
is convex, so clipping moves no point away from x.
"""

import copy
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from vicinal.core import InputError, check_features, check_labels, check_number

__all__ = ["Bounds", "Target", "check_bounds", "check_radius", "prepare"]

Bounds = tuple[Any, Any]
"""Lowest and highest value: numbers, or arrays that broadcast to one row."""


class _Scaled(nn.Module):
    """A network in other coordinates: u -> model(clip(low + scale u))."""

    def __init__(self, model: nn.Module, low: Tensor, high: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.model, self.low, self.high, self.scale = model, low, high, scale

    def features(self, u: Tensor) -> Tensor:
        return torch.clamp(self.low + self.scale * u.to(self.low.dtype), self.low, self.high)

    def forward(self, u: Tensor) -> Tensor:
        return cast(Tensor, self.model(self.features(u)))


@dataclass(frozen=True, eq=False)
class Target:
    """A network and the rows to attack it with, as an attack's `_search` gets them.

    Attributes:
        model: a copy in evaluation mode, without gradients of its parameters; takes x in the caller's units.
        x: (V, ...) rows, all classified correctly.
        y: (V,) their classes.
        low: lowest values, in the shape of a row. high: highest values.
        limit: the radius, in units of x and above 0.
        n_classes: K.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    low: Tensor
    high: Tensor
    limit: float
    n_classes: int

    @property
    def scale(self) -> Tensor:
        """The widest feature's range, s; 1 where all features are constant."""
        widest = (self.high - self.low).max()
        return torch.where(widest > 0, widest, 1)

    @property
    def u(self) -> Tensor:
        """The rows in [0, 1]; see `scaled`."""
        return self.scaled(self.x)

    @property
    def radius(self) -> float:
        """The radius in units of u."""
        return self.limit / float(self.scale)

    def scaled(self, x: Tensor) -> Tensor:
        """Return points of the box in [0, 1], in single precision, in which the libraries work."""
        return ((x - self.low) / self.scale).float().clamp(0, 1)

    def predict(self, x: Tensor) -> Tensor:
        """Return the classes (V,) that the network gives to x (V, ...)."""
        with torch.no_grad():
            return cast(Tensor, self.model(x).argmax(1))

    def select(self, rows: Tensor) -> "Target":
        """Return the target of some of the rows."""
        return replace(self, x=self.x[rows], y=self.y[rows])

    def network(self, scale: Tensor | None = None) -> _Scaled:
        """Return the network as a function of u, or of other coordinates (x - low) / scale."""
        # No gradient in constant features, which can't move: it would take the others' share of a step.
        free = (self.high > self.low) * self.scale
        return _Scaled(self.model, self.low, self.high, free if scale is None else scale)


def check_radius(radius: Any) -> None:
    """Raise unless the radius is a finite number that is not negative."""
    check_number("radius", radius, 0, torch.finfo(torch.float32).max)


def check_bounds(bounds: Any) -> None:
    """Raise unless the bounds are a pair, low <= high."""
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise InputError(f"`bounds` must be a pair (low, high) of numbers or arrays, got {bounds!r}.")
    low, high = (torch.as_tensor(side, dtype=torch.float64) for side in bounds)
    try:
        fine = bool((low <= high).all() and torch.isfinite(low).all() and torch.isfinite(high).all())
    except RuntimeError:
        raise InputError(
            f"`bounds` must have the same shape on both sides, got {tuple(low.shape)}, {tuple(high.shape)}."
        ) from None
    if not fine:
        raise InputError("`bounds` must be finite with low <= high in every feature.")


def prepare(model: nn.Module, x: Any, y: Any, radius: float, bounds: Bounds) -> Target:
    """Check one network's part of a run; its target still holds all rows."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be a torch.nn.Module, got {type(model).__name__}.")
    check_radius(radius)
    check_bounds(bounds)
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    x = check_features(x).detach()
    x = x.to(next(frozen.parameters(), x))  # the network's dtype and device
    try:
        # In the precision of x, so that rounding puts no row outside that was inside.
        low, high = (torch.as_tensor(side).to(x).expand(x.shape[1:]) for side in bounds)
    except RuntimeError:
        shapes = [tuple(torch.as_tensor(side).shape) for side in bounds]
        raise InputError(
            f"`bounds` must be numbers or arrays that fit a row of shape {tuple(x.shape[1:])}, got {shapes}."
        ) from None
    outside = ((x < low) | (x > high)).flatten(1).any(1)
    if bool(outside.any()):
        raise InputError(
            f"`x` must lie within `bounds`, got {int(outside.sum())} rows outside, the first at index"
            f" {int(outside.int().argmax())}; take the bounds over these rows as well, or clip them."
        )
    try:
        logits = frozen(x)
    except RuntimeError as error:
        raise InputError(f"`model` must take `x`, here of shape {tuple(x.shape)}, but failed: {error}") from error
    if logits.ndim != 2 or len(logits) != len(x) or logits.shape[1] < 2:
        raise InputError(
            f"`model` must return logits (V, K) of two or more classes, here ({len(x)}, K), got {tuple(logits.shape)}."
        )
    if not bool(torch.isfinite(logits).all()):
        raise InputError("`model` must return finite logits, got NaN or infinite values.")
    y, k = check_labels(y, logits.shape[1], len(x))
    return Target(frozen, x, y.to(x.device), low, high, float(radius), k)
