"""What is trained: groups of rows, and the settings that every group is trained under."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from vicinal.core import Component
from vicinal.training.objectives import Objective
from vicinal.vicinity import BaseVicinity

__all__ = ["Group", "Latent", "Setting"]


@dataclass(frozen=True)
class Group:
    """Rows to train on, rows to evaluate on, and the address of all randomness: one trial, or one fold of one.

    Replicas of a group share initial weights, order of rows, pairs and ratios, so that a comparison between settings is
    paired.

    Attributes:
        x: (N, D) training rows, single precision.
        y: (N,) class indices.
        n_classes: K.
        x_eval: (V, D) rows to predict as training goes on, or None.
        y_eval: (V,) their classes.
        weight: (N,) frequencies or None: each epoch draws N rows by systematic resampling, so that a row of twice the
            weight comes twice as often.
        weight_eval: (V,) or None.
        address: named axes that seed the group's draws, such as {"seed": 0, "trial": 1, "fold": 2}.
        encode: maps mixed points to what the network sees and the densities describe, such as frozen features; None for
            the points themselves. `x_eval` is given encoded.
    """

    x: Tensor
    y: Tensor
    n_classes: int
    x_eval: Tensor | None = None
    y_eval: Tensor | None = None
    weight: Tensor | None = None
    weight_eval: Tensor | None = None
    address: Mapping[str, int | str] = field(default_factory=dict)
    encode: Callable[[Tensor], Tensor] | None = None


class Latent(Component):
    """Warm a network up, then train its last layer alone on the features, which the densities describe (Algorithm 2).

    The published code trains plainly for 20 of 100 epochs and then starts the last layer afresh, at the same learning rate.

    Args:
        vicinity: of the warm-up; default plain training.
        share: of all epochs that the warm-up takes, in (0, 1).
        keep_head: go on with the warm-up's last layer, instead of a fresh one.

    Reference: J. Sohn et al. GenLabel: Mixup relabeling using generative models. ICML 2022. Section A.1.

    Examples:
        >>> Latent().split(100)
        (20, 80)
    """

    def __init__(self, vicinity: BaseVicinity | None = None, share: float = 0.2, keep_head: bool = False) -> None:
        self.vicinity = vicinity
        self.share = share
        self.keep_head = keep_head

    def split(self, epochs: int) -> tuple[int, int]:
        """Return the epochs of the warm-up and of the last layer, each at least 1."""
        first = max(1, round(self.share * epochs))
        return first, max(1, epochs - first)


@dataclass(frozen=True)
class Setting:
    """How one replica is trained.

    Attributes:
        vicinity: unfitted; its parts are fitted to each group.
        learning_rate: above 0.
        weight_decay: L2 penalty as in torch's optimisers.
        epochs: the epoch after which its weights are kept; None for the last.
        objective: what the network is asked of the vicinity's points; None for cross entropy.
        latent: how features are learned first, where the vicinity's labels are of features; None for the points themselves.
    """

    vicinity: BaseVicinity
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    epochs: int | None = None
    objective: Objective | None = None
    latent: Latent | None = None
