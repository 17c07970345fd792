"""What every vicinity is: a batch transform, `x, y = vicinity(x, y)`, and a source of many batches for `vicinal.training`."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor

from vicinal.core import Component, InputError, MixedBatch, check_features, check_labels, generator_at
from vicinal.labeling import Labeler

__all__ = ["BaseVicinity", "Codes", "share_out"]

Codes = Tensor | tuple[Any, ...]
"""What a vicinity mixes: points, codes of a space, or, in a choice, a tuple with those of every member."""


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

    def encode(self, x: Tensor) -> Codes:
        """Return what `draw_rows` mixes of points (..., B, *F): the points themselves, unless the vicinity lies in a space.

        Where the same rows are mixed again and again, this is done once.
        """
        return x

    def decode(self, batch: MixedBatch) -> Tensor:
        """Return the points (..., B, *F) of a mixed batch that `draw_rows` drew."""
        return batch.x

    def learns(self) -> bool:
        """Whether `fit` learns anything but the number of classes."""
        return False

    @abstractmethod
    def draw_rows(
        self, x: Codes, rows: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixedBatch:
        """Draw mixed batches, any number at once, unlabelled.

        Args:
            x: (..., B, *F) points, or in a space their codes: what `encode` returns.
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
        return self.draw_rows(self.encode(x), rows, generator=self._generator())

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
            labels = labels * share_out(batch.weight)
        return self.decode(batch), labels

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


def share_out(weight: Tensor) -> Tensor:
    """Return what label rows are multiplied with (B, 1), so that a mean over all rows is one over those of weight 1.

    Examples:
        >>> share_out(torch.tensor([1.0, 0.0, 1.0, 0.0])).flatten().tolist()
        [2.0, 0.0, 2.0, 0.0]
    """
    return (weight * (weight.numel() / weight.sum().clamp(min=1)))[:, None]
