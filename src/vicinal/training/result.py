"""What came of a fit: scores at checkpoints, and the trained networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vicinal.networks import MLP
from vicinal.training.problem import Group

__all__ = ["Fit"]


@dataclass
class Fit:
    """What came of G groups under R settings each.

    Attributes:
        checkpoints: epochs after which replicas were evaluated, C of them.
        log_loss: (G, R, C) on the evaluation rows, in nats; NaN where nothing was evaluated or the training diverged.
        accuracy: (G, R, C).
        train_loss: (G, R) cross entropy against the vicinal labels of the last batch.
        seconds: (G, R) each replica's share of the time its stack took; labels by the replicas that use them.
        predictions: class probabilities (R, C, V, K) of every group's evaluation rows, where asked for.
    """

    checkpoints: tuple[int, ...]
    log_loss: np.ndarray
    accuracy: np.ndarray
    train_loss: np.ndarray
    seconds: np.ndarray
    predictions: list[np.ndarray] = field(default_factory=list, repr=False)
    _networks: dict[tuple[int, int], Callable[[], MLP]] = field(default_factory=dict, repr=False)

    @classmethod
    def empty(cls, groups: Sequence[Group], settings: int, checkpoints: tuple[int, ...], predictions: bool) -> Self:
        """Return a fit in which nothing has come of anything yet."""
        shape = (len(groups), settings)
        log_loss, accuracy = np.full((2, *shape, len(checkpoints)), np.nan)
        result = cls(checkpoints, log_loss, accuracy, np.full(shape, np.nan), np.zeros(shape))
        for group in groups if predictions else ():
            rows = 0 if group.x_eval is None else len(group.x_eval)
            space = (settings, len(checkpoints), rows, group.n_classes)
            result.predictions.append(np.full(space, np.nan, dtype=np.float32))
        return result

    def network(self, group: int, setting: int) -> MLP:
        """Return the trained network of a group under a setting."""
        return self._networks[group, setting]()

    def probabilities(self, group: int, setting: int, x: Tensor) -> Tensor:
        """Return class probabilities (V, K) of one replica for x (V, D)."""
        with torch.no_grad():
            return torch.softmax(self.network(group, setting)(x), 1)
