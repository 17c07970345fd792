"""GenLabel, Example 3 and section C.2 (Fig. 5): relabelled mixup reaches the max-margin angle, mixup does not.

Rows (1, 0) and (0, 1) of class +1 and n copies of (-1, 0) of class -1; logistic regression theta = r (cos phi, sin
phi), without a bias; phi* minimises the logistic loss over all (n + 2)^2 ordered pairs. The SVM's angle is pi / 4,
and the margin of theta is min(cos phi, sin phi) (section C.2).
"""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from torch import Tensor

from vicinal.core import MixedBatch
from vicinal.labeling import Labeler, LinearLabels, LogisticLabels, NeighbourLabels
from vicinal.mixing import LinearMixer

SVM = math.pi / 4
N = 10
SIGMA = 0.1
NEW = LogisticLabels(
    math.sqrt(2) * SIGMA
)  # Example 3 writes exp(-(lam - 1/2) / sigma^2), without section 3.2's factor 2


def rows(n: int = N) -> tuple[Tensor, Tensor]:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], *[[-1.0, 0.0]] * n], dtype=torch.float64)
    return x, torch.tensor([0, 0] + [1] * n)


def mixed(labeler: Labeler, n: int = N, steps: int = 200) -> tuple[Tensor, Tensor]:
    """Mix all ordered pairs over a grid of lam ~ Beta(1, 1), the grid as a leading batch axis."""
    x, y = rows(n)
    onehot = torch.eye(2, dtype=torch.float64)[y]
    first, second = (part.expand(steps, -1) for part in torch.cartesian_prod(*[torch.arange(n + 2)] * 2).T)
    lam = ((torch.arange(steps, dtype=torch.float64) + 0.5) / steps)[:, None].expand(first.shape)
    points, lam = LinearMixer().mix(x[first], x[second], lam, None)
    one = torch.ones_like(lam)
    batch = MixedBatch(points, x[first], x[second], onehot[first], onehot[second], lam, one)
    return points.flatten(0, 1), labeler.fit(x, y, 2)(batch).flatten(0, 1)


def loss(x: Tensor, y: Tensor, r: float, phi: float) -> float:
    """Mean logistic loss of theta = r (cos phi, sin phi)."""
    score = x @ (r * torch.tensor([math.cos(phi), math.sin(phi)], dtype=x.dtype))
    soft = torch.nn.functional.softplus
    return float((y[:, 0] * soft(-score) + y[:, 1] * soft(score)).mean())


def angle(x: Tensor, y: Tensor, r: float) -> float:
    return minimize_scalar(
        lambda phi: loss(x, y, r, phi), bounds=(0, math.pi / 2), method="bounded", options={"xatol": 1e-9}
    ).x


def vanilla() -> tuple[Tensor, Tensor]:
    x, y = rows()
    return x, torch.eye(2, dtype=torch.float64)[y]


def margin(phi: float) -> float:
    return min(math.cos(phi), math.sin(phi))


@pytest.mark.parametrize("labels", [LinearLabels(), NEW], ids=["linear", "new"])
def test_loss_is_equation_3(labels: Labeler) -> None:
    """The loss over our points and labels against the paper's integrals over L1, L2 and L3."""
    n, r, phi = 4, 3.0, 0.6

    def rho(lam: float) -> float:
        return lam if isinstance(labels, LinearLabels) else 1 / (1 + math.exp(-(lam - 0.5) / SIGMA**2))

    def one_minus(lam: float) -> float:
        return 1 - rho(lam)

    c, s = r * math.cos(phi), r * math.sin(phi)

    def soft(z: float) -> float:
        return math.log1p(math.exp(z))

    l1 = quad(lambda a: one_minus(a) * soft(a * c - (1 - a) * s) + rho(a) * soft(-a * c + (1 - a) * s), 0, 1)[0]
    l2 = quad(lambda a: one_minus(a) * soft((2 * a - 1) * c) + rho(a) * soft(-(2 * a - 1) * c), 0, 1)[0]
    l3 = quad(lambda a: soft(-(1 - a) * c - a * s), 0, 1)[0]
    expected = 2 * n * (l1 + l2) + n**2 * soft(-c) + 2 * l3 + soft(-c) + soft(-s)
    assert loss(*mixed(labels, n, 4000), r, phi) == pytest.approx(expected / (n + 2) ** 2, rel=1e-5)


def test_new_mixup_approaches_the_svm() -> None:
    off = [abs(angle(*mixed(NEW), r) - SVM) for r in (3, 10, 30, 100)]
    assert off == sorted(off, reverse=True)
    assert off[-1] < 1e-3


def test_sharper_labels_come_closer() -> None:
    """The angle that is left at large r is the labels' softness: it falls with sigma."""
    off = [abs(angle(*mixed(LogisticLabels(math.sqrt(2) * sigma)), 300) - SVM) for sigma in (0.3, 0.2, 0.1)]
    assert off == sorted(off, reverse=True)
    assert off[-1] < 0.1 * off[0]


def test_hard_labels_of_the_nearest_row_approach_it_too() -> None:
    assert angle(*mixed(NeighbourLabels()), 100) == pytest.approx(SVM, abs=0.01)


def test_mixup_stays_away() -> None:
    """Fig. 5b: the original mixup converges to another angle."""
    at_100, at_300 = (angle(*mixed(LinearLabels()), r) for r in (100, 300))
    assert at_100 == pytest.approx(at_300, abs=2e-3)
    assert at_300 - SVM > 0.2


@pytest.mark.parametrize("r", [30, 100, 300])
def test_order_of_margins(r: float) -> None:
    """margin(svm) = margin(new-mixup) > margin(vanilla) > margin(mixup), section C.2."""
    new, plain, mixup = (margin(angle(*data, r)) for data in (mixed(NEW), vanilla(), mixed(LinearLabels())))
    assert margin(SVM) >= new > plain > mixup
    assert new == pytest.approx(margin(SVM), rel=0.003)
