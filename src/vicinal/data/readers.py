"""What reads a source into raw columns: bundled sets, files, OpenML. Nothing here executes what a file holds."""

import csv
import io
import os
import re
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pandas as pd
from sklearn import datasets

from vicinal.core.checks import InputError

__all__ = ["BUNDLED", "Raw", "near", "one_line", "read_bundled", "read_file", "read_openml"]

BUNDLED = {
    "iris": "150 rows, 4 features, 3 classes: species of iris flowers",
    "wine": "178 rows, 13 features, 3 classes: cultivars from chemical analyses of wine",
    "breast_cancer": "569 rows, 30 features, 2 classes: malignant or benign, from cell nuclei",
    "digits": "1797 rows, 64 features, 10 classes: handwritten digits, 8 x 8 pixels",
}
"""The tables that come with scikit-learn."""


@dataclass(frozen=True, eq=False)
class Raw:
    """Columns as a source gives them.

    Args:
        name: what to call the table.
        frame: all columns, the target among them.
        target: the target that the source itself names, if any.
        notes: what was changed while reading.
    """

    name: str
    frame: pd.DataFrame
    target: str | None = None
    notes: tuple[str, ...] = ()


def near(name: str, options: list[str]) -> str:
    """Return "; did you mean ...?" for the closest option, or nothing.

    Examples:
        >>> near("speces", ["species", "width"])
        "; did you mean 'species'?"
    """
    matches = get_close_matches(name.lower(), [option.lower() for option in options], n=1)
    found = [option for option in options if option.lower() in matches]
    return f"; did you mean {found[0]!r}?" if found else ""


def one_line(error: BaseException) -> str:
    r"""Return an error's message on one line of at most 200 characters, without control characters.

    Examples:
        >>> one_line(ValueError("line 3:\n too many fields"))
        'line 3: too many fields'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(character for character in text if character.isprintable())[:200].rstrip(".")


def read_bundled(name: str) -> Raw:
    """Read a table that comes with scikit-learn; its labels are the class names.

    Examples:
        >>> read_bundled("iris").frame["target"].unique().tolist()
        ['setosa', 'versicolor', 'virginica']
    """
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    labels = np.asarray(bunch.target_names).astype(str)[bunch.target]
    return Raw(name, bunch.data.assign(target=labels), target="target")


def read_file(path: str) -> Raw:
    """Read a .csv, .tsv, .parquet, .feather or .arff file.

    Raises:
        InputError: no such file, not a file, another ending, or contents that can't be read.
    """
    endings = f"a file must end in {', '.join(_READERS)}"
    # os.path answers no where pathlib raises, such as for names too long to exist.
    if os.path.isdir(path):
        raise InputError(f"{path!r} is a directory; {endings}.")
    if not os.path.isfile(path):
        tables = f"tables by name: {', '.join(BUNDLED)}, or openml:ID"
        raise InputError(f"no file or table {path!r}{near(path, list(BUNDLED))} ({tables}; {endings}).")
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise InputError(f"{path!r} has another ending; {endings}.")
    if Path(path).stat().st_size == 0:
        raise InputError(f"{path!r} is empty.")
    try:
        with warnings.catch_warnings():
            # pandas only warns where it throws fields away.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame, notes = reader(path)
    except Exception as error:  # a damaged file raises whatever its parser trips over
        kind = Path(path).suffix.lower().removeprefix(".")
        raise InputError(f"{path!r} can't be read as {kind}: {one_line(error)}.") from error
    return Raw(Path(path).stem, frame, notes=notes)


def read_openml(number: str) -> Raw:
    """Fetch an OpenML table by its number; cached in scikit-learn's data folder, its checksum verified.

    Raises:
        InputError: not a number, unknown to OpenML, or the network fails.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,8}", number):
        raise InputError(f"an OpenML table is named by its number, such as openml:61, got {'openml:' + number!r}.")
    try:
        with warnings.catch_warnings(record=True) as caught, _timeout(30.0):
            warnings.simplefilter("always")
            # No target, since scikit-learn refuses a target with gaps; those rows are dropped later.
            bunch = datasets.fetch_openml(
                data_id=int(number), target_column=None, as_frame=True, parser="pandas", n_retries=3
            )
    except (URLError, TimeoutError, ConnectionError) as error:
        advice = "check the network, or download the table and give the file"
        raise InputError(f"openml:{number} could not be fetched: {one_line(error)}; {advice}.") from error
    except Exception as error:  # scikit-learn: unknown number, wrong checksum, sparse format, broken answers
        raise InputError(f"openml:{number} can't be read: {one_line(error)}.") from error
    status = tuple(
        one_line(warning.message)
        for warning in caught
        if isinstance(warning.message, Warning) and re.match("OpenML|Version", str(warning.message))
    )
    return Raw(
        str(bunch.details.get("name", number)), bunch.frame, bunch.details.get("default_target_attribute"), status
    )


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    # scikit-learn opens its connections without a timeout: a silent server would hang for ever.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _decode(path: str) -> tuple[str, tuple[str, ...]]:
    data = Path(path).read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16"), ()
    if b"\0" in data:
        raise ValueError("it is not a text file")
    try:
        return data.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), ("the file is not UTF-8; read as Windows-1252",)


def _read_text(path: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    text, notes = _decode(path)
    sample = text[:100_000]
    separators = "\t" if path.lower().endswith(".tsv") else ",;\t|"
    headers = {separator: next(csv.reader(io.StringIO(sample), delimiter=separator), []) for separator in separators}
    separator = max(separators, key=lambda mark: len(headers[mark]))
    header = headers[separator]
    decimal = "," if separator == ";" and _has_decimal_commas(sample) else "."
    frame = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        decimal=decimal,
        index_col=False,
        skipinitialspace=True,
        na_values=["?"],
        low_memory=False,
    )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        notes += (f"column names made unique: {', '.join(map(repr, twice))}",)
    if header and not header[0].strip() and len(frame):
        first = frame.iloc[:, 0].to_numpy()
        # Row numbers that a data frame wrote along: where rows are sorted by class they give the class away.
        if any(np.array_equal(first, np.arange(len(frame)) + start) for start in (0, 1)):
            frame, notes = frame.iloc[:, 1:], (*notes, "the nameless first column holds row numbers; dropped")
    return frame, notes


def _has_decimal_commas(sample: str) -> bool:
    fields = [field.strip() for line in csv.reader(io.StringIO(sample), delimiter=";") for field in line]
    with_comma = sum(re.fullmatch(r"[-+]?\d*,\d+", field) is not None for field in fields)
    with_point = sum(re.fullmatch(r"[-+]?\d*\.\d+", field) is not None for field in fields)
    return with_comma > with_point


_ATTRIBUTE = re.compile(r"""@attribute\s+('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\S+)\s+(.+)""", re.IGNORECASE)


def _read_arff(path: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    # Not scipy's reader: it refuses text, categories beyond ASCII, and quoted categories that hold a space.
    text, notes = _decode(path)
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("%")]
    start = next((row for row, line in enumerate(lines) if line.strip().lower() == "@data"), None)
    if start is None:
        raise ValueError("it has no @data line")
    found = [_ATTRIBUTE.fullmatch(line.strip()) for line in lines[:start] if line.strip().lower().startswith("@attr")]
    if not found or None in found:
        raise ValueError("its @attribute lines are broken")
    names = [re.sub(r"\\(.)", r"\1", match[1].strip("'\"")) for match in found if match]
    types = [match[2].strip().lower() for match in found if match]
    numeric = [position for position, kind in enumerate(types) if kind in {"numeric", "real", "integer"}]
    rows = "\n".join(lines[start + 1 :])
    if not rows:
        return pd.DataFrame(columns=names), notes
    if rows.lstrip().startswith("{"):
        raise ValueError("sparse rows are not supported")
    frame = pd.read_csv(
        io.StringIO(rows),
        header=None,
        names=list(range(len(names))),
        index_col=False,
        dtype={position: str for position in range(len(names)) if position not in numeric},
        na_values=["?"],
        keep_default_na=False,
        quotechar="'" if re.search(r"(^|,)\s*'", rows, re.MULTILINE) else '"',
        escapechar="\\",
        skipinitialspace=True,
    )
    for position in numeric:
        frame[position] = pd.to_numeric(frame[position])
    nominal = {position: "category" for position, kind in enumerate(types) if kind.startswith("{")}
    return frame.astype(nominal).set_axis(names, axis=1), notes


def _read_parquet(path: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    return pd.read_parquet(path), ()


def _read_feather(path: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    return pd.read_feather(path), ()


_READERS: dict[str, Callable[[str], tuple[pd.DataFrame, tuple[str, ...]]]] = {
    ".csv": _read_text,
    ".tsv": _read_text,
    ".parquet": _read_parquet,
    ".feather": _read_feather,
    ".arff": _read_arff,
}
