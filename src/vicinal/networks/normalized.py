"""Pixels in, logits out: normalisation as part of the network, so that an attack's radius is in pixels."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["Normalized"]


class Normalized(nn.Module):
    """A network of normalised images as a network of pixels in [0, 1].

        f(x) = network((x - mean_c) / std_c)    for channel c

    Distances and gradients in x are then exactly those in pixels, whatever the channels' scales.

    Args:
        network: takes normalised images (B, C, H, W).
        mean: one number for each of the C channels, or one for all of them; in units of pixels in [0, 1].
        std: likewise, above 0.

    Attributes:
        network: as given.
        mean: buffer (C, 1, 1), or (1, 1, 1) for one number.
        std: buffer of the same shape.

    Raises:
        ValueError: `mean` and `std` of different lengths, or a `std` that is not above 0; in `forward`, another number of
            channels.
        TypeError: in `forward`, pixels 0..255 as integers.

    Examples:
        >>> network = Normalized(nn.Flatten(), mean=[0.5, 0.25], std=[0.5, 0.25])
        >>> network(torch.tensor([1.0, 0.5]).reshape(1, 2, 1, 1)).tolist()
        [[1.0, 1.0]]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float] | float, std: Sequence[float] | float) -> None:
        super().__init__()
        self.network = network
        means, stds = (torch.as_tensor(v, dtype=torch.get_default_dtype()).reshape(-1, 1, 1) for v in (mean, std))
        if len(means) != len(stds) or not len(means):
            raise ValueError(
                f"`mean` and `std` must hold one number for each channel, got {len(means)} and {len(stds)}."
            )
        if not bool((stds > 0).all()) or not bool((means.isfinite() & stds.isfinite()).all()):
            raise ValueError(
                f"`std` must be above 0, and both finite, got std {stds.flatten().tolist()} and mean {means.flatten().tolist()};"
                " a constant channel may have std 1."
            )
        self.register_buffer("mean", means)
        self.register_buffer("std", stds)

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's logits (B, K) for pixels x (B, C, H, W) in [0, 1]."""
        if not x.is_floating_point():
            raise TypeError(f"`x` must hold pixels in [0, 1], got {x.dtype}; give x.float() / 255.")
        if len(self.mean) not in (1, x.shape[-3]):
            raise ValueError(f"`x` must have {len(self.mean)} channels, shape (B, C, H, W), got {tuple(x.shape)}.")
        return cast(Tensor, self.network((x - self.mean) / self.std))
