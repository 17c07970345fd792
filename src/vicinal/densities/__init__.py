"""Class-conditional densities: log p_c(x) for every class c, and what follows from it."""

from vicinal.densities.base import Density
from vicinal.densities.gaussian import Gaussian
from vicinal.densities.kde import KDE
from vicinal.densities.knn import KNN

__all__ = ["KDE", "KNN", "Density", "Gaussian"]
