"""Vicinities: pairing + ratio + mixer + labeler + filter, and the named ones."""

from vicinal.vicinity.base import BaseVicinity
from vicinal.vicinity.choice import Choice
from vicinal.vicinity.filters import Filter, ManifoldIntrusion, intrusion_rate, intrusions
from vicinal.vicinity.recipes import (
    CutMix,
    GenLabel,
    LogisticMixup,
    Mixup,
    MixupExcludingIntrusion,
    OneOf,
    Vanilla,
)
from vicinal.vicinity.vicinity import Vicinity

__all__ = [
    "BaseVicinity",
    "Choice",
    "CutMix",
    "Filter",
    "GenLabel",
    "LogisticMixup",
    "ManifoldIntrusion",
    "Mixup",
    "MixupExcludingIntrusion",
    "OneOf",
    "Vanilla",
    "Vicinity",
    "intrusion_rate",
    "intrusions",
]
