"""Scores against scikit-learn, also where classes tie, logits are huge, or rows weigh nothing."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

from vicinal.training.scoring import score_logits


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("whole", [False, True])
def test_against_scikit_learn(k: int, scale: float, whole: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(2, 60, k, 3, generator=generator, dtype=torch.float64)
    logits = (logits / scale).round() if whole else logits  # whole numbers: many classes tie
    label = torch.randint(k, (2, 60), generator=generator)
    weight = torch.randint(3, (2, 60), generator=generator).double()
    losses, hits = score_logits(logits, label, weight)
    for s, r in product(range(2), range(3)):
        z, y, w = logits[s, :, :, r], label[s].numpy(), weight[s].numpy()
        log_p = torch.log_softmax(z, 1).numpy()
        assert float(losses[s, r]) == pytest.approx(-(log_p[np.arange(60), y] * w).sum(), rel=1e-9)
        if scale == 1:
            p = torch.softmax(z, 1).numpy()
            assert float(losses[s, r]) == pytest.approx(log_loss(y, p, sample_weight=w, labels=range(k)) * w.sum())
        assert float(hits[s, r]) == pytest.approx(accuracy_score(y, z.numpy().argmax(1), sample_weight=w) * w.sum())
