"""Pairs: which rows of a batch are mixed, and how much, drawn once and applied to points, labels, or hidden representations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.mixing import Beta, LinearMixer, Permutation
from vicinal.training.single.base import widen

__all__ = ["Pairs", "draw_pairs"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Partners and shares of a batch: v_i goes to lam_i v_i + (1 - lam_i) v_partner(i).

    Attributes:
        partner: (B,) indices into the batch.
        lam: (B,) in [0, 1], the share of the row itself.

    Examples:
        >>> pairs = Pairs(torch.tensor([1, 0]), torch.tensor([0.75, 0.75]))
        >>> pairs.mix(torch.tensor([[4.0], [0.0]])).tolist()
        [[3.0], [1.0]]
    """

    partner: Tensor
    lam: Tensor

    def mix(self, values: Tensor) -> Tensor:
        """Return mixed values (B, ...) in their own dtype; half precision is mixed in single, as labels are."""
        wide = widen(values)
        mixed, _ = LinearMixer().mix(wide, wide[self.partner], self.lam.to(wide.dtype), None)
        return mixed.to(values.dtype)


def draw_pairs(x: Tensor, y: Tensor, alpha: float, generator: torch.Generator) -> Pairs:
    """Draw one permutation of the batch and one lam ~ Beta(alpha, alpha) for all rows, as mixup's published code.

    The draws are those of `vicinal.Mixup(alpha)` from the same generator.

    Args:
        x: (B, ...) points.
        y: (B, K) label rows.
        alpha: above 0.
        generator: the source of randomness.

    Raises:
        InputError: `alpha` is not above 0.

    Reference: H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz. mixup: Beyond empirical risk minimization. ICLR 2018.

    Examples:
        >>> pairs = draw_pairs(torch.randn(4, 2), torch.eye(4), 1.0, torch.Generator())
        >>> sorted(pairs.partner.tolist()), bool((pairs.lam == pairs.lam[0]).all())
        ([0, 1, 2, 3], True)
    """
    partner = Permutation().draw(x, y, None, generator)
    return Pairs(partner, Beta(alpha).draw((len(x),), x, generator))
