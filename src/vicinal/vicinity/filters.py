"""Filters: which mixed points to leave out."""

from abc import abstractmethod
from typing import Any, Self

import torch
from torch import Tensor

from vicinal.core import Component, InputError, MixedBatch, check_features, check_labels, nearest_rows

__all__ = ["Filter", "ManifoldIntrusion", "intrusion_rate", "intrusions"]


class Filter(Component):
    """Abstract filter: says which rows of a mixed batch stay."""

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        """Learn from training rows x (N, ...) and classes y (N,); nothing to learn by default."""
        return self

    @abstractmethod
    def keep(self, batch: MixedBatch) -> Tensor:
        """Return booleans (..., B), False for a row to leave out."""


class ManifoldIntrusion(Filter):
    """Leave out a mixed point whose nearest training row belongs to neither endpoint's class (GenLabel, Definition 1).

    Examples:
        >>> import torch
        >>> x = torch.tensor([[-1.0], [0.1], [1.0]])
        >>> rule = ManifoldIntrusion().fit(x, [0, 1, 0])
        >>> middle, one, y = torch.tensor([[0.0]]), torch.ones(1), torch.eye(2)[:1]
        >>> rule.keep(MixedBatch(middle, x[:1], x[2:], y, y, one / 2, one)).tolist()
        [False]
    """

    points_: Tensor
    labels_: Tensor

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        """Keep the training rows of positive weight and their classes."""
        points = check_features(x).detach().flatten(1)
        labels = check_labels(y, n_classes, rows=len(points))[0].to(points.device)
        kept = slice(None) if sample_weight is None else torch.as_tensor(sample_weight).to(points.device) > 0
        self.points_, self.labels_ = points[kept], labels[kept]
        return self

    def keep(self, batch: MixedBatch) -> Tensor:
        """Return False for intruders; see `Filter.keep`."""
        if not hasattr(self, "points_"):
            raise InputError("the filter's training rows are not known; call `fit(x, y)` first.")
        _, index = nearest_rows(batch.x.reshape(-1, self.points_.shape[1]), self.points_)
        nearest = self.labels_[index[:, 0]].reshape(batch.batch_shape)
        return (nearest == batch.y_a.argmax(-1)) | (nearest == batch.y_b.argmax(-1))


def intrusions(batch: MixedBatch, x: Any, y: Any) -> Tensor:
    """Return booleans (..., B), True for mixed points that intrude on a third class of training rows x (N, ...), y (N,).

    Examples:
        >>> import torch, vicinal as vc
        >>> from vicinal.mixing import Fixed
        >>> x, y = torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([0, 1, 0])
        >>> batch = vc.Vicinity(ratio=Fixed(0.5), n_classes=2).draw(x[[0, 2]], y[[0, 2]])
        >>> bool(((batch.x[:, 0] == 0) == intrusions(batch, x, y)).all())       # the middle belongs to class 1
        True
    """
    return ~ManifoldIntrusion().fit(x, y).keep(batch)


def intrusion_rate(batch: MixedBatch, x: Any, y: Any) -> float:
    """Return the share of a batch's mixed points that intrude on a third class (GenLabel, Definition 1).

    Args:
        batch: as `vicinity.draw` returns it; rows of weight 0 do not count.
        x: training rows (N, ...).
        y: their classes (N,).

    Examples:
        >>> import torch, vicinal as vc
        >>> x, y = torch.tensor([[0.0], [10.0]]), torch.tensor([0, 1])      # two classes can't meet a third
        >>> vc.intrusion_rate(vc.Mixup(n_classes=2, seed=0).draw(x, y), x, y)
        0.0
    """
    intruding = intrusions(batch, x, y).to(batch.weight.dtype)
    return float((intruding * batch.weight).sum() / batch.weight.sum().clamp(min=1.0))
