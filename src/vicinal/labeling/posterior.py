"""GenLabel's label: the posterior of class-conditional densities at the mixed point."""

from typing import Any, Self

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.core import InputError, MixedBatch, check_number
from vicinal.densities import Density
from vicinal.labeling.base import Labeler
from vicinal.labeling.linear import LinearLabels

__all__ = ["PosteriorLabels"]


class PosteriorLabels(Labeler):
    """y = gamma y_gen + (1 - gamma) y_lin, with y_gen = P(c | x) under fitted densities (GenLabel, Algorithm 1).

        y_gen[c] = p_c(x)^(1/T) / sum_c' p_c'(x)^(1/T)        (Eq. 1, with T = 1)

    Args:
        density: any `vicinal.densities.Density`; `fit` fits a clone.
        gamma: the paper's loss ratio in [0, 1]; 0 is mixup. (Mixing labels or losses is the same for cross entropy.)
        temperature: T above 0; larger is softer.
        prior: 'uniform' as in Eq. 1, or 'empirical' to weigh the classes by their shares of the training rows.
        top2: keep the two most probable classes and renormalise (Algorithm 3).

    Examples:
        >>> from vicinal.densities import Gaussian
        >>> labels = PosteriorLabels(Gaussian()).fit(torch.tensor([[-1.0], [1.0], [9.0], [11.0]]), [0, 0, 1, 1])
        >>> x, one = torch.tensor([[5.0]]), torch.ones(1)
        >>> labels(MixedBatch(x, x, x, torch.eye(2)[:1], torch.eye(2)[1:], one, one)).tolist()
        [[0.5, 0.5]]
    """

    def __init__(
        self,
        density: Density,
        gamma: float = 1.0,
        temperature: float = 1.0,
        prior: str = "uniform",
        top2: bool = False,
    ) -> None:
        self.density = density
        self.gamma = gamma
        self.temperature = temperature
        self.prior = prior
        self.top2 = top2

    density_: Density

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        """Fit a clone of the density to x (N, ...) and classes y (N,)."""
        check_number("gamma", self.gamma, 0, 1)
        self.density_ = clone(self.density).fit(x, y, n_classes, sample_weight)
        return self

    def terms(self) -> tuple[tuple[float, Labeler], ...]:
        """Return the posterior and the linear label with their weights; see `Labeler.terms`."""
        if self.gamma == 1:
            return ((1.0, self),)
        if self.gamma == 0:
            return ((1.0, LinearLabels()),)
        pure = clone(self).set_params(gamma=1.0)
        return ((self.gamma, pure), (1 - self.gamma, LinearLabels()))

    def _label(self, batch: MixedBatch) -> Tensor:
        if self.gamma == 0:
            return LinearLabels()(batch)
        if not hasattr(self, "density_"):
            raise InputError("the labels' density is not fitted; call `fit(x, y)` with the training rows first.")
        shape = batch.batch_shape
        flat = batch.x.detach().reshape(-1, self.density_.n_features_)  # a label is a constant
        y = self.density_.posterior(flat, self.prior, self.temperature)
        if self.top2 and y.shape[1] > 2:
            # softmax over two of the log-densities is the same as renormalising their probabilities
            y = y * torch.zeros_like(y).scatter(1, y.topk(2, dim=1).indices, 1.0)
            y = y / y.sum(1, keepdim=True)
        y = y.reshape(*shape, y.shape[1])
        if self.gamma == 1:
            return y
        return torch.lerp(LinearLabels()(batch), y, self.gamma)
