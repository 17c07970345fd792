"""Adversarial training: the loss at the worst point of an l-infinity ball, alone or beside the loss at the data.

The defaults are the VarMixup paper's (section 4): epsilon = 8/255 and a step of 2/255. It does not say how many steps: 10 is
what TRADES was published with; Madry et al. trained on CIFAR-10 with 7.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from vicinal.core import check_number
from vicinal.training.single.attack import Loss, attack_mode, pgd
from vicinal.training.single.base import NetworkObjective, soft_cross_entropy, widen
from vicinal.training.single.pairs import draw_pairs

__all__ = ["AT", "IAT", "TRADES"]

NOISE = 1e-3
"""Standard deviation of the noise that TRADES starts from, as its published code has it."""


class _Adversarial(NetworkObjective):
    """Abstract objective with an attack; the arguments are those of `pgd`."""

    epsilon: float
    step_size: float
    steps: int
    mode: str
    bounds: tuple[float, float]

    @abstractmethod
    def attack(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return adversarial points (B, ...) of a batch, detached."""

    def _search(
        self,
        network: nn.Module,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator,
        start: Tensor | None = None,
        loss: str | Loss = "cross_entropy",
    ) -> Tensor:
        return pgd(
            network,
            x,
            y,
            epsilon=self.epsilon,
            step_size=self.step_size,
            steps=self.steps,
            generator=generator,
            start=start,
            bounds=self.bounds,
            loss=loss,
            mode=self.mode,
        )


class AT(_Adversarial):
    """Adversarial training: the cross entropy at the worst point that `pgd` finds.

        loss = 1/B sum_i CE(F(x'_i), y_i),   x'_i = argmax of CE(F(x'), y_i) over |x' - x_i|_inf <= epsilon

    The search starts uniformly in the ball. It takes the label rows as they are, so a soft label is attacked as such.

    Args:
        epsilon: radius of the ball, in units of x: 8/255 in the VarMixup paper.
        step_size: of the search, in units of x: 2/255 there.
        steps: of the search; the paper does not say.
        mode: 'eval' searches with the network in evaluation mode, 'train' in that of training, its statistics put back.
        bounds: lowest and highest value of a feature.

    Reference: A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu. Towards deep learning models resistant to adversarial
    attacks. ICLR 2018.

    Examples:
        >>> network = nn.Linear(1, 2)
        >>> _ = network.weight.data.copy_(torch.tensor([[0.0], [4.0]])), network.bias.data.zero_()
        >>> x, y = torch.tensor([[0.25]]), torch.tensor([[0.0, 1.0]])
        >>> objective = AT(epsilon=0.25, step_size=0.125)
        >>> float(objective.loss(network, x, y, torch.Generator(), nn.ModuleDict()).exp().detach())        # at x' = 0
        2.0
    """

    def __init__(
        self,
        epsilon: float = 8 / 255,
        step_size: float = 2 / 255,
        steps: int = 10,
        mode: str = "eval",
        bounds: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.epsilon = epsilon
        self.step_size = step_size
        self.steps = steps
        self.mode = mode
        self.bounds = bounds

    def attack(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return the points x' where the cross entropy is large."""
        return self._search(network, x, y, generator)

    def loss(
        self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, extras: nn.ModuleDict
    ) -> Tensor:
        """Return the cross entropy at the points found; see `NetworkObjective.loss`, and `pgd` for what it raises."""
        return soft_cross_entropy(network(self.attack(network, x, y, generator)), y).mean()


class TRADES(_Adversarial):
    """Trade accuracy for robustness: the cross entropy at x, and how far the prediction can be moved from there.

        loss = 1/B sum_i [CE(F(x_i), y_i) + beta KL(p(x_i) || p(x'_i))],   p = softmax F
        x'_i = argmax of KL(p(x_i) || p(x')) over |x' - x_i|_inf <= epsilon,   searched from x_i + 0.001 N(0, 1)

    As in the published code, the gradient flows through both predictions, and the noise is not clipped before the first step.
    F(x) is computed once for both terms, where the published code computes it twice; that is the same but for dropout, and for
    batch norm's running statistics, which there see x twice.

    Args:
        beta: weight of the divergence, 0 or more; 6 is the published one for CIFAR-10.
        epsilon: radius of the ball, in units of x: 8/255 in the VarMixup paper.
        step_size: of the search, in units of x: 2/255 there.
        steps: of the search; 10 is the published number.
        mode: 'eval' searches with the network in evaluation mode, as published, 'train' in that of training, its statistics
            put back.
        bounds: lowest and highest value of a feature.

    Reference: H. Zhang, Y. Yu, J. Jiao, E. P. Xing, L. El Ghaoui, M. I. Jordan. Theoretically principled trade-off between
    robustness and accuracy. ICML 2019.

    Examples:
        >>> network = nn.Linear(1, 2)
        >>> _ = network.weight.data.copy_(torch.tensor([[0.0], [4.0]])), network.bias.data.copy_(torch.tensor([2.0, 0.0]))
        >>> x, y = torch.tensor([[0.5]]), torch.tensor([[0.0, 1.0]])
        >>> objective = TRADES(beta=2.0, epsilon=0.25, step_size=0.125)
        >>> found = objective.loss(network, x, y, torch.Generator(), nn.ModuleDict())
        >>> p = torch.sigmoid(torch.tensor(1.0))                                  # at x: 1/2, at x' = 1/4 or 3/4: p or 1 - p
        >>> exact = torch.tensor(2.0).log() + 2 * (0.5 * (0.5 / p).log() + 0.5 * (0.5 / (1 - p)).log())
        >>> bool((found - exact).abs() < 1e-6)
        True
    """

    def __init__(
        self,
        beta: float = 6.0,
        epsilon: float = 8 / 255,
        step_size: float = 2 / 255,
        steps: int = 10,
        mode: str = "eval",
        bounds: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.beta = beta
        self.epsilon = epsilon
        self.step_size = step_size
        self.steps = steps
        self.mode = mode
        self.bounds = bounds

    def attack(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return the points x' where the divergence is large; labels are not looked at."""
        noise = NOISE * torch.randn(x.shape, generator=generator).to(x.device)
        # Not under no_grad: there, torch 2.9's autocast keeps copies of the weights that training then gets no gradient through.
        with attack_mode(network, self.mode):
            natural = _softmax(network(x).detach())
        return self._search(network, x, natural, generator, start=x + noise, loss=_divergence)

    def loss(
        self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, extras: nn.ModuleDict
    ) -> Tensor:
        """Return the loss above; see `NetworkObjective.loss`, and `pgd` for what it raises."""
        check_number("beta", self.beta, 0)
        adversarial = self.attack(network, x, y, generator)
        logits = network(x)
        divergence = _divergence(network(adversarial), _softmax(logits))
        return (soft_cross_entropy(logits, y) + self.beta * divergence).mean()


class IAT(_Adversarial):
    """Interpolated adversarial training: mixup of the data and mixup of their adversarial points, half and half.

        loss = 1/2 [CE(F(mix(x)), mix(y)) + CE(F(mix'(x')), mix'(y))],   means over the batch
        x'_i = argmax of CE(F(x'), y_i) over |x' - x_i|_inf <= epsilon

    mix and mix' each draw their own permutation and their own lam ~ Beta(alpha, alpha), one for the batch. The points attacked
    are the rows as they come, not the mixed ones, and the attack is that of `AT`. The two halves pass through the network one
    after the other, so batch norm sees each with statistics of its own.

    Args:
        alpha: above 0; 1 in the VarMixup paper.
        epsilon: radius of the ball, in units of x: 8/255 in the VarMixup paper.
        step_size: of the search, in units of x: 2/255 there.
        steps: of the search; the paper does not say.
        mode: 'eval' searches with the network in evaluation mode, 'train' in that of training, its statistics put back.
        bounds: lowest and highest value of a feature.

    Reference: A. Lamb, V. Verma, J. Kannala, Y. Bengio. Interpolated adversarial training: Achieving robust neural networks
    without sacrificing too much accuracy. AISec 2019.

    Examples:
        >>> network = nn.Linear(1, 2)
        >>> _ = network.weight.data.copy_(torch.tensor([[0.0], [4.0]])), network.bias.data.zero_()
        >>> x, y = torch.tensor([[0.25], [0.25]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
        >>> objective = IAT(epsilon=0.25, step_size=0.125)
        >>> found = objective.loss(network, x, y, torch.Generator(), nn.ModuleDict())
        >>> exact = torch.log(2 * (1 + torch.tensor(-1.0).exp())) / 2                              # at x = 1/4, and at x' = 0
        >>> bool((found - exact).abs() < 1e-6)
        True
    """

    def __init__(
        self,
        alpha: float = 1.0,
        epsilon: float = 8 / 255,
        step_size: float = 2 / 255,
        steps: int = 10,
        mode: str = "eval",
        bounds: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.alpha = alpha
        self.epsilon = epsilon
        self.step_size = step_size
        self.steps = steps
        self.mode = mode
        self.bounds = bounds

    def attack(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return the points x' where the cross entropy is large."""
        return self._search(network, x, y, generator)

    def loss(
        self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, extras: nn.ModuleDict
    ) -> Tensor:
        """Return the loss above; see `NetworkObjective.loss`, and `pgd` for what it raises."""
        adversarial = self.attack(network, x, y, generator)
        losses = []
        for points in (x, adversarial):
            pairs = draw_pairs(points, y, self.alpha, generator)
            losses.append(soft_cross_entropy(network(pairs.mix(points)), pairs.mix(y)).mean())
        return (losses[0] + losses[1]) / 2


def _softmax(logits: Tensor) -> Tensor:
    return torch.softmax(widen(logits), 1)


def _divergence(logits: Tensor, natural: Tensor) -> Tensor:
    """Return KL(natural || softmax(logits)) of every row, (B,)."""
    log_p = torch.log_softmax(logits.to(natural.dtype), 1)
    return nn.functional.kl_div(log_p, natural, reduction="none").sum(1)
