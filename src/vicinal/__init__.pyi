from . import densities, labeling, mixing, spaces
from .core import MixedBatch, load, save
from .vicinity import (
    CutMix,
    GenLabel,
    LogisticMixup,
    Mixup,
    MixupExcludingIntrusion,
    MixupR,
    OneOf,
    Vanilla,
    VarMixup,
    Vicinity,
    intrusion_rate,
)

__version__: str

__all__ = [
    "CutMix",
    "GenLabel",
    "LogisticMixup",
    "MixedBatch",
    "Mixup",
    "MixupExcludingIntrusion",
    "MixupR",
    "OneOf",
    "Vanilla",
    "VarMixup",
    "Vicinity",
    "densities",
    "intrusion_rate",
    "labeling",
    "load",
    "mixing",
    "save",
    "spaces",
]
