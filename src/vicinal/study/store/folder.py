"""The store: writes records that are never overwritten, and reads what is there.

Order protects against every crash: a record gets its name when it is whole on the disk; the sealed file gets its name when it has
been read back, and loose records go only then. A record that is both loose and sealed is one record.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from vicinal.core import InputError
from vicinal.study.manifest import join_manifests
from vicinal.study.record import Axes, Record, check_record, stable, text_of
from vicinal.study.store import disk
from vicinal.study.store.columns import frame_of, join, no_collection, table_of
from vicinal.study.store.contents import Contents, Found
from vicinal.study.store.disk import Problem, explained
from vicinal.study.store.names import Entry, entries_of, file_of
from vicinal.study.store.sealed import rows_of, write_sealed

__all__ = ["MergeReport", "Store", "read_records"]

_CHUNK = 1000
"""Records that are in memory as mappings at once."""


@dataclass(frozen=True)
class MergeReport:
    """What `Store.merge` did: records added, records that were there already, conflicts, and the others' problems."""

    added: int
    same: int
    conflicts: tuple[Problem, ...]
    problems: tuple[Problem, ...]


class Store:
    """A study's folder.

    Any number of processes may read and write one folder at once. Where a file is not whole, nothing is raised: it is
    moved to `torn/`, listed in `problems`, and its key is missing, so that a resume makes it again.

    Args:
        folder: the study's folder; the first write makes it.
        read_only: move nothing: what is torn is listed where it lies.

    Raises:
        InputError: `folder` is a file; from methods that write, a full or a read-only disk.

    Examples:
        >>> import tempfile
        >>> from vicinal.study.record import Axes, make_record
        >>> store = Store(tempfile.mkdtemp())
        >>> store.write(make_record(Axes("iris", "mixup", "paper", "linear", 2), {"accuracy": [0.5, 1.0]}))
        >>> [(entry.method, entry.status) for entry in store.index().values()]
        [('mixup', 'done')]
        >>> store.frame()["accuracy"].tolist(), store.seal(), store.frame()["accuracy"].tolist()
        ([0.75], 1, [0.75])
    """

    def __init__(self, folder: str | os.PathLike[str], *, read_only: bool = False):
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"`folder` must be a folder, got the file {os.fspath(folder)!r}; give the study's folder.")
        self._contents = Contents(self.folder, read_only)

    @property
    def problems(self) -> list[Problem]:
        """What needs a person's eye, as far as files were opened; `verify` opens all."""
        return self._contents.problems()

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What `study.json` says; None without one."""
        path = self.folder / "study.json"
        try:
            manifest = json.loads(path.read_bytes())
            if isinstance(manifest, dict):
                return manifest
            raise ValueError("not a mapping")
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InputError(
                f"`folder` must hold a whole study.json, got {path} ({error}); mend or remove it."
            ) from error

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write `study.json`, in the place of an earlier one."""
        with explained(self.folder):
            disk.replace(self.folder / "study.json", json.dumps(manifest, indent=1, allow_nan=False).encode() + b"\n")

    def extend_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write `study.json`, with what an earlier one of the same study plans besides.

        Raises:
            InputError: the folder holds another study; a full or a read-only disk.
        """
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with disk.locked(self.folder):
                self.write_manifest(join_manifests(self.manifest or manifest, manifest, self.folder))

    def write(self, record: Record) -> Problem | None:
        """Store a record for good; the first of a key stays.

        Returns:
            None, or a conflict: another record of this key differs (beyond `run`), and both are kept.

        Raises:
            InputError: a record that breaks a rule, a full or read-only disk; earlier records are intact.
        """
        check_record(record)
        return self._put(record, text_of(record))[1]

    def index(self) -> dict[str, Entry]:
        """Return what the file names say, by key, without opening a loose record."""
        return entries_of(self._contents.files())

    def has(self, axes: Axes) -> bool:
        """Whether there is a success for these axes, by name; one look at the disk, for many see `index`."""
        return self._contents.has(
            file_of({"dataset": axes.dataset, "method": axes.method, "key": axes.key, "status": "done"})
        )

    def read(self, key: str) -> Record:
        """Return the record of a key: the success, else the latest failure; for many, `records` is quicker.

        Raises:
            InputError: there is none.
        """
        for record in self.records([key]):
            return record
        raise InputError(f"`key` must be that of a record in {self.folder}, got {key!r}; `index` lists them.")

    def records(self, keys: Collection[str] | None = None) -> Iterator[Record]:
        """Yield the record of every key (or of those asked for), without superseded failures."""
        seen: set[str] = set()
        for _, _, record in self._walk(lambda: self._current(keys)):
            if record["key"] not in seen:
                seen.add(record["key"])
                yield record

    def frame(self, keys: Collection[str] | None = None, kind: str | None = "scores") -> pd.DataFrame:
        """Return one row a key, by data set and method: axes, status, metrics, seconds, facts (`store.columns`).

        Args:
            keys: those to read; all, if not given.
            kind: "scores", "profile", or None for both.
        """
        missed = -1
        while missed != self._contents.missed:
            missed = self._contents.missed
            loose, sealed = self._current(keys)
            table, older = self._contents.columns(sealed)
            tables = [table]
            found = chain(self._contents.loose(loose), self._contents.sealed(older))
            with no_collection():
                while chunk := [record for _, _, record in islice(found, _CHUNK)]:
                    tables.append(table_of(chunk))
        table = join(tables).sort_by([(name, "ascending") for name in ("dataset", "method", "key")])
        return frame_of(table if kind is None else table.filter(pc.equal(table["kind"], kind)))

    def verify(self) -> list[Problem]:
        """Open every record, so that a resume makes torn ones again; remove dead writers' temporary files."""
        if not self._contents.read_only:
            disk.sweep(self.folder)
        for _ in self._walk(self._contents.names):
            pass
        return self.problems

    def seal(self) -> int:
        """Move every whole record, failures too, into `records.parquet`, beside those already there.

        Returns:
            How many records are sealed now.
        """
        contents = self._contents
        if not self.folder.is_dir():
            return 0
        with explained(self.folder), disk.locked(self.folder):
            tables, there = contents.everything()
            if contents.parquet.exists() and not tables:
                raise InputError(
                    f"`folder` must have a {contents.parquet.name} that can be read, got {contents.parquet}, which cannot and"
                    " would be replaced; restore it or move it away."
                )
            loose: list[str] = []
            found = contents.loose(contents.names()[0])
            while chunk := list(islice(found, _CHUNK)):
                for file, text, record in chunk:
                    if file in there and not _agree(record, contents.load_sealed(file)):
                        self._conflict(file, text)
                tables.append(rows_of([found for found in chunk if found[0] not in there]))
                loose += [file for file, _, _ in chunk]
            if loose:
                table = join(tables).sort_by("file")
                disk.replace_with(contents.parquet, lambda path: write_sealed(path, table))
                disk.remove(contents.records / file for file in loose)
            return len(contents.names()[1])

    def unseal(self) -> int:
        """Restore every sealed record to its own file, byte for byte, and remove `records.parquet`.

        Returns:
            How many records the sealed file had.
        """
        contents = self._contents
        if not self.folder.is_dir():
            return 0
        with explained(self.folder), disk.locked(self.folder):
            restored, sealed = 0, contents.names()[1]
            for file, text in contents.sealed_texts():
                if not disk.write_new(contents.records / file, text):
                    there = next((record for _, _, record in contents.loose([file])), None)
                    # A torn one has been set aside, and makes place.
                    if there is None or not _agree(there, contents.load_sealed(file)):
                        _ = disk.write_new(contents.records / file, text) or self._conflict(file, text)
                restored += 1
            if restored == len(sealed):  # else its problem is listed
                disk.remove([contents.parquet])
            return restored

    def merge(self, others: Iterable["Store | str | os.PathLike[str]"]) -> MergeReport:
        """Add the records of other folders of this study, failures too, and what these plan; they are left as they are.

        Raises:
            InputError: a folder that does not exist or holds another study; a full or read-only disk.
        """
        outcomes: list[tuple[str, Problem | None]] = []
        problems: list[Problem] = []
        sources = [Store(other.folder if isinstance(other, Store) else other, read_only=True) for other in others]
        manifest = self.manifest
        for source in sources:
            if not source.folder.is_dir():
                raise InputError(
                    f"`others` must be folders of studies, got {os.fspath(source.folder)!r}, which is none."
                )
            theirs = source.manifest
            if theirs and manifest:
                manifest = join_manifests(theirs, manifest, source.folder, "merge folders of one study")
            manifest = manifest or theirs
        if manifest:
            self.extend_manifest(manifest)
        for source in sources:
            outcomes += [self._put(record, text) for _, text, record in source._walk(source._contents.names)]
            problems += source.problems
        kinds = [kind for kind, _ in outcomes]
        conflicts = tuple(problem for _, problem in outcomes if problem)
        return MergeReport(kinds.count("added"), kinds.count("same"), conflicts, tuple(problems))

    def _put(self, record: Record, text: bytes) -> tuple[str, Problem | None]:
        with explained(self.folder):
            for failure in count(record["run"]["attempt"]):
                file = file_of(record, failure)
                there = self._contents.load(file)
                if there is None and disk.write_new(self._contents.records / file, text):
                    return "added", None
                there = there or self._contents.load(file)  # another process may have been first
                if _agree(record, there):
                    return "same", None
                if record["status"] == "done":
                    return "conflict", self._conflict(file, text)
        raise AssertionError("a count ends")

    def _conflict(self, file: str, text: bytes) -> Problem:
        digest = hashlib.sha256(text).hexdigest()[:8]
        path = (self.folder / "conflicts" / file).with_suffix(f".{digest}.json")
        disk.write_new(path, text)
        return self._contents.note(path, f"differs from the stored records/{file}", "compare the two and delete one")

    def _current(self, keys: Collection[str] | None) -> tuple[list[str], list[str]]:
        """The files of the records that count: loose ones, sealed ones."""
        index = self.index()
        entries = index.values() if keys is None else [index[key] for key in dict.fromkeys(keys) if key in index]
        return [e.file for e in entries if not e.sealed], [e.file for e in entries if e.sealed]

    def _walk(self, names: Callable[[], tuple[Collection[str], Collection[str]]]) -> Iterator[Found]:
        """Yield the records of files, loose and sealed, once each; list again while any of them moves."""
        seen: set[str] = set()
        missed = -1
        while missed != self._contents.missed:
            missed = self._contents.missed
            loose, sealed = ([file for file in files if file not in seen] for files in names())
            for found in chain(self._contents.loose(loose), self._contents.sealed(set(sealed))):
                if found[0] not in seen:
                    seen.add(found[0])
                    yield found


def _agree(one: Record, other: Record | None) -> bool:
    return other is not None and stable(one) == stable(other)


def read_records(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a study's scores as a frame, one row a key (see `Store.frame`); nothing in the folder is moved.

    Raises:
        InputError: no such folder.

    Examples:
        >>> import tempfile
        >>> len(read_records(tempfile.mkdtemp()))
        0
    """
    if not Path(folder).is_dir():
        raise InputError(f"`folder` must be a study's folder, got {os.fspath(folder)!r}, which does not exist.")
    return Store(folder, read_only=True).frame()
