"""The update rule that all replicas of a stack follow, each at its own learning rate."""

from dataclasses import dataclass

__all__ = ["Optimizer"]


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
