"""No intermediate result grows with rows x points."""

from typing import Any

import pytest
import torch
from torch.distributions import Normal
from torch.utils._python_dispatch import TorchDispatchMode

from vicinal.core import nearest_rows
from vicinal.densities import KDE, KNN, Density, Gaussian


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else [result]:
            if isinstance(part, torch.Tensor):
                self.numbers = max(self.numbers, part.numel())
        return result


@pytest.mark.parametrize("density", [KDE(), KNN(), KNN(3), Gaussian(), Gaussian("diagonal")], ids=str)
@pytest.mark.parametrize("far", [False, True])
def test_log_prob_works_in_tiles(density: Density, far: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6000, 2, generator=generator)
    fitted = density.fit(x, torch.arange(6000) % 2)
    queries = torch.randn(3000, 2, generator=generator) + (1e4 if far else 0)
    with Largest() as seen:
        result = fitted.log_prob(queries)
    assert result.shape == (3000, 2)
    assert seen.numbers <= 1.2 * 2**20, f"{seen.numbers} numbers at once, of 3000 x 3000 pairs a class"


def test_a_diagonal_gaussian_of_images_makes_no_matrix() -> None:
    """50 classes of 4096 features, whose matrices would be 6.7 GB: neither kept nor made, by fit, labels or samples."""
    k, d, n = 50, 4096, 200
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, d, generator=generator, dtype=torch.float64), torch.arange(n) % k
    for kind in ("diagonal", "spherical"):
        density = Gaussian(kind)
        with Largest() as seen:
            log_prob = density.fit(x, y).log_prob(x)
            drawn, _ = density.sample(n)
        assert seen.numbers <= n * d, f"{kind}: {seen.numbers} numbers at once"
        assert drawn.shape == x.shape
        assert sum(v.numel() for v in vars(density).values() if isinstance(v, torch.Tensor)) <= 5 * k * d
        normal = Normal(density.mean_, density.root_)
        torch.testing.assert_close(log_prob, torch.stack([normal.log_prob(row).sum(1) for row in x]), rtol=1e-9, atol=0)


def test_few_points_of_many_features() -> None:
    points = torch.eye(2, 500).repeat(3, 1)
    queries = points[:2].repeat(1000, 1)
    with Largest() as seen:
        nearest_rows(queries, points, k=3)
    assert seen.numbers <= 1.2 * 2**20
