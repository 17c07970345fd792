"""What is trained: groups of rows, and the settings that every group is trained under."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from vicinal.vicinity import BaseVicinity

__all__ = ["Group", "Setting"]


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


@dataclass(frozen=True)
class Setting:
    """How one replica is trained.

    Attributes:
        vicinity: unfitted; its parts are fitted to each group.
        learning_rate: above 0.
        weight_decay: L2 penalty as in torch's optimisers.
        epochs: the epoch after which its weights are kept; None for the last.
    """

    vicinity: BaseVicinity
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    epochs: int | None = None
