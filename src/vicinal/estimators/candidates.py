"""The vicinities and densities that `VicinalClassifierCV` tries by default.

They were designed on half of 86 families of open tables (`benchmarks/no_harm.py` reports the other half): what greedy
selection on out-of-fold predictions took most often.
"""

from itertools import product

from vicinal.densities import KDE, Density, Gaussian
from vicinal.labeling import PosteriorLabels
from vicinal.mixing import Fixed, NoMixer
from vicinal.vicinity import BaseVicinity, GenLabel, Mixup, Vanilla, Vicinity

__all__ = ["default_candidates", "default_densities"]

LABEL_ROWS = 500
"""Rows of a class that the default KDE keeps: labels cost rows times this, so a fit's time grows with rows, not their square."""

SHRINKAGE = 0.1
"""Of the default Gaussians' covariances."""


def default_densities() -> list[Density]:
    """Return three densities: Gaussians with one covariance and with one a class, and kernel density estimates.

    Examples:
        >>> len(default_densities())
        3
    """
    return [Gaussian("tied", SHRINKAGE), Gaussian("full", SHRINKAGE), KDE(max_rows=LABEL_ROWS)]


def default_candidates() -> list[BaseVicinity]:
    """Return eight vicinities.

    Plain training, mixup, GenLabel by two densities at gamma 0.5 and 1, and the rows themselves, unmixed, with labels shrunk
    towards the posterior of two. Under the tied Gaussian the posterior is that of linear discriminant analysis, a better
    estimate than logistic regression's where rows are few. Posteriors weigh the classes by their shares of the rows.

    Examples:
        >>> len(default_candidates())
        8
    """
    tied, full, kde = default_densities()
    return [
        Vanilla(),
        Mixup(),
        *(GenLabel(density, gamma, prior="empirical") for density, gamma in product((tied, kde), (0.5, 1.0))),
        *(_relabelled(density, gamma) for density, gamma in ((tied, 0.3), (full, 0.7))),
    ]


def _relabelled(density: Density, gamma: float) -> Vicinity:
    labels = PosteriorLabels(density, gamma, prior="empirical")
    return Vicinity(ratio=Fixed(1.0), mixer=NoMixer(), labeler=labels)
