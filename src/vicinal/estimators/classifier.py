"""A small network trained on vicinal points, as a scikit-learn classifier."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from vicinal.core import Component, InputError, check_in, check_number, load, save
from vicinal.estimators.rows import Rows, canonical_rows, read_features, seed_of
from vicinal.networks import MLP
from vicinal.training import Fit, Group, LatentFit, Optimizer, Setting, fit_latent, fit_stack, make_group
from vicinal.vicinity import BaseVicinity, GenLabel, Mixup

__all__ = ["NetworkClassifier", "VicinalClassifier"]

AUTO_STEPS = 1000
"""Steps that 'auto' epochs come to."""


class NetworkClassifier(ClassifierMixin, Component):  # type: ignore[misc]
    """Abstract: predicts by a fitted small network, standardised features in, class probabilities out.

    Attributes:
        classes_: (K,) labels in order. n_features_in_: D. feature_names_in_: (D,) where X had names.
        n_iter_: epochs trained.
        parameters_: weights and biases of the network, first layer first.
        device_: where it was trained.
    """

    classes_: np.ndarray
    parameters_: list[Tensor]

    def _keep(self, network: MLP, rows: Rows, scale: bool) -> None:
        group = make_group(rows.x, rows.y, len(rows.classes), np.arange(len(rows.x)), np.arange(0), {}, scale=scale)
        del group
        self.classes_ = rows.classes
        self.parameters_ = [value.detach().cpu() for value in network.state_dict().values()]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities (N, K), columns in the order of `classes_`."""
        check_is_fitted(self, "parameters_")
        X = read_features(self, X)
        z = torch.as_tensor((X - self.mean_) / self.scale_, dtype=self.parameters_[0].dtype)
        with torch.no_grad():
            result: np.ndarray = torch.softmax(MLP.from_parameters(self.parameters_)(z).double(), 1).numpy()
        return result

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return log probabilities (N, K)."""
        return np.log(np.clip(self.predict_proba(X), np.finfo(float).tiny, None))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of every row, (N,)."""
        result: np.ndarray = self.classes_[self.predict_proba(X).argmax(1)]
        return result

    def save(self, path: str | Path) -> None:
        """Write the fitted classifier to a safetensors file; `vicinal.load` reads it."""
        check_is_fitted(self, "parameters_")
        save(self, path)
