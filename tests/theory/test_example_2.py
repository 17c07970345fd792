"""GenLabel, Example 2 (Fig. 3): on three rows, logistic labels give the max-margin classifier and linear labels do not.

The rows are (-d, d), (d, d), (-d, -d), one per class, d = 5. Softmax regression without a bias, fitted by full-
batch L-BFGS to all pairs and a grid of lam. The margin of W is the least distance of a row from the boundary
between its own class and another,

    margin(W) = min over classes c and k != c of (w_c - w_k)^T x_c / |w_c - w_k|,

and at most half the distance between the two closest rows, d.
"""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from vicinal.core import MixedBatch
from vicinal.labeling import Labeler, LinearLabels, LogisticLabels
from vicinal.mixing import Fixed, LinearMixer

D = 5.0
X = torch.tensor([[-D, D], [D, D], [-D, -D]], dtype=torch.float64)
SVM = torch.tensor([[-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
SIGMA = 1 / (2 * math.sqrt(D))


def mixed(labeler: Labeler, lam: float) -> tuple[Tensor, Tensor]:
    """Mix every row with every row, and label."""
    first, second = torch.cartesian_prod(torch.arange(3), torch.arange(3)).T
    share = Fixed(lam).draw((9,), X, None)
    x, share = LinearMixer().mix(X[first], X[second], share, None)
    rows = torch.eye(3, dtype=torch.float64)
    batch = MixedBatch(x, X[first], X[second], rows[first], rows[second], share, torch.ones_like(share))
    return x, labeler(batch)


@cache
def fit(labels: str) -> Tensor:
    if labels == "vanilla":
        x, y = X, torch.eye(3, dtype=torch.float64)
    else:
        labeler = LinearLabels() if labels == "linear" else LogisticLabels(SIGMA)
        parts = [mixed(labeler, (i + 0.5) / 201) for i in range(201)]
        x, y = (torch.cat(part) for part in zip(*parts, strict=True))
    w = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [w], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ w.T, y)
        loss.backward()
        return loss

    solver.step(closure)
    return w.detach()


def margin(w: Tensor) -> float:
    gaps = [(w[c] - w[k], X[c]) for c in range(3) for k in range(3) if k != c]
    return min(float(gap @ x / gap.norm()) for gap, x in gaps)


def test_labels_are_those_of_the_text() -> None:
    """On the line x2-x3, rho = 1 / (1 + exp(-8 d (lam - 1/2))), which is the SVM's own softmax there."""
    for lam in (0.0, 0.3, 0.45, 0.5, 0.61, 1.0):
        x, y = mixed(LogisticLabels(SIGMA), lam)
        pair = 3 * 1 + 2
        rho = 1 / (1 + math.exp(-8 * D * (lam - 0.5)))
        assert y[pair].tolist() == pytest.approx([0.0, rho, 1 - rho], abs=1e-12)
        two = torch.softmax((x[pair] @ SVM.T)[1:], 0)
        assert two.tolist() == pytest.approx([rho, 1 - rho], abs=1e-12)


def test_svm_has_the_largest_margin() -> None:
    assert margin(SVM) == pytest.approx(D)


def test_logistic_labels_give_the_max_margin_direction() -> None:
    """w1, w2, w3 = [-1, 1], [1, 1], [-1, -1], up to a vector added to all three and a factor."""
    w = fit("logistic")
    shape, expected = w - w.mean(0), SVM - SVM.mean(0)
    cosine = float((shape * expected).sum() / (shape.norm() * expected.norm()))
    assert cosine == pytest.approx(1, abs=1e-5)
    assert margin(w) == pytest.approx(D, abs=0.01)


def test_order_of_margins() -> None:
    linear, vanilla, logistic = (margin(fit(labels)) for labels in ("linear", "vanilla", "logistic"))
    assert linear < vanilla - 0.1 < vanilla < logistic <= D
    assert linear == pytest.approx(4.70, abs=0.02)


def test_linear_labels_keep_the_weights_small() -> None:
    """Fig. 3c: w2 and w3 lie close together (p changes linearly between them), as the text derives for large d."""
    linear, logistic = fit("linear"), fit("logistic")
    assert float((linear[1] - linear[2]).norm()) < 0.2 * float((logistic[1] - logistic[2]).norm())
