"""Labeling: from a mixed batch to label rows on the simplex."""

from vicinal.labeling.base import Labeler
from vicinal.labeling.linear import LinearLabels
from vicinal.labeling.logistic import LogisticLabels
from vicinal.labeling.neighbour import NeighbourLabels
from vicinal.labeling.posterior import PosteriorLabels

__all__ = ["Labeler", "LinearLabels", "LogisticLabels", "NeighbourLabels", "PosteriorLabels"]
