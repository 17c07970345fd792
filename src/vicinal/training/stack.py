"""Many small networks as one tensor program.

A stack has S streams of R replicas each. A stream is a sequence of batches x (B, D) with row weights w (B,) and T kinds of
label rows y_t (B, K); replica r of a stream aims at sum_t c_rt y_t. Cross entropy's gradient in the logits is
w (softmax(z) - sum_t c_rt y_t): linear in the target, so no target is ever formed for a replica.

    linear network:   grad_r = (w x)^T softmax(x W_r) - sum_t c_rt (w x)^T y_t

The last products do not depend on the weights: they are taken for a whole block of batches at once. The weights of a stream's
replicas lie side by side, W (S, D + 1, K, R), so a step is two matrix products and one softmax, whatever the number of
settings.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.networks import MLP

__all__ = ["LinearStack", "MLPStack", "Optimizer", "Stack", "make_stack"]


@dataclass(frozen=True)
class Optimizer:
    """The update rule, as torch's `Adam` or `SGD` do it, with a learning rate and weight decay for every replica.

    Attributes:
        name: 'adam' (betas 0.9 and 0.999, eps 1e-8) or 'sgd'.
        momentum: of SGD.
        milestones: epochs after which the learning rate is multiplied by `decay`.
        decay: see `milestones`.
    """

    name: str = "adam"
    momentum: float = 0.9
    milestones: tuple[int, ...] = ()
    decay: float = 0.1

    def scale(self, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch (counted from 0)."""
        return self.decay ** sum(epoch >= milestone for milestone in self.milestones)


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
    replica_axes: tuple[int, int]
    """Where the parameters keep streams and replicas."""

    def __init__(
        self, networks: list[MLP], learning_rate: Tensor, weight_decay: Tensor, mixture: Tensor, optimizer: Optimizer
    ) -> None:
        self.mixture = mixture
        self.optimizer = optimizer
        self.parameters = self._stack(networks, learning_rate.shape[1])
        self.rates = [self._spread(learning_rate, p) for p in self.parameters]
        self.decays = [self._spread(weight_decay, p) for p in self.parameters]
        self.decaying = bool(weight_decay.any())
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters] if optimizer.name == "adam" else []
        self.steps = 0

    @abstractmethod
    def _stack(self, networks: list[MLP], replicas: int) -> list[Tensor]:
        """Lay out the parameters."""

    @abstractmethod
    def prepare(self, x: Tensor, targets: Tensor, weight: Tensor) -> None:
        """Take a block: x (M, S, B, D), targets (M, S, T, B, K), weight (M, S, B)."""

    @abstractmethod
    def gradients(self, step: int) -> list[Tensor]:
        """Return the gradients at one step of the block, in the layout of the parameters."""

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Return logits (S, V, K, R) for x (S, V, D)."""

    @abstractmethod
    def network(self, stream: int, replica: int, parameters: list[Tensor]) -> MLP:
        """Return one replica as a module, from parameters in the stack's layout."""

    def _spread(self, value: Tensor, like: Tensor) -> Tensor:
        """Reshape (S, R) so that it broadcasts over a parameter."""
        shape = [1] * like.ndim
        shape[self.replica_axes[0]], shape[self.replica_axes[1]] = value.shape
        return value.reshape(shape)

    def step(self, step: int, scale: float = 1.0) -> None:
        """Update every replica on one batch of the block; `scale` multiplies the learning rates."""
        self.steps += 1
        for i, gradient in enumerate(self.gradients(step)):
            parameter, first = self.parameters[i], self.first[i]
            if self.decaying:
                gradient.addcmul_(parameter, self.decays[i])
            if self.optimizer.name == "adam":
                second = self.second[i]
                first.lerp_(gradient, 0.1)
                second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                denominator = second.sqrt().div_(math.sqrt(1 - 0.999**self.steps)).add_(1e-8)
                update = torch.mul(first, self.rates[i], out=gradient)
                parameter.addcdiv_(update, denominator, value=-scale / (1 - 0.9**self.steps))
            else:
                first.mul_(self.optimizer.momentum).add_(gradient)
                parameter.addcmul_(first, self.rates[i], value=-scale)

    def loss(self, x: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Return the mean cross entropy of every replica on one batch, (S, R)."""
        log_p = torch.log_softmax(self.logits(x), 2)
        per_kind = torch.einsum("sbkr,stbk,sb->str", log_p, targets, weight)
        return -(per_kind * self.mixture).sum(1)


class LinearStack(Stack):
    """Logistic regressions: W (S, D + 1, K, R), the bias as the weight of a constant column."""

    replica_axes = (0, 3)

    def _stack(self, networks: list[MLP], replicas: int) -> list[Tensor]:
        starts = [list(network.parameters()) for network in networks]
        start = torch.stack([torch.cat([weight.T, bias[None]]).detach() for weight, bias in starts])
        return [start[..., None].expand(*start.shape, replicas).contiguous()]

    def prepare(self, x: Tensor, targets: Tensor, weight: Tensor) -> None:
        """Append the constant column, and take (w x)^T y_t for the whole block; see `Stack.prepare`."""
        m, s, b, d = x.shape
        k = targets.shape[-1]
        self.x = torch.cat([x, torch.ones_like(x[..., :1])], -1)
        weighted = (self.x * weight[..., None]).transpose(2, 3)
        # Two classes: softmax is a sigmoid of the difference, and the two gradients are opposite.
        aimed = targets[..., 1:] if k == 2 else targets
        # Kinds of label lie side by side, so that one product serves all.
        products = weighted @ aimed.permute(0, 1, 3, 4, 2).reshape(m, s, b, -1)
        products = products.reshape(m, s, -1, targets.shape[2])  # (M, S, (D + 1) K, T)
        self.aims = products
        self.weighted = weighted.contiguous()
        replicas = self.parameters[0].shape[-1]
        # Buffers for every step: fresh memory would cost more than the arithmetic.
        self._scores = x.new_empty(s, b, products.shape[2] // (d + 1) * replicas)
        self._shares = torch.empty_like(self._scores)

    def gradients(self, step: int) -> list[Tensor]:
        """Return the gradient; see `Stack.gradients`."""
        w = self.parameters[0]
        s, d, k, r = w.shape
        aim = torch.bmm(self.aims[step], self.mixture)
        if k == 2:
            p = torch.bmm(self.x[step], w[:, :, 1] - w[:, :, 0], out=self._scores).sigmoid_()
            up = torch.baddbmm(aim.view(s, d, r), self.weighted[step], p, beta=-1)
            return [torch.stack([-up, up], 2)]
        scores = torch.bmm(self.x[step], w.view(s, d, k * r), out=self._scores)
        p = torch.softmax(scores.view(s, -1, k, r), 2, out=self._shares.view(s, -1, k, r)).view(s, -1, k * r)
        return [torch.baddbmm(aim.view(s, d, k * r), self.weighted[step], p, beta=-1).view(s, d, k, r)]

    def logits(self, x: Tensor) -> Tensor:
        """Return logits; see `Stack.logits`."""
        w = self.parameters[0]
        s, _, k, r = w.shape
        flat = torch.baddbmm(w[:, -1:].reshape(s, 1, k * r), x, w[:, :-1].reshape(s, -1, k * r))
        return flat.view(s, -1, k, r)

    def network(self, stream: int, replica: int, parameters: list[Tensor]) -> MLP:
        """Return one replica; see `Stack.network`."""
        w = parameters[0][stream, :, :, replica]
        return MLP.from_parameters([w[:-1].T, w[-1]])


class MLPStack(Stack):
    """Multi-layer perceptrons with ReLU: for every layer a weight (S, R, in, out) and a bias (S, R, 1, out)."""

    replica_axes = (0, 1)

    def _stack(self, networks: list[MLP], replicas: int) -> list[Tensor]:
        stacked = []
        for i in range(len(networks[0].layers)):
            for part in ("weight", "bias"):
                start = torch.stack([getattr(network.layers[i], part).detach() for network in networks])
                start = start.mT[:, None] if part == "weight" else start[:, None, None]
                stacked.append(start.repeat(1, replicas, 1, 1))
        return stacked

    def prepare(self, x: Tensor, targets: Tensor, weight: Tensor) -> None:
        """Keep the block; see `Stack.prepare`."""
        self.x, self.targets, self.weight = x, targets, weight

    def _forward(self, x: Tensor) -> list[Tensor]:
        """Return the input and every layer's output, each (S * R, B, width)."""
        s, r = self.parameters[0].shape[:2]
        h = x[:, None].expand(s, r, *x.shape[1:]).reshape(s * r, *x.shape[1:])
        outputs = [h]
        for i in range(0, len(self.parameters), 2):
            weight, bias = (p.flatten(0, 1) for p in self.parameters[i : i + 2])
            h = torch.baddbmm(bias, h, weight)
            if i + 2 < len(self.parameters):
                h = h.relu_()
            outputs.append(h)
        return outputs

    def gradients(self, step: int) -> list[Tensor]:
        """Return the gradients, by hand-written backpropagation; see `Stack.gradients`."""
        outputs = self._forward(self.x[step])
        s, r = self.parameters[0].shape[:2]
        targets, weight = self.targets[step], self.weight[step]
        aim = torch.bmm(self.mixture.transpose(1, 2), targets.flatten(2)).view(s, r, *targets.shape[2:])
        p = torch.softmax(outputs[-1], -1).view(s, r, *targets.shape[2:])
        down = ((p - aim) * weight[:, None, :, None]).flatten(0, 1)
        gradients: list[Tensor] = []
        for i in reversed(range(0, len(self.parameters), 2)):
            below = outputs[i // 2]
            gradients = [torch.bmm(below.transpose(1, 2), down), down.sum(1, keepdim=True), *gradients]
            if i:
                down = torch.bmm(down, self.parameters[i].flatten(0, 1).transpose(1, 2)).mul_(below > 0)
        return [g.view(p.shape) for g, p in zip(gradients, self.parameters, strict=True)]

    def logits(self, x: Tensor) -> Tensor:
        """Return logits; see `Stack.logits`."""
        s, r = self.parameters[0].shape[:2]
        return self._forward(x)[-1].view(s, r, x.shape[1], -1).permute(0, 2, 3, 1)

    def network(self, stream: int, replica: int, parameters: list[Tensor]) -> MLP:
        """Return one replica; see `Stack.network`."""
        picked = [p[stream, replica] for p in parameters]
        return MLP.from_parameters([p[0] if i % 2 else p.T for i, p in enumerate(picked)])


def make_stack(
    networks: list[MLP], learning_rate: Tensor, weight_decay: Tensor, mixture: Tensor, optimizer: Optimizer
) -> Stack:
    """Return the stack for the networks' depth."""
    kind = LinearStack if len(networks[0].layers) == 1 else MLPStack
    return kind(networks, learning_rate, weight_decay, mixture, optimizer)
