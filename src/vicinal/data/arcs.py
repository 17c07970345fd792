"""Curves in the plane with Laplacian noise: the moon and circle problems."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, softmax

from vicinal.data.synthetic import Synthetic

__all__ = ["Arc", "NoisyArcs"]

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Arc:
    """Part of a circle in the plane: `center + radius * (cos t, sin t)` for t in [start, stop].

    Args:
        center: (2,).
        radius: above 0.
        start: first angle, in radians.
        stop: last angle, at most one turn after `start`.

    Examples:
        >>> Arc((1.0, 0.0), 2.0).at(0.0).tolist()
        [3.0, 0.0]
    """

    center: tuple[float, float] = (0.0, 0.0)
    radius: float = 1.0
    start: float = 0.0
    stop: float = 2 * math.pi

    def at(self, angle: ArrayLike) -> Floats:
        """Return the points (..., 2) at angles (...)."""
        t = np.asarray(angle, dtype=np.float64)
        return np.asarray(self.center) + self.radius * np.stack([np.cos(t), np.sin(t)], axis=-1)

    def pieces(self, x: Floats) -> tuple[Floats, Floats]:
        """Return, for each x (N, 2), 9 consecutive intervals (left, width), each (N, 9), that fill the arc.

        Inside of each, `|x - at(t)|_1` is smooth and monotone in t: its kinks lie where the arc passes beside
        or above x, its smooth extremes where the arc runs diagonally.
        """
        ratios = np.clip((x - np.asarray(self.center)) / self.radius, -1.0, 1.0)
        beside, above = np.arccos(ratios[:, 0]), np.arcsin(ratios[:, 1])
        diagonal = np.broadcast_to(np.pi / 4 + np.pi / 2 * np.arange(4), (len(x), 4))
        inner = np.column_stack([beside, -beside, above, np.pi - above, diagonal])
        wrapped = self.start + (inner - self.start) % (2 * np.pi)
        ends = np.broadcast_to([self.start, self.stop], (len(x), 2))
        cuts = np.sort(np.column_stack([np.clip(wrapped, self.start, self.stop), ends]), axis=1)
        return cuts[:, :-1], np.diff(cuts, axis=1)


@final
@dataclass(frozen=True, kw_only=True)
class NoisyArcs(Synthetic):
    r"""Each class is a uniform point of its arcs plus Laplacian noise on both coordinates.

    With arcs `a` of equal weight and noise of scale `b`,

        p(x|c) = mean_a  mean_t  exp(-|x - a(t)|_1 / b) / (4 b^2),

    where the mean over t is an integral, computed by tanh-sinh quadrature on intervals on which the integrand is smooth
    and monotone, to about 1e-6 of its value. scikit-learn's `make_moons` and `make_circles` put their points at equally
    spaced angles; here angles are drawn uniformly, so that rows are independent draws from p(x|c).

    Args:
        arcs: the arcs of each class.
        scale: b, the scale of `numpy.random.Generator.laplace`, above 0.

    Examples:
        >>> from vicinal.data import SYNTHETIC
        >>> SYNTHETIC["circle"].posterior([[1.0, 0.0], [0.8, 0.0], [50.0, 0.0]]).round(3).tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """

    arcs: tuple[tuple[Arc, ...], ...]
    scale: float

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.arcs)

    @property
    def n_features(self) -> int:
        """D."""
        return 2

    def log_prob(self, x: ArrayLike) -> Floats:
        """Return the logarithm of the integral above, (N, K)."""
        points = self._check(x)
        if len(points) == 0:
            return np.empty((0, self.n_classes))
        # 512 points at a time keep the nodes of one arc within about 10 MB.
        chunks = np.split(points, range(512, len(points), 512))
        return np.concatenate([self._log_prob(chunk) for chunk in chunks])

    def posterior(self, x: ArrayLike) -> Floats:
        """Return the softmax of the log-densities, (N, K)."""
        return np.asarray(softmax(self.log_prob(x), axis=1))

    def _log_prob(self, x: Floats) -> Floats:
        classes = [
            logsumexp(np.stack([self._log_prob_arc(x, arc) for arc in arcs]), axis=0) - math.log(len(arcs))
            for arcs in self.arcs
        ]
        return np.stack(classes, axis=1) - math.log(4 * self.scale**2)

    def _log_prob_arc(self, x: Floats, arc: Arc) -> Floats:
        left, width = arc.pieces(x)
        angles = left[..., None] + width[..., None] * _NODES
        exponents = -np.abs(x[:, None, None] - arc.at(angles)).sum(axis=-1) / self.scale
        weights = width[..., None] * _WEIGHTS / (arc.stop - arc.start)
        return np.asarray(logsumexp(exponents, b=weights, axis=(1, 2)))

    def _draw(self, label: int, count: int, generator: np.random.Generator) -> Floats:
        arcs, rows = self.arcs[label], np.arange(count)
        share = generator.uniform(size=count)
        points = np.stack([arc.at(arc.start + (arc.stop - arc.start) * share) for arc in arcs])
        # Each arc in turn, since the paper gives every circle the same number of rows.
        return points[rows % len(arcs), rows] + generator.laplace(scale=self.scale, size=(count, 2))


def _tanh_sinh(count: int) -> tuple[Floats, Floats]:
    """Return nodes in (0, 1) and their weights, dense at both ends, where the integrand has its peaks."""
    s = np.linspace(-3.2, 3.2, count)
    nodes = 1 / (1 + np.exp(-np.pi * np.sinh(s)))
    weights = (s[1] - s[0]) * np.pi * np.cosh(s) * nodes * (1 - nodes)
    return nodes, weights


_NODES, _WEIGHTS = _tanh_sinh(49)
