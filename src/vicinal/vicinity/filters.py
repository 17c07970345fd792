"""Filters: which mixed points to leave out."""

from abc import abstractmethod
from typing import Any, Self

import torch
from torch import Tensor

from vicinal.core import Component, InputError, MixedBatch, check_features, check_labels, nearest_groups, nearest_rows

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
        x = batch.x.reshape(-1, self.points_.shape[1])
        a, b = (y.max(-1).indices.flatten() for y in (batch.y_a, batch.y_b))
        if torch.compiler.is_compiling():  # a graph can't look at values
            return self._keep(x, a, b).view(batch.batch_shape)
        return self._keep_by_bounds(x, a, b, batch.y_a.shape[-1]).view(batch.batch_shape)

    def _keep(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return whether the nearest row of x (B, D) is of class a (B,) or b (B,)."""
        nearest = self.labels_[nearest_rows(x, self.points_)[1][:, 0]]
        return (nearest == a) | (nearest == b)

    def _keep_by_bounds(self, x: Tensor, a: Tensor, b: Tensor, n_classes: int) -> Tensor:
        """Return the same in a small part of the time.

        Two endpoints of the only two classes meet no third. For the others it does not matter which row is nearest, only
        whether one of the endpoints' classes is nearer than all others, and single precision can mostly tell.
        """
        rows = torch.bincount(self.labels_, minlength=n_classes)
        classes = torch.arange(len(rows), device=x.device)[:, None]
        meant = (classes == a) | (classes == b)  # (K, B): minima over classes take vectors of points
        third = ~meant & (rows > 0)[:, None]
        asked = third.any(0).nonzero()[:, 0]
        near, far = (part.index_select(1, asked) for part in (meant, third))
        points = self.points_[self.labels_.argsort(stable=True)]
        low, high = nearest_groups(x.index_select(0, asked), points, rows.tolist())
        keep = torch.ones(len(x), dtype=torch.bool, device=x.device)
        keep[asked] = sure = _least(high, near) < _least(low, far)
        left = (~sure).nonzero()[:, 0]
        low, high, near, far = (part.index_select(1, left) for part in (low, high, near, far))
        unsure = asked[left[~(_least(high, far) < _least(low, near))]]
        keep[unsure] = self._keep(x[unsure], a[unsure], b[unsure])
        return keep


def _least(bounds: Tensor, among: Tensor) -> Tensor:
    return torch.where(among, bounds, torch.inf).amin(0)


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
