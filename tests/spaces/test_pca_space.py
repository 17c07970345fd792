"""Principal components against scikit-learn's, and the space in which mixing is plain mixup."""

import numpy as np
import pytest
import sklearn.decomposition
import torch
from torch import Tensor

import vicinal as vc
from vicinal.spaces import PCA, Reconstructed
from vicinal.vicinity import MixupR, VarMixup


def rows(n: int = 40, d: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(n, d, generator=generator, dtype=torch.float64) @ torch.randn(d, d, generator=generator).double()
        + 2
    )


@pytest.mark.parametrize("components", [1, 3, 7, 0.5, 0.8, 0.95, 0.999])
@pytest.mark.parametrize(("n", "d"), [(40, 7), (5, 7)])
def test_it_is_scikit_learns(components: float, n: int, d: int) -> None:
    x = rows(n, d)
    if isinstance(components, int) and components > n:
        pytest.skip("scikit-learn has at most as many components as rows")
    ours, theirs = PCA(components).fit(x), sklearn.decomposition.PCA(components, svd_solver="full").fit(x.numpy())
    assert ours.code_shape_ == (theirs.n_components_,)
    # A direction's sign is a matter of taste.
    np.testing.assert_allclose(ours.encode(x).abs().numpy(), np.abs(theirs.transform(x.numpy())), atol=1e-8)
    back = theirs.inverse_transform(theirs.transform(x.numpy()))
    np.testing.assert_allclose(ours.decode(ours.encode(x)).numpy(), back, atol=1e-8)
    assert ours.residual_ == pytest.approx(np.sqrt(((back - x.numpy()) ** 2).mean()), abs=1e-8)


def test_more_components_than_rows() -> None:
    """The directions without variance make the rotation whole."""
    x = rows(5, 7)
    space = PCA(7).fit(x)
    assert space.code_shape_ == (7,)
    other = rows(9, 7) * 3
    torch.testing.assert_close(space.decode(space.encode(other)), other)


def test_constant_rows() -> None:
    x = torch.full((4, 3), 0.25)
    space = PCA().fit(x)
    assert torch.equal(space.decode(space.encode(x)), x)


@pytest.mark.parametrize("make", [lambda: VarMixup(PCA(12), seed=3), lambda: MixupR(PCA(12), seed=3)])
@pytest.mark.parametrize("shape", [(12,), (3, 2, 2)])
def test_mixing_in_a_rotation_is_mixup(make, shape) -> None:
    x, y = rows(30, 12).reshape(30, *shape), torch.arange(30) % 3
    points, labels = make().fit(x, y)(x, y)
    expected, rows_of = vc.Mixup(n_classes=3, seed=3)(x, y)
    torch.testing.assert_close(points, expected, atol=1e-10, rtol=0)
    assert torch.equal(labels, rows_of)


def test_reconstructions_of_a_fitted_space_are_its_own() -> None:
    x = rows(20, 6)
    inner = PCA(2).fit(x)
    space = Reconstructed(inner).fit(x[:3])
    assert torch.equal(space.encode(x), inner.decode(inner.encode(x)))
    assert torch.equal(space.decode(x), x)


def test_it_works_where_the_points_are() -> None:
    space = PCA(2).fit(torch.randn(8, 3))
    codes = space._encode(torch.zeros(4, 3, device="meta"))  # a device without numbers
    assert codes.device.type == "meta"
    assert space._decode(codes).shape == (4, 3)
