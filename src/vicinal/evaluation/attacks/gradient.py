"""Projected gradient descent: steps along the loss's gradient, back onto the ball and the bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from vicinal.core import check_number, require
from vicinal.evaluation.attacks.base import Attack, Finding, seeded
from vicinal.evaluation.attacks.target import Target

__all__ = ["PGD"]


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class PGD(Attack):
    """Projected gradient ascent of the cross entropy, by foolbox.

        x <- P(x + step_size n(grad_x CE(f(x), y)))

    with P the projection onto the ball of `radius` around the row and onto the bounds, and n the gradient's sign ('linf') or the
    gradient over its length ('l2'). A network so sure that the gradient vanishes in single precision looks robust to it;
    `AutoAttack` and `BoundaryAttack` are not fooled by that.

    Args:
        radius: largest allowed distance from a row, in units of x.
        bounds: lowest and highest value of the features: two numbers, or two arrays with one value for each feature.
        norm: 'l2' or 'linf'.
        steps: gradient steps of each start.
        step_size: length of a step, in units of x; None is 2.5 `radius` / `steps`, which reaches any point of the ball.
        random_start: begin at a random point of the ball rather than at the row.
        restarts: how many starts; the first success counts.
        seed: of the starts.

    Reference: A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu. Towards deep learning models resistant to adversarial
    attacks. ICLR 2018, Section 2.1.

    Examples:
        >>> from vicinal.networks import MLP
        >>> line = MLP.from_parameters([torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5])])   # class 1 above x = 0.5
        >>> attack = PGD(radius=0.2, bounds=(0.0, 1.0))
        >>> attack(line, torch.tensor([[0.1], [0.4], [0.9], [0.8]]), torch.tensor([0, 0, 1, 0])).success.tolist()
        [False, True, False, True]
    """

    steps: int = 50
    step_size: float | None = None
    random_start: bool = True
    restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("steps", self.steps, 1, whole=True)
        check_number("restarts", self.restarts, 1, whole=True)
        if self.step_size is not None:
            check_number("step_size", self.step_size, 0, open_low=True)

    def _search(self, targets: Sequence[Target]) -> list[Finding]:
        foolbox = require("foolbox", "attacks")
        base = foolbox.attacks.L2PGD if self.norm == "l2" else foolbox.attacks.LinfPGD
        findings = []
        for target in targets:
            top = (target.high - target.low) / target.scale

            class InBox(base):  # type: ignore[misc, valid-type]
                # Without this, steps into a feature's bound would use up the ball.
                def project(self, x: Any, x0: Any, epsilon: float, top: Any = top) -> Any:
                    inside = super().project(x, x0, epsilon)
                    return type(inside)(torch.minimum(inside.raw, top.to(inside.raw)))

            length = 2.5 * target.limit / self.steps if self.step_size is None else self.step_size
            attack = InBox(
                abs_stepsize=length / float(target.scale), steps=self.steps, random_start=self.random_start
            ).repeat(self.restarts)
            u = target.u
            model = foolbox.PyTorchModel(target.network().eval(), bounds=(0, 1), device=u.device)
            with seeded(self.seed):
                findings.append(Finding(attack(model, u, target.y, epsilons=target.radius)[1]))
        return findings
