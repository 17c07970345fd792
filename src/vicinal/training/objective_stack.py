"""Stacks under an objective: its loss is differentiated for all replicas at once."""

from collections.abc import Sequence

from torch import Tensor

from vicinal.networks import MLP
from vicinal.training.objectives import Objective
from vicinal.training.optimizer import Optimizer
from vicinal.training.perceptrons import Perceptrons
from vicinal.training.stack import MLPStack

__all__ = ["ObjectiveStack"]


class ObjectiveStack(MLPStack):
    """Multi-layer or linear networks, each with the objective's own networks, under the objective's loss.

    Args:
        networks, learning_rate, weight_decay, mixture, optimizer: as of `Stack`.
        objective: the loss.
        brought: the objective's networks, those of every stream.
    """

    def __init__(
        self,
        networks: list[MLP],
        learning_rate: Tensor,
        weight_decay: Tensor,
        mixture: Tensor,
        optimizer: Optimizer,
        objective: Objective,
        brought: Sequence[Sequence[MLP]],
    ) -> None:
        self.objective, self.brought = objective, brought
        super().__init__(networks, learning_rate, weight_decay, mixture, optimizer)
        self.own = 2 * self.depth
        sizes = [2 * len(network.layers) for network in (networks[0], *brought[0])]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        flat = [p.flatten(0, 1) for p in self.parameters]
        self.perceptrons = [Perceptrons(flat[end - n : end], len(networks)) for n, end in zip(sizes, ends, strict=True)]

    def _stack(self, networks: list[MLP], replicas: int) -> list[Tensor]:
        families = [networks, *map(list, zip(*self.brought, strict=True))]
        starts = [start for family in families for start in super(ObjectiveStack, self)._stack(family, replicas)]
        self.depth = len(networks[0].layers)
        return starts

    def gradients(self, step: int) -> list[Tensor]:
        """Return the gradients of the objective's loss; see `Stack.gradients`."""
        draws = {name: value[step] for name, value in self.draws.items()}
        return self.objective.gradients(self.perceptrons, self.x[step], self._aim(step), self.weight[step], draws)
