"""Nearest rows, by brute force in tiles: exact, on any device, in bounded memory."""

import torch
from torch import Tensor

__all__ = ["nearest_rows", "working_dtype"]

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
