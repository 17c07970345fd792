"""AdaMixup of any network: a policy says how far two points may be mixed, a discriminator knows what a mixed one looks like."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from vicinal.core import InputError, draw_uniform, generator_at
from vicinal.mixing import Permutation
from vicinal.networks import MLP
from vicinal.training.single.base import NetworkObjective, soft_cross_entropy, widen

__all__ = ["AdaMixup"]

REAL, MIXED = 0, 1
NAMES = ("policy", "discriminator")


class AdaMixup(NetworkObjective):
    """Mix two points by a share that a policy network chooses, so that the mixed point does not look like a real one.

        (a, d, 1 - a - d) = softmax(policy(x1, x2)),   lam = a + e d,   e ~ U(0, 1) for every row
        x = lam x1 + (1 - lam) x2,   y = lam y1 + (1 - lam) y2
        loss = CE(H(x), y) + CE(H(x1), y1) + CE(H(x2), y2)
             + CE(D(x), mixed) + CE(D(x1), real) + CE(D(x2), real) + CE(D(x3), real),   means over the batch

    H is the classifier and D the intrusion discriminator; all three networks minimise the one loss. x2 and x3 are random
    orders of the batch x1, so that the terms of real points come to 2 CE(H(x1), y1) + 3 CE(D(x1), real). H sees mixed and real
    points as one batch of 2 B, as in the published code, which matters to batch norm.

    It is the loss of `vicinal.training.AdaMixup`. For images, policy and discriminator are convolutions of 3 x 3 with stride 2
    and ReLU, the mean over all places, and one linear layer; the policy sees both images, channel beside channel. The published
    code for images differs: its policy is as large as the classifier and sees the sum of both images under random weights, and
    its discriminator looks at the classifier's features.

    Args:
        policy: widths of the policy network's hidden layers, convolutions for images, fully connected for rows.
        discriminator: the same of the discriminator.

    Reference: H. Guo, Y. Mao, R. Zhang. MixUp as locally linear out-of-manifold regularization. AAAI 2019.

    Examples:
        >>> objective = AdaMixup()
        >>> extras = objective.extras((3, 8, 8), n_classes=2, seed=0)
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
        >>> loss = objective.loss(network, torch.rand(4, 3, 8, 8), torch.eye(2)[[0, 0, 1, 1]], torch.Generator(), extras)
        >>> loss.backward()
        >>> all(p.grad is not None for p in [*network.parameters(), *extras.parameters()])
        True
    """

    def __init__(self, policy: Sequence[int] = (16, 16), discriminator: Sequence[int] = (64,)) -> None:
        self.policy = policy
        self.discriminator = discriminator

    def extras(self, shape: tuple[int, ...], n_classes: int, seed: int) -> nn.ModuleDict:
        """Return 'policy' and 'discriminator'; see `NetworkObjective.extras`.

        Raises:
            InputError: a shape other than (C, H, W) or (D,).
        """
        if len(shape) not in (1, 3):
            raise InputError(f"`shape` must be (C, H, W) or (D,), got {tuple(shape)}; flatten the points.")
        make = MLP if len(shape) == 1 else _Convolutions
        widths = (self.policy, self.discriminator)
        sizes = ((2 * shape[0], 3), (shape[0], 2))
        return nn.ModuleDict(
            {
                name: make(*size, hidden, generator_at(seed=seed, purpose=name))
                for name, size, hidden in zip(NAMES, sizes, widths, strict=True)
            }
        )

    def loss(
        self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, extras: nn.ModuleDict
    ) -> Tensor:
        """Return the loss above; see `NetworkObjective.loss`.

        Raises:
            InputError: `extras` without the two networks.
        """
        if not set(NAMES) <= set(extras):
            raise InputError(
                f"`extras` must hold 'policy' and 'discriminator', got {sorted(extras)}; "
                "make them by `objective.extras(shape, n_classes, seed)`."
            )
        partner = Permutation().draw(x, y, None, generator)
        e = draw_uniform((len(x), 1), x, generator)
        x_b, y_b = x[partner], y[partner]
        a, d, _ = torch.softmax(widen(extras["policy"](torch.cat([x, x_b], 1))), 1).split(1, 1)
        lam = a + e * d
        mixed = torch.lerp(x_b, x, lam.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)))
        both = torch.cat([mixed, x])
        labels = torch.cat([torch.lerp(y_b, y, lam.to(y.dtype)), y])
        kinds = nn.functional.one_hot(torch.tensor([MIXED, REAL], device=x.device).repeat_interleave(len(x)), 2)
        of_mixed, of_real = soft_cross_entropy(network(both), labels).chunk(2)
        as_mixed, as_real = soft_cross_entropy(extras["discriminator"](both), kinds).chunk(2)
        return (of_mixed + 2 * of_real + as_mixed + 3 * as_real).mean()


class _Convolutions(nn.Module):
    """Convolutions of 3 x 3 with stride 2 and ReLU, the mean over all places, and one linear layer.

    Args:
        channels: of the image, pixels in [0, 1].
        n_outputs: of the linear layer.
        hidden: channels of every convolution.
        generator: source of the initial weights, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), torch's own choice.
    """

    def __init__(self, channels: int, n_outputs: int, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        widths = [channels, *hidden]
        self.convolutions = nn.ModuleList(
            nn.utils.skip_init(nn.Conv2d, n_in, n_out, kernel_size=3, stride=2, padding=1)
            for n_in, n_out in pairwise(widths)
        )
        self.last = nn.utils.skip_init(nn.Linear, widths[-1], n_outputs)
        for layer in (*self.convolutions, self.last):
            bound = layer.weight[0].numel() ** -0.5
            for parameter in (layer.weight, layer.bias):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (B, n_outputs) for images (B, C, H, W)."""
        x = 2 * x - 1
        for layer in self.convolutions:
            x = torch.relu(layer(x))
        logits: Tensor = self.last(x.mean((2, 3)))
        return logits
