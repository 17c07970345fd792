"""What a study's folder holds: its files, loose and sealed, and what is wrong with some of them.

Reading never raises for a file's sake. What is not whole goes to `torn/` (or is left where nothing may be moved) and does not
count; what is whole but cannot be read, such as a newer schema, stays and counts. Both are problems with a name.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from vicinal.core import InputError
from vicinal.study.record import NewerSchemaError, Record, parse_record
from vicinal.study.store.columns import table_of
from vicinal.study.store.disk import Problem
from vicinal.study.store.names import is_name, matches
from vicinal.study.store.sealed import Sealed

__all__ = ["Contents", "Found"]

Found = tuple[str, bytes, Record]
"""A file's name below `records/`, its text, and the record in the present schema."""


class Contents:
    """The files of one folder; see the module.

    Args:
        folder: the study's folder.
        read_only: move nothing.

    Attributes:
        missed: how often a file that was listed could not be had; whoever sees it change lists again.
    """

    def __init__(self, folder: Path, read_only: bool):
        self.folder, self.read_only = folder, read_only
        self.records, self.parquet = folder / "records", folder / "records.parquet"
        self.missed = 0
        self._noted: dict[tuple[Path, str], Problem] = {}
        self._ignored: set[object] = set()  # what is torn and could not be moved
        self._opened: tuple[object, Sealed | None] = (None, None)
        self._opening = threading.Lock()

    def names(self) -> tuple[list[str], Collection[str]]:
        """Return the names of the loose records' files and of the sealed ones; a record may be both."""
        while True:
            # Loose ones first: what is sealed meanwhile is met twice, not missed. Unsealing is the other way round.
            before = self._signature()
            loose = list(self._loose_names())
            sealed: Collection[str] = ()
            with self._watched():
                sealed = opened.rows if (opened := self._sealed()) else ()
            if self._signature() == before:
                return loose, sealed

    def files(self) -> dict[str, bool]:
        """Return every record's file and whether it is sealed."""
        loose, sealed = self.names()
        return dict.fromkeys(loose, False) | dict.fromkeys(sealed, True)

    def loose(self, files: Iterable[str]) -> Iterator[Found]:
        """Yield those of the named loose records that are whole."""
        for file in files:
            try:
                with open(f"{self.records}/{file}", "rb", buffering=0) as handle:
                    text = handle.read()
            except FileNotFoundError:  # sealed or set aside meanwhile
                self.missed += 1
                continue
            except OSError as error:
                self._miss(self.records / file, f"cannot be read ({error.strerror})", "restore it or its permissions")
                continue
            if (record := self._whole(file, text, loose=True)) is not None:
                yield file, text, record

    def sealed(self, files: Collection[str]) -> Iterator[Found]:
        """Yield those of the named sealed records that are whole."""
        for file, text in self.sealed_texts(files) if files else ():
            if file in files and (record := self._whole(file, text, loose=False)) is not None:
                yield file, text, record

    def sealed_texts(self, expected: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """Yield every sealed record's name and text."""
        with self._watched():
            if sealed := self._sealed(expected):
                yield from sealed.items()

    def load(self, file: str) -> Record | None:
        """Return one record, loose or else sealed, if it is there and whole."""
        if os.path.exists(f"{self.records}/{file}"):
            for _, _, record in self.loose([file]):
                return record
        return self.load_sealed(file)

    def has(self, file: str) -> bool:
        """Whether there is a file of this name, loose or sealed."""
        if os.path.exists(f"{self.records}/{file}") and file not in self._ignored:
            return True
        with self._watched():
            return (sealed := self._sealed()) is not None and file in sealed.rows
        return False

    def load_sealed(self, file: str) -> Record | None:
        """Return one sealed record, if it is there and whole."""
        with self._watched():
            if (sealed := self._sealed()) and file in sealed.rows:
                return self._whole(file, sealed.text(file), loose=False)
        return None

    def columns(self, files: Collection[str]) -> tuple[pa.Table, Collection[str]]:
        """Return the named sealed records as columns, and the names of those that must be read by their texts."""
        with self._watched():
            if files and (sealed := self._sealed(files)):
                try:
                    return sealed.columns(files)
                except (pa.ArrowException, OSError):  # the texts may be whole all the same
                    self.note(self.parquet, "has broken columns, and is read by its texts", "restore it from a copy")
                    return table_of([]), {*files}
        return table_of([]), ()

    def everything(self) -> tuple[list[pa.Table], Collection[str]]:
        """Return the sealed file's table, if there is one, and the names in it."""
        with self._watched():
            if sealed := self._sealed():
                try:
                    return [sealed.table()], sealed.rows
                except (pa.ArrowException, OSError):  # where the texts are whole, the file stays
                    for _ in sealed.items():
                        pass
        return [], ()

    def note(self, path: Path, what: str, way_out: str) -> Problem:
        """Remember a problem, once."""
        return self._noted.setdefault((path, what), Problem(path, what, way_out))

    def problems(self) -> list[Problem]:
        """Return what was met, and what lies in `torn/` and `conflicts/` from earlier."""
        known = {path for path, _ in self._noted}
        for name, what, way_out in (
            ("torn", "was set aside because it is not whole", "run the study again, then delete it"),
            ("conflicts", "differs from the stored record of its key", "compare the two and delete one"),
        ):
            for path in sorted((self.folder / name).rglob("*")):
                if path not in known and path.is_file() and not path.name.startswith("."):
                    self.note(path, what, way_out)
        return list(self._noted.values())

    def _whole(self, file: str, text: bytes, *, loose: bool) -> Record | None:
        """The record of a file's text."""
        error: InputError
        try:
            record = parse_record(text)
            if matches(file, record):
                return record
            error = InputError(f"its record is of another name, with key {record['key']}")
        except InputError as wrong:
            error = wrong
        path, inside = (self.records / file, "") if loose else (self.parquet, f"holds {file}, which ")
        if isinstance(error, NewerSchemaError):
            self._miss(path, f"{inside}is of a newer schema ({error})", "upgrade with `pip install --upgrade vicinal`")
        elif loose:
            self._set_aside(path, f"is not whole ({error})", text)
        else:  # one row is no reason to do without the others
            self._miss(path, f"{inside}is not whole ({error})", "restore the file from a copy")
        return None

    def _miss(self, path: Path, what: str, way_out: str) -> None:
        # Met again, it is no news: counting it again would make readers list forever.
        self.missed += (path, what) not in self._noted
        self.note(path, what, way_out)

    def _set_aside(self, path: Path, what: str, text: bytes | None) -> None:
        place = path.relative_to(self.folder)
        try:
            if self.read_only:
                raise PermissionError
            if text is not None and path.read_bytes() != text:  # another process has set it aside and made it anew
                self.missed += 1
                return
            target = self.folder / "torn" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            spare = (target.with_name(f"{target.name}.{n}") for n in itertools.count(1))
            target = next(t for t in itertools.chain([target], spare) if not t.exists())
            path.rename(target)
        except FileNotFoundError:
            self.missed += 1
        except OSError:
            self._ignored.add(self._signature() if path == self.parquet else path.relative_to(self.records).as_posix())
            self._miss(path, what, "make the folder writable and run the study again, which makes it anew")
        else:
            self._miss(target, f"was {place.as_posix()}, which {what}", "run the study again, which makes it anew")

    def _loose_names(self) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError):
            for folder in sorted(os.scandir(self.records), key=lambda entry: entry.name):
                names = [folder.name]
                if folder.is_dir():
                    with contextlib.suppress(FileNotFoundError):
                        names = [
                            f"{folder.name}/{name}" for name in os.listdir(folder.path) if not name.startswith(".")
                        ]
                for name in names:
                    if not is_name(name):
                        self.note(self.records / name, "is no record's name", "move it out of `records`")
                    elif name not in self._ignored:
                        yield name

    def _signature(self) -> object:
        try:
            stat = os.stat(self.parquet)
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _sealed(self, expected: Collection[str] = ()) -> Sealed | None:
        with self._opening:  # or another thread would take a file that is being opened for none
            signature = self._signature()
            if signature != self._opened[0]:
                torn = signature is None or signature in self._ignored
                self._opened = (signature, None)
                self._opened = (signature, None if torn else Sealed(self.parquet))
            sealed = self._opened[1]
        if expected and (sealed is None or not sealed.rows.keys() >= {*expected}):
            self.missed += 1  # unsealed meanwhile
        return sealed

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Set the sealed file aside if it turns out not to be whole."""
        try:
            yield
        except (pa.ArrowException, OSError, KeyError) as error:
            if self._signature() != self._opened[0]:  # replaced meanwhile
                self.missed += 1
            elif isinstance(error, OSError) and error.errno is not None:
                self._miss(self.parquet, f"cannot be read ({error.strerror})", "restore it or its permissions")
            else:
                self._set_aside(self.parquet, f"is not whole ({str(error).splitlines()[0]})", None)
            self._opened = (self._signature(), None)
