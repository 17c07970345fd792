"""A vicinity: everything between a batch of rows and a batch of labelled vicinal points.

(x, y) --pairing--> partners --ratio--> lam --mixer--> points --filter--> weights --labeler--> label rows
"""

from typing import Any, cast

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.core import MixedBatch
from vicinal.labeling import Labeler, LinearLabels
from vicinal.mixing import Beta, LinearMixer, Mixer, Pairing, Permutation, Ratio
from vicinal.vicinity.base import BaseVicinity, Codes
from vicinal.vicinity.filters import Filter

__all__ = ["Vicinity"]


class Vicinity(BaseVicinity):
    """Pairing, ratio, mixer, labeler and filter, composed.

    Args:
        pairing: who mixes with whom. Default: a random permutation.
        ratio: how much. Default: Beta(1, 1), one per batch.
        mixer: how. Default: the straight line.
        labeler: what the point is. Default: the linear label.
        filter: which points to leave out. Default: none.
        n_classes: K, for labels (B,) without a call of `fit`.
        seed: a whole number to draw the same every time (in DataLoader workers, together with torch's seed, which is another one
            each epoch); None draws from torch's own state (`torch.manual_seed`).

    Examples:
        >>> from vicinal.mixing import Fixed
        >>> mix = Vicinity(ratio=Fixed(0.75), n_classes=2, seed=0)
        >>> x, y = mix(torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1]))
        >>> bool((x[:, 0] / 4 == y[:, 1]).all())                  # points and labels on the same straight line
        True
    """

    def __init__(
        self,
        pairing: Pairing | None = None,
        ratio: Ratio | None = None,
        mixer: Mixer | None = None,
        labeler: Labeler | None = None,
        filter: Filter | None = None,  # noqa: A002 - the field's word
        n_classes: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.pairing = pairing
        self.ratio = ratio
        self.mixer = mixer
        self.labeler = labeler
        self.filter = filter
        self.n_classes = n_classes
        self.seed = seed

    labeler_: Labeler
    filter_: Filter

    def _fit(self, x: Tensor, y: Tensor, sample_weight: Any) -> None:
        if self.labeler is not None:
            self.labeler_ = clone(self.labeler).fit(x, y, self.n_classes_, sample_weight)
        if self.filter is not None:
            self.filter_ = clone(self.filter).fit(x, y, self.n_classes_, sample_weight)

    def draw_rows(
        self, x: Codes, rows: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixedBatch:
        """Draw mixed batches; see `BaseVicinity.draw_rows`."""
        x = cast(Tensor, x)
        index = (self.pairing or _PERMUTATION).draw(x, rows, valid, generator)
        lam = (self.ratio or _BETA).draw(tuple(rows.shape[:-1]), x, generator)
        x_b, rows_b = _take(x, index), _take(rows, index)
        mixed, lam = (self.mixer or _LINE).mix(x, x_b, lam, generator)
        weight = torch.ones_like(lam) if valid is None else valid.to(lam.dtype)
        batch = MixedBatch(mixed, x, x_b, rows, rows_b, lam, weight)
        if self.filter is None:
            return batch
        rule = cast(Filter, getattr(self, "filter_", self.filter))
        weight = weight * rule.keep(batch)
        return MixedBatch(mixed, x, x_b, rows, rows_b, lam, weight)

    def label(self, batch: MixedBatch) -> Tensor:
        """Label a batch; see `BaseVicinity.label`."""
        labeler = cast(Labeler, getattr(self, "labeler_", self.labeler or _LINEAR))
        return labeler(batch)

    def mixing_key(self) -> str:
        """Return what decides the draws; see `BaseVicinity.mixing_key`."""
        parts = (self.pairing or _PERMUTATION, self.ratio or _BETA, self.mixer or _LINE, self.filter)
        return "\n".join("-" if part is None else part.key() for part in parts)

    def terms(self) -> tuple[tuple[float, Labeler], ...]:
        """Return the labeler's terms; see `BaseVicinity.terms`."""
        return (self.labeler or _LINEAR).terms()

    def learns(self) -> bool:
        """Whether there is a labeler or a filter; see `BaseVicinity.learns`."""
        return self.labeler is not None or self.filter is not None

    def _filters(self) -> bool:
        return self.filter is not None


_PERMUTATION, _BETA, _LINE, _LINEAR = Permutation(), Beta(), LinearMixer(), LinearLabels()


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Return values[..., index, ...] along the last batch axis: (..., B, *F) by (..., B)."""
    if index.ndim == 1:
        return values.index_select(0, index)
    lead, b = index.shape[:-1].numel(), index.shape[-1]
    offset = torch.arange(0, lead * b, b, device=index.device)[:, None]
    flat = values.reshape(lead * b, *values.shape[index.ndim :])
    return flat.index_select(0, (index.reshape(lead, b) + offset).reshape(-1)).reshape(values.shape)
