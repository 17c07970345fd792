"""Mixup's own label: the straight line between the endpoints' labels."""

import torch
from torch import Tensor

from vicinal.core import MixedBatch
from vicinal.labeling.base import Labeler

__all__ = ["LinearLabels"]


class LinearLabels(Labeler):
    """y = lam y_a + (1 - lam) y_b (Zhang et al., 2018; GenLabel's y_lin)."""

    def _label(self, batch: MixedBatch) -> Tensor:
        return torch.lerp(batch.y_b, batch.y_a, batch.lam[..., None])
