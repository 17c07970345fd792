"""Mixing: who mixes with whom (pairing), how much (ratio), and how (mixer)."""

from vicinal.mixing.mixer import CutMixer, LinearMixer, Mixer, NoisyMixer, NoMixer
from vicinal.mixing.pairing import DifferentClass, Nearest, Pairing, Permutation
from vicinal.mixing.ratio import Beta, Fixed, Ratio

__all__ = [
    "Beta",
    "CutMixer",
    "DifferentClass",
    "Fixed",
    "LinearMixer",
    "Mixer",
    "Nearest",
    "NoMixer",
    "NoisyMixer",
    "Pairing",
    "Permutation",
    "Ratio",
]
