"""A space: where points are mixed instead of among the pixels or columns themselves.

z = encode(x),   z' = lam z_i + (1 - lam) z_j,   x' = decode(z')
"""

import hashlib
from abc import abstractmethod
from typing import Any, ClassVar, Self

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from vicinal.core import Component, InputError, check_features
from vicinal.core.component import describe

__all__ = ["Identity", "Reconstructed", "Space"]

ROWS = 512
"""Rows that go through an encoder or a decoder at once, where there are many."""

RESIDUAL_ROWS = 4096
"""Rows that tell the residual's size well enough."""


class Space(Component):
    """Abstract space.

    A subclass writes `_fit`, `_encode` and `_decode`. A fitted space is frozen: copies of a vicinity share it, and fitting the
    vicinity leaves it alone; so a space that was learnt from one data set serves another.

    Attributes:
        shape_: of a point, (*F). code_shape_: of a code, (*Z).
        residual_: root mean square of x - decode(encode(x)) over features and (some of) the rows that it was fitted to.

    Examples:
        >>> class Doubled(Space):
        ...     def _fit(self, x):
        ...         pass
        ...
        ...     def _encode(self, x):
        ...         return 2 * x
        ...
        ...     def _decode(self, z):
        ...         return z / 2
        >>> space = Doubled().fit(torch.tensor([[1.0], [2.0]]))
        >>> space.encode(torch.tensor([[3.0]])).tolist(), space.reconstruction_error(torch.tensor([[3.0]]))
        ([[6.0]], 0.0)
    """

    bounds: ClassVar[tuple[float, float] | None] = None
    """Between which the features of every point lie; None for anywhere."""

    shape_: tuple[int, ...]
    code_shape_: tuple[int, ...]
    residual_: float

    @abstractmethod
    def _fit(self, x: Tensor) -> None:
        """Learn from x (N, *F)."""

    @abstractmethod
    def _encode(self, x: Tensor) -> Tensor:
        """Return codes (B, *Z) of x (B, *F)."""

    @abstractmethod
    def _decode(self, z: Tensor) -> Tensor:
        """Return points (B, *F) of codes z (B, *Z)."""

    def fit(self, x: Any, y: Any = None) -> Self:
        """Learn the space.

        Args:
            x: (N, *F) points; of images the pixels in [0, 1].
            y: not used.
        """
        x = check_features(x)
        self.shape_ = tuple(x.shape[1:])
        self._fit(x)
        self._complete(x)
        return self

    def _complete(self, x: Tensor) -> None:
        """Take the measures of a space that has learnt from x."""
        self.code_shape_ = tuple(self.encode(x[:1]).shape[1:])
        some = x[:RESIDUAL_ROWS]
        self.residual_ = (self.reconstruction_error(some) / some[0].numel()) ** 0.5

    @property
    def fitted(self) -> bool:
        """Whether `fit` was called, or the space loaded."""
        return hasattr(self, "code_shape_")

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, *Z) of points (B, *F), in their dtype; no gradient goes through."""
        return self._through(x, self._encode, ("shape_", "code_shape_"), "points")

    def decode(self, z: Tensor) -> Tensor:
        """Return the points (B, *F) of codes (B, *Z), in their dtype; no gradient goes through."""
        return self._through(z, self._decode, ("code_shape_", "shape_"), "codes")

    def reconstruction_error(self, x: Tensor) -> float:
        """Return the mean over rows of |x - decode(encode(x))|^2, summed over features."""
        return float((self.decode(self.encode(x)) - x).square().flatten(1).sum(1).mean())

    def _learnt(self) -> str:
        if not self.fitted:
            return ""
        tensors: dict[str, Tensor] = {}
        describe(self, fitted=True, tensors=tensors)
        digest = hashlib.blake2b(repr((*self.shape_, *self.code_shape_)).encode(), digest_size=8)
        for name in sorted(tensors):
            digest.update(f"{name} {tensors[name].dtype}".encode())
            digest.update(tensors[name].numpy().tobytes())
        return digest.hexdigest()

    def __sklearn_clone__(self) -> "Space":
        if self.fitted:
            return self
        copy: Space = BaseEstimator.__sklearn_clone__(self)
        return copy

    def _through(self, values: Tensor, function: Any, shapes: tuple[str, str], what: str) -> Tensor:
        expected = getattr(self, shapes[0], None)
        if expected is None:
            raise InputError(f"this {type(self).__name__} is not fitted; call `fit(x)` first, or load a trained one.")
        if tuple(values.shape[1:]) != tuple(expected):
            raise InputError(
                f"{what} must have the shape (B, {', '.join(map(str, expected))}) of this space, got {tuple(values.shape)}."
            )
        if len(values) == 0:  # which not every network takes
            return values.new_zeros(0, *getattr(self, shapes[1]))
        with torch.no_grad():
            parts = values.split(ROWS) if len(values) > ROWS else [values]
            return torch.cat([function(part) for part in parts]).to(values.dtype)


class Identity(Space):
    """The space of the points themselves: mixing in it is mixing without a space.

    Examples:
        >>> Identity().fit(torch.zeros(2, 3)).decode(torch.ones(1, 3)).tolist()
        [[1.0, 1.0, 1.0]]
    """

    def _fit(self, x: Tensor) -> None:
        pass

    def _encode(self, x: Tensor) -> Tensor:
        return x

    def _decode(self, z: Tensor) -> Tensor:
        return z


class Reconstructed(Space):
    """The points as another space gives them back: codes are reconstructions, and decoding leaves them alone.

    Mixing here is 'Mixup-R' of the VarMixup paper (section 4), which tells what of VarMixup comes from the decoder alone.

    Args:
        space: any space; a fitted one is used as it is.

    Examples:
        >>> from vicinal.spaces import PCA
        >>> x = torch.tensor([[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]])
        >>> space = Reconstructed(PCA(1)).fit(x)
        >>> space.encode(torch.tensor([[0.0, 2.0]])).round(decimals=4).tolist()           # on the line of the data
        [[1.0, 1.0]]
    """

    def __init__(self, space: Space) -> None:
        self.space = space

    space_: Space

    def of_fitted(self) -> Self:
        """Take the measures of a space that is fitted, in place of `fit`, which would reconstruct all points for them."""
        self.space_ = self.space
        self.shape_ = self.code_shape_ = tuple(self.space.shape_)
        self.residual_ = self.space.residual_
        return self

    def _learnt(self) -> str:
        return "" if self.space.fitted else super()._learnt()  # which the space itself says

    def _fit(self, x: Tensor) -> None:
        self.space_ = self.space if self.space.fitted else self.space.__sklearn_clone__().fit(x)

    def _encode(self, x: Tensor) -> Tensor:
        return self.space_.decode(self.space_.encode(x))

    def _decode(self, z: Tensor) -> Tensor:
        return z
