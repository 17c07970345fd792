"""Images with their classes, kept as the bytes they came in: subsets, splits, pixels and the statistics that normalise them.

Images stay uint8 until a batch is asked for, a quarter of what they take as numbers. With x in 0..255, a pixel's value is
x / 255, in [0, 1].
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from vicinal.core import InputError, check_number, generator_at

__all__ = ["ImageProblem", "ImageSet"]

CHUNK: Final = 1 << 24
"""Bytes of pixels that are counted or hashed at a time."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and their classes.

    Args:
        name: short name, such as "cifar-10-test".
        x: (N, C, H, W) uint8.
        y: (N,) int64, each in 0..K-1.
        classes: the names of the K classes.

    Raises:
        TypeError: `x` or `y` is no tensor, or of another dtype.
        InputError: another shape, no image, or a label outside 0..K-1.

    Examples:
        >>> images = ImageSet("two", torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1), torch.tensor([0, 1]), ("a", "b"))
        >>> len(images), images.pixels().flatten().tolist()
        (2, [0.0, 1.0])
    """

    name: str
    x: Tensor
    y: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_tensor("x", self.x, torch.uint8, "images are bytes 0..255, shape (N, C, H, W)")
        _check_tensor("y", self.y, torch.int64, "labels are class indices, shape (N,)")
        if self.x.ndim != 4 or self.x.numel() == 0:
            raise InputError(f"`x` must hold at least one image, shape (N, C, H, W), got {tuple(self.x.shape)}.")
        if self.y.shape != self.x.shape[:1]:
            raise InputError(f"`y` must be one label per image, shape ({len(self.x)},), got {tuple(self.y.shape)}.")
        low, high = int(self.y.min()), int(self.y.max())
        if low < 0 or high >= len(self.classes):
            raise InputError(
                f"`y` must lie in 0..{len(self.classes) - 1}, one for each of `classes`, got {low}..{high}."
            )

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the content (images, labels, classes; not the name), 32 characters."""
        found = hashlib.blake2b(repr((tuple(self.x.shape), self.classes)).encode(), digest_size=16)
        for part in (*self.x.split(self._chunk()), self.y):
            found.update(part.cpu().contiguous().numpy())
        return found.hexdigest()

    def take(self, index: Tensor | np.ndarray[Any, Any] | Sequence[int] | slice) -> "ImageSet":
        """Return the images at an index, in its order.

        Args:
            index: row numbers in -N..N-1, a mask (N,), or a slice; at least one row.

        Raises:
            InputError: a row outside the set, or no row at all.

        Examples:
            >>> x = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1)
            >>> ImageSet("three", x, torch.tensor([0, 1, 0]), ("a", "b")).take([2, 1]).y.tolist()
            [0, 1]
        """
        rows = self._rows(index)
        if len(rows) == 0:
            raise InputError(f"`index` must name at least one of the {len(self)} images, got none.")
        return ImageSet(self.name, self.x[rows], self.y[rows], self.classes)

    def first(self, n: int, seed: int = 0) -> "ImageSet":
        """Return the first n images of a random order, which the seed alone fixes.

        The order is a permutation from `generator_at(seed=seed, purpose="subset")`; it pays no heed to classes. A smaller n
        gives the beginning of a larger one.

        Args:
            n: number of images, 1..N.
            seed: names the order.

        Raises:
            InputError: n outside 1..N.

        Examples:
            >>> images = ImageSet("nine", torch.zeros(9, 1, 2, 2, dtype=torch.uint8), torch.arange(9), tuple("abcdefghi"))
            >>> images.first(3).y.tolist() == images.first(5).y[:3].tolist()
            True
        """
        check_number("n", n, 1, len(self), whole=True)
        return self.take(torch.randperm(len(self), generator=generator_at(seed=seed, purpose="subset"))[:n])

    def split(self, share: float, seed: int = 0) -> tuple["ImageSet", "ImageSet"]:
        """Split into the rest and a share of every class, such as for training and validation.

        The second set has round(share N) images. With n_k images in class k, it holds floor(share n_k) of them, or one
        more for the classes with the largest remainders, drawn at random. Both keep the order of rows.

        Args:
            share: share of the second set, in (0, 1).
            seed: names the draw.

        Returns:
            The rest, and the share.

        Raises:
            InputError: a share outside (0, 1), or one that leaves a set without images.

        Examples:
            >>> y = torch.tensor([0] * 6 + [1] * 4)
            >>> rest, held = ImageSet("ten", torch.zeros(10, 1, 2, 2, dtype=torch.uint8), y, ("a", "b")).split(0.5)
            >>> rest.y.tolist(), held.y.tolist()
            ([0, 0, 0, 1, 1], [0, 0, 0, 1, 1])
        """
        check_number("share", share, 0, 1, open_low=True, open_high=True)
        total = round(share * len(self))
        if not 0 < total < len(self):
            raise InputError(f"`share` must leave images in both sets, got {share!r} of {len(self)}; take more images.")
        quota = torch.bincount(self.y.cpu(), minlength=len(self.classes)).double() * share
        counts = quota.floor().long()
        # Sums of shares are exact to rounding: equal remainders go to the first class.
        largest = torch.argsort((quota - counts).mul(1e9).round(), descending=True, stable=True)
        counts[largest[: total - int(counts.sum())]] += 1
        order = torch.randperm(len(self), generator=generator_at(seed=seed, purpose="split"))
        held = torch.zeros(len(self), dtype=torch.bool)
        for label, count in enumerate(counts.tolist()):
            held[order[self.y.cpu()[order] == label][:count]] = True
        return self.take(~held), self.take(held)

    def pixels(self, index: Tensor | np.ndarray[Any, Any] | Sequence[int] | slice | None = None) -> Tensor:
        """Return images as numbers in [0, 1]: x / 255.

        Args:
            index: which, as `take` has it; None for all.

        Returns:
            (B, C, H, W) float32.

        Examples:
            >>> x = torch.tensor([51, 255], dtype=torch.uint8).view(2, 1, 1, 1)
            >>> round(ImageSet("two", x, torch.tensor([0, 0]), ("a",)).pixels([0]).item(), 6)
            0.2
        """
        return (self.x if index is None else self.x[self._rows(index)]).to(torch.float32) / 255

    def channel_statistics(self) -> tuple[Tensor, Tensor]:
        """Return every channel's mean and standard deviation over all pixels of all images, in [0, 1] as `pixels`.

        With c_v pixels of value v among n in a channel, mean = sum_v v c_v / (255 n) and std^2 = sum_v (v / 255 - mean)^2
        c_v / n. Counts are whole numbers, so nothing is lost however many images there are.

        Returns:
            mean (C,) and std (C,), float32; std is 0 for a channel of one value.

        Examples:
            >>> x = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
            >>> mean, std = ImageSet("two", x, torch.tensor([0, 1]), ("a", "b")).channel_statistics()
            >>> mean.tolist(), std.tolist()
            ([0.5], [0.5])
        """
        counts = torch.zeros(self.x.shape[1], 256, dtype=torch.float64)
        for part in self.x.split(self._chunk()):
            counts += torch.stack(
                [torch.bincount(channel.flatten(), minlength=256).cpu() for channel in part.unbind(1)]
            )
        weight = counts / counts.sum(1, keepdim=True)
        values = torch.arange(256, dtype=torch.float64) / 255
        mean = weight @ values
        std = (weight * (values - mean[:, None]).square()).sum(1).sqrt()
        return mean.to(torch.float32), std.to(torch.float32)

    def _chunk(self) -> int:
        return max(1, CHUNK // self.x[0].numel())

    def _rows(self, index: Tensor | np.ndarray[Any, Any] | Sequence[int] | slice) -> Tensor:
        try:
            return torch.arange(len(self))[index if isinstance(index, slice) else _row_numbers(index)].to(self.x.device)
        except IndexError as error:
            raise InputError(
                f"`index` must hold rows in 0..{len(self) - 1}, or a mask ({len(self)},): {error}."
            ) from error


@dataclass(frozen=True, eq=False)
class ImageProblem:
    """Images to train on and images to test on, with the same classes and of the same shape.

    Args:
        name: short name, such as "cifar-10".
        train: images to learn from; a validation set is split from these.
        test: images nothing is fitted to.

    Raises:
        InputError: the two differ in classes or shape.

    Examples:
        >>> images = ImageSet("a", torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), ("x", "y"))
        >>> problem = ImageProblem("halves", *images.split(0.5))
        >>> len(problem.train), problem.shape, problem.classes
        (2, (1, 2, 2), ('x', 'y'))
    """

    name: str
    train: ImageSet
    test: ImageSet

    def __post_init__(self) -> None:
        if self.train.classes != self.test.classes:
            raise InputError("`train` and `test` must have the same classes, in the same order.")
        if self.train.x.shape[1:] != self.test.x.shape[1:]:
            shapes = f"{tuple(self.train.x.shape[1:])} and {tuple(self.test.x.shape[1:])}"
            raise InputError(f"`train` and `test` must hold images of one shape (C, H, W), got {shapes}; resize one.")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return self.train.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.x.shape[1:]
        return channels, height, width


def _check_tensor(name: str, value: Any, dtype: torch.dtype, rule: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"`{name}` must be a tensor ({rule}), got {type(value).__name__}; use torch.as_tensor.")
    if value.dtype != dtype:
        raise TypeError(f"`{name}` must be {dtype} ({rule}), got {value.dtype}; use `.to({dtype})`.")


def _row_numbers(index: Tensor | np.ndarray[Any, Any] | Sequence[int]) -> Tensor:
    rows = torch.as_tensor(index).cpu()
    if rows.ndim != 1:
        raise InputError(f"`index` must hold rows, shape (B,), got {tuple(rows.shape)}.")
    if rows.numel() and (rows.is_floating_point() or rows.is_complex()):
        raise TypeError(f"`index` must hold whole numbers or a mask, got {rows.dtype}.")
    return rows if rows.dtype == torch.bool else rows.long()
