"""What a column of a table holds, and its values as numbers, dates or text."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import infer_dtype, is_bool_dtype, is_complex_dtype, is_datetime64_any_dtype, is_numeric_dtype

from vicinal.core.checks import LARGEST, InputError

__all__ = ["Kind", "as_dates", "as_numbers", "as_text", "is_nested", "kind_of", "text_of"]

Kind = Literal["number", "date", "category", "text"]

_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "boolean"}
_DATES = {"date", "datetime", "datetime64"}


def kind_of(column: "pd.Series[Any]") -> Kind:
    """Return what a column holds; booleans and durations are numbers, and objects are judged by their values.

    Examples:
        >>> [kind_of(pd.Series(values)) for values in ([1, None], ["1", "a"], [True, False])]
        ['number', 'text', 'number']
        >>> kind_of(pd.Series([1, 2], dtype="category"))
        'category'
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if is_bool_dtype(dtype) or dtype.kind == "m" or (is_numeric_dtype(dtype) and not is_complex_dtype(dtype)):
        return "number"
    if is_datetime64_any_dtype(dtype):
        return "date"
    inferred = infer_dtype(column, skipna=True)
    return "number" if inferred in _NUMBERS else "date" if inferred in _DATES else "text"


def as_numbers(column: "pd.Series[Any]", name: str) -> NDArray[np.float64]:
    """Return a column's values (N,) as floats, with NaN for gaps, infinite values and what is no number.

    Raises:
        InputError: a value beyond 1e30 in magnitude.

    Examples:
        >>> as_numbers(pd.Series(["2", "x", None]), "a").tolist()
        [2.0, nan, nan]
    """
    if column.dtype.kind == "m":
        column = column.dt.total_seconds()
    elif isinstance(column.dtype, pd.CategoricalDtype) or not is_numeric_dtype(column.dtype):
        column = _parse(column.astype(object))
    values = np.array(column.to_numpy(dtype=np.float64, na_value=np.nan))
    values[np.isinf(values)] = np.nan
    if (np.abs(values) > LARGEST).any():
        worst = values[np.nanargmax(np.abs(values))]
        raise InputError(
            f"column {name!r} must stay below {LARGEST:g} in magnitude, got {worst:.3g}; rescale or drop it."
        )
    return values


def as_dates(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column as dates in UTC without a time zone, NaT for gaps and what is no date.

    Examples:
        >>> as_dates(pd.Series(["2024-05-01", None])).dt.year.tolist()
        [2024.0, nan]
    """
    dates = column if is_datetime64_any_dtype(column.dtype) else as_text(column)
    return pd.to_datetime(dates, errors="coerce", utc=True, format="ISO8601").dt.tz_localize(None)


def as_text(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column as strings, None for gaps.

    Examples:
        >>> as_text(pd.Series([1.0, b"a", None, "b"], dtype=object)).tolist()
        ['1', 'a', None, 'b']
    """
    texts = [None if gap else text_of(value) for value, gap in zip(column, column.isna(), strict=True)]
    return pd.Series(texts, index=column.index, dtype=object)


def text_of(value: Any) -> str:
    """Return one value as text: bytes decoded, whole floats without their decimals, half surrogate pairs replaced.

    Examples:
        >>> text_of(2.0), text_of(b"virginica"), text_of(np.True_)
        ('2', 'virginica', 'True')
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < 2**53:
        return str(int(value))
    return str(value).encode("utf-8", errors="replace").decode("utf-8")


def is_nested(column: "pd.Series[Any]") -> bool:
    """Return whether cells hold lists, mappings or arrays instead of single values.

    Examples:
        >>> is_nested(pd.Series([[1, 2], None])), is_nested(pd.Series(["a", "b"]))
        (True, False)
    """
    if column.dtype.kind != "O":
        return False
    return any(isinstance(value, list | tuple | set | frozenset | dict | np.ndarray) for value in column)


def _parse(column: "pd.Series[Any]") -> "pd.Series[Any]":
    try:
        return pd.to_numeric(column, errors="coerce")
    except OverflowError:  # whole numbers beyond the largest float, which pandas does not coerce
        huge = column.map(lambda value: isinstance(value, int) and abs(value) > LARGEST)
        return pd.to_numeric(column.mask(huge, np.inf), errors="coerce")
