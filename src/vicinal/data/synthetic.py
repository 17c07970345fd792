"""Problems whose p(y|x) is known: the synthetic data of GenLabel's section E.1.

A label made by a generative model can be compared with the truth only where the truth is known. Classes have equal prior
probability, so Bayes' rule reads `p(c|x) = p(x|c) / sum_k p(x|k)`.

Reference: Sohn et al., "GenLabel: Mixup Relabeling using Generative Models" (2022), section E.1.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, softmax

from vicinal.core.checks import InputError, check_number
from vicinal.core.randomness import seed_at

__all__ = ["SYNTHETIC", "Arc", "Cubes", "Gaussians", "NoisyArcs", "Synthetic"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Synthetic(ABC):
    """A problem that can be sampled without end and whose posterior is known.

    Args:
        name: what the command line calls it.
        train_per_class: rows per class that the paper trains on.
        test_per_class: rows per class that the paper tests on.

    Examples:
        >>> SYNTHETIC["cube3d"].n_classes, SYNTHETIC["cube3d"].n_features
        (8, 3)
    """

    name: str
    train_per_class: int
    test_per_class: int

    @property
    @abstractmethod
    def n_classes(self) -> int:
        """K."""

    @property
    @abstractmethod
    def n_features(self) -> int:
        """D."""

    @abstractmethod
    def log_prob(self, x: ArrayLike) -> Floats:
        """Return log p(x|c) of x (N, D) for every class, (N, K); minus infinity outside of a class's support."""

    @abstractmethod
    def posterior(self, x: ArrayLike) -> Floats:
        """Return p(c|x) of x (N, D) under equal class priors, (N, K); every row sums to 1, however far x lies."""

    @abstractmethod
    def _draw(self, label: int, count: int, generator: np.random.Generator) -> Floats:
        """Draw (count, D) points of one class."""

    @final
    def sample(self, per_class: int | None = None, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
        """Draw `per_class` independent rows of each class.

        Args:
            per_class: how many, at least 1; None takes `train_per_class`.
            seed: another seed gives another realization, such as the test rows.

        Returns:
            x (N, D) and class indices y (N,), ordered by class, N = K * per_class.

        Examples:
            >>> x, y = SYNTHETIC["cube2d"].sample(3)
            >>> x.shape, y.tolist()
            ((6, 2), [0, 0, 0, 1, 1, 1])
        """
        count = self.train_per_class if per_class is None else per_class
        check_number("per_class", count, 1, whole=True)
        generator = np.random.default_rng(seed_at(problem=self.name, seed=seed))
        x = np.concatenate([self._draw(label, count, generator) for label in range(self.n_classes)])
        return x, np.repeat(np.arange(self.n_classes, dtype=np.int64), count)

    def _check(self, x: ArrayLike) -> Floats:
        points = np.asarray(x, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.n_features or not np.isfinite(points).all():
            raise InputError(
                f"`x` must hold finite points of shape (N, {self.n_features}) for {self.name!r},"
                f" got {points.shape}{'' if np.isfinite(points).all() else ' with NaN or infinite values'}."
            )
        return points


@final
@dataclass(frozen=True, kw_only=True)
class Cubes(Synthetic):
    """Each class is uniform on a cube of side 2 around its own centre; the cubes touch and don't overlap.

    Args:
        centers: one (D,) centre per class.

    Examples:
        >>> SYNTHETIC["cube2d"].posterior([[-0.5, 0.2], [0.0, 0.0], [9.0, 9.0]]).tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """

    centers: tuple[tuple[float, ...], ...]

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.centers)

    @property
    def n_features(self) -> int:
        """D."""
        return len(self.centers[0])

    def log_prob(self, x: ArrayLike) -> Floats:
        """Return `-D log 2` inside of a class's cube, faces included, and minus infinity outside, (N, K)."""
        return np.where(self._distances(x) == 0, -self.n_features * math.log(2.0), -np.inf)

    def posterior(self, x: ArrayLike) -> Floats:
        """Return the class of the cube that x lies in, one-hot, (N, K).

        A point of a shared face belongs to its cubes in equal parts. Outside of every support p(c|x) is undefined; there
        the nearest cube (Euclidean distance) gives the class.
        """
        distances = self._distances(x)
        nearest = distances == distances.min(axis=1, keepdims=True)
        posterior: Floats = nearest / nearest.sum(axis=1, keepdims=True)
        return posterior

    def _distances(self, x: ArrayLike) -> Floats:
        offsets = np.abs(self._check(x)[:, None] - np.asarray(self.centers))
        distances: Floats = np.linalg.norm(np.maximum(offsets - 1.0, 0.0), axis=2)
        return distances

    def _draw(self, label: int, count: int, generator: np.random.Generator) -> Floats:
        return self.centers[label] + generator.uniform(-1.0, 1.0, (count, self.n_features))


@final
@dataclass(frozen=True, kw_only=True)
class Gaussians(Synthetic):
    """Each class is a normal distribution with its own mean and the covariance `variance * I`.

    Args:
        means: one (D,) mean per class.
        variance: of every coordinate, above 0.

    Examples:
        >>> SYNTHETIC["9-gaussians"].posterior([[10.0, 10.0]]).round(6).tolist()[0][8]
        1.0
    """

    means: tuple[tuple[float, ...], ...]
    variance: float

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.means)

    @property
    def n_features(self) -> int:
        """D."""
        return len(self.means[0])

    def log_prob(self, x: ArrayLike) -> Floats:
        """Return `-|x - mean|^2 / (2 variance) - D/2 log(2 pi variance)`, (N, K)."""
        squares = ((self._check(x)[:, None] - np.asarray(self.means)) ** 2).sum(axis=2)
        constant = self.n_features / 2 * math.log(2 * math.pi * self.variance)
        log_prob: Floats = -squares / (2 * self.variance) - constant
        return log_prob

    def posterior(self, x: ArrayLike) -> Floats:
        """Return the softmax of the log-densities, (N, K)."""
        return np.asarray(softmax(self.log_prob(x), axis=1))

    def _draw(self, label: int, count: int, generator: np.random.Generator) -> Floats:
        return generator.normal(self.means[label], math.sqrt(self.variance), (count, self.n_features))


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
        """Return, for each x (N, 2), 13 consecutive intervals (left, width), each (N, 13), that fill the arc.

        Inside of each, `|x - at(t)|_1` is smooth and monotone in t: its kinks lie where the arc passes beside or above x, its
        smooth extremes where the arc runs diagonally.
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

_OUTER, _INNER = 1.0, 0.8

SYNTHETIC: Final[Mapping[str, Synthetic]] = MappingProxyType(
    {
        problem.name: problem
        for problem in (
            NoisyArcs(
                name="moon",
                train_per_class=500,
                test_per_class=500,
                arcs=((Arc(stop=np.pi),), (Arc((1.0, 0.5), start=np.pi),)),
                scale=0.1,
            ),
            NoisyArcs(
                name="circle",
                train_per_class=500,
                test_per_class=500,
                arcs=((Arc(radius=_OUTER),), (Arc(radius=_INNER),)),
                scale=0.02,
            ),
            # The paper shifts the second circle "to the right"; its authors' code puts the centres at -1.2 and 1.2.
            NoisyArcs(
                name="four-circle",
                train_per_class=1000,
                test_per_class=1000,
                arcs=(
                    (Arc((-1.2, 0.0), _OUTER), Arc((1.2, 0.0), _INNER)),
                    (Arc((-1.2, 0.0), _INNER), Arc((1.2, 0.0), _OUTER)),
                ),
                scale=0.01,
            ),
            Cubes(name="cube2d", train_per_class=20, test_per_class=10_000, centers=((-1.0, 0.0), (1.0, 0.0))),
            Cubes(
                name="cube3d",
                train_per_class=20,
                test_per_class=10_000,
                centers=tuple(product((-1.0, 1.0), repeat=3)),
            ),
            # The paper names no test rows here; as many as for training.
            Gaussians(
                name="9-gaussians",
                train_per_class=5000,
                test_per_class=5000,
                means=tuple(product((-10.0, 0.0, 10.0), repeat=2)),
                variance=0.1,
            ),
        )
    }
)
"""The problems of section E.1 by name.

The paper draws 1000 rows for moon and for circle, and 1000 for each circle pair of four-circle: 500, 500 and 1000 per class.
The circle pairs of four-circle have their centres at (-1.2, 0) and (1.2, 0), so that a gap of 0.4 lies between them.
"""
