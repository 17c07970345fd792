"""vicinal: vicinal training guided by generative models - mixup, done right.

    import vicinal as vc

    mix = vc.GenLabel(density=vc.densities.KDE(), gamma=0.6).fit(X, y)
    x, y = mix(x, y)

The recipes are here; everything else is in a subpackage: `vicinal.densities`, `vicinal.mixing`, `vicinal.labeling`,
`vicinal.vicinity`, `vicinal.data`, `vicinal.training`, `vicinal.estimators`, `vicinal.evaluation`.
"""

from vicinal import densities, labeling, mixing
from vicinal.core import MixedBatch, load, save
from vicinal.vicinity import (
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

__version__ = "0.1.0"
