"""What every public function asks of features, labels and devices."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vicinal.core.checks import LARGEST, InputError
from vicinal.core.nearest import working_dtype

__all__ = ["check_device", "check_features", "check_labels"]


def check_device(device: str | torch.device) -> torch.device:
    """Return a device that torch can use here.

    Examples:
        >>> check_device("cpu").type
        'cpu'
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"`device` must be one that torch can use here, got {str(device)!r}; 'cpu' always works."
        ) from error


def check_features(x: Any, name: str = "x") -> Tensor:
    """Return features as a floating tensor (N, ...) of finite numbers below 1e30 in magnitude.

    Raises:
        TypeError: not numeric.
        InputError: no rows, NaN, infinite or too large.
    """
    checked: Tensor
    if isinstance(x, Tensor):
        checked = x
    else:
        array = np.asarray(x)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"`{name}` must be numeric, got {array.dtype}; encode text first, or use `vicinal.data`.")
        # torch warns of arrays that it may not write to, such as memory maps.
        checked = torch.as_tensor(array if array.flags.writeable else array.copy())
    if not checked.is_floating_point():
        # Single precision merges whole numbers above 2^24, such as time stamps.
        checked = checked.to(working_dtype(checked.device) if checked.element_size() > 2 else torch.get_default_dtype())
    if checked.ndim < 2 or checked.shape[0] == 0 or checked.numel() == 0:
        raise InputError(
            f"`{name}` must have at least one row and one feature, shape (N, ...), got {tuple(checked.shape)}."
        )
    largest = float(
        checked.detach().abs().amax()
    )  # compared as a Python number: in float16 the limit itself is infinite
    if not largest <= LARGEST:
        problem = f"values up to {largest:.3g}" if math.isfinite(largest) else "NaN or infinite values"
        raise InputError(
            f"`{name}` must be finite and below {LARGEST:g} in magnitude, got {problem}; impute or rescale."
        )
    return checked


def check_labels(y: Any, n_classes: int | None = None, rows: int | None = None, name: str = "y") -> tuple[Tensor, int]:
    """Return class indices (N,) as int64 and the number of classes K.

    Args:
        y: whole numbers 0..K-1, shape (N,).
        n_classes: K where it is known (a class may be missing from `y`); else the largest index plus one.
        rows: the number of rows that `x` has.
        name: the argument's name in messages.

    Raises:
        TypeError: labels that are not whole numbers, such as text.
        InputError: wrong shape, wrong length, or an index outside 0..K-1.
    """
    if not isinstance(y, Tensor):
        y = np.asarray(y)
        if y.dtype.kind not in "iub" and not (y.dtype.kind == "f" and np.all(y == np.floor(y))):
            raise TypeError(
                f"`{name}` must hold class indices 0..K-1, got dtype {y.dtype}; encode text with scikit-learn's"
                " LabelEncoder, or use `vicinal.estimators`, which take any labels."
            )
        y = torch.as_tensor(y)
    if y.is_floating_point() and not bool((y == y.floor()).all()):
        raise TypeError(f"`{name}` must hold class indices 0..K-1, got numbers that are not whole.")
    y = y.to(torch.int64)
    if y.ndim != 1:
        raise InputError(f"`{name}` must be one class index per row, shape (N,), got {tuple(y.shape)}.")
    if rows is not None and len(y) != rows:
        raise InputError(f"`{name}` must have as many rows as `x`, got {len(y)} and {rows}.")
    largest = int(y.max()) if len(y) else -1
    k = largest + 1 if n_classes is None else n_classes
    if len(y) and (int(y.min()) < 0 or largest >= k):
        raise InputError(f"`{name}` must lie in 0..{k - 1}, got {int(y.min())}..{largest}.")
    return y, k
