"""Any classifier with sample weights, trained on vicinal points.

A soft-labelled point is K weighted hard-labelled points, so trees and boosting can train on vicinal points too.
"""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from vicinal.core import InputError, check_number
from vicinal.estimators.rows import canonical_rows, draw_vicinal, read_features, seed_of
from vicinal.vicinity import BaseVicinity, GenLabel

__all__ = ["VicinalWrapper"]


def _has(method: str) -> Any:
    def check(wrapper: "VicinalWrapper") -> bool:
        getattr(getattr(wrapper, "estimator_", wrapper.estimator), method)
        return True

    return available_if(check)


class VicinalWrapper(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Trains any classifier that takes `sample_weight` on vicinal points.

    Args:
        estimator: a scikit-learn classifier; a clone is fitted.
        vicinity: a recipe or any vicinity; default `GenLabel()`.
        n_draws: passes over the rows, each drawing one vicinal point a row.
        keep_original: also train on the rows themselves, with the weight of one pass.
        standardize: mix and measure distances in standardised features; the estimator sees the features' own units.
        min_weight: a class whose share of a point's label is below this is left out.
        random_state: seed of the draws; the estimator has its own.

    Attributes:
        estimator_: the fitted clone. classes_: (K,) labels that it was trained on, in order. n_features_in_: D.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> tree = DecisionTreeClassifier(min_samples_leaf=20, random_state=0)
        >>> VicinalWrapper(tree, n_draws=10, random_state=0).fit(X, y).score(X, y) > 0.9
        True
    """

    def __init__(
        self,
        estimator: Any,
        vicinity: BaseVicinity | None = None,
        n_draws: int = 5,
        keep_original: bool = True,
        standardize: bool = True,
        min_weight: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.vicinity = vicinity
        self.n_draws = n_draws
        self.keep_original = keep_original
        self.standardize = standardize
        self.min_weight = min_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Draw vicinal points of rows X (N, D) and labels y (N,), and fit the estimator on them.

        Raises:
            TypeError: the estimator takes no `sample_weight`.
            ValueError: NaN, infinite or text features, continuous or constant labels, parameters out of range.
        """
        check_number("n_draws", self.n_draws, 1, whole=True)
        check_number("min_weight", self.min_weight, 0, 0.5)
        if not has_fit_parameter(self.estimator, "sample_weight"):
            raise TypeError(
                f"`estimator` must take `sample_weight` in `fit`; {type(self.estimator).__name__} does not."
                " Use VicinalSampler to make a larger table for it."
            )
        rows = canonical_rows(self, X, y, sample_weight)
        vicinity = GenLabel() if self.vicinity is None else self.vicinity
        points, soft, weight = draw_vicinal(
            rows, vicinity, self.n_draws, seed_of(self.random_state), scale=self.standardize
        )
        shares = np.where(soft < self.min_weight, 0.0, soft) * weight[:, None]
        if self.keep_original:
            points = np.concatenate([rows.x, points])
            shares = np.concatenate(
                [np.eye(len(rows.classes))[rows.y] * (rows.weight / rows.weight.mean())[:, None], shares]
            )
        row, label = np.nonzero(shares)
        if len(row) == 0:
            raise InputError("the vicinity's filter left no point; set `keep_original=True`, or another vicinity.")
        # The total weight stays that of the rows given, for estimators whose penalty is weighed against it.
        value = shares[row, label]
        value = value * (rows.weight.sum() / value.sum())
        self.estimator_ = clone(self.estimator).fit(points[row], rows.classes[label], sample_weight=value)
        self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the estimator's labels (N,)."""
        check_is_fitted(self, "estimator_")
        result: np.ndarray = self.estimator_.predict(read_features(self, X))
        return result

    @_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the estimator's class probabilities (N, K)."""
        check_is_fitted(self, "estimator_")
        result: np.ndarray = self.estimator_.predict_proba(read_features(self, X))
        return result

    @_has("decision_function")
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the estimator's decision values."""
        check_is_fitted(self, "estimator_")
        result: np.ndarray = self.estimator_.decision_function(read_features(self, X))
        return result
