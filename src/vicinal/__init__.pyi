from . import densities, labeling, mixing
from .core import MixedBatch, load, save
from .vicinity import (
    CutMix,
    GenLabel,
    LogisticMixup,
    Mixup,
    MixupExcludingIntrusion,
    OneOf,
    Vanilla,
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
    "OneOf",
    "Vanilla",
    "Vicinity",
    "densities",
    "intrusion_rate",
    "labeling",
    "load",
    "mixing",
    "save",
]
