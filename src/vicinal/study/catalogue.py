"""Where a study's data sets come from: synthetic problems, a folder of tables with an index, or OpenML.

A folder holds one table a file and may hold an `index.csv` with a column `name` (a file's name without its ending) and, where
known, `openml_id`, `also_openml_ids` (with spaces or semicolons between), `match` (how surely the table is the one of that id),
`family` (tables of one origin) and `target`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from vicinal.core.checks import InputError
from vicinal.data import SYNTHETIC, bundled_tables

__all__ = ["Catalogue", "Missing", "Source"]

ENDINGS = (".parquet", ".csv", ".tsv", ".feather", ".arff")


@dataclass(frozen=True)
class Source:
    """A data set of a study: what it is called there, and what `vicinal.data.load_table` reads.

    Attributes:
        dataset: 'openml:61', the name of a local table, or of a synthetic problem.
        path: what to load. target: its target column, or None for the usual.
        family: tables of one origin share it; statistics over tables count a family once.
        note: how a local table differs from the one its id names, if it does.
    """

    dataset: str
    path: str
    target: str | None = None
    family: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Missing:
    """A data set that a study asks for and cannot have: its id, and why."""

    dataset: str
    why: str


class Catalogue:
    """The tables of a folder.

    Args:
        folder: where the tables are; None for none, so that OpenML is asked.
        fetch: whether OpenML is asked for what the folder does not hold.

    Raises:
        InputError: no such folder, no table in it, or an index that names no files.

    Examples:
        >>> Catalogue(None).find(["iris", "openml:61", "moon"])[0][1]
        Source(dataset='openml:61', path='openml:61', target=None, family=None, note=None)
    """

    def __init__(self, folder: str | Path | None, fetch: bool | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.fetch = folder is None if fetch is None else fetch
        self.sources: list[Source] = []
        self._by_id: dict[str, Source] = {}
        if self.folder is not None:
            self._read(self.folder)

    def _read(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"no folder of tables at {folder}; give one that holds .parquet, .csv or .arff files.")
        files: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in ENDINGS or path.name == "index.csv":
                continue
            if (other := files.setdefault(path.stem, path)) != path:
                raise InputError(f"{folder} holds {other.name} and {path.name}, two tables of one name; rename one.")
        if not (index := folder / "index.csv").exists():
            rows = [{"name": name} for name in files]
        else:
            try:
                frame = pd.read_csv(index, dtype=str).fillna("")
            except (ValueError, OSError) as error:
                raise InputError(f"{index} can't be read as csv: {str(error).strip()}.") from error
            if "name" not in frame:
                raise InputError(f"{index} must have a column 'name', the tables' file names without their endings.")
            rows = [{str(k): str(v) for k, v in row.items()} for row in frame.to_dict("records")]
        for row in rows:
            if row["name"] not in files:
                raise InputError(f"{index} names {row['name']!r}, and there is no such file beside it.")
            ids = [
                _number(i, index)
                for i in f"{row.get('openml_id', '')} {row.get('also_openml_ids', '')}".replace(";", " ").split()
            ]
            dataset = f"openml:{ids[0]}" if ids else row["name"]
            match = row.get("match", "")
            source = Source(
                dataset,
                str(files[row["name"]]),
                row.get("target") or None,
                row.get("family") or row["name"],
                f"the local table's match with this id: {match}" if ids and match not in ("", "exact") else None,
            )
            self.sources.append(source)
            for name in (row["name"], *(f"openml:{i}" for i in ids)):
                self._by_id.setdefault(name, source)
        if not self.sources:
            raise InputError(f"{folder} holds no tables; it should have .parquet, .csv or .arff files.")

    def find(self, datasets: Iterable[str]) -> tuple[list[Source], list[Missing]]:
        """Return the sources of data sets, in order and each once, and those that are not to be had.

        Args:
            datasets: ids such as 'openml:61', names of local tables, of bundled tables or of synthetic problems.
        """
        found, missing = [], []
        for dataset in dict.fromkeys(datasets):
            if dataset in self._by_id:
                here = self._by_id[dataset]
                found.append(replace(here, dataset=dataset))
            elif dataset in SYNTHETIC or dataset in bundled_tables() or (dataset.startswith("openml:") and self.fetch):
                found.append(Source(dataset, dataset))
            else:
                missing.append(Missing(dataset, f"not in {self.folder}" if self.folder else "no such table"))
        return found, missing


def _number(text: str, index: Path) -> str:
    number = text.removesuffix(".0")  # a column of ids with gaps comes back from some writers as decimals
    if not number.isdecimal():
        raise InputError(f"{index} must have numbers of OpenML tables as ids, got {text!r}.")
    return number
