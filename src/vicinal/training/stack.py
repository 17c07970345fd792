"""Many small networks as one tensor program.

A stack has S streams of R replicas each. A stream is a sequence of batches x (B, D) with row weights w (B,) and T kinds of
label rows y_t (B, K); replica r of a stream aims at sum_t c_rt y_t. Cross entropy's gradient in the logits is
w (softmax(z) - sum_t c_rt y_t): linear in the target, so no target is ever formed for a replica.

    linear network:   grad_r = softmax(W_r x^T) (w x) - sum_t c_rt y_t^T (w x)

The last products do not depend on the weights: they are taken for a whole block of batches at once. The weights of a stream's
replicas lie one below the other, W (S, R, K, D + 1), so a step is two matrix products and one softmax, whatever the number of
settings.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from vicinal.networks import MLP
from vicinal.training.optimizer import Optimizer
from vicinal.training.perceptrons import backward, forward

__all__ = ["LinearStack", "MLPStack", "Stack"]

LARGEST = 60.0
"""Differences of scores beyond this make shares below 1e-26, which nothing sees, and soon numbers that are not normal, with
which exp and products of matrices take far longer."""

_NONE: Mapping[str, Tensor] = MappingProxyType({})


class Stack(ABC):
    """Abstract stack: parameters with one axis for streams and one for replicas, and their updates.

    Args:
        networks: the initial network of every stream (S of them); each of its R replicas starts there.
        learning_rate: (S, R).
        weight_decay: (S, R).
        mixture: c, (S, T, R): each replica's share of every kind of label.
        optimizer: the update rule.
    """

    parameters: list[Tensor]
    """Each (S, R, ...), a view of one vector."""
    own: int
    """How many of the parameters, the first, are the classifiers' own."""

    def __init__(
        self, networks: list[MLP], learning_rate: Tensor, weight_decay: Tensor, mixture: Tensor, optimizer: Optimizer
    ) -> None:
        self.mixture = mixture
        self.optimizer = optimizer
        starts = self._stack(networks, learning_rate.shape[1])
        # All parameters lie in one vector, so that an update is a few operations however many layers there are.
        self.flat = torch.cat([start.flatten() for start in starts])
        sizes = [start.numel() for start in starts]
        self.own = len(starts)
        self.parameters = [p.view_as(s) for p, s in zip(self.flat.split(sizes), starts, strict=True)]
        self.rates, self.decays = (
            torch.cat([self.spread(value, p).expand_as(p).flatten() for p in self.parameters])
            for value in (learning_rate, weight_decay)
        )
        self.decaying = bool(weight_decay.any())
        self.first, self.second = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        # Fresh memory at every step would cost more than the arithmetic.
        self._gradient, self._root = torch.empty_like(self.flat), torch.empty_like(self.flat)
        self.steps = 0

    @abstractmethod
    def _stack(self, networks: list[MLP], replicas: int) -> list[Tensor]:
        """Lay out the parameters."""

    @abstractmethod
    def prepare(self, x: Tensor, targets: Tensor, weight: Tensor, draws: Mapping[str, Tensor] = _NONE) -> None:
        """Take a block: x (M, S, B, D), targets (M, S, T, B, K), weight (M, S, B), and an objective's draws."""

    @abstractmethod
    def gradients(self, step: int) -> list[Tensor]:
        """Return the gradients at one step of the block, in the order of the parameters' numbers."""

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Return logits (S, V, K, R) for x (S, V, D)."""

    @property
    @abstractmethod
    def activations(self) -> int:
        """Numbers that evaluating one row takes at once."""

    @staticmethod
    @abstractmethod
    def network(parameters: Sequence[Tensor], stream: int, replica: int) -> MLP:
        """Return one replica as a module, from the classifiers' parameters in the stack's layout."""

    def spread(self, value: Tensor, like: Tensor) -> Tensor:
        """Return (S, R) values in a shape that broadcasts over a parameter."""
        return value.reshape(*value.shape, *[1] * (like.ndim - 2))

    def step(self, step: int, scale: float = 1.0) -> None:
        """Update every replica on one batch of the block; `scale` multiplies the learning rates."""
        self.steps += 1
        gradient = torch.cat([g.view(-1) for g in self.gradients(step)], out=self._gradient)
        if self.decaying:
            gradient.addcmul_(self.flat, self.decays)
        if self.optimizer.name == "adam":
            self.first.lerp_(gradient, 0.1)
            self.second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            # Both corrections are taken out of the fraction, which saves a pass over the parameters.
            correction = math.sqrt(1 - 0.999**self.steps)
            root = torch.sqrt(self.second, out=self._root).add_(1e-8 * correction)
            update = torch.mul(self.first, self.rates, out=gradient)
            self.flat.addcdiv_(update, root, value=-scale * correction / (1 - 0.9**self.steps))
        else:
            self.first.mul_(self.optimizer.momentum).add_(gradient)
            self.flat.addcmul_(self.first, self.rates, value=-scale)

    def loss(self, x: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Return the mean cross entropy of every replica on one batch, (S, R)."""
        log_p = torch.log_softmax(self.logits(x), 2)
        per_kind = torch.einsum("sbkr,stbk,sb->str", log_p, targets, weight)
        return -(per_kind * self.mixture).sum(1)


class LinearStack(Stack):
    """Logistic regressions: W (S, R, K, D + 1), the bias as the weight of a constant column.

    A batch's rows come last in every product, (S, R K, B): softmax then runs over whole vectors of rows.
    """

    def _stack(self, networks: list[MLP], replicas: int) -> list[Tensor]:
        starts = [list(network.parameters()) for network in networks]
        start = torch.stack([torch.cat([weight, bias[:, None]], 1).detach() for weight, bias in starts])
        return [start[:, None].repeat(1, replicas, 1, 1)]

    def prepare(self, x: Tensor, targets: Tensor, weight: Tensor, draws: Mapping[str, Tensor] = _NONE) -> None:
        """Append the constant column, and take y_t^T (w x) for the whole block; see `Stack.prepare`."""
        m, s, b, _ = x.shape
        k = targets.shape[-1]
        x = torch.cat([x, torch.ones_like(x[..., :1])], -1)
        self.weighted = x * weight[..., None]
        self.x = x.transpose(2, 3).contiguous()
        # Two classes: softmax is a sigmoid of the difference, and the two gradients are opposite.
        aimed = targets[..., 1:] if k == 2 else targets
        # Kinds of label lie one below the other, so that one product serves all.
        products = aimed.transpose(3, 4).reshape(m, s, -1, b) @ self.weighted
        self.aims = products.view(m, s, targets.shape[2], -1)  # (M, S, T, K (D + 1))
        self._shares = self.mixture.transpose(1, 2).contiguous()
        # One buffer for every step: fresh memory would cost more than the arithmetic.
        self._scores = x.new_empty(s, self._shares.shape[1] * aimed.shape[-1], b)

    def gradients(self, step: int) -> list[Tensor]:
        """Return the gradient; see `Stack.gradients`."""
        w = self.parameters[0]
        s, r, k, d = w.shape
        aim = torch.bmm(self._shares, self.aims[step]).view(s, -1, d)
        if k == 2:
            p = torch.bmm(w[:, :, 1] - w[:, :, 0], self.x[step], out=self._scores).clamp_(-LARGEST, LARGEST).sigmoid_()
            up = torch.baddbmm(aim, p, self.weighted[step], beta=-1)
            return [torch.stack([-up, up], 2)]
        p = torch.bmm(w.view(s, r * k, d), self.x[step], out=self._scores).view(s, r, k, -1)
        p.sub_(p.amax(2, keepdim=True)).clamp_(min=-LARGEST).exp_()
        p.div_(p.sum(2, keepdim=True))
        return [torch.baddbmm(aim, self._scores, self.weighted[step], beta=-1).view(s, r, k, d)]

    def logits(self, x: Tensor) -> Tensor:
        """Return logits; see `Stack.logits`."""
        w = self.parameters[0].flatten(1, 2)
        flat = torch.baddbmm(w[..., -1:], w[..., :-1], x.transpose(1, 2))
        return flat.view(len(x), *self.parameters[0].shape[1:3], -1).permute(0, 3, 2, 1)

    @property
    def activations(self) -> int:
        """Return the number of outputs."""
        return self.parameters[0][..., 0].numel()

    @staticmethod
    def network(parameters: Sequence[Tensor], stream: int, replica: int) -> MLP:
        """Return one replica; see `Stack.network`."""
        w = parameters[0][stream, replica]
        return MLP.from_parameters([w[:, :-1], w[:, -1]])


class MLPStack(Stack):
    """Multi-layer perceptrons with ReLU: for every layer a weight (S, R, out, in) and a bias (S, R, out, 1).

    Points stand in columns, (D, B): matrix products and softmax are quicker so where classes are few.
    """

    depth: int
    """Layers of the classifiers, which come first among the parameters."""

    def _stack(self, networks: list[MLP], replicas: int) -> list[Tensor]:
        self.depth = len(networks[0].layers)
        stacked = []
        for parts in zip(*[network.parameters() for network in networks], strict=True):
            start = torch.stack([part.detach() for part in parts])[:, None]
            stacked.append((start if start.ndim == 4 else start[..., None]).repeat(1, replicas, 1, 1))
        return stacked

    def prepare(self, x: Tensor, targets: Tensor, weight: Tensor, draws: Mapping[str, Tensor] = _NONE) -> None:
        """Turn points and label rows into columns; see `Stack.prepare`."""
        self.x, self.targets = x.mT.contiguous(), targets.mT.contiguous()
        self.weight, self.draws = weight, draws

    def _forward(self, x: Tensor) -> list[Tensor]:
        """Return the input x (S, D, B) for every replica and every layer's output, each (S * R, width, B)."""
        h = x[:, None].expand(-1, self.parameters[0].shape[1], -1, -1).flatten(0, 1)
        return forward([p.flatten(0, 1) for p in self.parameters[: 2 * self.depth]], h)

    def _aim(self, step: int) -> Tensor:
        """Return every replica's labels at one step, (S, R, K, B)."""
        targets = self.targets[step]
        aim = torch.bmm(self.mixture.mT, targets.flatten(2))
        return aim.view(*aim.shape[:2], *targets.shape[2:])

    def gradients(self, step: int) -> list[Tensor]:
        """Return the gradients, by hand-written backpropagation; see `Stack.gradients`."""
        outputs = self._forward(self.x[step])
        aim = self._aim(step)
        p = torch.softmax(outputs[-1], 1).view_as(aim)
        down = ((p - aim) * self.weight[step][:, None, None]).flatten(0, 1)
        gradients, _ = backward([p.flatten(0, 1) for p in self.parameters], outputs, down)
        return gradients

    def logits(self, x: Tensor) -> Tensor:
        """Return logits; see `Stack.logits`."""
        last = self._forward(x.mT)[-1]
        return last.view(len(x), -1, *last.shape[1:]).permute(0, 3, 2, 1)

    @property
    def activations(self) -> int:
        """Return the number of the widest layer's outputs."""
        return max(bias.numel() for bias in self.parameters[1 : 2 * self.depth : 2])

    @staticmethod
    def network(parameters: Sequence[Tensor], stream: int, replica: int) -> MLP:
        """Return one replica; see `Stack.network`."""
        picked = [p[stream, replica] for p in parameters]
        return MLP.from_parameters([p[:, 0] if i % 2 else p for i, p in enumerate(picked)])
