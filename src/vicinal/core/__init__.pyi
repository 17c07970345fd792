from .batch import MixedBatch
from .checks import InputError, check_in, check_number
from .component import Component, load, save
from .extras import require
from .nearest import nearest_groups, nearest_rows, working_dtype
from .order import order_of
from .randomness import draw_uniform, generator_at, seed_at
from .tensors import check_device, check_features, check_labels

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
    "nearest_groups",
    "nearest_rows",
    "order_of",
    "require",
    "save",
    "seed_at",
    "working_dtype",
]
