"""The floor of the house: randomness with an address, checks, components, mixed batches, lazy extras."""

from vicinal.core.batch import MixedBatch
from vicinal.core.checks import InputError, check_device, check_features, check_in, check_labels, check_number
from vicinal.core.component import Component, load, save
from vicinal.core.extras import require
from vicinal.core.nearest import nearest_rows, working_dtype
from vicinal.core.randomness import draw_uniform, generator_at, seed_at

__all__ = [
    "Component",
    "InputError",
    "MixedBatch",
    "check_device",
    "check_features",
    "check_in",
    "check_labels",
    "check_number",
    "draw_uniform",
    "generator_at",
    "load",
    "nearest_rows",
    "require",
    "save",
    "seed_at",
    "working_dtype",
]
