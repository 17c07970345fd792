"""The fifteen common corruptions and images corrupted by them (Hendrycks & Dietterich, 2019, section 4.1)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from vicinal.core import InputError
from vicinal.data.readers import near

__all__ = ["CORRUPTIONS", "CORRUPTION_GROUPS", "SEVERITIES", "CorruptedSet", "check_corruptions", "check_severities"]

CORRUPTION_GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
        "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        "weather": ("snow", "frost", "fog", "brightness"),
        "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    }
)
"""The corruptions by kind, in the paper's order."""

CORRUPTIONS: Final = tuple(name for group in CORRUPTION_GROUPS.values() for name in group)
"""The fifteen names, in the paper's order."""

SEVERITIES: Final = (1, 2, 3, 4, 5)
"""From mild to strong."""


def check_corruptions(names: tuple[str, ...], options: tuple[str, ...] = CORRUPTIONS) -> None:
    """Raise unless every name is one of the options.

    Examples:
        >>> check_corruptions(("frosts",), ("frost", "fog"))
        Traceback (most recent call last):
        vicinal.core.checks.InputError: no corruption 'frosts'; did you mean 'frost'? (one of frost, fog).
    """
    for name in names:
        if name not in options:
            raise InputError(f"no corruption {name!r}{near(str(name), list(options))} (one of {', '.join(options)}).")


def check_severities(severities: tuple[int, ...], options: tuple[int, ...] = SEVERITIES) -> None:
    """Raise unless every severity is one of the options.

    Examples:
        >>> check_severities((0,))
        Traceback (most recent call last):
        vicinal.core.checks.InputError: `severity` must be one of 1, 2, 3, 4, 5, got 0.
    """
    for severity in severities:
        if isinstance(severity, bool) or severity not in options:
            raise InputError(f"`severity` must be one of {', '.join(map(str, options))}, got {severity!r}.")


@dataclass(frozen=True, eq=False)
class CorruptedSet:
    """The same N images under every corruption at every severity, read when they are asked for.

    Args:
        name: what was corrupted, such as "cifar-10-test".
        corruptions: names, in the order of `CORRUPTIONS`.
        severities: strengths, ascending.
        y: labels (N,) int64.
        read: returns the images (N, C, H, W) uint8 of a corruption and severity.

    Examples:
        >>> black = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
        >>> images = CorruptedSet("black", ("fog",), (1,), torch.tensor([0, 1]), lambda name, severity: black)
        >>> len(images), tuple(images.batch("fog", 1).shape)
        (2, (2, 1, 8, 8))
        >>> images.batch("frog", 1)
        Traceback (most recent call last):
        vicinal.core.checks.InputError: no corruption 'frog'; did you mean 'fog'? (one of fog).
    """

    name: str
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    y: Tensor
    read: Callable[[str, int], Tensor]

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, corruption: str, severity: int) -> Tensor:
        """Return all images under one corruption, in the order of `y`.

        Args:
            corruption: one of `corruptions`.
            severity: one of `severities`.

        Returns:
            (N, C, H, W) uint8, the caller's own.

        Raises:
            InputError: a corruption or severity that is not there, or a file that can't be read any more.
        """
        check_corruptions((corruption,), self.corruptions)
        check_severities((severity,), self.severities)
        x = self.read(corruption, severity)
        if x.dtype != torch.uint8 or x.ndim != 4 or len(x) != len(self):
            raise InputError(
                f"{corruption} at severity {severity} must be {len(self)} images, uint8 (N, C, H, W),"
                f" got {x.dtype} {tuple(x.shape)}."
            )
        return x
