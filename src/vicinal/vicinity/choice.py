"""A choice among vicinities, made anew for every batch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.core import InputError, MixedBatch, check_number
from vicinal.labeling import Labeler
from vicinal.vicinity.base import BaseVicinity, Codes

__all__ = ["Choice"]

_FIELDS = tuple(field.name for field in fields(MixedBatch))


@dataclass(frozen=True)
class _ChosenBatch(MixedBatch):
    """A mixed batch that remembers which vicinity each batch came from: `choice` (...,), counted over leaves.

    A single batch also keeps what its vicinity drew, as it was.
    """

    choice: Tensor
    drawn: MixedBatch | None = None


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

    def encode(self, x: Tensor) -> Codes:
        """Return points, or codes for every member where one lies in a space; see `BaseVicinity.encode`."""
        codes = tuple(member.encode(x) for member in self._members())
        return x if all(code is x for code in codes) else codes

    def decode(self, batch: MixedBatch) -> Tensor:
        """Return the points of the vicinity that drew the batch; see `BaseVicinity.decode`."""
        if isinstance(batch, _ChosenBatch) and batch.drawn is not None:
            return _leaves(self._members())[int(batch.choice)].decode(batch.drawn)
        return batch.x

    def draw_rows(
        self, x: Codes, rows: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixedBatch:
        """Draw mixed batches; see `BaseVicinity.draw_rows`.

        Raises:
            InputError: several batches at once, where members lie in different spaces.
        """
        lead, device = rows.shape[:-2], rows.device
        weights = torch.tensor(self._weights(), dtype=torch.float32, device=device if generator is None else "cpu")
        choice = torch.multinomial(weights, max(1, lead.numel()), replacement=True, generator=generator)
        choice = choice.reshape(lead).to(device)
        members = self._members()
        codes = x if isinstance(x, tuple) else (x,) * len(members)
        # A member may itself be a choice, so what a batch remembers counts the vicinities at the bottom.
        sizes = torch.tensor([len(_leaves([member])) for member in members], device=device)
        first = sizes.cumsum(0) - sizes
        if choice.ndim == 0 and not torch.compiler.is_compiling():
            batch = members[int(choice)].draw_rows(codes[int(choice)], rows, valid, generator)
            parts = {name: getattr(batch, name) for name in _FIELDS}
            inner, drawn = _inner(members[int(choice)], batch)
            return _ChosenBatch(**parts, choice=first.take(choice) + inner, drawn=drawn)
        if isinstance(x, tuple):
            raise InputError(
                "a choice among spaces draws one batch at a time; it can't be compiled, or train in a stack."
            )
        batches = [member.draw_rows(x, rows, valid, generator) for member in members]
        parts = {name: _select(choice, [getattr(batch, name) for batch in batches]) for name in _FIELDS}
        pairs = zip(members, batches, strict=True)
        inner = _select(choice, [torch.zeros_like(choice) + _inner(member, batch)[0] for member, batch in pairs])
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

    def learns(self) -> bool:
        """Whether any member does; see `BaseVicinity.learns`."""
        return any(member.learns() for member in self.vicinities)

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


def _inner(member: BaseVicinity, batch: MixedBatch) -> tuple[Tensor | int, MixedBatch | None]:
    """Return which of a member's leaves drew a batch, and what it drew."""
    # Any other member is a leaf, whatever is inside it: a space around a choice takes its own batches.
    if isinstance(member, Choice) and isinstance(batch, _ChosenBatch):
        return batch.choice, batch.drawn
    return 0, batch


def _label_chosen(members: Sequence[BaseVicinity], batch: MixedBatch) -> Tensor:
    members = _leaves(members)
    if not isinstance(batch, _ChosenBatch):
        raise InputError("this batch was not drawn by a `OneOf`; label it with the vicinity that drew it.")
    if batch.drawn is not None:
        return members[int(batch.choice)].label(batch.drawn)
    return _select(batch.choice, [member.label(batch) for member in members])


class _ChoiceLabels(Labeler):
    def __init__(self, vicinities: Sequence[BaseVicinity]) -> None:
        self.vicinities = vicinities

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        self.vicinities_ = [clone(v).fit(x, y, n_classes, sample_weight) for v in self.vicinities]
        return self

    def _label(self, batch: MixedBatch) -> Tensor:
        return _label_chosen(getattr(self, "vicinities_", self.vicinities), batch)
