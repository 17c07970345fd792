"""A small network trained on vicinal points, as a scikit-learn classifier."""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from vicinal.core import check_device, check_in, check_number
from vicinal.estimators.base import ProbabilityClassifier
from vicinal.estimators.rows import canonical_rows, read_features, scale_of, seed_of
from vicinal.networks import MLP
from vicinal.training import Fit, LatentFit, Optimizer, Setting, fit_latent, fit_stack, make_group
from vicinal.vicinity import BaseVicinity, GenLabel, Mixup

__all__ = ["VicinalClassifier", "read_epochs"]

AUTO_STEPS = 1000
"""Steps that 'auto' epochs come to."""


def read_epochs(epochs: int | str, rows: int, batch_size: int, steps: int = AUTO_STEPS) -> int:
    """Return the epochs that a user asked for; 'auto' for as many as make `steps` batches, at least 5.

    Raises:
        InputError, TypeError: a number below 1, or another word.
    """
    check_number("batch_size", batch_size, 1, whole=True)
    if epochs == "auto":
        return max(5, math.ceil(steps / math.ceil(rows / batch_size)))
    check_number("epochs", epochs, 1, whole=True)
    return int(epochs)


class VicinalClassifier(ProbabilityClassifier):
    """A logistic regression or small network trained on vicinal points.

    Args:
        vicinity: a recipe or any `vicinal.vicinity.BaseVicinity`; default `GenLabel(gamma=0.8)`.
        hidden: widths of hidden layers; () is logistic regression.
        learning_rate: above 0.
        weight_decay: L2 penalty, as in torch's optimisers.
        optimizer: 'adam' or 'sgd' (momentum 0.9).
        batch_size: rows in a batch.
        epochs: passes over the rows; 'auto' makes 1,000 steps, at least 5 epochs.
        latent: train the network by `warmup` first, freeze its features, and fine-tune its last layer under `vicinity`, whose
            densities then describe the features (GenLabel, Algorithm 2). Needs `hidden`.
        warmup: the vicinity of the first stage where `latent`; default `Mixup()`.
        standardize: scale features to mean 0 and standard deviation 1 by the training rows.
        device: where to train, such as 'cpu' or 'cuda'; predictions are made on the CPU.
        random_state: seed of initial weights, order, pairs and ratios.

    Attributes:
        classes_: (K,) labels in order. n_features_in_: D. feature_names_in_: (D,) where X had names.
        n_iter_: epochs trained.
        parameters_: weights and biases of the network, first layer first. mean_, scale_: (D,) of the features.

    Equal rows of equal class are merged into one of summed weight, and their order does not matter; an epoch draws as many
    rows as there are distinct ones, in proportion to their weights.

    Reference: J. Sohn et al. GenLabel: Mixup relabeling using generative models. ICML 2022.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> VicinalClassifier(random_state=0).fit(X, y).score(X, y) > 0.95
        True
    """

    def __init__(
        self,
        vicinity: BaseVicinity | None = None,
        hidden: Sequence[int] = (),
        learning_rate: float = 0.01,
        weight_decay: float = 1e-4,
        optimizer: str = "adam",
        batch_size: int = 128,
        epochs: int | str = "auto",
        latent: bool = False,
        warmup: BaseVicinity | None = None,
        standardize: bool = True,
        device: str = "cpu",
        random_state: Any = None,
    ) -> None:
        self.vicinity = vicinity
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.epochs = epochs
        self.latent = latent
        self.warmup = warmup
        self.standardize = standardize
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X (N, D) and labels y (N,).

        Args:
            X: numeric array or frame, finite.
            y: labels of any kind, at least two distinct.
            sample_weight: (N,) frequencies >= 0.

        Raises:
            ValueError: NaN, infinite or text features, continuous or constant labels, parameters out of range.
        """
        check_in("optimizer", self.optimizer, ("adam", "sgd"))
        check_device(self.device)
        rows = canonical_rows(self, X, y, sample_weight)
        epochs = read_epochs(self.epochs, len(rows.x), self.batch_size)
        group = make_group(
            rows.x, rows.y, len(rows.classes), {"seed": seed_of(self.random_state)},
            scale=self.standardize, weight=rows.plain, device=self.device,
        )  # fmt: skip
        setting = Setting(
            GenLabel(gamma=0.8) if self.vicinity is None else self.vicinity, self.learning_rate, self.weight_decay
        )
        optimizer = Optimizer(self.optimizer)
        fit: Fit | LatentFit
        if self.latent:
            warmup = Setting(Mixup() if self.warmup is None else self.warmup, self.learning_rate, self.weight_decay)
            fit = fit_latent(
                [group], warmup, [setting], hidden=self.hidden, warmup_epochs=epochs, optimizer=optimizer,
                batch_size=self.batch_size, epochs=epochs,
            )  # fmt: skip
        else:
            fit = fit_stack(
                [group], [setting], hidden=self.hidden, optimizer=optimizer, batch_size=self.batch_size, epochs=epochs
            )
        self.classes_ = rows.classes
        self.mean_, self.scale_ = scale_of(rows, self.standardize)
        self.parameters_ = [value.detach().cpu() for value in fit.network(0, 0).state_dict().values()]
        self.n_iter_ = epochs
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities (N, K), columns in the order of `classes_`."""
        check_is_fitted(self, "parameters_")
        X = read_features(self, X)
        z = torch.as_tensor((X - self.mean_) / self.scale_, dtype=self.parameters_[0].dtype)
        with torch.no_grad():
            result: np.ndarray = torch.softmax(MLP.from_parameters(self.parameters_)(z).double(), 1).numpy()
        return result
