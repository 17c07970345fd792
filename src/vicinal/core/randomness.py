"""Randomness with an address: every draw comes from a generator whose seed is hashed from named axes.

The axes say *what the draw is for* (dataset, trial, fold, purpose), so a study gives the same numbers with one worker or
twenty, before and after a resume, and two methods that share an address see the same splits and the same pairs.
"""

import hashlib
import json

import numpy as np
import torch

__all__ = ["draw_uniform", "generator_at", "seed_at"]

Axis = int | str | float | bool | None


def seed_at(**axes: Axis) -> int:
    """Hash named axes to a seed.

    Args:
        **axes: names and values; their order does not matter. An axis that is added or renamed changes the seed.

    Returns:
        An integer in [0, 2**63), the same on every machine and Python version.

    Examples:
        >>> seed_at(trial=0, fold=1) == seed_at(fold=1, trial=0)
        True
        >>> seed_at(trial=0, fold=1) == seed_at(trial=1, fold=0)
        False
    """
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in axes.items()}
    address = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest(), "big") >> 1


def generator_at(**axes: Axis) -> torch.Generator:
    """Return a torch generator (CPU) seeded by `seed_at` of the same axes.

    Examples:
        >>> a, b = generator_at(trial=0), generator_at(trial=0)
        >>> bool((torch.rand(3, generator=a) == torch.rand(3, generator=b)).all())
        True
    """
    return torch.Generator().manual_seed(seed_at(**axes))


def draw_uniform(shape: tuple[int, ...], like: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Draw uniform numbers in [0, 1) on the device of `like`, in single precision.

    A generator draws on the CPU and the numbers move, so that every device sees the same ones; without one, torch's own
    state on the device is used (as compiled graphs must, which can't hold a generator).
    """
    if generator is None:
        return torch.rand(shape, device=like.device)
    return torch.rand(shape, generator=generator).to(like.device)
