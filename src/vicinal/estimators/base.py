"""What all classifiers of vicinal share: labels from probabilities, and saving without pickle."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from vicinal.core import Component, save

__all__ = ["ProbabilityClassifier"]


class ProbabilityClassifier(ClassifierMixin, Component):  # type: ignore[misc]
    """Abstract: a classifier that predicts by its probabilities.

    Attributes:
        classes_: (K,) labels in order.
    """

    classes_: np.ndarray

    @abstractmethod
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities (N, K), columns in the order of `classes_`."""

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return log probabilities (N, K)."""
        result: np.ndarray = np.log(np.clip(self.predict_proba(X), np.finfo(float).tiny, None))
        return result

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of every row, (N,)."""
        best = self.predict_proba(X).argmax(1)
        result: np.ndarray = self.classes_[best]
        return result

    def save(self, path: str | Path) -> None:
        """Write the fitted classifier to a safetensors file; `vicinal.load` reads it."""
        check_is_fitted(self)
        save(self, path)
