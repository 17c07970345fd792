"""A class-conditional density: everything that GenLabel asks of a generative model.

    y_gen = softmax(log p_1(x), ..., log p_K(x))                                    (GenLabel, Eq. 1)

All arithmetic is in log space and double precision: log-densities of -1e5 still give exact posteriors.
"""

import math
from abc import abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vicinal.core import (
    Component,
    InputError,
    check_features,
    check_in,
    check_labels,
    check_number,
    generator_at,
    working_dtype,
)

__all__ = ["Density"]

TILE = 1 << 17
"""Numbers in one tile of intermediate results: 1 MB in double precision, which stays in a core's cache."""

MANY = 1024

UNSEEN = 104.0
"""exp(-104) is 0 in single precision."""


class Density(Component):
    """Abstract class-conditional density.

    A subclass writes `_fit` and `_log_prob`, and `_sample` where it can; they get checked, flattened, double-precision
    tensors, and `vicinal.testing.check_density` holds it to the contract.

    Attributes:
        n_classes_: K. n_features_: D. count_: (K,) sum of sample weights of each class.
    """

    normalized: ClassVar[bool] = True
    """Whether each p_c integrates to 1."""

    takes_single: ClassVar[bool] = False
    """Whether `_log_prob` also takes points in single precision as they are."""

    n_classes_: int
    n_features_: int
    count_: Tensor

    @abstractmethod
    def _fit(self, x: Tensor, y: Tensor, weight: Tensor) -> None:
        """Estimate from x (N, D), y (N,) in 0..n_classes_-1, some of which may be missing, weight (N,) > 0."""

    @abstractmethod
    def _log_prob(self, x: Tensor) -> Tensor:
        """Return log p_c(x), (B, K), for x (B, D); columns of missing classes are ignored."""

    def _log_prob_within(self, x: Tensor, gap: float) -> Tensor:
        """As `_log_prob`; what is more than `gap` below another class may be any number further below."""
        return self._log_prob(x)

    def _sample(self, y: Tensor, generator: torch.Generator) -> Tensor:
        raise InputError(f"{type(self).__name__} can't be sampled: it does not integrate to one; use KDE or Gaussian.")

    def _row_numbers(self) -> int:
        """How many intermediate numbers one query row needs; sets the tile."""
        return self.n_classes_ * self.n_features_

    def fit(self, x: Any, y: Any, n_classes: int | None = None, sample_weight: Any = None) -> Self:
        """Estimate the density of every class.

        Args:
            x: (N, ...) features, tensor or array; axes after the first are flattened to D.
            y: (N,) class indices 0..K-1.
            n_classes: K where `y` may miss classes; a missing class gets log p = -inf.
            sample_weight: (N,) frequencies >= 0: a row of weight 2 counts as two rows.

        Raises:
            InputError: no rows, NaN, wrong lengths, negative weights.
            TypeError: not numeric.
        """
        x = check_features(x).detach()
        y, self.n_classes_ = check_labels(y, n_classes, rows=len(x))
        y = y.to(x.device)
        x = x.flatten(1).to(working_dtype(x.device))
        weight = torch.ones(len(x), dtype=x.dtype, device=x.device)
        if sample_weight is not None:
            weight = torch.as_tensor(sample_weight).to(weight)
            if weight.shape != (len(x),) or not bool((weight >= 0).all()) or not bool(weight.any()):
                raise InputError("`sample_weight` must be (N,) numbers >= 0, not all of them 0.")
            x, y, weight = x[weight > 0], y[weight > 0], weight[weight > 0]
        self.n_features_ = x.shape[1]
        self.count_ = torch.zeros(self.n_classes_, dtype=x.dtype, device=x.device).index_add(0, y, weight)
        self._fit(x, y, weight)
        return self

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p_c(x) for every class.

        Args:
            x: (B, ...) points, any float dtype.

        Returns:
            (B, K) in double precision; -inf for a class that had no rows.
        """
        return self._evaluate(x, math.inf)

    def _evaluate(self, x: Tensor, gap: float) -> Tensor:
        if not hasattr(self, "count_"):
            raise InputError(f"this {type(self).__name__} is not fitted; call `fit(x, y)` first.")
        x = torch.as_tensor(x)
        if x.ndim < 2:
            raise InputError(
                f"`x` must be (B, ...), a row per point, got shape {tuple(x.shape)}; add an axis: `x[None]`."
            )
        flat = x.flatten(1)
        if flat.shape[1] != self.n_features_:
            raise InputError(f"`x` must have {self.n_features_} features, as in `fit`, got {flat.shape[1]}.")
        if not (self.takes_single and flat.dtype == torch.float32):
            flat = flat.to(self.count_.dtype)
        rows = max(1, TILE // self._row_numbers())
        if len(flat) <= rows:
            result = self._log_prob_within(flat, gap)
        else:
            result = torch.cat([self._log_prob_within(part, gap) for part in flat.split(rows)])
        missing = self.count_ == 0
        if not torch.compiler.is_compiling() and not bool(missing.any()):
            return result
        return result.masked_fill(missing, -torch.inf)

    def posterior(self, x: Tensor, prior: str = "uniform", temperature: float = 1.0) -> Tensor:
        """Return P(c | x), the softmax of (log p_c(x) + log prior_c) / temperature.

        Args:
            x: (B, ...) points.
            prior: 'uniform' (Eq. 1 of the paper) or 'empirical' (the classes' shares of the training rows).
            temperature: above 1 the labels are softer.

        Returns:
            (B, K) rows on the simplex, in the dtype of `x` where it is floating.
        """
        check_in("prior", prior, ("uniform", "empirical"))
        check_number("temperature", temperature, 0, open_low=True)
        single = isinstance(x, Tensor) and x.dtype == torch.float32
        held = self.count_[self.count_ > 0] if hasattr(self, "count_") else torch.ones(1)
        logits = self._evaluate(
            x, UNSEEN * temperature + float((held.max() / held.min()).log()) if single else math.inf
        )
        if prior == "empirical":
            logits = logits + self.count_.log()
        logits = logits / temperature if temperature != 1 else logits
        if len(logits) < MANY:
            result = torch.softmax(logits, 1)
        else:
            # Over a few columns of many rows torch's softmax takes four times as long row by row as class by class.
            logits = logits.T.contiguous()
            result = torch.softmax((logits - logits.amax(0)).to(x.dtype) if single else logits, 0).T
        return result.to(x.dtype) if isinstance(x, Tensor) and x.is_floating_point() else result

    def sample(self, n: int, y: Any = None, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Draw n points, of classes drawn from their shares of the training rows or of the classes given.

        Returns:
            x (n, D) in double precision and y (n,).

        Raises:
            InputError: the density can't be sampled, or a class had no rows.
        """
        generator = generator_at(seed=seed, purpose="density-sample")
        if y is None:
            y = torch.multinomial(self.count_.cpu(), n, replacement=True, generator=generator)
        y, _ = check_labels(y, self.n_classes_, rows=n)
        if bool((self.count_.cpu()[y] == 0).any()):
            raise InputError("`y` names a class that had no rows in `fit`.")
        y = y.to(self.count_.device)
        return self._sample(y, generator), y

    def score(self, x: Any, y: Any, prior: str = "uniform") -> float:
        """Return the accuracy of the most probable class.

        On the training rows this is the paper's criterion for a density that fits: above 0.95 (section 6).
        """
        x = check_features(x)
        y, _ = check_labels(y, self.n_classes_, rows=len(x))
        return float((self.posterior(x, prior).argmax(1) == y.to(x.device)).double().mean())
