"""Objectives: losses that need the network itself, not only its points and labels."""

from vicinal.training.objectives.adamixup import AdaMixup
from vicinal.training.objectives.base import Objective
from vicinal.training.objectives.manifold import ManifoldMixup

__all__ = ["AdaMixup", "ManifoldMixup", "Objective"]
