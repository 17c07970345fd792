"""Who mixes with whom: every row of a batch gets a partner from the same batch."""

from abc import abstractmethod

import torch
from torch import Tensor

from vicinal.core import Component, check_number, draw_uniform, order_of, working_dtype

__all__ = ["DifferentClass", "Nearest", "Pairing", "Permutation"]


class Pairing(Component):
    """Abstract pairing."""

    @abstractmethod
    def draw(self, x: Tensor, y: Tensor, valid: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Draw a partner for every row.

        Args:
            x: (..., B, *F) points.
            y: (..., B, K) label rows.
            valid: (..., B) booleans where some rows only pad their batch; those are nobody's partners.
            generator: the source of randomness; None for torch's own.

        Returns:
            (..., B) indices into the batch; a row without a possible partner gets itself.
        """


class Permutation(Pairing):
    """A random permutation of the batch (Zhang et al., 2018): everybody is a partner once.

    Examples:
        >>> x, y = torch.randn(5, 2), torch.eye(5)
        >>> sorted(Permutation().draw(x, y, None, torch.Generator()).tolist())
        [0, 1, 2, 3, 4]
    """

    def draw(self, x: Tensor, y: Tensor, valid: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Draw a permutation of the valid rows; see `Pairing.draw`."""
        if valid is None and y.ndim == 2:
            if generator is None:
                return torch.randperm(len(y), device=x.device)
            return torch.randperm(len(y), generator=generator).to(x.device)
        keys = draw_uniform(y.shape[:-1], x, generator)
        if valid is None:
            return order_of(keys)
        # Valid rows sort first, so those positions hold a permutation of the valid rows; the padding keeps itself.
        places = order_of((~valid).to(keys.dtype))
        shuffled = order_of(torch.where(valid, keys, torch.arange(1, 1 + y.shape[-2], device=x.device)))
        return torch.empty_like(shuffled).scatter_(-1, places, shuffled)


class DifferentClass(Pairing):
    """A random partner among the rows of other classes (GenLabel, Example 1: 'mixup without manifold intrusion').

    Takes memory for B x B numbers a batch.

    Examples:
        >>> x, y = torch.randn(3, 2), torch.eye(2)[[0, 1, 1]]
        >>> DifferentClass().draw(x, y, None, torch.Generator())[1:].tolist()
        [0, 0]
    """

    def draw(self, x: Tensor, y: Tensor, valid: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Draw partners of other classes; see `Pairing.draw`."""
        label = y.argmax(-1)
        allowed = label[..., :, None] != label[..., None, :]
        if valid is not None:
            allowed = allowed & valid[..., None, :]
        b = label.shape[-1]
        if b == 0:
            return label
        keys = torch.where(allowed, draw_uniform((*label.shape, b), x, generator) + 1, 0.0)
        best = keys.max(-1)
        return torch.where(best.values > 0, best.indices, torch.arange(b, device=x.device))


class Nearest(Pairing):
    """A random one of the k nearest rows of the batch (Euclidean), as local variants of mixup do.

    Args:
        k: how many neighbours to choose among.

    Examples:
        >>> x, y = torch.tensor([[0.0], [1.0], [5.0]]), torch.eye(3)
        >>> Nearest(k=1).draw(x, y, None, torch.Generator()).tolist()
        [1, 0, 1]
    """

    def __init__(self, k: int = 5) -> None:
        self.k = k

    def draw(self, x: Tensor, y: Tensor, valid: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Draw near partners; see `Pairing.draw`."""
        check_number("k", self.k, 1, whole=True)
        b = y.shape[-2]
        itself = torch.arange(b, device=x.device).expand(y.shape[:-1])
        if b < 2:
            return itself
        flat = x.reshape(*y.shape[:-1], -1).to(working_dtype(x.device))
        distance = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
        barred = torch.eye(b, dtype=torch.bool, device=x.device).expand_as(distance)
        if valid is not None:
            barred = barred | ~valid[..., None, :]
        found = distance.masked_fill(barred, torch.inf).topk(min(self.k, b - 1), largest=False)
        among = found.values.isfinite().sum(-1)
        pick = (draw_uniform(y.shape[:-1], x, generator) * among).long().clamp(max=found.indices.shape[-1] - 1)
        return torch.where(among > 0, found.indices.gather(-1, pick[..., None])[..., 0], itself)
