"""Nearest rows against a sorted list of exact distances."""

import math

import pytest
import torch

from vicinal.core import nearest as module
from vicinal.core import nearest_groups, nearest_rows


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


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("d", [1, 9, 200])
def test_groups_against_all_distances(d: int, offset: float, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds hold, are tight where points are not far from each other, and tiles change nothing."""
    generator = torch.Generator().manual_seed(0)
    sizes = [50, 0, 7, 1]
    points, queries = torch.randn(98, d, generator=generator, dtype=torch.float64).split([58, 40])
    queries[:5] = points[:5]  # at distance 0
    queries[5:8] *= 1e6
    points, queries = (points + offset) * scale, (queries + offset) * scale
    low, high = nearest_groups(queries, points, sizes)
    monkeypatch.setattr(module, "POINTS", 16)
    monkeypatch.setattr(module, "PAIRS", 200)
    for tiled, whole in zip(nearest_groups(queries, points, sizes), (low, high), strict=True):
        torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4)
    centred = points - points.mean(0)
    unit = centred.abs().max() ** 2
    for g, group in enumerate(points.split(sizes)):
        if not len(group):
            assert bool((low[g] == torch.inf).all() & (high[g] == torch.inf).all())
            continue
        exact = torch.cdist(queries, group, compute_mode="donot_use_mm_for_euclid_dist").amin(1).square() / unit
        assert bool(((low[g] <= exact) & (exact <= high[g])).all())
        near = (queries - points.mean(0)).square().sum(1) / unit + exact
        assert bool((high[g] - low[g] <= 2e-6 * (d + 9) * near).all())


def test_groups_of_one_row_many_times() -> None:
    """No spread to measure in: the unit is 1."""
    low, high = nearest_groups(torch.zeros(3, 2), torch.ones(4, 2), [1, 3])
    assert bool((low <= 2).all() & (high >= 2).all())
