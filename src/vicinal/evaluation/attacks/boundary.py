"""The boundary attack of Brendel et al.: it sees only decisions, and walks along the boundary towards the row.

Each row of foolbox's attack has step sizes of its own, and one direction is drawn for all rows of a step. So the rows of many
networks are one batch, whose rows go the ways that they would go alone. Between the attack and the networks stands `_Oracle`,
which answers its questions, asks only about rows that are still open, and ends the attack when none is.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from vicinal.core import InputError, check_features, check_number, require
from vicinal.evaluation.attacks.base import Attack, Finding, seeded
from vicinal.evaluation.attacks.target import Target
from vicinal.networks import MLP

__all__ = ["BoundaryAttack"]

MARGIN = 1e-5
"""A decision counts if another logit leads by this share of the largest, and a distance if it is shorter than the radius by this
share: more than rounding can undo when the point is evaluated again."""


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class BoundaryAttack(Attack):
    """The decision-based boundary attack, by foolbox, on all networks at once.

    A row starts from a misclassified point: uniform noise in the bounds, blended with the row; failing that, the nearest row of
    `pool` that the network takes for another class. A row without either is not attacked, and `AttackResult.no_start` says so.
    Each step goes a little around the row and a little towards it, and is kept if the point is still misclassified. A
    walk ends at the class where it came near, so with three classes or more some rows withstand it that have another boundary
    within the radius. With a single feature there is no way around, and the start,
    blended to a fiftieth of its way, is all that is found.

    The GenLabel paper (Tables 5, 7 and 12) attacks with 25,000 steps, a radius of a tenth of the range of all training
    features, and that range as bounds:

        low, high = train.min(), train.max()
        BoundaryAttack(radius=0.1 * (high - low), bounds=(low, high))

    The outcome for one network does not depend on the networks beside it (on its own rows it does: noise is drawn for all of
    them), but for rounding, and that foolbox stops once the step sizes of every row of a run have shrunk to nothing.

    Args:
        radius: largest allowed Euclidean distance from a row, in units of x.
        bounds: lowest and highest value of the features: two numbers, or two arrays with one value for each feature.
        steps: at most so many steps of each row.
        early_stop: leave a row as soon as its point is within `radius`: the robust accuracy stays, time is saved, and
            `AttackResult.distance` is that point's. False looks for the nearest point in all steps.
        directions: noise is drawn at most so often in search of a starting point.
        pool: (P, ...) rows, such as the training rows, or None.
        seed: of all draws.

    Reference: W. Brendel, J. Rauber, M. Bethge. Decision-based adversarial attacks: reliable attacks against black-box machine
    learning models. ICLR 2018.

    Examples:
        >>> from vicinal.networks import MLP
        >>> line = MLP.from_parameters([torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5])])   # class 1 above x = 0.5
        >>> attack = BoundaryAttack(radius=0.2, bounds=(0.0, 1.0), steps=500)
        >>> attack(line, torch.tensor([[0.1], [0.4], [0.9], [0.8]]), torch.tensor([0, 0, 1, 0])).success.tolist()
        [False, True, False, True]
    """

    norm: str = field(default="l2", init=False)
    steps: int = 25_000
    early_stop: bool = True
    directions: int = 1000
    pool: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("steps", self.steps, 1, whole=True)
        check_number("directions", self.directions, 1, whole=True)

    def _search(self, targets: Sequence[Target]) -> list[Finding]:
        foolbox = require("foolbox", "attacks")
        if len({(target.x.shape[1:], target.x.dtype, target.n_classes) for target in targets}) > 1:
            raise InputError(
                "`models` of one boundary attack must share features, dtype and number of classes; run the others apart."
            )
        starts, found = zip(*(self._starts(target) for target in targets), strict=True)
        oracle = _Oracle(targets, torch.cat(starts), torch.cat(found), self.early_stop).eval()
        if len(oracle.open):
            model = foolbox.PyTorchModel(oracle, bounds=(0, 1), device=oracle.rows.device)
            attack = foolbox.attacks.BoundaryAttack(steps=self.steps)
            with seeded(self.seed), suppress(_AllClosedError):
                points = attack.run(model, oracle.rows, oracle.nothing, starting_points=oracle.points)
                oracle.points[oracle.open] = points[oracle.open]
        points = oracle.points.split([len(target.x) for target in targets])
        return [Finding(point, ~has) for point, has in zip(points, found, strict=True)]

    def _starts(self, target: Target) -> tuple[Tensor, Tensor]:
        """Return a misclassified point for each row, in units of u, and whether one was found."""
        foolbox = require("foolbox", "attacks")
        # The whole box is the unit cube here, so that noise is uniform in it; blending does not care.
        width = target.high - target.low
        cube = target.network(width).eval()
        v = ((target.x - target.low) / torch.where(width > 0, width, 1)).float().clamp(0, 1)
        blend = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(directions=self.directions, steps=50)
        with seeded(self.seed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows without a start, which the result names
            points = cube.features(blend.run(foolbox.PyTorchModel(cube, bounds=(0, 1), device=v.device), v, target.y))
        found = target.predict(points) != target.y
        if self.pool is not None and not bool(found.all()):
            pool = torch.clamp(check_features(self.pool, "pool").to(target.x), target.low, target.high)
            distance = torch.cdist(target.x.flatten(1), pool.flatten(1))
            near, index = distance.masked_fill(target.y[:, None] == target.predict(pool), torch.inf).min(1)
            late = ~found & near.isfinite()
            points[late] = pool[index[late]]
            found |= late
        return target.scaled(points), found


class _AllClosedError(Exception):
    """No row is open any more: every one has a point within its radius."""


class _Oracle(nn.Module):
    """Answers for N rows of many networks whether a point is misclassified, as two logits (no, yes).

    Attributes:
        rows: (N, ...) the rows. points: (N, ...) where each started, or the point that it was closed with.
        nothing: (N,) zeros: 'no' is the class that the attack must leave.
        open: indices of the rows that the networks are still asked about: with a start, not closed.
    """

    def __init__(self, targets: Sequence[Target], starts: Tensor, found: Tensor, early_stop: bool) -> None:
        super().__init__()
        self.networks = [target.network() for target in targets]
        self.rows = torch.cat([target.u for target in targets])
        self.y = torch.cat([target.y for target in targets])
        self.owner = torch.cat([torch.full_like(target.y, i) for i, target in enumerate(targets)])
        self.radius = self.rows.new_tensor([target.radius for target in targets])[self.owner]
        self.points, self.early_stop, self.asked = starts, early_stop, False
        self.nothing = torch.zeros_like(self.y)
        self._keep(found.nonzero()[:, 0])

    def _keep(self, rows: Tensor) -> None:
        self.open = rows
        self.ask = _together(self.networks, self.owner[rows])

    def forward(self, u: Tensor) -> Tensor:
        if not self.asked:  # whether the starts are misclassified, which `_starts` has made sure of
            self.asked = True
            return u.new_tensor([0.0, 1.0]).expand(len(u), 2)
        answer = u.new_tensor([0.5, 0.0]).repeat(len(u), 1)  # of a row that is not open, no step is kept
        y, points = self.y[self.open, None], u[self.open]
        logits = self.ask(points)
        lead = logits.scatter(1, y, -torch.inf).amax(1) - logits.gather(1, y)[:, 0]
        wrong = lead > MARGIN * logits.abs().amax(1)
        answer[self.open, 1] = wrong.to(u.dtype)
        if self.early_stop:
            distance = torch.linalg.vector_norm((points - self.rows[self.open]).flatten(1), dim=1)
            done = wrong & (distance <= (1 - MARGIN) * self.radius[self.open])
            if bool(done.any()):
                self.points[self.open[done]] = points[done]
                if bool(done.all()):
                    raise _AllClosedError
                self._keep(self.open[~done])
        return answer


def _together(networks: Sequence[Any], owner: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function from points (n, ...), sorted by `owner` (n,), to their networks' logits (n, K).

    Perceptrons of one shape are evaluated as one batched product, others one after another.
    """
    present, counts = owner.unique_consecutive(return_counts=True)
    chosen = [networks[i] for i in present.tolist()]
    shapes = {tuple(p.shape for p in n.model.parameters()) if type(n.model) is MLP else None for n in chosen}
    if len(chosen) <= 1 or len(shapes) > 1 or None in shapes:
        sizes = counts.tolist()
        return lambda u: torch.cat([network(part) for network, part in zip(chosen, u.split(sizes), strict=True)])
    layers = [
        (torch.stack([layer.weight.T for layer in group]), torch.stack([layer.bias[None] for layer in group]))
        for group in zip(*(network.model.layers for network in chosen), strict=True)
    ]
    low, high, scale = (
        torch.stack([getattr(network, name).expand(network.low.shape) for network in chosen])[:, None]
        for name in ("low", "high", "scale")
    )
    # Point j of network g is in place j of a table (networks, width), padded with points that nobody reads.
    width = int(counts.max())
    first = counts.cumsum(0) - counts
    place = torch.arange(len(owner), device=owner.device) + torch.repeat_interleave(
        width * torch.arange(len(chosen), device=owner.device) - first, counts
    )

    def logits(u: Tensor) -> Tensor:
        h = u.new_zeros(len(chosen) * width, *u.shape[1:]).index_copy_(0, place, u).view(len(chosen), width, -1)
        h = torch.clamp(low + scale * h.to(low.dtype), low, high)
        for i, (weight, bias) in enumerate(layers):
            h = torch.baddbmm(bias, h, weight)
            if i + 1 < len(layers):
                h = h.relu_()
        return h.flatten(0, 1)[place]

    return logits
