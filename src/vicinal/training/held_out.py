"""Scores of a stack's replicas on the evaluation rows of their groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from vicinal.core import InputError
from vicinal.training.problem import Group
from vicinal.training.scoring import score_logits
from vicinal.training.stack import Stack

__all__ = ["HeldOut"]

EVALUATION_NUMBERS = 1 << 24
"""Activations held at once while evaluating."""


@dataclass(frozen=True)
class HeldOut:
    """Evaluation rows of S groups side by side: x (S, V, D), y (S, V), and weights (S, V) that are 0 for padding."""

    x: Tensor
    y: Tensor
    weight: Tensor

    @classmethod
    def of(cls, groups: Sequence[Group]) -> "HeldOut":
        """Gather the groups' evaluation rows, padded to equal numbers."""
        most = max(0 if group.x_eval is None else len(group.x_eval) for group in groups)
        return cls(*(torch.stack(part) for part in zip(*[_padded(group, most) for group in groups], strict=True)))

    def score(self, stack: Stack, streams: slice, *, keep: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the weighted mean log loss and accuracy of the replicas of some streams, (S, R) each, and their predictions.

        These are probabilities (S, R, V, K), or empty unless asked for. A replica whose outputs are not finite has NaN scores.
        """
        totals: list[Tensor] = []
        predictions: list[Tensor] = []
        rows = self.x.shape[1]
        step = max(1, EVALUATION_NUMBERS // stack.activations)
        for start, end in pairwise([*range(0, rows, step), rows]):
            part, label, weight = (value[streams, start:end] for value in (self.x, self.y, self.weight))
            logits = stack.logits(part)
            totals.append(torch.stack(score_logits(logits, label, weight)).double())
            if keep:
                predictions.append(torch.softmax(logits, 2).permute(0, 3, 1, 2).cpu())
        mean = torch.stack(totals).sum(0) / self.weight[streams].sum(1)[:, None]
        mean[1] = mean[1].masked_fill(mean[0].isnan(), torch.nan)
        log_loss, accuracy = mean.cpu().numpy()
        return log_loss, accuracy, torch.cat(predictions, 2).numpy() if keep else np.empty(0)


def _padded(group: Group, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    if group.x_eval is None or group.y_eval is None or not rows:
        raise InputError("checkpoints need evaluation rows: give every group `x_eval` and `y_eval`.")
    weight = torch.ones(len(group.x_eval), device=group.x.device) if group.weight_eval is None else group.weight_eval
    missing = rows - len(group.x_eval)
    return pad(group.x_eval, (0, 0, 0, missing)), pad(group.y_eval, (0, missing)), pad(weight.float(), (0, missing))
