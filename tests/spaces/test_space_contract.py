"""Every space keeps the contract, and the contract notices those that do not."""

from typing import Any

import pytest
import torch
from sklearn.base import clone
from torch import Tensor

import vicinal.spaces
from vicinal.core import InputError
from vicinal.spaces import MMDVAE, PCA, Identity, Reconstructed, Space
from vicinal.testing import check_space

TINY: dict[str, Any] = {"width": 8, "epochs": 1, "batch_size": 8, "device": "cpu"}

CASES: dict[str, tuple[Space, tuple[int, ...]]] = {
    "Identity": (Identity(), (3,)),
    "PCA": (PCA(), (1, 8, 6)),
    "PCA of all": (PCA(5), (5,)),
    "Reconstructed": (Reconstructed(PCA(2)), (3, 4, 4)),
    "MMDVAE": (MMDVAE(**TINY), (1, 8, 6)),
    "MMDVAE, flat": (MMDVAE(latent=(3,), **TINY), (1, 9, 11)),
    "MMDVAE, a half": (MMDVAE(latent=(2, 5, 6), **TINY), (3, 9, 11)),
    "MMDVAE, a quarter": (MMDVAE(latent=(2, 8, 8), divergence="kl", **TINY), (3, 30, 30)),
    "MMDVAE, an eighth": (MMDVAE(latent=(5, 2, 2), epsilon=0.1, attack_steps=1, **TINY), (1, 9, 11)),
    "Reconstructed MMDVAE": (Reconstructed(MMDVAE(**TINY)), (1, 8, 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_contract(name: str) -> None:
    space, shape = CASES[name]
    check_space(space, shape)


def test_every_space_has_a_case() -> None:
    public = {getattr(vicinal.spaces, name) for name in vicinal.spaces.__all__}
    spaces = {value for value in public if isinstance(value, type) and issubclass(value, Space)} - {Space}
    assert spaces == {type(space) for space, _ in CASES.values()}


class Shuffling(Identity):
    """Wrong: draws."""

    def _encode(self, x: Tensor) -> Tensor:
        return x + torch.randn(x.shape)


class Centred(Identity):
    """Wrong: a row's code depends on the batch."""

    def _encode(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True) if len(x) else x


class Double(Identity):
    """Wrong: keeps what it learnt where it is not saved."""

    def _fit(self, x: Tensor) -> None:
        self._scale = x.abs().max()

    def _encode(self, x: Tensor) -> Tensor:
        return x / getattr(self, "_scale", 1.0)


class Bounded(Identity):
    """Wrong: promises bounds and does not keep them."""

    bounds = (0.0, 1.0)


class Forgetful(Identity):
    """Wrong: learns from all it has ever seen."""

    def _fit(self, x: Tensor) -> None:
        self.largest_ = torch.maximum(getattr(self, "largest_", x[0]), x.amax(0))

    def _encode(self, x: Tensor) -> Tensor:
        return x * self.largest_


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        (Shuffling(), "must not depend on the others|the same codes"),
        (Centred(), "must not depend on the others"),
        (Double(), "pickling must keep the codes|saving must keep the"),
        (Bounded(), r"points must lie in \[0"),
        (Forgetful(), "whatever was before"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_contract_notices(space: Space, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_space(space)


@pytest.mark.parametrize("make", [lambda: PCA(2), lambda: Reconstructed(PCA(2)), lambda: MMDVAE(**TINY)])
def test_keys_tell_two_trainings_of_the_same_parameters(make: Any) -> None:
    """In what holds a space, too."""
    first, second = (
        make().fit(torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(seed))) for seed in (0, 1)
    )
    assert clone(make()).key() == make().key()
    assert len({first.key(), second.key(), make().key()}) == 3
    assert Reconstructed(first).key() != Reconstructed(second).key()
    assert Reconstructed(first).key() == Reconstructed(first).key()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: PCA(2).encode(x), r"this PCA is not fitted; call `fit\(x\)` first, or load a trained one"),
        (lambda x: PCA(2).decode(x), "this PCA is not fitted"),
        (lambda x: PCA(2).fit(x).encode(x[:, :2]), r"points must have the shape \(B, 3\) of this space, got \(9, 2\)"),
        (lambda x: PCA(2).fit(x).decode(x), r"codes must have the shape \(B, 2\) of this space, got \(9, 3\)"),
        (lambda x: PCA(4).fit(x), "`components` must be at most the 3 features, got 4"),
        (lambda x: PCA(0).fit(x), r"`components` must lie in \[1"),
        (lambda x: PCA(0.0).fit(x), r"`components` must lie in \(0"),
        (lambda x: Identity().fit(x[:0]), "must have at least one row"),
    ],
)
def test_messages(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)))
