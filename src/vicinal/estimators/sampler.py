"""A table in, a larger table with vicinal rows out, in the manner of imbalanced-learn's samplers."""

from typing import Any, Self

import numpy as np
import pandas as pd

from vicinal.core import Component, check_in, check_number, seed_at
from vicinal.estimators.rows import canonical, draw_vicinal, read_rows, seed_of
from vicinal.vicinity import BaseVicinity, GenLabel

__all__ = ["VicinalSampler"]


class VicinalSampler(Component):
    """Adds vicinal rows to a table.

    Args:
        vicinity: a recipe or any vicinity; default `GenLabel()`.
        n_draws: vicinal rows per distinct row of the table.
        labels: a vicinal row's hard label is 'draw'n from its soft one, its most probable class ('argmax'), or the row comes
            once for every class with the soft label as its weight ('expand').
        keep_original: whether the table's own rows come first.
        standardize: mix and measure distances in standardised features; rows come back in their own units.
        random_state: seed.

    Attributes:
        sample_weight_: (N',) weights of the rows of the last `fit_resample`.
        soft_labels_: (N', K) their label rows, columns in the order of `classes_`.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> sampler = VicinalSampler(n_draws=2, random_state=0)
        >>> X_more, y_more = sampler.fit_resample(X, y)
        >>> X_more.shape, sampler.soft_labels_.shape          # 150 rows, of which 149 are distinct
        ((448, 4), (448, 3))
    """

    def __init__(
        self,
        vicinity: BaseVicinity | None = None,
        n_draws: int = 1,
        labels: str = "draw",
        keep_original: bool = True,
        standardize: bool = True,
        random_state: Any = None,
    ) -> None:
        self.vicinity = vicinity
        self.n_draws = n_draws
        self.labels = labels
        self.keep_original = keep_original
        self.standardize = standardize
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Check rows X (N, D) and labels y (N,); nothing else is learnt before `fit_resample`."""
        self.classes_ = read_rows(self, X, y).classes
        return self

    def fit_resample(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[Any, np.ndarray]:
        """Return the rows with vicinal rows added, and hard labels.

        Args:
            X: numeric array or frame (N, D), finite.
            y: labels (N,), at least two distinct.
            sample_weight: (N,) frequencies >= 0.

        Returns:
            X' (N', D), a pandas frame where X was one, and labels (N',) of the kind of `y`. `sample_weight_` and
            `soft_labels_` hold the rest.

        Raises:
            ValueError: NaN, infinite or text features, continuous or constant labels, parameters out of range.
        """
        check_number("n_draws", self.n_draws, 1, whole=True)
        check_in("labels", self.labels, ("draw", "argmax", "expand"))
        names = X.columns if isinstance(X, pd.DataFrame) else None
        read = read_rows(self, X, y, sample_weight)
        rows = canonical(read)
        k, seed = len(rows.classes), seed_of(self.random_state)
        vicinity = GenLabel() if self.vicinity is None else self.vicinity
        points, soft, weight = draw_vicinal(rows, vicinity, self.n_draws, seed, scale=self.standardize)
        kept = weight > 0
        points, soft, weight = points[kept], soft[kept], weight[kept]
        if self.labels == "expand":
            row, label = np.nonzero(soft > 0)
            points, weight, soft = points[row], weight[row] * soft[row, label], soft[row]
        elif self.labels == "argmax":
            label = soft.argmax(1)
        else:
            random = np.random.default_rng(seed_at(seed=seed, purpose="hard-labels"))
            label = (soft.cumsum(1) < random.random(len(soft))[:, None] * soft.sum(1, keepdims=True)).sum(1)
        if self.keep_original:
            points = np.concatenate([read.x, points])
            soft = np.concatenate([np.eye(k)[read.y], soft])
            weight = np.concatenate([read.weight, weight])
            label = np.concatenate([read.y, label])
        self.classes_, self.sample_weight_, self.soft_labels_ = rows.classes, weight, soft
        return (points if names is None else pd.DataFrame(points, columns=names)), rows.classes[label]
