"""What every public function asks of its arguments, said in one way.

An error names the argument, the rule, what came, and the way out. What is asked of tensors is in `vicinal.core.tensors`, so that
what needs no torch does not load it.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np

__all__ = ["LARGEST", "InputError", "check_in", "check_number"]

LARGEST = 1e30
"""Features beyond this magnitude overflow when squared in single precision."""


class InputError(ValueError):
    """A mistake in what the user gave; its message is one line and names the way out."""


def check_number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
    whole: bool = False,
) -> None:
    """Raise unless `value` is a number in [low, high] (an end that is open left out), and whole if asked.

    Examples:
        >>> check_number("gamma", 1.3, 0, 1)
        Traceback (most recent call last):
        vicinal.core.checks.InputError: `gamma` must lie in [0, 1], got 1.3.
    """
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"`{name}` must be {'an integer' if whole else 'a number'}, got {value!r}.")
    if not (low < value if open_low else low <= value) or not (value < high if open_high else value <= high):
        bracket = "(" if open_low or low == -math.inf else "["
        closing = ")" if open_high or high == math.inf else "]"
        raise InputError(f"`{name}` must lie in {bracket}{low:g}, {high:g}{closing}, got {value!r}.")


def check_in(name: str, value: Any, options: Collection[Any]) -> None:
    """Raise unless `value` is one of `options`.

    Examples:
        >>> check_in("prior", "flat", ["uniform", "empirical"])
        Traceback (most recent call last):
        vicinal.core.checks.InputError: `prior` must be one of 'uniform', 'empirical', got 'flat'.
    """
    if value not in options:
        raise InputError(f"`{name}` must be one of {', '.join(map(repr, options))}, got {value!r}.")
