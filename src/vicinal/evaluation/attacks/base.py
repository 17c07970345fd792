"""What every attack promises, and the frame that holds it to it.

A subclass of `Attack` searches; calling it evaluates what the search claims once more, in the caller's units: a point counts if
the network misclassifies it, within the bounds and the radius.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from vicinal.core import InputError, check_in, check_number
from vicinal.evaluation.attacks.target import Bounds, Target, check_bounds, check_radius, prepare

__all__ = ["Attack", "AttackResult", "Finding", "seeded"]


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack found on V rows.

    Attributes:
        adversarial: (V, ...) the misclassified point found for a row, always within the bounds; the row itself where none was.
        success: (V,) whether that point lies within the radius. True also for rows misclassified from the outset.
        distance: (V,) from the row to its point, in the attack's norm and the units of x; 0 for rows misclassified from the
            outset, inf where no point was found.
        clean_correct: (V,) whether the row itself is classified correctly; only these are attacked.
        no_start: (V,) rows that a boundary attack could not begin with, as no starting point was found; they count as robust.
        left_out: parts of an ensemble that are not defined for this problem, and why.

    Examples:
        >>> yes = torch.tensor([True, False])
        >>> AttackResult(torch.zeros(2, 1), yes, torch.tensor([0.1, torch.inf]), ~yes | yes, ~yes & yes).robust_accuracy
        0.5
    """

    adversarial: Tensor
    success: Tensor
    distance: Tensor
    clean_correct: Tensor
    no_start: Tensor
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def clean_accuracy(self) -> float:
        """Share of rows classified correctly, in [0, 1]."""
        return float(self.clean_correct.double().mean())

    @property
    def robust_accuracy(self) -> float:
        """Share of rows classified correctly for which no adversarial point was found within the radius, in [0, 1]."""
        return float((~self.success).double().mean())


@dataclass(frozen=True, eq=False)
class Finding:
    """What an attack's `_search` claims for one target.

    Attributes:
        u: (V, ...) the points, in units of `Target.u`.
        no_start: (V,) rows that could not be attacked; None for none.
        left_out: see `AttackResult`.
    """

    u: Tensor
    no_start: Tensor | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators, which the libraries draw from, and put them back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True, eq=False, kw_only=True)
class Attack(ABC):
    """Abstract attack: a subclass searches (`_search`); calling it checks what was found.

    Args:
        radius: largest allowed distance from a row, in units of x.
        bounds: lowest and highest value of the features: two numbers, or two arrays with one value for each feature.
        norm: of the distance, 'l2' or 'linf'.
        seed: of all draws; torch's global generators are left as they were.
    """

    radius: float
    bounds: Bounds
    norm: str = "l2"
    seed: int = 0

    def __post_init__(self) -> None:
        check_radius(self.radius)
        check_bounds(self.bounds)
        check_in("norm", self.norm, ["l2", "linf"])
        check_number("seed", self.seed, 0, whole=True)

    @abstractmethod
    def _search(self, targets: Sequence[Target]) -> Sequence[Finding]:
        """Look for adversarial points of every target's rows."""

    @final
    def __call__(self, model: nn.Module, x: Any, y: Any) -> AttackResult:
        """Attack one network.

        Args:
            model: takes (V, ...) to logits (V, K). It is copied: its mode and gradients stay as they are.
            x: (V, ...) rows within the bounds.
            y: (V,) classes 0..K-1.

        Raises:
            InputError: a row outside the bounds, NaN, shapes that do not fit, or a network without (V, K) finite outputs.
            ImportError: the extra 'attacks' is not installed.
        """
        return self.run([model], [x], [y])[0]

    @final
    def run(
        self,
        models: Sequence[nn.Module],
        x: Sequence[Any],
        y: Sequence[Any],
        *,
        radius: Sequence[float] | None = None,
        bounds: Sequence[Bounds] | None = None,
    ) -> list[AttackResult]:
        """Attack R networks, each with rows of its own.

        Args:
            models: R networks; see `__call__`.
            x: R arrays (V_r, ...).
            y: R arrays (V_r,).
            radius: R radii, in place of the attack's own.
            bounds: R bounds, in place of the attack's own.

        Returns:
            R results, each as if its network had been attacked alone, but for rounding.

        Raises:
            InputError: as `__call__`, or lists of other lengths.
        """
        n = len(models)
        radii = [self.radius] * n if radius is None else radius
        boxes = [self.bounds] * n if bounds is None else bounds
        for name, given in {"x": x, "y": y, "radius": radii, "bounds": boxes}.items():
            if len(given) != n:
                raise InputError(f"`{name}` must hold one entry for each of the {n} networks, got {len(given)}.")
        wholes = [prepare(*parts) for parts in zip(models, x, y, radii, boxes, strict=True)]
        correct = [whole.predict(whole.x) == whole.y for whole in wholes]
        attacked = [bool(right.any()) and whole.limit > 0 for whole, right in zip(wholes, correct, strict=True)]
        targets = [w.select(right) for w, right, goes in zip(wholes, correct, attacked, strict=True) if goes]
        findings = iter(self._search(targets) if targets else [])
        claims = [next(findings) if goes else None for goes in attacked]
        return [self._judge(*parts) for parts in zip(wholes, correct, claims, strict=True)]

    def _judge(self, whole: Target, correct: Tensor, claim: Finding | None) -> AttackResult:
        """Evaluate what was found: the point itself, or where it is too far, the point drawn back to the radius."""
        x = whole.x
        distance = torch.where(correct, torch.inf, torch.zeros(len(x), dtype=torch.float64, device=x.device))
        success, no_start, adversarial = ~correct, torch.zeros_like(correct), x.clone()
        if claim is None:
            return AttackResult(adversarial, success, distance, correct, no_start)
        target = whole.select(correct)
        points = target.network().features(claim.u)
        best, reach = target.x.clone(), distance[correct]
        hit = torch.zeros_like(reach, dtype=torch.bool)
        # What was drawn back is within the radius but for rounding, which can't be avoided.
        for candidate, allowed in ((points, target.limit), (self._draw_back(target, points), torch.inf)):
            length = self._distance(candidate - target.x)
            wrong = (target.predict(candidate) != target.y) & length.isfinite()
            hit |= wrong & (length <= allowed)
            nearer = wrong & (length < reach)
            best[nearer], reach[nearer] = candidate[nearer], length[nearer]
        adversarial[correct], distance[correct], success[correct] = best, reach, hit
        if claim.no_start is not None:
            no_start[correct] = claim.no_start
        return AttackResult(adversarial, success, distance, correct, no_start, claim.left_out)

    def _distance(self, difference: Tensor) -> Tensor:
        order = 2 if self.norm == "l2" else torch.inf
        length: Tensor = torch.linalg.vector_norm(difference.flatten(1).double(), order, dim=1)
        return length

    def _draw_back(self, target: Target, points: Tensor) -> Tensor:
        step = points - target.x
        if self.norm == "linf":
            step = step.clamp(-target.limit, target.limit)
        else:
            shrink = (target.limit / self._distance(step).clamp_min(1e-300)).clamp_max(1).to(step.dtype)
            step = step * shrink.reshape(-1, *[1] * (step.ndim - 1))
        return torch.clamp(target.x + step, target.low, target.high)
