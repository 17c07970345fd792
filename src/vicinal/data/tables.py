"""Load a table and check that it is a classification problem."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pandas.api.types import is_complex_dtype, is_float_dtype

from vicinal.core.checks import InputError
from vicinal.data.columns import as_numbers, as_text, is_nested, kind_of
from vicinal.data.readers import BUNDLED, Raw, near, read_bundled, read_file, read_openml

__all__ = ["Table", "bundled_tables", "load_table"]

TARGET_NAMES: Final = ("target", "class", "label", "y")
"""What a target is called when nobody says; the first that a table has."""

MOST_VALUES = 20
"""A target of decimal numbers with more distinct values than this is continuous."""


@dataclass(frozen=True, eq=False)
class Table:
    """A classification problem as columns: features raw, labels as text.

    Names and labels are kept as they came, whatever characters they hold; to escape them is up to what prints them.

    Args:
        name: short name, such as "iris".
        source: what `load_table` was given.
        features: raw columns with distinct names, one row per label; infinite values are gaps.
        target: labels as strings, without gaps; at least two classes.
        target_name: the target's column.
        notes: what was changed while loading, one sentence each.

    Examples:
        >>> table = load_table("iris")
        >>> table.rows, table.classes
        (150, ['setosa', 'versicolor', 'virginica'])
    """

    name: str
    source: str
    features: pd.DataFrame
    target: "pd.Series[Any]"
    target_name: str
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """N."""
        return len(self.target)

    @property
    def classes(self) -> list[str]:
        """The distinct labels, sorted as text."""
        return sorted(set(self.target))


def bundled_tables() -> dict[str, str]:
    """Return the tables that need no file and no network: name and one line about each.

    Examples:
        >>> list(bundled_tables())
        ['iris', 'wine', 'breast_cancer', 'digits']
    """
    return dict(BUNDLED)


def load_table(source: Any, target: str | None = None) -> Table:
    """Load a table from wherever it is and check that its target can be classified.

    Whole numbers become labels without decimals ("3"), other numbers, booleans and dates their usual text. Rows without
    a target are dropped, infinite features become gaps; `notes` says so.

    Args:
        source: a name from `bundled_tables`, a `.csv`, `.tsv`, `.parquet`, `.feather` or `.arff` file, `"openml:ID"`,
            or a pandas or polars DataFrame.
        target: the column to predict. None takes the one that OpenML or scikit-learn names, else a column called
            target, class, label or y in any case.

    Raises:
        TypeError: a source of another type.
        InputError: nothing to read there, no such column, or no classification problem: one class, a continuous target,
            an identifier, nested cells, features beyond 1e30. The message is one line.

    Examples:
        >>> frame = pd.DataFrame({"size": [1.5, 2.0, 7.1], "Class": [0, 0, 1]})
        >>> load_table(frame).target.tolist()
        ['0', '0', '1']
        >>> load_table(frame, target="sise")
        Traceback (most recent call last):
        vicinal.core.checks.InputError: no column 'sise'; did you mean 'size'? The columns are 'size', 'Class'.
    """
    raw, origin = _read(source)
    frame, renamed = _with_distinct_names(raw.frame)
    notes = [*raw.notes, *renamed]
    if len(frame) == 0:
        raise InputError(f"{origin!r} has columns but no rows.")
    name = _target_column(list(frame.columns), raw.target if target is None else target, explicit=target is not None)
    for column in frame.columns:
        if is_nested(frame[column]) or is_complex_dtype(frame[column].dtype):
            raise InputError(f"column {column!r} must hold single values, got lists, mappings or complex numbers.")

    known = frame[name].notna()
    if not known.all():
        notes.append(f"{int((~known).sum())} rows without a target dropped")
    frame = frame[known].reset_index(drop=True)
    labels = _labels(frame[name], name)
    features = frame.drop(columns=name)
    if features.shape[1] == 0:
        raise InputError(f"{origin!r} must have a column beside the target {name!r}.")
    infinite = []
    for column in features.columns:
        if kind_of(features[column]) == "number":
            as_numbers(features[column], column)
        if is_float_dtype(features[column].dtype):
            wrong = np.isinf(features[column].to_numpy(dtype=np.float64, na_value=np.nan))
            if wrong.any():
                features[column] = features[column].mask(wrong)
                infinite.append(repr(column))
    if infinite:
        notes.append(f"infinite values taken as missing in {_listing(infinite)}")
    return Table(raw.name, origin, features, labels, name, tuple(notes))


def _read(source: Any) -> tuple[Raw, str]:
    if isinstance(source, pd.DataFrame):
        return Raw("table", source), "table"
    kind = type(source)
    # By name, so that polars is never imported for those who don't use it.
    if kind.__module__.partition(".")[0] == "polars" and kind.__name__ == "DataFrame":
        return Raw("table", source.to_pandas()), "table"
    if not isinstance(source, str | Path):
        raise TypeError(f"`source` must be a name, a path or a DataFrame of pandas or polars, got {kind.__name__}.")
    text = str(source)
    if text.startswith("openml:"):
        return read_openml(text.removeprefix("openml:")), text
    return (read_bundled(text) if text in BUNDLED else read_file(text)), text


def _with_distinct_names(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    names: list[str] = []
    changed = []
    taken = {str(name) for name in frame.columns}
    seen: set[str] = set()
    for name in map(str, frame.columns):
        unique, count = name, 0
        while unique in seen or (count and unique in taken):
            count += 1
            unique = f"{name}.{count}"
        if count:
            changed.append(repr(name))
        seen.add(unique)
        names.append(unique)
    notes = [f"column names made unique: {_listing(sorted(set(changed)))}"] if changed else []
    return frame.set_axis(names, axis=1).reset_index(drop=True), notes


def _target_column(columns: list[str], wanted: str | None, *, explicit: bool) -> str:
    if wanted is not None and wanted in columns:
        return wanted
    listed = f"The columns are {_listing([repr(column) for column in columns])}."
    if explicit:
        raise InputError(f"no column {wanted!r}{near(str(wanted), columns) or '.'} {listed}")
    for name in TARGET_NAMES:
        for column in columns:
            if column.lower() == name:
                return column
    raise InputError(f"which column is the target? Name it with `target=` (or `--target`). {listed}")


def _labels(column: "pd.Series[Any]", name: str) -> "pd.Series[Any]":
    labels = as_text(column).rename(name)
    counts = labels.value_counts()
    if len(counts) < 2:
        got = "no label at all" if len(counts) == 0 else f"only {counts.index[0]!r} in {len(labels)} rows"
        raise InputError(f"the target {name!r} must have at least two classes, got {got}.")
    if kind_of(column) == "number":
        numbers = as_numbers(column, name)
        if len(counts) > MOST_VALUES and (numbers != np.floor(numbers)).any():
            raise InputError(
                f"the target {name!r} is continuous ({len(counts)} distinct decimal numbers); vicinal classifies:"
                " choose another target, or cut it into classes."
            )
    if len(counts) > 2 and len(counts) > len(labels) / 2:
        raise InputError(
            f"the target {name!r} has {len(counts)} classes in {len(labels)} rows, as an identifier has;"
            " choose another target."
        )
    return labels


def _listing(names: list[str], most: int = 20) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
