"""Orders against torch's stable sort."""

import pytest
import torch

from vicinal.core import order_of


@pytest.mark.parametrize("shape", [(0,), (1,), (1000,), (3, 0), (4, 257), (2, 3, 50)])
@pytest.mark.parametrize("levels", [2, 2**24])
def test_against_torchs_stable_sort(shape: tuple[int, ...], levels: int) -> None:
    """Two levels: nearly all keys are ties; also infinity and numbers above 1, as padding has."""
    keys = torch.randint(levels, shape, generator=torch.Generator().manual_seed(0)) / levels
    for scaled in (keys, keys * 1e30, torch.where(keys < 0.3, torch.inf, keys)):
        before = scaled.clone()
        assert torch.equal(order_of(scaled), torch.argsort(scaled, dim=-1, stable=True))
        assert torch.equal(scaled, before)


def test_keys_that_are_not_contiguous() -> None:
    keys = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)).T
    assert torch.equal(order_of(keys), torch.argsort(keys, dim=-1, stable=True))


def test_compiled() -> None:
    keys = torch.rand(3, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.compile(order_of, backend="eager", fullgraph=True)(keys), order_of(keys))
