"""Nearest rows against a sorted list of exact distances."""

import math

import pytest
import torch

from vicinal.core import nearest as module
from vicinal.core import nearest_rows


@pytest.mark.parametrize("k", [1, 2, 7, 30])
@pytest.mark.parametrize("offset", [0.0, 1e6, -1e9])
def test_against_a_loop(k: int, offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(30, 3, generator=generator, dtype=torch.float64) + offset
    queries = torch.randn(12, 3, generator=generator, dtype=torch.float64) + offset
    squared, index = nearest_rows(queries, points, k)
    for i, query in enumerate(queries.tolist()):
        ranked = sorted((math.dist(query, row), j) for j, row in enumerate(points.tolist()))[:k]
        assert index[i].tolist() == [j for _, j in ranked]
        assert squared[i].sqrt().tolist() == pytest.approx([r for r, _ in ranked], rel=1e-6)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    points, queries = torch.randn(40, 2, generator=generator), torch.randn(25, 2, generator=generator)
    whole = nearest_rows(queries, points, 3)
    monkeypatch.setattr(module, "TILE", 100)
    tiled = nearest_rows(queries, points, 3)
    torch.testing.assert_close(tiled[0], whole[0], rtol=1e-9, atol=0)
    assert torch.equal(tiled[1], whole[1])


def test_a_row_is_its_own_nearest_at_distance_zero() -> None:
    points = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)) * 1e3 + 1e5
    squared, index = nearest_rows(points, points)
    assert index[:, 0].tolist() == list(range(50))
    assert float(squared.max()) == 0.0


def test_no_queries() -> None:
    squared, index = nearest_rows(torch.zeros(0, 2), torch.zeros(5, 2), 2)
    assert squared.shape == index.shape == (0, 2)
