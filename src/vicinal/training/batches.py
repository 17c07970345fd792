"""The batches of a group: order of rows, mixing and labels, drawn many at once.

A block of epochs is drawn by one call, because thousands of small draws would cost more than the training. What is drawn
depends on the group's address, never on which other groups or settings run beside it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.core import InputError, generator_at, order_of
from vicinal.labeling import Labeler
from vicinal.training.objectives import Objective
from vicinal.training.problem import Group
from vicinal.vicinity import BaseVicinity

__all__ = ["Block", "Source", "count_batches"]

BLOCK_ROWS = 1 << 14
"""Rows drawn in one block, unless a single epoch is longer; fewer where they are seen as features, which are many."""


@dataclass(frozen=True)
class Block:
    """Mixed batches of whole epochs.

    Attributes:
        x: (M, B, D) points, M = epochs x batches an epoch.
        targets: label rows (M, B, K) by the key of their labeler.
        weight: (M, B) row weights that sum to one in every batch (or to zero where a filter took all).
        draws: what an objective draws, (M, ...) by name.
    """

    x: Tensor
    targets: dict[str, Tensor]
    weight: Tensor
    draws: dict[str, Tensor] = field(default_factory=dict)


class Source:
    """Draws the blocks of one group under one way of mixing, labelled by any number of labelers.

    Args:
        group: the training rows.
        vicinity: decides the mixing; its own labeler is not used.
        labelers: by key; clones are fitted to the group's rows.
        batch_size: rows in a batch.
        objective: draws beside the vicinity, if there is one.

    Attributes:
        batches: in an epoch. seconds: spent on labels so far, by the key of their labeler.
    """

    def __init__(
        self,
        group: Group,
        vicinity: BaseVicinity,
        labelers: dict[str, Labeler],
        batch_size: int,
        objective: Objective | None = None,
    ) -> None:
        self.group, self.objective = group, objective
        self.batch_size = min(batch_size, len(group.x))
        self.batches = count_batches(group, batch_size)
        # The length of a block follows from the batches an epoch, which all groups of a stack share.
        rows = BLOCK_ROWS if group.encode is None else BLOCK_ROWS // 8
        self.epochs_per_block = max(1, rows // (self.batches * batch_size))
        self.vicinity = clone(vicinity)
        if hasattr(self.vicinity, "labeler"):
            self.vicinity.labeler = None
        self.vicinity.fit(group.x, group.y, group.n_classes, group.weight)
        self.codes = self.vicinity.encode(group.x)
        if isinstance(self.codes, tuple):
            raise InputError("a choice among spaces draws one batch at a time, so it can't train in a stack.")
        if group.encode is not None and self.codes is not group.x:
            raise InputError(
                "`latent` must mix the rows themselves, got a vicinity in a space; take one without a space."
            )
        self.seen = self.codes if group.encode is None else group.encode(group.x)
        self.labelers = {
            key: clone(labeler).fit(self.seen, group.y, group.n_classes, group.weight)
            for key, labeler in labelers.items()
        }
        self.seconds = dict.fromkeys(labelers, 0.0)
        self.rows = torch.nn.functional.one_hot(group.y, group.n_classes).to(group.x.dtype)

    def blocks(self, epochs: int) -> Iterator[Block]:
        """Yield blocks until `epochs` are drawn."""
        step = self.epochs_per_block
        for number, start in enumerate(range(0, epochs, step)):
            yield self._block(min(step, epochs - start), number)

    def _block(self, epochs: int, number: int) -> Block:
        order = _order(self.group, epochs, generator_at(**self.group.address, purpose="order", block=number))
        index, valid = _cut(order, self.batches, self.batch_size)
        generator = generator_at(**self.group.address, purpose="mix", block=number)
        batch = self.vicinity.draw_rows(_take(self.codes, index), _take(self.rows, index), valid, generator)
        points = self.vicinity.decode(batch)
        if self.group.encode is not None:
            # Mixed where the rows are, seen where the network looks (Algorithm 2).
            points, x_b = self.group.encode(points), self.group.encode(batch.x_b)
            batch = replace(batch, x=points, x_a=_take(self.seen, index), x_b=x_b)
        targets = {}
        for key, labeler in self.labelers.items():
            started = time.perf_counter()
            targets[key] = labeler(batch).to(batch.x.dtype)
            self.seconds[key] += time.perf_counter() - started
        weight = batch.weight / batch.weight.sum(1, keepdim=True).clamp(min=1)
        draws = {}
        if self.objective is not None:
            draws = self.objective.draw(weight, generator_at(**self.group.address, purpose="objective", block=number))
        return Block(points, targets, weight, draws)


def count_batches(group: Group, batch_size: int) -> int:
    """Return the batches of an epoch; the last one may be short."""
    return -(-len(group.x) // batch_size)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Return values[index], three times as fast."""
    return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])


def _order(group: Group, epochs: int, generator: torch.Generator) -> Tensor:
    """Draw the order of rows, (epochs, N)."""
    n, device = len(group.x), group.x.device
    shuffled = order_of(torch.rand(epochs, n, generator=generator)).to(device)
    if group.weight is None:
        return shuffled
    cumulative = group.weight.double().cumsum(0)
    start = torch.rand(epochs, 1, generator=generator, dtype=torch.float64).to(device)
    ticks = (torch.arange(n, device=device) + start) * (cumulative[-1] / n)
    return torch.searchsorted(cumulative, ticks, right=True).clamp(max=n - 1).gather(1, shuffled)


def _cut(order: Tensor, batches: int, batch_size: int) -> tuple[Tensor, Tensor | None]:
    """Cut orders (E, N) into batches (E * batches, B), the last one padded, and say which rows are real."""
    epochs, n = order.shape
    padding = batches * batch_size - n
    if not padding:
        return order.reshape(-1, batch_size), None
    valid = torch.ones(epochs, batches * batch_size, dtype=torch.bool, device=order.device)
    valid[:, n:] = False
    order = torch.cat([order, order[:, :1].expand(epochs, padding)], 1)
    return order.reshape(-1, batch_size), valid.reshape(-1, batch_size)
