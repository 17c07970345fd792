"""How: the point between two endpoints."""

from abc import abstractmethod

import torch
from torch import Tensor

from vicinal.core import Component, check_number, draw_uniform

__all__ = ["CutMixer", "LinearMixer", "Mixer", "NoMixer", "NoisyMixer"]


class Mixer(Component):
    """Abstract mixer."""

    @abstractmethod
    def mix(self, x_a: Tensor, x_b: Tensor, lam: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Mix endpoints.

        Args:
            x_a: first endpoints, (..., B, *F).
            x_b: second endpoints, the same shape.
            lam: (..., B), the share of the first endpoint that was asked for.
            generator: the source of what the mixer itself draws, if anything; None for torch's own.

        Returns:
            Points (..., B, *F), and lam (..., B) as it came out.
        """


class LinearMixer(Mixer):
    """x = lam x_a + (1 - lam) x_b (Zhang et al., 2018).

    Examples:
        >>> LinearMixer().mix(torch.tensor([[4.0]]), torch.tensor([[0.0]]), torch.tensor([0.75]), None)[0].tolist()
        [[3.0]]
    """

    def mix(self, x_a: Tensor, x_b: Tensor, lam: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Interpolate; see `Mixer.mix`."""
        return torch.lerp(x_b, x_a, lam.reshape(*lam.shape, *[1] * (x_a.ndim - lam.ndim))), lam


class NoMixer(Mixer):
    """x = x_a, lam = 1: plain training, as one more point of the same design."""

    def mix(self, x_a: Tensor, x_b: Tensor, lam: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return the first endpoints; see `Mixer.mix`."""
        return x_a, torch.ones_like(lam)


class NoisyMixer(Mixer):
    """Another mixer's points, and normal noise on them: x + N(0, std^2 I).

    Around single points this is the Gaussian vicinal distribution of Chapelle et al. (2001); with VarMixup, whose samples
    are as noisy as its decoder's residuals, it tells what of their effect is the noise's.

    Args:
        std: standard deviation of the noise, in units of the features.
        mixer: default linear.
        bounds: lowest and highest value of a feature, where points are cut off: (0, 1) for pixels; None for no such bounds.

    Examples:
        >>> x, lam = torch.zeros(1, 1000), torch.ones(1)
        >>> noisy, _ = NoisyMixer(0.1).mix(x, x, lam, torch.Generator().manual_seed(0))
        >>> round(float(noisy.std()), 2)
        0.1
    """

    def __init__(self, std: float, mixer: Mixer | None = None, bounds: tuple[float, float] | None = None) -> None:
        self.std = std
        self.mixer = mixer
        self.bounds = bounds

    def mix(self, x_a: Tensor, x_b: Tensor, lam: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Mix and add noise; see `Mixer.mix`."""
        check_number("std", self.std, 0)
        x, lam = (self.mixer or _LINE).mix(x_a, x_b, lam, generator)
        noise = torch.randn(x.shape, generator=generator, device=x.device if generator is None else None).to(x)
        x = x + self.std * noise
        return (x if self.bounds is None else x.clamp(*self.bounds)), lam


_LINE = LinearMixer()


class CutMixer(Mixer):
    """Part of the second endpoint pasted into the first, the rest kept (Yun et al., 2019).

    - An image (..., B, C, H, W) gets a box with sides sqrt(1 - lam) of H and W, each rounded down to an even number, its
      centre uniform, clipped at the border.
    - A row of a table (..., B, D) gets round((1 - lam) D) columns at random (GenLabel, section A.5).

    lam comes back as the share of pixels or columns that was kept. Boxes and columns are drawn for every row.

    Examples:
        >>> x_a, x_b = torch.zeros(1, 4), torch.ones(1, 4)
        >>> x, lam = CutMixer().mix(x_a, x_b, torch.tensor([0.7]), torch.Generator())
        >>> float(x.sum()), float(lam)                                # round(0.3 * 4) columns of the second
        (1.0, 0.75)
    """

    def mix(self, x_a: Tensor, x_b: Tensor, lam: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Cut and paste; see `Mixer.mix`."""
        features = x_a.ndim - lam.ndim
        if features >= 2:
            cut = _boxes(lam, x_a.shape[-2], x_a.shape[-1], generator)
            pasted = cut.reshape(*lam.shape, *[1] * (features - 2), *cut.shape[-2:])
        else:
            cut = pasted = _columns(lam, x_a.shape[-1], generator)
        exact = torch.promote_types(lam.dtype, torch.float32)  # a count of pixels does not fit into float16
        kept = 1 - cut.flatten(lam.ndim).to(exact).mean(-1).to(lam.dtype)
        return torch.where(pasted, x_b, x_a), kept


def _boxes(lam: Tensor, height: int, width: int, generator: torch.Generator | None) -> Tensor:
    """Draw a box a row, (..., B, H, W) booleans."""
    side = torch.sqrt(1 - lam.float())
    centre = draw_uniform((2, *lam.shape), lam, generator)

    def inside(size: int, middle: Tensor) -> Tensor:
        # Half a side is a whole number, as in the published code.
        middle, half = (middle * size).floor(), (side * size / 2).floor()
        at = torch.arange(size, device=lam.device)
        return (at >= (middle - half)[..., None]) & (at < (middle + half)[..., None])

    return inside(height, centre[0])[..., :, None] & inside(width, centre[1])[..., None, :]


def _columns(lam: Tensor, columns: int, generator: torch.Generator | None) -> Tensor:
    """Draw columns a row, (..., B, D) booleans."""
    keys = draw_uniform((*lam.shape, columns), lam, generator)
    rank = keys.argsort(-1).argsort(-1)
    return rank < ((1 - lam) * columns).round()[..., None]
