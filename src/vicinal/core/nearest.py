"""Nearest rows, by brute force in tiles: exact, on any device, in bounded memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["nearest_groups", "nearest_rows", "working_dtype"]

TILE = 1 << 20
"""Numbers in one tile of distances: 8 MB in double precision."""


def working_dtype(device: torch.device) -> torch.dtype:
    """Double precision where the device has it (MPS has not): squared distances of 1e10 must keep their differences."""
    return torch.float32 if device.type == "mps" else torch.float64


CANCELS = 1e-6
"""A squared distance below this share of the points' squared norms has lost more than half of its digits."""


def nearest_rows(queries: Tensor, points: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Find the k nearest points of every query (Euclidean).

    Args:
        queries: (B, D).
        points: (N, D) with N >= k.
        k: how many.

    Returns:
        Squared distances (B, k), ascending and never negative, and indices into `points` (B, k).

    Examples:
        >>> squared, index = nearest_rows(torch.tensor([[0.9]]), torch.tensor([[0.0], [1.0], [3.0]]), k=2)
        >>> index.tolist()
        [[1, 0]]
    """
    dtype = working_dtype(queries.device)
    center = points.to(dtype).mean(0)
    points, queries = points.to(dtype) - center, queries.to(dtype) - center
    norms = (points * points).sum(1)
    rows = max(1, TILE // max(len(points), k * points.shape[1]))
    found = []
    # All tiles share one buffer: fresh memory would cost more than the arithmetic.
    buffer = queries.new_empty(min(rows, len(queries)), len(points))
    for part in queries.split(rows):
        # |q - p|^2 less |q|^2, which does not change the order.
        keys = torch.addmm(norms, part.detach(), points.T, alpha=-2, out=buffer[: len(part)])
        if k == 1:
            least, index = keys.min(1, keepdim=True)
        else:
            least, index = keys.topk(k, largest=False)
        own = part.square().sum(1, keepdim=True)
        squared = least + own
        # Where the sum cancels, the difference is taken before squaring: copies of a row are at distance 0.
        if torch.compiler.is_compiling() or part.requires_grad:  # a graph can't look at values: all differences
            squared, order = (part[:, None] - points[index]).square().sum(-1).sort(dim=1)
            found.append((squared, index.gather(1, order)))
            continue
        row, rank = (squared < CANCELS * (own + norms[index])).nonzero(as_tuple=True)
        if len(row):
            squared[row, rank] = (part[row] - points[index[row, rank]]).square().sum(1)
            squared, order = squared.sort(dim=1)
            index = index.gather(1, order)
        found.append((squared, index))
    return torch.cat([squared for squared, _ in found]), torch.cat([index for _, index in found])


POINTS = 512
"""Points in one tile of `nearest_groups`."""

PAIRS = 1 << 18
"""Distances in one such tile: 1 MB, which stays in a core's cache from the product to the minimum."""


def nearest_groups(queries: Tensor, points: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Find between which bounds the distance of every query to the nearest point of every group lies (Euclidean).

    Which group is nearer is mostly plain in single precision, at an eighth of `nearest_rows`'s time; where bounds overlap,
    that one tells.

    Args:
        queries: (B, D).
        points: (N, D), one group after the other.
        sizes: points of each of G groups; 0 for an empty one.

    Returns:
        Lower and upper bounds (G, B) of squared distances, in single precision and in units of the points' largest deviation
        from their mean in any feature, squared; both infinite for an empty group.

    Examples:
        >>> low, high = nearest_groups(torch.tensor([[0.5]]), torch.tensor([[-1.0], [-2.0], [3.0]]), [2, 1])
        >>> (high * 9).round(decimals=4).tolist()                                       # the mean is 0, the unit 3
        [[2.25], [6.25]]
        >>> bool((low < high).all()), bool((high - low < 1e-4).all())
        (True, True)
    """
    dtype = working_dtype(queries.device)
    points, queries = points.detach().to(dtype), queries.detach().to(dtype)
    center = points.mean(0)
    unit = (
        float((points - center).abs().amax()) or 1.0
    )  # squares of the largest features have no place in single precision
    p, q = (((part - center) / unit).to(torch.float32) for part in (points, queries))
    # |q - p|^2 less |q|^2 is one product, a point a row: minima over rows take vectors of queries.
    left = torch.cat([p * -2, p.square().sum(1, keepdim=True)], 1).split(list(sizes))
    right = torch.cat([q, torch.ones_like(q[:, :1])], 1).T
    found = q.new_full((len(sizes), len(q)), torch.inf)
    width = max(1, PAIRS // min(POINTS, max(sizes)))
    buffer = q.new_empty(PAIRS)
    for part, least in zip(right.split(width, 1), found.split(width, 1), strict=True):
        for group, best in zip(left, least, strict=True):
            for tile in group.split(POINTS) if len(group) else ():
                keys = torch.mm(tile, part, out=buffer[: len(tile) * len(best)].view(len(tile), len(best)))
                torch.minimum(best, keys.amin(0), out=best)
    own = q.square().sum(1)
    squared = (found + own).clamp_(min=0)
    # Rounding errors of a sum of D + 1 products, for a point that is at most |q| + distance from the centre.
    wrong = (points.shape[1] + 8) * 2.0**-24
    slack = 5 * wrong * own
    return (1 - 3 * wrong) * squared - slack, (1 + 3 * wrong) * squared + slack
