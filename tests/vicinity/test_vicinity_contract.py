"""Every recipe and many compositions keep the contract, and the contract notices those that do not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import vicinal as vc
from vicinal.core import MixedBatch
from vicinal.densities import KDE, KNN, Gaussian
from vicinal.labeling import NeighbourLabels
from vicinal.mixing import Beta, CutMixer, DifferentClass, Nearest
from vicinal.spaces import PCA
from vicinal.testing import check_vicinity
from vicinal.vicinity import BaseVicinity, InSpace, ManifoldIntrusion, MixupR, VarMixup, Vicinity, recipes

CASES: dict[str, BaseVicinity] = {
    "Vanilla": vc.Vanilla(),
    "Mixup": vc.Mixup(),
    "Mixup, per sample": vc.Mixup(0.4, per="sample"),
    "CutMix": vc.CutMix(),
    "GenLabel": vc.GenLabel(),
    "GenLabel, KDE": vc.GenLabel(KDE(), gamma=0.6, top2=True),
    "GenLabel, KNN": vc.GenLabel(KNN(3), gamma=0.5),
    "GenLabel on CutMix": vc.GenLabel(KDE(), mixer=CutMixer()),
    "MixupExcludingIntrusion": vc.MixupExcludingIntrusion(),
    "LogisticMixup": vc.LogisticMixup(exclude_intrusion=True, per="sample"),
    "OneOf": vc.OneOf(vc.MixupExcludingIntrusion(), vc.GenLabel(KDE())),
    "OneOf in OneOf": vc.OneOf(vc.OneOf(vc.Mixup(), vc.CutMix()), vc.Vanilla()),
    "other class": vc.Vicinity(pairing=DifferentClass(), ratio=Beta(2.0)),
    "nearest": vc.Vicinity(pairing=Nearest(), labeler=NeighbourLabels(3)),
    "VarMixup": VarMixup(PCA(3), per="sample"),
    "VarMixup, noisy": VarMixup(PCA(5), 0.4, sample=True),
    "VarMixup, posterior": VarMixup(PCA(4), density=Gaussian(), gamma=0.7),
    "MixupR": MixupR(PCA(3)),
    "InSpace around OneOf": InSpace(PCA(6), vc.OneOf(vc.MixupExcludingIntrusion(), vc.GenLabel()), sample=True),
    "InSpace in InSpace": InSpace(PCA(9), VarMixup(PCA(4))),
}


# They draw one batch at a time, and can't be compiled.
AMONG_SPACES: dict[str, BaseVicinity] = {
    "OneOf with a space": vc.OneOf(vc.Mixup(), VarMixup(PCA(3))),
    "OneOf around InSpace around OneOf": vc.OneOf(
        InSpace(PCA(6), vc.OneOf(vc.Mixup(), vc.GenLabel())), vc.OneOf(vc.CutMix(), MixupR(PCA(2)))
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_contract(name: str) -> None:
    check_vicinity(CASES[name])


@pytest.mark.parametrize("name", AMONG_SPACES)
def test_contract_of_choices_among_spaces(name: str) -> None:
    check_vicinity(AMONG_SPACES[name], compiles=False)


def test_every_recipe_has_a_case() -> None:
    assert {name for name in recipes.__all__ if name not in CASES} == set()


class OldRows(Vicinity):
    """Wrong: draws the labels' partners on their own."""

    def draw_rows(
        self, x: Tensor, rows: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixedBatch:
        first = super().draw_rows(x, rows, valid, generator)
        second = super().draw_rows(x, rows, valid, generator)
        return MixedBatch(first.x, first.x_a, first.x_b, first.y_a, second.y_b, first.lam, first.weight)


class Repeating(Vicinity):
    """Wrong: makes its generator anew at every call."""

    def _generator(self) -> torch.Generator | None:
        return None if self.seed is None else torch.Generator().manual_seed(self.seed)


class Everywhere(Vicinity):
    """Wrong: workers all draw the same."""

    def _generator(self) -> torch.Generator | None:
        if getattr(self, "_stream", None) is None:
            self._stream = torch.Generator().manual_seed(self.seed or 0)
        return self._stream


class Unscaled(Vicinity):
    """Wrong: forgets that rows were taken out."""

    def __call__(self, x: Any, y: Any) -> tuple[Tensor, Tensor]:
        batch = self.draw(x, y)
        return batch.x, self.label(batch) * batch.weight[:, None]


class Counting(Vicinity):
    """Wrong: looks at values, which a graph can't."""

    def label(self, batch: MixedBatch) -> Tensor:
        return super().label(batch) if float(batch.x.sum()) > -1e9 else batch.y_a


class Padded(Vicinity):
    """Wrong: padding takes part."""

    def draw_rows(
        self, x: Tensor, rows: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixedBatch:
        return super().draw_rows(x, rows, None, generator)


@pytest.mark.parametrize(
    ("check", "complaint"),
    [
        (lambda: check_vicinity(OldRows(), False, False), "must come from the same rows"),
        (lambda: check_vicinity(Repeating(), False, False), "calls must not repeat each other"),
        (lambda: check_vicinity(Everywhere(), False, True), "fix the draws|fresh numbers|state|starts* its seed"),
        (
            lambda: check_vicinity(Unscaled(filter=ManifoldIntrusion()), False, False),
            "mean over the rows kept|be their",
        ),
        (lambda: check_vicinity(Padded(), False, False), "padding must"),
    ],
    ids=["OldRows", "Repeating", "Everywhere", "Unscaled", "Padded"],
)
def test_contract_notices(check: Callable[[], None], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check()


def test_contract_notices_what_does_not_compile() -> None:
    with pytest.raises(Exception, match=r"(?i)data-dependent|graph break|unsupported"):
        check_vicinity(Counting(), workers=False)
