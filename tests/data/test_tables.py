import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io.arff import loadarff
from sklearn.datasets import load_digits, load_iris

from vicinal.core.checks import InputError
from vicinal.data import Vectorizer, bundled_tables, load_table

TABLES = Path(__file__).parents[2].parent / "shared" / "tables"


def frame(**columns):
    return pd.DataFrame({"a": np.arange(6.0), **columns})


ARFF = "% comment\n@RELATION r\n@attribute a real\n@Attribute {} {}\n@attribute y {{p,q}}\n@DATA\n"
LABELS = ["x", "y", "x", "y", "x", "y"]


@pytest.mark.parametrize("name", bundled_tables())
def test_bundled_tables_are_what_their_line_says(name):
    table = load_table(name)
    line = f"{table.rows} rows, {table.features.shape[1]} features, {len(table.classes)} classes"
    assert bundled_tables()[name].startswith(line)
    assert (table.name, table.source, table.notes) == (name, name, ())


def test_bundled_labels_are_class_names():
    iris, bunch = load_table("iris"), load_iris()
    assert table_labels(iris) == [str(bunch.target_names[label]) for label in bunch.target]
    assert np.array_equal(iris.features.to_numpy(), bunch.data)
    assert table_labels(load_table("digits")) == load_digits().target.astype(str).tolist()


def table_labels(table):
    assert all(type(label) is str for label in table.target)
    return table.target.tolist()


def test_csv_with_text_dates_and_gaps(tmp_path):
    path = tmp_path / "häuser & höfe.csv"
    path.write_text(
        "größe, place,built,price,Label\n"
        '1.5,"Köln, Altstadt",2001-05-06,?,cheap\n'
        "2.5,Bonn,,120,dear\n"
        "inf,,1999-01-02,80,cheap\n"
        ",Bonn,2010-12-31,95,\n"
        "4.5,<b>Ulm</b>,2011-12-31,99,dear\n",
        encoding="utf-8",
    )
    table = load_table(path)
    assert table.name == "häuser & höfe"
    assert table.target_name == "Label"
    assert table_labels(table) == ["cheap", "dear", "cheap", "dear"]
    assert list(table.features) == ["größe", "place", "built", "price"]
    assert table.features["place"].dropna().tolist() == ["Köln, Altstadt", "Bonn", "<b>Ulm</b>"]
    assert table.features["größe"].isna().tolist() == [False, False, True, False]
    assert table.notes == ("1 rows without a target dropped", "infinite values taken as missing in 'größe'")
    vectorizer = Vectorizer().fit(table.features)
    x = vectorizer.transform(table.features)
    assert np.isfinite(x).all()
    names = vectorizer.get_feature_names_out().tolist()
    assert x[:, names.index("price")].tolist() == [99, 120, 80, 99]
    assert x[:, names.index("built_year")].tolist() == [2001, 2001, 1999, 2011]
    assert x[:, names.index("größe_missing")].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", "a;b c;y\n1,5;é;p\n2,25;f;q\n"),
        ("t.tsv", "a\tb c\ty\n1.5\té\tp\n2.25\tf\tq\n"),
        ("t.csv", "a|b c|y\n1.5|é|p\n2.25|f|q\n"),
        ("t.CSV", ' a, "b c", y\r\n1.5, é, p\r\n2.25, f, q\r\n'),
        ("t.csv", ",a,b c,y\n0,1.5,é,p\n1,2.25,f,q\n"),
        ("t.arff", ARFF.format("'b c'", "{é, f}") + "1.5,é,p\n2.25,f,q\n"),
        ("t.arff", ARFF.format('"b c"', "string") + "1.5,'é','p'\n2.25,'f',q\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_separators_quotes_and_encodings(tmp_path, name, data, encoding):
    (tmp_path / name).write_bytes(data.encode(encoding))
    table = load_table(tmp_path / name)
    assert table_labels(table) == ["p", "q"]
    assert list(table.features) == ["a", "b c"]
    assert table.features["a"].tolist() == [1.5, 2.25]
    assert table.features["b c"].tolist() == ["é", "f"]
    assert any("Windows-1252" in note for note in table.notes) == (encoding == "cp1252")


@pytest.mark.parametrize("ending", ["parquet", "feather", "csv"])
def test_files_return_what_was_written(tmp_path, ending):
    written = frame(text=list("abcdef"), when=pd.date_range("2024-01-01", periods=6), target=[3, 1, 3, 1, 3, 1])
    path = tmp_path / f"t.{ending}"
    getattr(written, f"to_{ending}")(path, **({"index": False} if ending == "csv" else {}))
    table = load_table(str(path))
    assert table_labels(table) == ["3", "1", "3", "1", "3", "1"]
    pd.testing.assert_frame_equal(
        table.features.assign(when=pd.to_datetime(table.features["when"])),
        written.drop(columns="target"),
        check_dtype=False,
    )


def test_arff_equals_scipys_reader(tmp_path):
    path = tmp_path / "t.arff"
    rows = "\n".join(f"{row / 7},{'?' if row == 3 else row},{'uv'[row % 2]}" for row in range(20))
    path.write_text(
        f"@relation r\n@attribute a numeric\n@attribute b INTEGER\n@attribute class {{u,v}}\n@data\n{rows}\n"
    )
    ours = load_table(path)
    theirs = pd.DataFrame(loadarff(path)[0])
    pd.testing.assert_frame_equal(ours.features, theirs[["a", "b"]])
    assert table_labels(ours) == [label.decode() for label in theirs["class"]]


def test_a_parquet_of_real_data():
    path = TABLES / "iris.parquet"
    if not path.exists():
        pytest.skip("the shared development tables are not at hand")
    table = load_table(path)
    assert (table.rows, table.classes) == (150, ["Iris-setosa", "Iris-versicolor", "Iris-virginica"])
    assert np.array_equal(Vectorizer().fit_transform(table.features), table.features.to_numpy())


def test_polars_equals_pandas():
    data = {"n": [1, None, 3, 4], "s": ["é", None, "b", "c"], "d": [datetime.date(2024, 1, 2)] * 4, "y": [1, 2, 1, 2]}
    ours, theirs = load_table(pl.DataFrame(data)), load_table(pd.DataFrame(data))
    assert table_labels(ours) == table_labels(theirs)
    for mine, pandas in zip(*[Vectorizer().fit_transform(t.features[["n", "s"]]) for t in (ours, theirs)], strict=True):
        assert np.array_equal(mine, pandas)


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        ([1.0, 2.0, 1.0, None, 2.0, 2.0], ["1", "2", "1", "2", "2"]),
        ([True, False] * 3, ["True", "False"] * 3),
        ([b"u", "v", b"u", "v", "u", "v"], ["u", "v"] * 3),
        (pd.Categorical(["10", "9", "10"] * 2), ["10", "9", "10"] * 2),
        ([0.5, 1.5, 0.5, 1.5, 0.5, 1.5], ["0.5", "1.5"] * 3),
        (["<i>", "\x1b[31m", "<i>", "\x1b[31m", "<i>", "é\n"], ["<i>", "\x1b[31m", "<i>", "\x1b[31m", "<i>", "é\n"]),
        (pd.array([1, None, 2, 1, 2, 1], dtype="Int64"), ["1", "2", "1", "2", "1"]),
    ],
)
def test_labels_become_text(target, labels):
    table = load_table(frame(y=target))
    assert table_labels(table) == labels
    assert table.classes == sorted(set(labels))
    assert list(table.features.index) == list(range(len(labels)))
    dropped = ("1 rows without a target dropped",) if len(labels) == 5 else ()
    assert table.notes == dropped


def test_target_is_found_by_name_or_given():
    many = frame(Y=LABELS, LABEL=["p", "q"] * 3)
    assert load_table(many).target_name == "LABEL"
    assert load_table(many, target="Y").target_name == "Y"
    assert load_table(pd.DataFrame([[1, "a"], [2, "b"]]), target="1").target_name == "1"


def test_names_are_made_distinct():
    data = pd.DataFrame([[1, 2, 3, "u"], [4, 5, 6, "v"]], columns=["a", "a", "a.1", "y"])
    table = load_table(data)
    assert list(table.features) == ["a", "a.2", "a.1"]
    assert table.features["a.2"].tolist() == [2, 5]
    assert table.notes == ("column names made unique: 'a'",)
    assert list(data) == ["a", "a", "a.1", "y"]


def test_csv_notes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(",a,a,y\n0,1,2,u\n1,3,4,v\n")
    table = load_table(path)
    assert list(table.features) == ["a", "a.1"]
    assert table.notes == (
        "column names made unique: 'a'",
        "the nameless first column holds row numbers; dropped",
    )


def test_the_users_frame_is_left_alone():
    data = frame(b=[np.inf] + [1.0] * 5, y=LABELS)
    before = data.copy()
    assert load_table(data).notes == ("infinite values taken as missing in 'b'",)
    pd.testing.assert_frame_equal(data, before)


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        (frame(y=LABELS), "z", r"no column 'z'\. The columns are 'a', 'y'"),
        (frame(Species=LABELS), "spices", r"no column 'spices'; did you mean 'Species'\? The columns are"),
        (frame(b=LABELS), None, r"which column is the target\? .*`target=` \(or `--target`\).* 'a', 'b'"),
        (pd.DataFrame({str(i): [0, 1] for i in range(300)}), None, "'19' and 280 more"),
        (frame(y=["u"] * 6), None, "'y' must have at least two classes, got only 'u' in 6 rows"),
        (frame(y=LABELS).iloc[:1], None, "at least two classes, got only 'x' in 1 rows"),
        (frame(y=[None] * 6), None, "at least two classes, got no label at all"),
        (frame(y=LABELS).iloc[:0], None, "'table' has columns but no rows"),
        (pd.DataFrame(), None, "'table' has columns but no rows"),
        (frame(y=LABELS)[["y"]], None, "must have a column beside the target 'y'"),
        (pd.DataFrame({"a": range(90), "y": np.arange(90) / 2 % 21}), None, r"'y' is continuous \(42 distinct decimal"),
        (frame(y=list("abcdef")), None, "'y' has 6 classes in 6 rows, as an identifier has"),
        (frame(y=LABELS, b=[1e31] * 6), None, r"column 'b' must stay below 1e\+30 in magnitude, got 1e\+31"),
        (frame(y=LABELS, b=[[1], [2]] * 3), None, "column 'b' must hold single values"),
        (frame(y=[{"k": 1}] * 6), None, "column 'y' must hold single values"),
        (frame(y=LABELS, b=[1j] * 6), None, "column 'b' must hold single values"),
        (pl.DataFrame({"a": [[1], [2]], "y": [0, 1]}), None, "column 'a' must hold single values"),
    ],
)
def test_tables_that_are_no_problem(data, target, message):
    with pytest.raises(InputError, match=message) as caught:
        load_table(data, target=target)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"", "t.csv' is empty"),
        ("t.csv", b"a,y\n", "has columns but no rows"),
        ("t.arff", b"@relation r\n@attribute a real\n@attribute y {p}\n@data\n", "has columns but no rows"),
        ("t.csv", b"a,y\n1,2\n1,2,3\n", "can't be read as csv: "),
        ("t.csv", b"a,y\n1,2,3\n1,2,3\n", "can't be read as csv: .*does not match"),
        ("t.csv", b'a,y\n"1,2\n3,4\n', "can't be read as csv: .*EOF inside string"),
        ("t.csv", b"a,y\n\0\0\0\n", "can't be read as csv: it is not a text file"),
        ("t.csv", b"\n\n", "can't be read as csv: No columns"),
        ("t.csv", b"a,y\n" + b"x" * 200_000 + b",1\n1,2\n", None),
        ("t.parquet", b"PAR1 garbage PAR1", "can't be read as parquet: "),
        ("t.feather", b"garbage", "can't be read as feather: "),
        ("t.arff", b"garbage", "can't be read as arff: it has no @data line"),
        ("t.arff", b"@relation r\n@attribute\n@data\n1\n", "its @attribute lines are broken"),
        ("t.arff", b"@relation r\n@attribute a real\n@data\n{0 1}\n", "sparse rows are not supported"),
        (
            "t.arff",
            b"@relation r\n@attribute a real\n@attribute y {p,q}\n@data\nfoo,p\n",
            "can't be read as arff: Unable",
        ),
        (
            "t.pkl",
            b"cos\nsystem\n",
            "t.pkl' has another ending; a file must end in .csv, .tsv, .parquet, .feather, .arff",
        ),
    ],
)
def test_broken_files(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    if message is None:
        assert load_table(path).rows == 2
        return
    with pytest.raises(InputError, match=message) as caught:
        load_table(path)
    assert "\n" not in str(caught.value)


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(
        InputError, match=r"no file or table 'irsi'; did you mean 'iris'\? \(tables by name: iris, wine"
    ):
        load_table("irsi")
    with pytest.raises(InputError, match=r"a file must end in \.csv, \.tsv, \.parquet, \.feather, \.arff"):
        load_table(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="is a directory; a file must end in"):
        load_table(tmp_path)
    for source in ("", "a\0b.csv", "x" * 5000, "/dev/null", "https://example.org/t.csv", "\x1b[31m\n.csv"):
        with pytest.raises(InputError) as caught:
            load_table(source)
        assert str(caught.value).isprintable()
    for wrong in (None, 3, ["iris"], np.zeros((3, 3))):
        with pytest.raises(TypeError, match="`source` must be a name, a path or a DataFrame of pandas or polars, got"):
            load_table(wrong)


CELLS = st.one_of(
    st.none(),
    st.integers(-5, 5),
    st.floats(),
    st.booleans(),
    st.text(max_size=4),
    st.sampled_from([np.inf, 1e300, "<script>", "\x1b[2J", "é", b"\xff", pd.NaT, 10**400, [1], {"a": 1}, (1,)]),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=5, max_size=5), min_size=2, max_size=4),
    st.lists(st.one_of(st.text(max_size=3), st.integers(0, 2), st.sampled_from(["y", "<b>"])), min_size=4, max_size=4),
    st.integers(0, 5),
)
def test_any_frame_gives_a_table_or_one_line(columns, names, rows):
    data = pd.concat([pd.Series(cells, dtype=object) for cells in columns], axis=1).iloc[:rows]
    data.columns = pd.Index(names[: data.shape[1]], dtype=object)
    message = ""
    try:
        table = load_table(data, target=str(names[0]))
        x = Vectorizer().fit_transform(table.features)
    except InputError as error:
        message = str(error)
    if message:
        assert message.isprintable()
        return
    assert len(table.classes) >= 2
    assert len(x) == table.rows == len(table.features)
    assert np.isfinite(x).all()
    assert table.features.columns.is_unique
