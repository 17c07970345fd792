"""Every labeler keeps the contract, and the contract notices one that does not."""

import pytest
import torch
from torch import Tensor

import vicinal.labeling
from vicinal.core import MixedBatch
from vicinal.densities import KDE, KNN, Gaussian
from vicinal.labeling import Labeler, LinearLabels, LogisticLabels, NeighbourLabels, PosteriorLabels
from vicinal.testing import check_labeler

CASES = [
    LinearLabels(),
    LogisticLabels(),
    LogisticLabels(0.01),
    NeighbourLabels(),
    NeighbourLabels(k=3),
    PosteriorLabels(Gaussian()),
    PosteriorLabels(KDE(), gamma=0.3),
    PosteriorLabels(KNN(), gamma=0.0),
    PosteriorLabels(Gaussian(), gamma=0.5, top2=True),
    PosteriorLabels(Gaussian(), temperature=5.0, prior="empirical"),
]


@pytest.mark.parametrize("labeler", CASES, ids=str)
def test_contract(labeler: Labeler) -> None:
    check_labeler(labeler)


def test_every_labeler_has_a_case() -> None:
    public = {getattr(vicinal.labeling, name) for name in vicinal.labeling.__all__} - {Labeler}
    assert public == {type(case) for case in CASES}


class Heavy(LinearLabels):
    """Wrong: rows do not sum to one."""

    def _label(self, batch: MixedBatch) -> Tensor:
        return super()._label(batch) * 1.1


class Below(LinearLabels):
    """Wrong: extrapolates."""

    def _label(self, batch: MixedBatch) -> Tensor:
        return torch.lerp(batch.y_b, batch.y_a, 3 * batch.lam[..., None] - 1)


class Single(LinearLabels):
    """Wrong: always single precision."""

    def _label(self, batch: MixedBatch) -> Tensor:
        return super()._label(batch).float()


class Average(LinearLabels):
    """Wrong: a row's label depends on its batch."""

    def _label(self, batch: MixedBatch) -> Tensor:
        return super()._label(batch).mean(-2, keepdim=True).expand(batch.y_a.shape)


class First(LinearLabels):
    """Wrong: prefers a class for its number."""

    def _label(self, batch: MixedBatch) -> Tensor:
        rows = torch.zeros_like(batch.y_a)
        rows[..., 0] = 1
        return rows


class Half(PosteriorLabels):
    """Wrong: its terms are not what it sums."""

    def terms(self) -> tuple[tuple[float, Labeler], ...]:
        return ((0.5, LinearLabels()), (0.5, LinearLabels()))


@pytest.mark.parametrize(
    ("labeler", "complaint"),
    [
        (Heavy(), "sum to one"),
        (Below(), "must not be negative"),
        (Single(), "in the dtype of the points"),
        (Average(), "must not depend on the other rows"),
        (First(), "permute the columns"),
        (Half(Gaussian()), "must sum to the label"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_contract_notices(labeler: Labeler, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_labeler(labeler)
