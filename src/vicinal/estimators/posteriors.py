"""Bayes' rule beside the networks: the densities that label mixed points also classify by themselves, and err elsewhere.

A posterior is sure of itself where its densities are wrong, so each gives a little of its certainty away:

    p(c | x) = (1 - doubt) p_c(x) n_c / sum_c' p_c'(x) n_c' + doubt / K

On few rows a density wins a place in a mixture by luck, so its weight there is multiplied by n / (n + 200).
"""

from collections.abc import Iterable, Sequence

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.densities import Density
from vicinal.training import Group

__all__ = ["fit_density", "held_out_posteriors", "mix_posteriors", "trust_in"]

DOUBT = 0.01

HALF_TRUSTED = 200
"""Rows with which a density's weight is halved."""


def trust_in(rows: int) -> float:
    """Return the factor on a density's weight where it was fitted to so many rows."""
    return rows / (rows + HALF_TRUSTED)


def fit_density(density: Density, group: Group) -> Density:
    """Return a clone of the density, fitted to the group's rows."""
    fitted: Density = clone(density)
    return fitted.fit(group.x, group.y, group.n_classes, group.weight)


def held_out_posteriors(densities: Sequence[Density], groups: Sequence[Group]) -> Tensor:
    """Return the posteriors of every density at every group's held-out rows, one group's after the other's, (G, V, K)."""
    found = [[_posterior(fit_density(density, group), group.x_eval) for group in groups] for density in densities]
    return torch.stack([torch.cat(parts) for parts in found])


def mix_posteriors(densities: Sequence[Density], weights: Iterable[float], x: Tensor) -> Tensor | float:
    """Return the weighted sum of fitted densities' posteriors at x (B, D), (B, K) in double precision; 0 for none."""
    return sum(weight * _posterior(density, x).double() for density, weight in zip(densities, weights, strict=True))


def _posterior(density: Density, x: Tensor | None) -> Tensor:
    assert x is not None  # noqa: S101 - for the type checker
    p = density.posterior(x, "empirical")
    return (1 - DOUBT) * p + DOUBT / p.shape[1]
