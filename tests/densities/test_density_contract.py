"""Every density keeps the contract, and the contract notices one that does not."""

import pytest
import torch
from torch import Tensor

import vicinal.densities
from vicinal.densities import KDE, KNN, Density, Gaussian
from vicinal.testing import check_density

CASES = [
    Gaussian(),
    Gaussian("diagonal"),
    Gaussian("spherical"),
    Gaussian("tied"),
    Gaussian(shrinkage=0.3),
    Gaussian(shrinkage="ledoit-wolf"),
    Gaussian("diagonal", 0.3),
    Gaussian("spherical", "ledoit-wolf"),
    KDE(),
    KDE("silverman"),
    KDE(0.7),
    KDE("likelihood"),
    KDE(max_rows=1000),
    KNN(),
    KNN(5),
    KNN("sqrt"),
]


@pytest.mark.parametrize("density", CASES, ids=str)
def test_contract(density: Density) -> None:
    check_density(density)


def test_every_density_has_a_case() -> None:
    public = {getattr(vicinal.densities, name) for name in vicinal.densities.__all__} - {Density}
    assert public == {type(case) for case in CASES}


class Shifted(Gaussian):
    """Wrong: twice the density it says."""

    def _log_prob(self, x: Tensor) -> Tensor:
        return super()._log_prob(x) + 0.1


class Linear(Gaussian):
    """Wrong: exponentiates before it divides."""

    def _log_prob(self, x: Tensor) -> Tensor:
        return super()._log_prob(x).exp().log()


class Deaf(Gaussian):
    """Wrong: takes no notice of weights."""

    def _fit(self, x: Tensor, y: Tensor, weight: Tensor) -> None:
        super()._fit(x, y, torch.ones_like(weight))


class Loud(Gaussian):
    """Wrong: its samples are too wide."""

    def _sample(self, y: Tensor, generator: torch.Generator) -> Tensor:
        return self.mean_[y] + 1.1 * (super()._sample(y, generator) - self.mean_[y])


class Social(Gaussian):
    """Wrong: a row's answer depends on its batch."""

    def _log_prob(self, x: Tensor) -> Tensor:
        return super()._log_prob(x) + x.mean()


class Partial(Gaussian):
    """Wrong: some of what it learned is not saved."""

    def _fit(self, x: Tensor, y: Tensor, weight: Tensor) -> None:
        super()._fit(x, y, weight)
        self.spread = x.std(0)


class Modest(Gaussian):
    """Wrong: says that it does not integrate to one, and does."""

    normalized = False


class Favourite(Gaussian):
    """Wrong: the first class is worth more."""

    def _log_prob(self, x: Tensor) -> Tensor:
        result = super()._log_prob(x)
        return result + torch.tensor([0.01] + [0.0] * (result.shape[1] - 1))


@pytest.mark.parametrize(
    ("density", "complaint"),
    [
        (Shifted(), "integrate to"),
        (Linear(), "must be finite"),
        (Deaf(), "w rows"),
        (Loud(), "covariance"),
        (Social(), "equal a loop"),
        (Partial(), "end in an underscore"),
        (Modest(), "declares `normalized = False`"),
        (Favourite(), "permute the columns"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_contract_notices(density: Density, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_density(density)
