"""A mixed batch: what mixing made, and everything that labeling needs to know of it."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from torch import Tensor

__all__ = ["MixedBatch"]


@dataclass(frozen=True)
class MixedBatch:
    """The record that goes from mixing to labeling.

    Any number of batches may be drawn at once: `...` below stands for leading batch axes, none for a single batch.

    Attributes:
        x: mixed points, (..., B, *F).
        x_a: first endpoints, (..., B, *F): the batch as it came.
        x_b: second endpoints, (..., B, *F).
        y_a: label rows of the first endpoints, (..., B, K), on the simplex.
        y_b: label rows of the second endpoints, (..., B, K).
        lam: share of the first endpoint in [0, 1], (..., B), after the mixer's own correction (CutMix: the area kept).
        weight: (..., B): 0 for a row that a filter took out (or that only pads), 1 for the others.
    """

    x: Tensor
    x_a: Tensor
    x_b: Tensor
    y_a: Tensor
    y_b: Tensor
    lam: Tensor
    weight: Tensor

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes before the features: (..., B)."""
        return tuple(self.lam.shape)

    def part(self, rows: slice) -> Self:
        """Return some rows of a single batch; what is drawn for all of it stays as it is.

        Examples:
            >>> import torch
            >>> x, y, one = torch.arange(3.0)[:, None], torch.eye(3), torch.ones(3)
            >>> MixedBatch(x, x, x, y, y, one, one).part(slice(1, 3)).x.tolist()
            [[1.0], [2.0]]
        """

        def some(value: Any) -> Any:
            if isinstance(value, MixedBatch):
                return value.part(rows)
            return value[rows] if isinstance(value, Tensor) and value.ndim else value

        return replace(self, **{field.name: some(getattr(self, field.name)) for field in fields(self)})
