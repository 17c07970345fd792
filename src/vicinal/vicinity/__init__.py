"""Vicinities: pairing + ratio + mixer + labeler + filter, and the named ones."""

from vicinal.vicinity.base import BaseVicinity
from vicinal.vicinity.choice import Choice
from vicinal.vicinity.filters import Filter, ManifoldIntrusion, intrusion_rate, intrusions
from vicinal.vicinity.in_space import InSpace
from vicinal.vicinity.recipes import (
    CutMix,
    GenLabel,
    LogisticMixup,
    Mixup,
    MixupExcludingIntrusion,
    MixupR,
    OneOf,
    Vanilla,
    VarMixup,
)
from vicinal.vicinity.vicinity import Vicinity

__all__ = [
    "BaseVicinity",
    "Choice",
    "CutMix",
    "Filter",
    "GenLabel",
    "InSpace",
    "LogisticMixup",
    "ManifoldIntrusion",
    "Mixup",
    "MixupExcludingIntrusion",
    "MixupR",
    "OneOf",
    "Vanilla",
    "VarMixup",
    "Vicinity",
    "intrusion_rate",
    "intrusions",
]
