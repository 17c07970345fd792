"""AdaMixup: a network decides how far two rows may be mixed, and another one tells it what a mixed point looks like."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vicinal.core import check_in
from vicinal.mixing import Permutation
from vicinal.networks import MLP
from vicinal.training.objectives.base import Objective, take
from vicinal.training.perceptrons import Perceptrons, backward, forward

__all__ = ["AdaMixup"]

REAL, MIXED = 0, 1


class AdaMixup(Objective):
    """Mix two rows by a share that a policy network chooses, so that the mixed point does not look like a real one.

        (a, d, 1 - a - d) = softmax(policy(x1, x2)),   lam = a + e d,   e ~ U(0, 1) for every row
        x = lam x1 + (1 - lam) x2,   y = lam y1 + (1 - lam) y2
        loss = CE(H(x), y) + CE(H(x1), y1) + CE(H(x2), y2)
             + CE(D(x), mixed) + CE(D(x1), real) + CE(D(x2), real) + CE(D(x3), real)

    H is the classifier and D the intrusion discriminator. All three networks minimise the one loss: D learns to tell mixed from
    real, and the policy goes where D recognises its points as mixed, that is, off the manifold of the data. x2 and x3 are random
    orders of the batch x1, so that the terms of real rows come to 2 CE(H(x1), y1) + 3 CE(D(x1), real).

    This is the form for tables of section E.2 of the GenLabel paper, which says nothing of the networks. Its published code has
    100 units and no activation in the policy's layers, and makes D one linear layer, which can't tell a mixed point from the real
    ones around it: `AdaMixup((100, 100), (), "none")`. A policy of two layers of 16 units costs less,
    and is less prone to collapse to lam in {0, 1}.

    Args:
        policy: widths of the policy network's hidden layers.
        discriminator: widths of the discriminator's hidden layers.
        activation: 'relu', or 'none' for both.

    Reference: H. Guo, Y. Mao, R. Zhang. MixUp as locally linear out-of-manifold regularization. AAAI 2019.

    Examples:
        >>> import vicinal as vc
        >>> from vicinal.training import Group, Setting, fit_stack
        >>> x, y = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> setting = Setting(vc.Vanilla(), 0.05, objective=AdaMixup())
        >>> fit = fit_stack([Group(x, y, n_classes=2, address={"seed": 0})], [setting])
        >>> fit.network(0, 0)(x).argmax(1).tolist()
        [0, 0, 1, 1]
    """

    def __init__(
        self, policy: Sequence[int] = (16, 16), discriminator: Sequence[int] = (64,), activation: str = "relu"
    ) -> None:
        self.policy = policy
        self.discriminator = discriminator
        self.activation = activation

    def networks(self, n_features: int, generator: torch.Generator) -> list[MLP]:
        """Return the policy and the discriminator; see `Objective.networks`."""
        check_in("activation", self.activation, ("relu", "none"))
        return [MLP(2 * n_features, 3, self.policy, generator), MLP(n_features, 2, self.discriminator, generator)]

    def draw(self, weight: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw partners and e, (M, B) each; see `Objective.draw`."""
        partner = Permutation().draw(weight, weight[..., None], weight > 0, generator)
        return {"partner": partner, "e": torch.rand(weight.shape, generator=generator).to(weight)}

    def loss(
        self, networks: Sequence[Perceptrons], x: Tensor, y: Tensor, weight: Tensor, draws: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the loss above; see `Objective.loss`."""
        classifier, policy, discriminator = networks
        relu = self.activation == "relu"
        x_b, y_b = take(x, draws["partner"]), take(y, draws["partner"])
        a, d, _ = torch.softmax(policy(_shared(torch.cat([x, x_b], 1), y), relu), 2).split(1, 2)
        lam = a + draws["e"][:, None, None] * d
        both = torch.cat([torch.lerp(x_b[:, None], x[:, None], lam), _shared(x, y)], 3)
        log_p, log_p_real = torch.log_softmax(classifier(both), 2).chunk(2, 3)
        log_d, log_d_real = torch.log_softmax(discriminator(both, relu), 2).chunk(2, 3)
        gain = (torch.lerp(y_b, y, lam) * log_p + 2 * y * log_p_real).sum(2)
        return -(weight[:, None] * (gain + log_d[:, :, MIXED] + 3 * log_d_real[:, :, REAL])).sum(-1)

    def gradients(
        self, networks: Sequence[Perceptrons], x: Tensor, y: Tensor, weight: Tensor, draws: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return the loss's gradients, by hand, which is quicker; see `Objective.gradients`."""
        classifier, policy, discriminator = (network.parameters for network in networks)
        relu, b = self.activation == "relu", x.shape[-1]
        x_b, y_b = take(x, draws["partner"]), take(y, draws["partner"])
        x, x_b, pairs = (_shared(part, y).flatten(0, 1) for part in (x, x_b, torch.cat([x, x_b], 1)))
        y, y_b = y.flatten(0, 1), y_b.flatten(0, 1)
        e, weight = (value.repeat_interleave(len(x) // len(weight), 0)[:, None] for value in (draws["e"], weight))

        policed = forward(policy, pairs, relu)
        region = torch.softmax(policed[-1], 1)
        lam = torch.addcmul(region[:, :1], e, region[:, 1:2])
        both = torch.cat([torch.lerp(x_b, x, lam), x], 2)
        classed, judged = forward(classifier, both), forward(discriminator, both, relu)
        log_p = torch.log_softmax(classed[-1], 1)

        down = log_p.exp().sub_(torch.cat([torch.lerp(y_b, y, lam), y], 2)).mul_(torch.cat([weight, 2 * weight], 2))
        of_classifier, to_mixed = backward(classifier, classed, down, to_input=b)
        down = torch.softmax(judged[-1], 1)
        down[:, MIXED, :b] -= 1
        down[:, REAL, b:] -= 1
        down.mul_(torch.cat([weight, 3 * weight], 2))
        of_discriminator, more = backward(discriminator, judged, down, relu, to_input=b)

        slope = weight * ((y - y_b) * log_p[..., :b]).sum(1, keepdim=True)
        to_lam = (to_mixed.add_(more) * (x - x_b)).sum(1, keepdim=True) - slope
        to_region = torch.cat([to_lam, to_lam * e, torch.zeros_like(to_lam)], 1)
        down = region * (to_region - (region * to_region).sum(1, keepdim=True))
        of_policy, _ = backward(policy, policed, down, relu)
        return [*of_classifier, *of_policy, *of_discriminator]


def _shared(x: Tensor, y: Tensor) -> Tensor:
    """Return points (S, D, B) for every replica of labels (S, R, K, B)."""
    return x[:, None].expand(-1, y.shape[1], -1, -1)
