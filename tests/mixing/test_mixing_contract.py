"""Every pairing, ratio and mixer keeps its contract, and the contracts notice those that do not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.stats import beta, uniform
from torch import Tensor

import vicinal.mixing
from vicinal.mixing import (
    Beta,
    CutMixer,
    DifferentClass,
    Fixed,
    LinearMixer,
    Mixer,
    Nearest,
    NoisyMixer,
    NoMixer,
    Pairing,
    Permutation,
    Ratio,
)
from vicinal.testing import check_mixer, check_pairing, check_ratio


def other_class(x: Tensor, y: Tensor) -> Tensor:
    return y @ y.T == 0


PAIRINGS: list[tuple[Pairing, Callable[[Tensor, Tensor], Tensor] | None]] = [
    (Permutation(), None),
    (DifferentClass(), other_class),
    (Nearest(1), None),
    (Nearest(3), None),
    (Nearest(100), None),
]
RATIOS: list[tuple[Ratio, Any]] = [
    (Beta(), uniform.cdf),
    (Beta(per="sample"), uniform.cdf),
    (Beta(0.2), beta(0.2, 0.2).cdf),
    (Beta(0.2, per="sample"), beta(0.2, 0.2).cdf),
    (Beta(2), beta(2, 2).cdf),
    (Beta(50.0, per="sample"), beta(50, 50).cdf),
    (Fixed(0.3), None),
    (Fixed(0), None),
]
MIXERS: list[Mixer] = [
    LinearMixer(),
    NoMixer(),
    CutMixer(),
    NoisyMixer(0.1),
    NoisyMixer(0.1, CutMixer()),
    NoisyMixer(2.0, bounds=(0.0, 1.0)),
]


@pytest.mark.parametrize(("pairing", "allowed"), PAIRINGS, ids=str)
def test_pairing(pairing: Pairing, allowed: Callable[[Tensor, Tensor], Tensor] | None) -> None:
    check_pairing(pairing, allowed)


@pytest.mark.parametrize(("ratio", "cdf"), RATIOS, ids=str)
def test_ratio(ratio: Ratio, cdf: Any) -> None:
    check_ratio(ratio, cdf)


@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_mixer(mixer: Mixer) -> None:
    check_mixer(mixer, between=not isinstance(mixer, NoisyMixer))


def test_every_part_has_a_case() -> None:
    public = {getattr(vicinal.mixing, name) for name in vicinal.mixing.__all__} - {Pairing, Ratio, Mixer}
    cases = [*(p for p, _ in PAIRINGS), *(r for r, _ in RATIOS), *MIXERS]
    assert public == {type(case) for case in cases}


class Leaky(Pairing):
    """Wrong: takes padding for partners."""

    def draw(self, x: Tensor, y: Tensor, valid: Tensor | None, generator: torch.Generator | None) -> Tensor:
        return Permutation().draw(x, y, None, generator)


class Selfish(Pairing):
    """Wrong where partners are to be of another class."""

    def draw(self, x: Tensor, y: Tensor, valid: Tensor | None, generator: torch.Generator | None) -> Tensor:
        return torch.arange(y.shape[-2]).expand(y.shape[:-1])


class Global(Pairing):
    """Wrong: does not listen to its generator."""

    def draw(self, x: Tensor, y: Tensor, valid: Tensor | None, generator: torch.Generator | None) -> Tensor:
        return Permutation().draw(x, y, valid, None)


class Skewed(Beta):
    """Wrong: not the distribution it says."""

    def draw(self, batch_shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
        return super().draw(batch_shape, like, generator) ** 1.3


class Wide(Beta):
    """Wrong: beyond [0, 1]."""

    def draw(self, batch_shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
        return 1.5 * super().draw(batch_shape, like, generator)


class Backwards(LinearMixer):
    """Wrong: lam is the second endpoint's share."""

    def mix(self, x_a: Tensor, x_b: Tensor, lam: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        return super().mix(x_b, x_a, lam, generator)


class Uncorrected(CutMixer):
    """Wrong: returns the lam that was asked for, not what clipping left of it."""

    def mix(self, x_a: Tensor, x_b: Tensor, lam: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        return super().mix(x_a, x_b, lam, generator)[0], lam


class Writer(LinearMixer):
    """Wrong: writes into what it was given."""

    def mix(self, x_a: Tensor, x_b: Tensor, lam: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        mixed, lam = super().mix(x_a, x_b, lam, generator)
        return x_a.copy_(mixed), lam


@pytest.mark.parametrize(
    ("check", "complaint"),
    [
        (lambda: check_pairing(Leaky()), "padding row may only|which is not allowed"),
        (lambda: check_pairing(Selfish(), other_class), "which is not allowed"),
        (lambda: check_pairing(Global()), "a seed must fix the draws"),
        (lambda: check_ratio(Skewed(), uniform.cdf), "does not follow the distribution"),
        (lambda: check_ratio(Wide()), r"lam must lie in \[0, 1\]"),
        (lambda: check_mixer(Backwards()), "share of the first endpoint"),
        (lambda: check_mixer(Uncorrected()), "share of the first endpoint"),
        (lambda: check_mixer(Writer()), "must stay as they are"),
    ],
)
def test_contracts_notice(check: Callable[[], None], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check()
