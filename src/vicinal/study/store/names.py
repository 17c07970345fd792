"""A record's file name says its key and status, so that 100,000 records are listed without opening one.

    <dataset>/<method>.<key>.json              done
    <dataset>/<method>.<key>.failed-<n>.json   the n-th failure

Names of data sets and methods lose the characters that some file systems refuse; the key keeps them apart.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from vicinal.study.record import Record

__all__ = ["Entry", "entries_of", "file_of", "is_name", "matches"]

_NAME = re.compile(r"([^/.][^/]*)/([^/.][^/]*)\.([0-9a-f]{16})(?:\.failed-([1-9][0-9]*))?\.json")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the names say of one key: the file that counts (the success, else the latest failure) and its history.

    `dataset` and `method` are as in the name; the record has them in full.
    """

    key: str
    dataset: str
    method: str
    status: str
    failures: int
    file: str
    sealed: bool


def file_of(record: Record, failure: int = 1) -> str:
    """Return a record's file name below `records/`.

    Examples:
        >>> file_of({"dataset": "openml:61", "method": "mixup", "key": "70b513a0761417e1", "status": "failed"}, 2)
        'openml-61/mixup.70b513a0761417e1.failed-2.json'
    """
    ending = "" if record["status"] == "done" else f".failed-{failure}"
    return f"{_slug(record['dataset'])}/{_slug(record['method'])}.{record['key']}{ending}.json"


def is_name(file: str) -> bool:
    """Whether a file is named like a record.

    Examples:
        >>> is_name("iris/mixup.70b513a0761417e1.json"), is_name("iris/notes.txt")
        (True, False)
    """
    return _NAME.fullmatch(file) is not None


def matches(file: str, record: Record) -> bool:
    """Whether a file's name says the key and status that its record has."""
    parts = _NAME.fullmatch(file)
    return parts is not None and parts[3] == record["key"] and (parts[4] is None) == (record["status"] == "done")


def entries_of(files: Mapping[str, bool]) -> dict[str, Entry]:
    """Sort the names of records' files, and whether each is sealed, into one entry a key.

    Examples:
        >>> failed, done = "a/m.0123456789abcdef.failed-1.json", "a/m.0123456789abcdef.json"
        >>> entry = entries_of({failed: True, done: False})["0123456789abcdef"]
        >>> entry.status, entry.failures, entry.sealed
        ('done', 1, False)
    """
    current: dict[str, re.Match[str]] = {}
    failures: Counter[str] = Counter()
    for parts in filter(None, map(_NAME.fullmatch, files)):
        failures[parts[3]] += parts[4] is not None
        if parts[3] not in current or _rank(parts) > _rank(current[parts[3]]):
            current[parts[3]] = parts
    return {
        key: Entry(key, p[1], p[2], "failed" if p[4] else "done", failures[key], p[0], files[p[0]])
        for key, p in current.items()
    }


def _rank(parts: re.Match[str]) -> float:
    """A success counts above every failure, a later failure above an earlier one."""
    return float(parts[4] or "inf")


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_+.-]+", "-", name).strip("-.")[:80] or "-"
