"""Manifold mixup: rows are mixed at a random layer, as the network sees them there."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vicinal.mixing import Beta, Permutation
from vicinal.training.objectives.base import Objective, take
from vicinal.training.perceptrons import Perceptrons

__all__ = ["ManifoldMixup"]


class ManifoldMixup(Objective):
    """Mix hidden representations: h_l = lam h_l(x) + (1 - lam) h_l(x'), and the labels by the same line.

    For every batch one layer l at random among the input and the hidden layers (after ReLU), one lam ~ Beta(alpha, alpha),
    and one permutation for the partners x'. A network without hidden layers has but its input to mix: that is mixup.

    Args:
        alpha: above 0.

    Reference: V. Verma et al. Manifold mixup: Better representations by interpolating hidden states. ICML 2019.

    Examples:
        >>> import vicinal as vc
        >>> from vicinal.training import Group, Setting, fit_stack
        >>> x, y = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> setting = Setting(vc.Vanilla(), 0.05, objective=ManifoldMixup())
        >>> fit = fit_stack([Group(x, y, n_classes=2, address={"seed": 0})], [setting], hidden=(8,))
        >>> fit.network(0, 0)(x).argmax(1).tolist()
        [0, 0, 1, 1]
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def draw(self, weight: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw partners (M, B), lam (M,) and the layer as a number in [0, 1) (M,); see `Objective.draw`."""
        return {
            "partner": Permutation().draw(weight, weight[..., None], weight > 0, generator),
            "lam": Beta(self.alpha).draw((len(weight), 1), weight, generator)[:, 0],
            "layer": torch.rand(len(weight), generator=generator).to(weight.device),
        }

    def loss(
        self, networks: Sequence[Perceptrons], x: Tensor, y: Tensor, weight: Tensor, draws: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the cross entropy of the mixed representations; see `Objective.loss`."""
        (network,) = networks
        partner, lam = draws["partner"], draws["lam"][:, None, None, None]
        chosen = (draws["layer"] * network.depth).long()
        h = x[:, None].expand(-1, y.shape[1], -1, -1)
        for number in range(network.depth):
            here = chosen == number
            if bool(here.any()):
                h = torch.lerp(take(h, partner), h, torch.where(here[:, None, None, None], lam, 1.0))
            h = network(h, start=number, stop=number + 1)
        y = torch.lerp(take(y, partner), y, lam)
        return -(weight[:, None] * (y * torch.log_softmax(h, 2)).sum(2)).sum(-1)
