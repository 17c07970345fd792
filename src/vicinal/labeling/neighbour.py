"""The label of the nearest training rows."""

from typing import Any, Self

import torch
from torch import Tensor

from vicinal.core import (
    InputError,
    MixedBatch,
    check_features,
    check_labels,
    check_number,
    nearest_rows,
)
from vicinal.labeling.base import Labeler

__all__ = ["NeighbourLabels"]


class NeighbourLabels(Labeler):
    """y = the mean label of the k training rows nearest to the mixed point (Euclidean).

    Args:
        k: how many; 1 gives hard labels.

    Examples:
        >>> labels = NeighbourLabels().fit(torch.tensor([[0.0], [10.0]]), [0, 1])
        >>> x, one = torch.tensor([[9.0]]), torch.ones(1)
        >>> labels(MixedBatch(x, x, x, torch.eye(2)[:1], torch.eye(2)[1:], one, one)).tolist()
        [[0.0, 1.0]]
    """

    def __init__(self, k: int = 1) -> None:
        self.k = k

    points_: Tensor
    labels_: Tensor

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        """Keep the training rows x (N, ...) and classes y (N,) of positive weight."""
        check_number("k", self.k, 1, whole=True)
        x = check_features(x).detach().flatten(1)
        y, n_classes = check_labels(y, n_classes, rows=len(x))
        weight = torch.ones(len(x)) if sample_weight is None else torch.as_tensor(sample_weight)
        x, y, weight = (t.to(x.device)[weight > 0] for t in (x, y, weight))
        self.points_ = x
        self.labels_ = torch.nn.functional.one_hot(y, n_classes) * weight[:, None].to(x.dtype)
        return self

    def _label(self, batch: MixedBatch) -> Tensor:
        if not hasattr(self, "points_"):
            raise InputError("the neighbours' rows are not known; call `fit(x, y)` with the training rows first.")
        flat = batch.x.reshape(-1, self.points_.shape[1])
        _, index = nearest_rows(flat, self.points_, min(self.k, len(self.points_)))
        y = self.labels_[index].sum(1)
        return (y / y.sum(1, keepdim=True)).to(batch.x.dtype).reshape(*batch.batch_shape, y.shape[1])
