"""Principal components: the linear space, and the test of everything that mixes in a space."""

import torch
from torch import Tensor

from vicinal.core import InputError, check_number, working_dtype
from vicinal.spaces.base import Space

__all__ = ["PCA"]


class PCA(Space):
    """z = V^T (x - mean), x = V z + mean, with the leading eigenvectors V of the covariance.

    With as many components as features it is a rotation, and mixing in it is plain mixup.

    Args:
        components: how many, or the share of the variance to keep, below 1.

    Examples:
        >>> x = torch.tensor([[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]])
        >>> space = PCA(0.99).fit(x)
        >>> space.code_shape_, round(space.reconstruction_error(x), 6)
        ((1,), 0.0)
    """

    def __init__(self, components: int | float = 0.95) -> None:
        self.components = components

    mean_: Tensor
    directions_: Tensor

    def _fit(self, x: Tensor) -> None:
        whole = isinstance(self.components, int)
        check_number("components", self.components, 1 if whole else 0, whole=whole, open_low=not whole)
        flat = x.detach().flatten(1).to(working_dtype(x.device))
        self.mean_ = flat.mean(0)
        _, size, directions = torch.linalg.svd(flat - self.mean_, full_matrices=len(flat) <= flat.shape[1])
        if whole:
            count = int(self.components)
            if count > flat.shape[1]:
                raise InputError(f"`components` must be at most the {flat.shape[1]} features, got {count}.")
        else:
            share = size.square().cumsum(0) / size.square().sum().clamp(min=1e-300)
            count = int((share < min(float(self.components), 1 - 1e-12)).sum()) + 1
        self.directions_ = directions[: min(count, len(directions))].contiguous()

    def _encode(self, x: Tensor) -> Tensor:
        mean, directions = self._beside(x)
        return (x.flatten(1).to(mean.dtype) - mean) @ directions.T

    def _decode(self, z: Tensor) -> Tensor:
        mean, directions = self._beside(z)
        return (z.to(mean.dtype) @ directions + mean).reshape(-1, *self.shape_)

    def _beside(self, values: Tensor) -> tuple[Tensor, Tensor]:
        # A space is shared, by what is trained on a GPU and what is measured beside it.
        return self.mean_.to(values.device), self.directions_.to(values.device)
