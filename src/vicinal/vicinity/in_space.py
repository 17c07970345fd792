"""A vicinity in a space: codes are paired, mixed, filtered and labelled, and what comes of it is decoded."""

from dataclasses import dataclass, fields
from typing import Any, Self, cast

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.core import MixedBatch
from vicinal.labeling import Labeler
from vicinal.spaces import Space
from vicinal.vicinity.base import BaseVicinity, Codes

__all__ = ["InSpace"]

_FIELDS = tuple(field.name for field in fields(MixedBatch))


@dataclass(frozen=True)
class _SampledBatch(MixedBatch):
    """Mixed codes, as they were drawn, and the noise (..., B, *F) on the points that they are decoded to."""

    drawn: MixedBatch
    noise: Tensor


class InSpace(BaseVicinity):
    """Any vicinity among the codes of a space: x' = decode(mix(encode(x_i), encode(x_j))) (VarMixup, Eq. 8 and 9).

    All parts of the inner vicinity see codes, a posterior's density too. `draw` returns codes as well; `decode` makes points of
    them. Where the same rows are mixed again and again, encode them once and decode what `draw_rows` makes of their codes.

    Args:
        space: any space; a fitted one is used as it is, another one is fitted by `fit`.
        vicinity: what happens among the codes.
        sample: draw the point from the decoder's distribution, N(decode(z), residual_^2 I), instead of taking its mean: as
            rough as the data that the space was fitted to, where the mean is as smooth as the decoder.
        n_classes: K, for labels (B,) without a call of `fit`.
        seed: as in `Vicinity`; the inner vicinity's own seed is not used.

    Examples:
        >>> from vicinal.spaces import PCA
        >>> from vicinal.vicinity import Mixup
        >>> x, y = torch.tensor([[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]]), torch.tensor([0, 1, 0])
        >>> points, labels = InSpace(PCA(1), Mixup(), seed=0).fit(x, y)(x, y)
        >>> bool(torch.allclose(points[:, 0], points[:, 1], atol=1e-6))                   # on the line of the data
        True
    """

    def __init__(
        self,
        space: Space,
        vicinity: BaseVicinity,
        sample: bool = False,
        n_classes: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.space = space
        self.vicinity = vicinity
        self.sample = sample
        self.n_classes = n_classes
        self.seed = seed

    space_: Space
    vicinity_: BaseVicinity

    def _fit(self, x: Tensor, y: Tensor, sample_weight: Any) -> None:
        self.space_ = self.space if self.space.fitted else clone(self.space).fit(x)
        self.vicinity_ = clone(self.vicinity).fit(self.space_.encode(x), y, self.n_classes_, sample_weight)

    def encode(self, x: Tensor) -> Codes:
        """Return codes (..., B, *Z) of points (..., B, *F); see `BaseVicinity.encode`."""
        space = self._space()
        lead = x.ndim - len(space.shape_) if space.fitted else 1
        z = space.encode(x.flatten(0, lead - 1))
        return self._inner().encode(z.reshape(*x.shape[:lead], *z.shape[1:]))

    def decode(self, batch: MixedBatch) -> Tensor:
        """Return points (..., B, *F); see `BaseVicinity.decode`."""
        z = self._inner().decode(_drawn(batch))
        shape, space = batch.batch_shape, self._space()
        x = space.decode(z.flatten(0, len(shape) - 1))
        x = x.reshape(*shape, *x.shape[1:])
        if not isinstance(batch, _SampledBatch):
            return x
        x = x + space.residual_ * batch.noise
        return x if space.bounds is None else x.clamp(*space.bounds)

    def draw_rows(
        self, x: Codes, rows: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixedBatch:
        """Draw mixed batches of codes; see `BaseVicinity.draw_rows`."""
        batch = self._inner().draw_rows(x, rows, valid, generator)
        if not self.sample:
            return batch
        shape = (*batch.batch_shape, *self._space().shape_)
        noise = torch.randn(shape, generator=generator, device=rows.device if generator is None else None)
        parts = {name: getattr(batch, name) for name in _FIELDS}
        return _SampledBatch(**parts, drawn=batch, noise=noise.to(batch.x))

    def label(self, batch: MixedBatch) -> Tensor:
        """Label mixed codes; see `BaseVicinity.label`."""
        return self._inner().label(_drawn(batch))

    def mixing_key(self) -> str:
        """Return what decides the draws; see `BaseVicinity.mixing_key`."""
        return f"{self.space.key()}\n{self.sample}\n{self.vicinity.mixing_key()}"

    def terms(self) -> tuple[tuple[float, Labeler], ...]:
        """Return the inner vicinity's terms; see `BaseVicinity.terms`."""
        terms = self.vicinity.terms()
        return tuple((weight, _DrawnLabels(labeler)) for weight, labeler in terms) if self.sample else terms

    def _inner(self) -> BaseVicinity:
        return cast(BaseVicinity, getattr(self, "vicinity_", self.vicinity))

    def _space(self) -> Space:
        return cast(Space, getattr(self, "space_", self.space))

    def learns(self) -> bool:
        """Whether the space is not fitted yet, or the inner vicinity learns; see `BaseVicinity.learns`."""
        return not self._space().fitted or self.vicinity.learns()

    def _filters(self) -> bool:
        return self._inner()._filters()


def _drawn(batch: MixedBatch) -> MixedBatch:
    return batch.drawn if isinstance(batch, _SampledBatch) else batch


class _DrawnLabels(Labeler):
    """The labels of a batch as the inner vicinity drew it, which may be of a kind that only its own labeler knows."""

    def __init__(self, labeler: Labeler) -> None:
        self.labeler = labeler

    labeler_: Labeler

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        self.labeler_ = clone(self.labeler).fit(x, y, n_classes, sample_weight)
        return self

    def _label(self, batch: MixedBatch) -> Tensor:
        return cast(Labeler, getattr(self, "labeler_", self.labeler))(_drawn(batch))
