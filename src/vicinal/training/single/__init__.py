"""Objectives for one network of any architecture, on images or rows, trained by an ordinary loop.

    vicinity --x, y--> objective.loss(network, x, y, generator, extras) --scalar--> .backward(), optimiser

Stacks of small networks have objectives of their own, in `vicinal.training`.
"""

from vicinal.training.single.adamixup import AdaMixup
from vicinal.training.single.adversarial import AT, IAT, TRADES
from vicinal.training.single.architecture import Architecture
from vicinal.training.single.attack import attack_mode, pgd
from vicinal.training.single.base import NetworkObjective, soft_cross_entropy
from vicinal.training.single.classifier import read_classifier, train_classifier
from vicinal.training.single.erm import ERM
from vicinal.training.single.manifold import ManifoldMixup
from vicinal.training.single.pairs import Pairs, draw_pairs
from vicinal.training.single.task import ClassifierTask, mixed_images, ready_for

__all__ = [
    "AT",
    "ERM",
    "IAT",
    "TRADES",
    "AdaMixup",
    "Architecture",
    "ClassifierTask",
    "ManifoldMixup",
    "NetworkObjective",
    "Pairs",
    "attack_mode",
    "draw_pairs",
    "mixed_images",
    "pgd",
    "read_classifier",
    "ready_for",
    "soft_cross_entropy",
    "train_classifier",
]
