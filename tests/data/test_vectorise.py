import time
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.impute import SimpleImputer

from vicinal.core.checks import InputError
from vicinal.data import Vectorizer

ROWS = 60


@pytest.fixture
def mixed() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": np.where(np.arange(ROWS) % 7 == 0, np.nan, generator.normal(size=ROWS)),
            "count": generator.integers(0, 9, ROWS),
            "colour": generator.choice(["red", "green", "blue"], ROWS),
            "comment": [f"remark {generator.integers(1000)} on row {row}" for row in range(ROWS)],
            "when": [None if row % 9 == 0 else f"2024-0{1 + row % 8}-1{row % 5}" for row in range(ROWS)],
            "seen": pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="Europe/Berlin"),
            "code": pd.Categorical(generator.choice(["1", "2", "3"], ROWS)),
            "flag": generator.random(ROWS) < 0.5,
            "lasted": pd.to_timedelta(generator.integers(1, 99, ROWS), unit="min"),
            "number": ["N/A" if row % 5 == 0 else str(row / 4) for row in range(ROWS)],
            "empty": [None] * ROWS,
            "same": ["always"] * ROWS,
        }
    )


def test_numbers_pass_unchanged():
    x = np.random.default_rng(0).normal(size=(50, 4))
    x[:, 2] = 3.5
    frame = pd.DataFrame(x, columns=["b", "a", "d", "c"])
    assert np.array_equal(Vectorizer().fit_transform(frame), x)
    assert np.array_equal(Vectorizer().fit_transform(x), x)
    assert Vectorizer().fit(frame).get_feature_names_out().tolist() == ["b", "a", "d", "c"]
    whole = pd.DataFrame({"i": [1, 2**53], "b": [True, False], "n": pd.array([1, 2], dtype="Int64")})
    assert Vectorizer().fit_transform(whole).tolist() == [[1, 1, 1], [2.0**53, 0, 2]]


def test_numbers_are_fast():
    x = pd.DataFrame(np.random.default_rng(0).normal(size=(100_000, 20)))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        Vectorizer().fit_transform(x)
        times.append(time.perf_counter() - start)
    # 25 ms on an idle laptop core; the limit leaves room for a busy machine and would catch a detour through skrub.
    assert min(times) < 0.25


def test_gaps_get_the_training_median_and_an_indicator():
    train = pd.DataFrame({"a": [1.0, np.nan, 5.0, np.inf], "b": [4.0, 2.0, 8.0, 9.0]})
    vectorizer = Vectorizer().fit(train)
    assert vectorizer.get_feature_names_out().tolist() == ["a", "b", "a_missing"]
    expected = SimpleImputer(strategy="median", add_indicator=True).fit_transform(train.replace(np.inf, np.nan))
    assert np.array_equal(vectorizer.transform(train), expected)
    assert vectorizer.transform(pd.DataFrame({"a": [-np.inf], "b": [np.nan]})).tolist() == [[3.0, 6.0, 1.0]]


def test_a_first_gap_in_new_rows_is_harmless():
    vectorizer = Vectorizer().fit(pd.DataFrame({"a": [1.0, 2.0, 6.0]}))
    assert vectorizer.transform(pd.DataFrame({"a": [None, "x", "4"]})).tolist() == [[2.0], [2.0], [4.0]]


def test_every_kind_of_column(mixed):
    vectorizer = Vectorizer().fit(mixed)
    x = vectorizer.transform(mixed)
    names = vectorizer.get_feature_names_out().tolist()
    column = {name: x[:, position] for position, name in enumerate(names)}
    assert x.dtype == np.float64
    assert x.shape == (ROWS, len(names))
    assert np.isfinite(x).all()
    assert np.array_equal(column["colour_red"], mixed["colour"] == "red")
    assert np.array_equal(column["code_2"], mixed["code"] == "2")
    assert np.array_equal(column["flag"], mixed["flag"])
    assert np.array_equal(column["lasted"], mixed["lasted"].dt.total_seconds())
    assert np.array_equal(column["when_missing"], mixed["when"].isna())
    known = mixed["when"].notna()
    assert np.array_equal(column["when_month"][known], pd.to_datetime(mixed["when"][known]).dt.month)
    assert np.array_equal(column["seen_hour"], mixed["seen"].dt.tz_convert("UTC").dt.hour)
    assert np.array_equal(column["number"][1:5], [0.25, 0.5, 0.75, 1.0])
    assert np.array_equal(column["number_missing"], mixed["number"] == "N/A")
    assert not any(name.startswith(("empty", "same")) for name in names)
    assert sum(name.startswith("comment_") for name in names) == 30


def test_rows_not_fitted_on_leave_no_trace(mixed):
    """What is fitted on training rows equals what is fitted on a table that never held the others."""
    train, test = mixed.iloc[:40], mixed.iloc[40:].copy()
    alone = Vectorizer().fit(train.copy()).transform(train)
    vectorizer = Vectorizer().fit(train)
    test["size"], test["colour"] = 1e9, "never seen"
    x = vectorizer.transform(test)
    assert np.array_equal(vectorizer.transform(train), alone)
    names = vectorizer.get_feature_names_out().tolist()
    assert not x[:, [name.startswith("colour_") for name in names]].any()
    assert (x[:, names.index("size")] == 1e9).all()
    assert not any("never" in name for name in names)


def test_a_row_alone_equals_a_row_in_a_batch(mixed):
    vectorizer = Vectorizer().fit(mixed)
    looped = [vectorizer.transform(mixed.iloc[[row]])[0] for row in range(0, ROWS, 10)]
    np.testing.assert_allclose(vectorizer.transform(mixed)[::10], looped, rtol=1e-6, atol=1e-6)


def test_deterministic_and_blind_to_column_order(mixed):
    vectorizer = Vectorizer().fit(mixed)
    again = clone(Vectorizer()).fit(mixed)
    assert np.array_equal(vectorizer.transform(mixed), again.transform(mixed[mixed.columns[::-1]].assign(more=1)))
    assert np.array_equal(vectorizer.get_feature_names_out(), again.get_feature_names_out())


def test_types_may_differ_in_new_rows(mixed):
    vectorizer = Vectorizer().fit(mixed)
    for value in (None, np.nan, "text", 3, 2.5, True, pd.NaT, Decimal("1.5"), b"bytes"):
        new = pd.DataFrame({name: pd.Series([value, None], dtype=object) for name in mixed})
        assert np.isfinite(vectorizer.transform(new)).all()
    assert vectorizer.transform(mixed.iloc[:0]).shape == (0, len(vectorizer.get_feature_names_out()))


def test_names_that_clash_stay_deterministic():
    frame = pd.DataFrame({"a": ["b", "c", "d"], "a_b": [1.0, 2.0, 3.0], 7: ["x", "y", "x"]})
    names = Vectorizer().fit(frame).get_feature_names_out().tolist()
    assert names == ["a_b", "a_b", "a_c", "a_d", "7_y"]


def test_no_warning_reaches_the_user(mixed, recwarn):
    vectorizer = Vectorizer().fit(mixed)
    vectorizer.transform(mixed.assign(colour="new", comment="new", code="new"))
    Vectorizer().fit(mixed.iloc[:2])
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"a": []}), r"at least one row and one column, got \(0, 1\)"),
        (np.zeros(3), r"array of shape \(N, D\), got shape \(3,\)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "distinct column names, got 'a' twice"),
        (pd.DataFrame({"a": ["x", "x"], "b": [None, None]}), "all 2 are empty or constant over 2 training rows"),
        (pd.DataFrame({"a": [np.nan, np.nan]}), "all 1 are empty or constant"),
        (pd.DataFrame({"<b>": [1.0, 1e300]}), r"column '<b>' must stay below 1e\+30 in magnitude, got 1e\+300"),
    ],
)
def test_fit_errors(table, message):
    with pytest.raises(InputError, match=message):
        Vectorizer().fit(table)


def test_transform_errors():
    vectorizer = Vectorizer().fit(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}))
    with pytest.raises(InputError, match="'a' and 1 more missing"):
        vectorizer.transform(pd.DataFrame({"c": [1.0]}))
    with pytest.raises(InputError, match="distinct column names"):
        vectorizer.transform(pd.DataFrame([[1.0, 2.0, 3.0]], columns=["a", "b", "a"]))
    with pytest.raises(InputError, match="column 'a' must stay below"):
        vectorizer.transform(pd.DataFrame({"a": [-1e31], "b": [1.0]}))


CELLS = st.one_of(
    st.none(),
    st.floats(-1e30, 1e30),
    st.sampled_from([np.nan, np.inf, -np.inf, True, 10**400, 2**70, Decimal("1e9"), b"\xff", pd.NaT]),
    st.sampled_from(["", " ", "?", "N/A", "1e400", "2024-02-30", "<script>", "\x1b[31m", "é", "\0", "\ud800"]),
    st.text(max_size=5),
    st.dates(),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=8, max_size=8), min_size=1, max_size=4))
def test_any_cells_give_finite_numbers_or_one_line(columns):
    frame = pd.DataFrame({str(name): pd.Series(cells, dtype=object) for name, cells in enumerate(columns)})
    train, test = frame.iloc[:5], frame.iloc[5:]
    message = ""
    try:
        vectorizer = Vectorizer().fit(train)
    except InputError as error:
        message = str(error)
    if message:
        assert message.isprintable()
        return
    x = vectorizer.transform(test)
    assert x.shape == (3, len(vectorizer.get_feature_names_out()))
    assert np.isfinite(x).all()


def test_numbers_in_text_beyond_single_precision_are_gaps(recwarn):
    vectorizer = Vectorizer().fit(pd.DataFrame({"a": ["1", "5", "1e400", "1e300", "1e35"]}))
    assert vectorizer.transform(pd.DataFrame({"a": ["2.5", "1e300"]})).tolist() == [[2.5, 0], [3, 1]]
    assert [str(warning.message) for warning in recwarn] == []


def test_three_hundred_columns():
    generator = np.random.default_rng(0)
    values = np.where(generator.random((20, 300)) < 0.2, np.nan, generator.normal(size=(20, 300)))
    assert Vectorizer().fit_transform(pd.DataFrame(values)).shape == (20, 300 + np.isnan(values).any(axis=0).sum())
