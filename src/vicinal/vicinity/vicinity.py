"""A vicinity: everything between a batch of rows and a batch of labelled vicinal points.

    (x, y) --pairing--> partners --ratio--> lam --mixer--> points --filter--> weights --labeler--> label rows

A vicinity is used in two ways: as a batch transform, `x, y = vicinity(x, y)`, where mixup was; and by `vicinal.training`,
which draws many batches at once with generators of its own.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, cast

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.core import (
    Component,
    InputError,
    MixedBatch,
    check_features,
    check_labels,
    check_number,
    generator_at,
)
from vicinal.labeling import Labeler, LinearLabels
from vicinal.mixing import Beta, LinearMixer, Mixer, Pairing, Permutation, Ratio
from vicinal.vicinity.filters import Filter

__all__ = ["BaseVicinity", "Choice", "Vicinity"]


class BaseVicinity(Component):
    """Abstract vicinity: `Vicinity`, or a `Choice` among several.

    Attributes:
        n_classes_: K, known after `fit`.
    """

    n_classes: int | None
    seed: int | None
    n_classes_: int

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        """Learn from the training rows what labeler and filter need (densities, nearest rows).

        Args:
            x: (N, ...) tensor or array.
            y: (N,) class indices 0..K-1.
            n_classes: K where `y` may miss classes.
            sample_weight: (N,) frequencies for the densities.
        """
        x = check_features(x)
        y, self.n_classes_ = check_labels(y, n_classes or self.n_classes, rows=len(x))
        self._fit(x, y, sample_weight)
        return self

    @abstractmethod
    def _fit(self, x: Tensor, y: Tensor, sample_weight: Any) -> None:
        """Fit the parts."""

    @abstractmethod
    def draw_rows(
        self, x: Tensor, rows: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixedBatch:
        """Draw mixed batches, any number at once, unlabelled.

        Args:
            x: (..., B, *F) points.
            rows: (..., B, K) label rows.
            valid: (..., B) booleans; False where a row only pads its batch: it mixes with nobody and weighs 0.
            generator: the source of randomness; None for torch's own.
        """

    @abstractmethod
    def label(self, batch: MixedBatch) -> Tensor:
        """Return label rows (..., B, K) on the simplex, whatever the weights."""

    @abstractmethod
    def mixing_key(self) -> str:
        """Return a text that two vicinities share if, given the same generator, they draw the same batches."""

    @abstractmethod
    def terms(self) -> tuple[tuple[float, Labeler], ...]:
        """Return the weighted labelers whose sum is `label`."""

    def draw(self, x: Any, y: Any) -> MixedBatch:
        """Draw one mixed batch, unlabelled: what happened to every row, for who wants more than `vicinity(x, y)`.

        Args:
            x: (B, ...) floating tensor.
            y: (B,) class indices or (B, K) label rows.
        """
        x, rows = self._check_batch(x, y)
        return self.draw_rows(x, rows, generator=self._generator())

    def __call__(self, x: Any, y: Any) -> tuple[Tensor, Tensor]:
        """Mix a batch and label it.

        Args:
            x: (B, ...) floating tensor on any device.
            y: (B,) class indices or (B, K) label rows.

        Returns:
            Points (B, ...) and label rows (B, K) in the dtype of `x`. Rows sum to one; under a filter, a row that was taken
            out is all zeros and the others sum to B over the number kept, so that `cross_entropy` with its usual mean is
            the mean over the rows kept, and 0 (with a gradient of 0) where none is.

        Raises:
            InputError: labels out of range, K unknown, whole-number `x`, lengths that differ.
        """
        batch = self.draw(x, y)
        labels = self.label(batch)
        if self._filters():
            scale = batch.weight * (batch.weight.numel() / batch.weight.sum().clamp(min=1))
            labels = labels * scale[:, None]
        return batch.x, labels

    def collate(self, samples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Collate (x, y) samples and mix them, for `DataLoader(..., collate_fn=vicinity.collate)`.

        Every worker, epoch and rank draws its own numbers.
        """
        x, y = torch.utils.data.default_collate(list(samples))
        return self(x, y)

    def _filters(self) -> bool:
        return False

    def _check_batch(self, x: Any, y: Any) -> tuple[Tensor, Tensor]:
        x, y = torch.as_tensor(x), torch.as_tensor(y)
        if not x.is_floating_point():
            raise InputError(
                f"`x` must be floating to be mixed, got {x.dtype}; convert it first, as in `x.float() / 255`."
            )
        if x.ndim < 2 or y.ndim not in (1, 2) or len(x) != len(y):
            raise InputError(f"`x` must be (B, ...) and `y` (B,) or (B, K), got {tuple(x.shape)} and {tuple(y.shape)}.")
        k = self.n_classes_ if hasattr(self, "n_classes_") else self.n_classes
        # Looking at values would wait for an accelerator, and can't be compiled.
        look = x.device.type == "cpu" and not torch.compiler.is_compiling() and len(y) > 0
        if y.ndim == 2:
            if k is not None and y.shape[1] != k:
                raise InputError(f"`y` must have {k} columns, one per class, got {y.shape[1]}.")
            if look and (not y.is_floating_point() or float(y.min()) < 0):
                raise InputError("`y` of shape (B, K) must hold floating label rows, none negative.")
            return x, y.to(x)
        if k is None:
            raise InputError("the number of classes is not known; call `fit(x, y)`, or give `n_classes=`.")
        if look and y.is_floating_point() and not bool((y == y.floor()).all()):
            raise InputError("`y` of shape (B,) must hold whole class indices; give soft labels as rows (B, K).")
        if look and (int(y.min()) < 0 or int(y.max()) >= k):
            raise InputError(f"`y` must lie in 0..{k - 1}, got {int(y.min())}..{int(y.max())}.")
        rows = torch.zeros(len(y), k, dtype=x.dtype, device=x.device)
        return x, rows.scatter_(1, y.to(device=x.device, dtype=torch.int64)[:, None], 1)

    def _generator(self) -> torch.Generator | None:
        """Return the source of randomness of this process: torch's own state, or one made from `seed`.

        DataLoader gives torch's state in a worker a fresh seed every epoch, but processes of a distributed run may share a
        seed, so there, and where the user gave `seed`, the seed is hashed with rank and worker.
        """
        if torch.compiler.is_compiling():
            return None
        spread = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if spread else 0
        if self.seed is None and rank == 0:
            return None
        worker = torch.utils.data.get_worker_info()
        base = torch.initial_seed() if self.seed is None else self.seed
        address = (base, rank, None if worker is None else worker.seed)
        if getattr(self, "_stream", (None, None))[0] != address:
            made = generator_at(seed=base, rank=rank, worker=address[2], purpose="vicinity")
            self._stream = (address, made)
        return self._stream[1]

    def __getstate__(self) -> dict[str, Any]:
        # A generator belongs to its process.
        state = cast(dict[str, Any], super().__getstate__())
        return {name: value for name, value in state.items() if name != "_stream"}


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
        self, x: Tensor, rows: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixedBatch:
        """Draw mixed batches; see `BaseVicinity.draw_rows`."""
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

    def _filters(self) -> bool:
        return self.filter is not None


_PERMUTATION, _BETA, _LINE, _LINEAR = Permutation(), Beta(), LinearMixer(), LinearLabels()
_FIELDS = tuple(field.name for field in fields(MixedBatch))


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Return values[..., index, ...] along the last batch axis: (..., B, *F) by (..., B)."""
    if index.ndim == 1:
        return values.index_select(0, index)
    lead, b = index.shape[:-1].numel(), index.shape[-1]
    offset = torch.arange(0, lead * b, b, device=index.device)[:, None]
    flat = values.reshape(lead * b, *values.shape[index.ndim :])
    return flat.index_select(0, (index.reshape(lead, b) + offset).reshape(-1)).reshape(values.shape)


@dataclass(frozen=True)
class _ChosenBatch(MixedBatch):
    """A mixed batch that remembers which vicinity each batch came from: `choice` (...,), counted over leaves."""

    choice: Tensor


class Choice(BaseVicinity):
    """One of several vicinities, chosen at random for every batch.

    Args:
        vicinities: two or more.
        probabilities: one number per vicinity, on any scale; None for equal ones.
        n_classes: K, for labels (B,) without a call of `fit`.
        seed: as in `Vicinity`; the members' own seeds are not used.
    """

    def __init__(
        self,
        vicinities: Sequence[BaseVicinity],
        probabilities: Sequence[float] | None = None,
        n_classes: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.vicinities = vicinities
        self.probabilities = probabilities
        self.n_classes = n_classes
        self.seed = seed

    vicinities_: list[BaseVicinity]

    def _members(self) -> Sequence[BaseVicinity]:
        return getattr(self, "vicinities_", self.vicinities)

    def _fit(self, x: Tensor, y: Tensor, sample_weight: Any) -> None:
        self._weights()
        self.vicinities_ = [clone(v).fit(x, y, self.n_classes_, sample_weight) for v in self.vicinities]

    def _weights(self) -> list[float]:
        weights = [1.0] * len(self.vicinities) if self.probabilities is None else list(self.probabilities)
        if len(weights) != len(self.vicinities) or not weights:
            raise InputError(f"`probabilities` must be one per vicinity ({len(self.vicinities)}), got {len(weights)}.")
        for weight in weights:
            check_number("probabilities", weight, 0)
        if sum(weights) == 0:
            raise InputError("`probabilities` must not all be 0.")
        return weights

    def draw_rows(
        self, x: Tensor, rows: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixedBatch:
        """Draw mixed batches; see `BaseVicinity.draw_rows`."""
        lead = rows.shape[:-2]
        weights = torch.tensor(self._weights(), dtype=torch.float32, device=x.device if generator is None else "cpu")
        choice = torch.multinomial(weights, max(1, lead.numel()), replacement=True, generator=generator)
        choice = choice.reshape(lead).to(x.device)
        members = self._members()
        # A member may itself be a choice, so what a batch remembers counts the vicinities at the bottom.
        sizes = torch.tensor([len(_leaves([member])) for member in members], device=x.device)
        first = sizes.cumsum(0) - sizes
        if choice.ndim == 0 and not torch.compiler.is_compiling():
            batch = members[int(choice)].draw_rows(x, rows, valid, generator)
            parts = {name: getattr(batch, name) for name in _FIELDS}
            return _ChosenBatch(**parts, choice=first.take(choice) + _inner(batch))
        batches = [member.draw_rows(x, rows, valid, generator) for member in members]
        parts = {name: _select(choice, [getattr(batch, name) for batch in batches]) for name in _FIELDS}
        inner = _select(choice, [torch.zeros_like(choice) + _inner(batch) for batch in batches])
        return _ChosenBatch(**parts, choice=first.take(choice) + inner)

    def label(self, batch: MixedBatch) -> Tensor:
        """Label a batch by the vicinity that drew it; see `BaseVicinity.label`."""
        return _label_chosen(self._members(), batch)

    def mixing_key(self) -> str:
        """Return what decides the draws; see `BaseVicinity.mixing_key`."""
        return self.key()

    def terms(self) -> tuple[tuple[float, Labeler], ...]:
        """Return one labeler that follows the choice; see `BaseVicinity.terms`."""
        return ((1.0, _ChoiceLabels(self.vicinities)),)

    def _filters(self) -> bool:
        return any(member._filters() for member in self._members())


def _select(choice: Tensor, options: list[Tensor]) -> Tensor:
    result = options[0]
    for i, option in enumerate(options[1:], 1):
        result = torch.where((choice == i).reshape([*choice.shape, *[1] * (option.ndim - choice.ndim)]), option, result)
    return result


def _leaves(members: Sequence[BaseVicinity]) -> list[BaseVicinity]:
    parts = (_leaves(m._members()) if isinstance(m, Choice) else [m] for m in members)
    return [leaf for part in parts for leaf in part]


def _inner(batch: MixedBatch) -> Tensor | int:
    return batch.choice if isinstance(batch, _ChosenBatch) else 0


def _label_chosen(members: Sequence[BaseVicinity], batch: MixedBatch) -> Tensor:
    members = _leaves(members)
    if not isinstance(batch, _ChosenBatch):
        raise InputError("this batch was not drawn by a `OneOf`; label it with the vicinity that drew it.")
    if batch.choice.ndim == 0 and not torch.compiler.is_compiling():
        return members[int(batch.choice)].label(batch)
    return _select(batch.choice, [member.label(batch) for member in members])


class _ChoiceLabels(Labeler):
    def __init__(self, vicinities: Sequence[BaseVicinity]) -> None:
        self.vicinities = vicinities

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        self.vicinities_ = [clone(v).fit(x, y, n_classes, sample_weight) for v in self.vicinities]
        return self

    def _label(self, batch: MixedBatch) -> Tensor:
        return _label_chosen(getattr(self, "vicinities_", self.vicinities), batch)
