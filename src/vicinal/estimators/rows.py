"""What every estimator does with X and y before anything else.

Rows are checked, labels encoded, and the table is put in a canonical form: equal rows of equal class become one row whose
weight is the sum of theirs, in lexicographic order. So a fit depends on neither the order of the rows nor on whether a row
stands twice or weighs two, and duplicates cost nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from vicinal.core import InputError, check_features, seed_at
from vicinal.training import Group
from vicinal.training.batches import Source
from vicinal.vicinity import BaseVicinity

__all__ = ["Rows", "canonical", "canonical_rows", "draw_vicinal", "read_features", "read_rows"]
__all__ += ["scale_of", "seed_of"]


@dataclass(frozen=True)
class Rows:
    """Rows of a fit.

    Attributes:
        x: (N, D), double precision. y: (N,) class indices. classes: (K,) labels. weight: (N,) frequencies.
    """

    x: np.ndarray
    y: np.ndarray
    classes: np.ndarray
    weight: np.ndarray

    def take(self, index: np.ndarray) -> "Rows":
        """Return some of the rows."""
        return Rows(self.x[index], self.y[index], self.classes, self.weight[index])

    @property
    def plain(self) -> np.ndarray | None:
        """The weights, or None where all are equal."""
        return None if np.all(self.weight == self.weight[0]) else self.weight


def read_rows(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> Rows:
    """Check the rows of a fit; sets `n_features_in_` and `feature_names_in_` on the estimator.

    Raises:
        ValueError: what scikit-learn's own checks raise (NaN, shapes, continuous targets), magnitudes beyond 1e30, or
            fewer than two classes.
    """
    X, y = validate_data(estimator, X, y, dtype=np.float64)
    check_features(X, "X")
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    weight = np.ones(len(X))
    if sample_weight is not None:
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    present = np.unique(codes[weight > 0])
    if len(present) < 2:
        raise InputError(
            f"{type(estimator).__name__} needs rows of at least 2 classes, got 1 class: {classes[present].tolist()}."
        )
    return Rows(X, codes, classes, weight)


def canonical(rows: Rows) -> Rows:
    """Drop rows of no weight, merge equal ones, and sort."""
    there = rows.weight > 0
    x, y, weight = rows.x[there], rows.y[there], rows.weight[there]
    order = np.lexsort([y, *x.T[::-1]])
    x, y, weight = x[order], y[order], weight[order]
    first = np.ones(len(x), dtype=bool)
    first[1:] = (x[1:] != x[:-1]).any(1) | (y[1:] != y[:-1])
    return Rows(x[first], y[first], rows.classes, np.add.reduceat(weight, np.flatnonzero(first)))


def canonical_rows(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> Rows:
    """Check the rows of a fit and put them in canonical form; see `read_rows` and `canonical`."""
    return canonical(read_rows(estimator, X, y, sample_weight))


def read_features(estimator: Any, X: Any) -> np.ndarray:
    """Check the rows of a prediction."""
    result: np.ndarray = validate_data(estimator, X, dtype=np.float64, reset=False)
    check_features(result, "X")
    return result


def scale_of(rows: Rows, standardize: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the scale of every feature, (D,) each; 0 and 1 unless they are to be standardised."""
    if not standardize:
        return np.zeros(rows.x.shape[1]), np.ones(rows.x.shape[1])
    scaler = StandardScaler().fit(rows.x, sample_weight=rows.plain)
    return scaler.mean_, scaler.scale_


def seed_of(random_state: Any) -> int:
    """Turn scikit-learn's `random_state` into a seed."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def draw_vicinal(
    rows: Rows, vicinity: BaseVicinity, n_draws: int, seed: int, *, scale: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw vicinal points for every row.

    Args:
        rows: N canonical rows.
        vicinity: any; fitted here.
        n_draws: passes over the rows.
        seed: of the draws.
        scale: whether to mix and measure distances in standardised features.

    Returns:
        Points (n_draws * N, D) in the units of the rows, label rows (n_draws * N, K), weights (n_draws * N,) of mean 1 or,
        under a filter, below.
    """
    mean, stretch = scale_of(rows, scale)
    x = (rows.x - mean) / stretch
    weight = None if rows.plain is None else torch.as_tensor(rows.weight)
    group = Group(
        torch.as_tensor(np.ascontiguousarray(x)),
        torch.as_tensor(rows.y),
        len(rows.classes),
        weight=weight,
        address={"seed": seed_at(seed=seed, purpose="vicinal-points")},
    )
    terms = {f"{i}": labeler for i, (_, labeler) in enumerate(vicinity.terms())}
    shares = [share for share, _ in vicinity.terms()]
    source = Source(group, vicinity, terms, len(x))
    points, labels, weights = [], [], []
    for block in source.blocks(n_draws):
        points.append(block.x.flatten(0, 1))
        labels.append(sum(share * block.targets[f"{i}"] for i, share in enumerate(shares)).flatten(0, 1))  # type: ignore[union-attr]
        kept = block.weight / block.weight.amax(1, keepdim=True).clamp(min=1e-300)
        weights.append(kept.flatten())
    return torch.cat(points).numpy() * stretch + mean, torch.cat(labels).numpy(), torch.cat(weights).numpy()
