"""A convolutional autoencoder with a distribution of codes: the network of a VAE, which serves a space and a density.

    x (B, C, H, W) --encoder--> mean, log variance (B, *Z) --draw--> z --decoder--> x' (B, C, H, W)

The image is folded by 2 first (pixel unshuffle), so no convolution runs at full size, and there is no pixel-wise bottleneck.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ConvolutionalAutoencoder"]

FACTORS = (2, 4, 8, 16, 32)
"""How many times smaller than an image's a code's sides may be."""

LOG_VARIANCE = (-12.0, 4.0)
"""Bounds of a code's log variance: beyond them nothing changes but the gradients."""


class ConvolutionalAutoencoder(nn.Module):
    """Encoder and decoder of residual blocks, for images of any size.

    Args:
        shape: of an image, (C, H, W).
        latent: of a code: (channels, H / f, W / f) with f a power of two (rounded up), or (D,) for a flat code.
        width: channels at half the image's size; each further halving doubles them.
        blocks: residual blocks at each size.

    Examples:
        >>> network = ConvolutionalAutoencoder((1, 28, 28), latent=(16, 7, 7))
        >>> mean, log_variance = network.encode(torch.zeros(2, 1, 28, 28))
        >>> mean.shape, network.decode(mean).shape
        (torch.Size([2, 16, 7, 7]), torch.Size([2, 1, 28, 28]))
    """

    def __init__(self, shape: tuple[int, int, int], latent: tuple[int, ...], width: int = 32, blocks: int = 1) -> None:
        super().__init__()
        channels, height, width_in_pixels = shape
        _check_latent(shape, latent)
        self.shape, self.latent = shape, latent
        self.factor = 4 if len(latent) == 1 else _factor(shape, latent)
        # Sizes that the factor does not divide are padded, and cropped at the end.
        self.grid = (-(-height // self.factor), -(-width_in_pixels // self.factor))
        halvings = int(math.log2(self.factor)) - 1
        widths = [width * 2**i for i in range(halvings + 1)]
        code = latent[0] if len(latent) == 3 else 0

        encoder: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, width, 3, padding=1)]
        for narrow, wide in zip([None, *widths], widths, strict=False):
            if narrow is not None:
                encoder += [nn.ReLU(), nn.Conv2d(narrow, wide, 2, stride=2)]
            encoder += [_Residual(wide) for _ in range(blocks)]
        decoder: list[nn.Module] = []
        for wide, narrow in zip(widths[::-1], [*widths[-2::-1], None], strict=True):
            decoder += [*(_Residual(wide) for _ in range(blocks)), nn.ReLU()]
            if narrow is not None:
                decoder += [nn.Conv2d(wide, 4 * narrow, 1), nn.PixelShuffle(2)]
        decoder += [nn.Conv2d(width, 4 * channels, 3, padding=1), nn.PixelShuffle(2)]

        deep, (rows, columns) = widths[-1], self.grid
        if code:
            encoder += [nn.ReLU(), nn.Conv2d(deep, 2 * code, 1)]
            decoder = [nn.Conv2d(code, deep, 3, padding=1), *decoder]
        else:
            encoder += [nn.ReLU(), nn.Flatten(), nn.Linear(deep * rows * columns, 2 * latent[0])]
            unfold = [nn.Linear(latent[0], deep * rows * columns), nn.Unflatten(1, (deep, rows, columns))]
            decoder = [*unfold, *decoder]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance, (B, *Z) each, of the codes of x (B, C, H, W), pixels in [0, 1]."""
        rows, columns = (side * self.factor for side in self.grid)
        padded = functional.pad(x, (0, columns - x.shape[3], 0, rows - x.shape[2]), mode="replicate")
        mean, log_variance = self.encoder(padded).chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def decode(self, z: Tensor) -> Tensor:
        """Return the expected image (B, C, H, W), pixels in [0, 1], of codes z (B, *Z)."""
        pixels: Tensor = torch.sigmoid(self.decoder(z))
        return pixels[:, :, : self.shape[1], : self.shape[2]]

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mean, log variance, the code z = mean + exp(log_variance / 2) noise, and its image."""
        mean, log_variance = self.encode(x)
        z = mean + torch.exp(log_variance / 2) * noise
        return mean, log_variance, z, self.decode(z)


class _Residual(nn.Module):
    """x + conv(relu(norm(conv(relu(x))))), the identity at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(functional.relu(self.norm(self.first(functional.relu(x)))))
        return x + cast(Tensor, inner)


def _factor(shape: tuple[int, int, int], latent: tuple[int, ...]) -> int:
    """Return how many times smaller a code's sides are."""
    return next(factor for factor in FACTORS if latent[1:] == _sides(shape, factor))


def _sides(shape: tuple[int, int, int], factor: int) -> tuple[int, ...]:
    return tuple(-(-side // factor) for side in shape[1:])


def _check_latent(shape: tuple[int, int, int], latent: tuple[int, ...]) -> None:
    sides = [_sides(shape, factor) for factor in FACTORS]
    if all(isinstance(n, int) and n > 0 for n in latent) and (len(latent) == 1 or latent[1:] in sides):
        return
    wanted = sides[:3]
    raise ValueError(
        f"`latent` must be (channels, rows, columns) with rows and columns among {wanted} for images of {shape[1]} x {shape[2]},"
        f" or (D,) for a flat code, got {latent}."
    )
