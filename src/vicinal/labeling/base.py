"""A labeler: what a mixed point is."""

from abc import abstractmethod
from typing import Any, Self

from torch import Tensor

from vicinal.core import Component, MixedBatch

__all__ = ["Labeler"]


class Labeler(Component):
    """Abstract labeler: a mixed batch in, label rows (..., B, K) on the simplex out.

    A subclass writes `_label`, and `fit` where it learns from the training rows. A labeler that is a weighted sum of others
    says so in `terms`: the gradient of cross entropy is linear in the target, so training many settings of the weights
    together needs each part once.
    """

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        """Learn from training rows x (N, ...) and classes y (N,); nothing to learn by default."""
        return self

    @abstractmethod
    def _label(self, batch: MixedBatch) -> Tensor:
        """Return label rows (..., B, K) on the simplex."""

    def terms(self) -> tuple[tuple[float, "Labeler"], ...]:
        """Return (weight, labeler) pairs of which this labeler is the sum."""
        return ((1.0, self),)

    def __call__(self, batch: MixedBatch) -> Tensor:
        """Label a batch: (..., B, K) rows on the simplex, in the dtype of its points."""
        return self._label(batch)
