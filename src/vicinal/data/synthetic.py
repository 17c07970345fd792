"""Problems whose p(y|x) is known: the synthetic data of GenLabel's section E.1.

A label made by a generative model can be compared with the truth only where the truth is known. Classes have equal
prior probability, so Bayes' rule reads `p(c|x) = p(x|c) / sum_k p(x|k)`.

Reference: Sohn et al., "GenLabel: Mixup Relabeling using Generative Models" (2022), section E.1.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from vicinal.core.checks import InputError, check_number
from vicinal.core.randomness import seed_at

__all__ = ["Cubes", "Gaussians", "Synthetic"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Synthetic(ABC):
    """A problem that can be sampled without end and whose posterior is known.

    Args:
        name: what the command line calls it.
        train_per_class: rows per class that the paper trains on.
        test_per_class: rows per class that the paper tests on.

    Examples:
        >>> from vicinal.data import SYNTHETIC
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
            >>> from vicinal.data import SYNTHETIC
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
        >>> from vicinal.data import SYNTHETIC
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

        A point of a shared face belongs to its cubes in equal parts. Outside of every support p(c|x) is
        undefined; there the nearest cube (Euclidean distance) gives the class.
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
        >>> from vicinal.data import SYNTHETIC
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
