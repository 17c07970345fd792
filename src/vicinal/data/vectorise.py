"""From a table's columns to numbers, fitted on training rows only."""

import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from vicinal.core.checks import LARGEST, InputError
from vicinal.data.columns import Kind, as_dates, as_numbers, as_text, kind_of

__all__ = ["Vectorizer"]

Floats = NDArray[np.float64]


class Vectorizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn a table (N rows) into finite numbers (N, D).

    Numbers, booleans and durations stay as they are; text, categories and dates go through skrub's `TableVectorizer`.
    A gap (missing, infinite) gets the training rows' median, and a column that had gaps in the training rows gets an
    indicator (1 where the value was missing). What was not seen in training, a new category or a first gap, is
    harmless. Columns that are empty or constant over the training rows are dropped.

    A table of numbers without gaps passes unchanged, constant columns included, so that raw features stay raw.

    The output's order: numbers, then encoded columns, then indicators. Nothing is scaled. skrub computes in single
    precision: text that holds numbers keeps 7 digits, a date's total seconds are right to two minutes.

    Attributes:
        feature_names_in_: the columns that `fit` saw; `transform` finds them by name, in any order.

    Examples:
        >>> train = pd.DataFrame({"size": [1.0, None, 3.0], "colour": ["red", "blue", "red"]})
        >>> vectorizer = Vectorizer().fit(train)
        >>> vectorizer.get_feature_names_out().tolist()
        ['size', 'colour_red', 'size_missing']
        >>> vectorizer.transform(pd.DataFrame({"colour": ["green"], "size": [None]})).tolist()
        [[2.0, 0.0, 1.0]]
        >>> Vectorizer().fit_transform(pd.DataFrame({"a": [1, 2], "b": [7, 7]})).tolist()
        [[1.0, 7.0], [2.0, 7.0]]
    """

    def fit(self, table: pd.DataFrame | NDArray[Any], y: Any = None) -> Self:
        """Learn categories, medians and which columns to keep.

        Args:
            table: the training rows, a DataFrame or an array (N, D).
            y: ignored.

        Raises:
            InputError: no rows, two columns of one name, a value beyond 1e30, or nothing that varies.
        """
        frame = _frame(table)
        if frame.empty:
            raise InputError(f"`table` must have at least one row and one column, got {frame.shape}.")
        if frame.columns.has_duplicates:
            twice = frame.columns[frame.columns.duplicated()][0]
            raise InputError(f"`table` must have distinct column names, got {twice!r} twice; rename one.")
        self.feature_names_in_ = np.asarray(frame.columns, dtype=object)
        self.n_features_in_ = frame.shape[1]
        kinds = [kind_of(frame.iloc[:, position]) for position in range(frame.shape[1])]
        self._numbers = [position for position, kind in enumerate(kinds) if kind == "number"]
        self._others: dict[int, Kind] = {position: kind for position, kind in enumerate(kinds) if kind != "number"}
        self._encoder = _fit_encoder(self._describe(frame)) if self._others else None
        values = self._values(frame)

        gaps = np.isnan(values)
        names, sources = self._value_names()
        present = np.flatnonzero(~gaps.all(axis=0))
        self._medians = np.zeros(values.shape[1])
        for column in present:
            self._medians[column] = _median(
                values[:, column][~gaps[:, column]] if gaps[:, column].any() else values[:, column]
            )
        # A date becomes several columns whose gaps coincide: one indicator each is enough.
        first_gap = {sources[column]: int(column) for column in reversed(present) if gaps[:, column].any()}
        self._indicators = sorted(first_gap.values())
        columns = self._fill(values)
        raw = not self._others and not gaps.any()
        self._kept = np.flatnonzero(raw | (columns != columns[0]).any(axis=0))
        if self._kept.size == 0:
            raise InputError(
                f"`table` must have a column that varies; all {self.n_features_in_} are empty or constant"
                f" over {len(frame)} training rows."
            )
        names += [f"{self.feature_names_in_[sources[column]]}_missing" for column in self._indicators]
        self._names = np.asarray(names, dtype=object)[self._kept]
        return self

    def transform(self, table: pd.DataFrame | NDArray[Any]) -> Floats:
        """Return the rows as finite numbers (N, D).

        Raises:
            InputError: a column of the training table is missing, or a value lies beyond 1e30.
        """
        check_is_fitted(self)
        frame = _frame(table)
        lost = [name for name in self.feature_names_in_ if name not in frame.columns]
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise InputError(f"`table` must have the columns that `fit` saw; {lost[0]!r}{more} missing.")
        if frame.columns.has_duplicates:
            raise InputError("`table` must have distinct column names.")
        if len(frame) == 0:
            return np.empty((0, len(self._kept)))
        if not np.array_equal(frame.columns, self.feature_names_in_):
            frame = frame[list(self.feature_names_in_)]
        return self._fill(self._values(frame))[:, self._kept]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return a name for each output column (D,).

        Args:
            input_features: ignored; scikit-learn passes it.
        """
        check_is_fitted(self)
        return self._names

    def _values(self, frame: pd.DataFrame) -> Floats:
        """Return numbers and encoded columns (N, V), NaN for gaps."""
        values = np.empty((len(frame), len(self._numbers)), order="F")
        for column, position in enumerate(self._numbers):
            values[:, column] = as_numbers(frame.iloc[:, position], self.feature_names_in_[position])
        if self._encoder is None:
            return values
        with warnings.catch_warnings(), np.errstate(over="ignore"):
            # All zeros is what an unseen category should become.
            warnings.filterwarnings("ignore", message="Found unknown categories", category=UserWarning)
            encoded = self._encoder.transform(self._describe(frame)).to_numpy(dtype=np.float64, na_value=np.nan)
        encoded = np.array(encoded)
        encoded[~(np.abs(encoded) <= LARGEST)] = np.nan
        return np.hstack([values, encoded])

    def _fill(self, values: Floats) -> Floats:
        """Return values with gaps filled, then the indicators, (N, V + I)."""
        gaps = np.isnan(values)
        if not gaps.any() and not self._indicators:
            return values
        return np.hstack([np.where(gaps, self._medians, values), gaps[:, self._indicators]])

    def _describe(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return what skrub encodes, in types that do not depend on which rows these are."""
        columns: dict[str, Any] = {}
        for position, kind in self._others.items():
            column = frame.iloc[:, position]
            text = as_dates(column) if kind == "date" else as_text(column)
            # Positions for names: skrub renames what clashes at random, such as "a_b" with the category "b" of "a".
            columns[str(position)] = text.astype("category") if kind == "category" else text
        return pd.DataFrame(columns, index=frame.index)

    def _value_names(self) -> tuple[list[str], list[int]]:
        """Return for each column of `_values` its name and the position of the input column that it comes from."""
        outputs = [] if self._encoder is None else list(self._encoder.get_feature_names_out())
        parts = [str(output).partition("_") for output in outputs]
        sources = self._numbers + [int(position) for position, _, _ in parts]
        rests = [""] * len(self._numbers) + [separator + rest for _, separator, rest in parts]
        names = [f"{self.feature_names_in_[source]}{rest}" for source, rest in zip(sources, rests, strict=True)]
        return names, sources


def _frame(table: pd.DataFrame | NDArray[Any]) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        array = np.asarray(table)
        if array.ndim != 2:
            raise InputError(f"`table` must be a DataFrame or an array of shape (N, D), got shape {array.shape}.")
        table = pd.DataFrame(array)
    if all(isinstance(name, str) for name in table.columns):
        return table
    return table.set_axis([str(name) for name in table.columns], axis=1)


def _median(values: Floats) -> float:
    # numpy's own median looks for two ranks at once, which takes five times as long.
    half = len(values) // 2
    middle = np.partition(values, half)
    return float(middle[half] if len(values) % 2 else (middle[:half].max() + middle[half]) / 2)


def _fit_encoder(frame: pd.DataFrame) -> Any:
    # Here and not above: skrub takes a second to import, which tables of numbers need not wait for.
    from skrub import StringEncoder, TableVectorizer  # noqa: PLC0415

    # Text such as "1e300" overflows to infinity, which counts as a gap.
    with np.errstate(over="ignore"):
        return TableVectorizer(high_cardinality=StringEncoder(random_state=0)).fit(frame)
