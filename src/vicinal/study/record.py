"""A record: one result of a study as one flat JSON object, addressed by the axes that it belongs to.

The key is the first 16 hexadecimal digits of the SHA-256 of the axes' canonical JSON (names sorted, no blanks), so
equal settings have equal keys on every machine. Everything that differs between two runs of the same study (times, hosts,
tracebacks) is under `run`, and nothing else is: `stable` leaves it out.

    {"schema": 1, "key": ..., "kind": "scores", "dataset": ..., ..., "fingerprint": ...,        the axes
     "status": "done", "accuracy": [one number a trial], "ece": [...], ...,                     metrics, by their names
     "selected": [one mapping a trial], "facts": {...}, "error": null, "run": {...}}
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import orjson

from vicinal.core import InputError

__all__ = ["KINDS", "MIGRATIONS", "SCHEMA", "Axes", "NewerSchemaError", "Record", "check_record", "make_record"]
__all__ += ["metrics_of", "parse_record", "stable", "text_of"]

SCHEMA = 1
"""The version that this code writes."""

KINDS = ("scores", "profile")
"""What a record holds: a method's scores on a data set, or facts about the data set itself."""

Record = dict[str, Any]
"""Plain JSON, as read from a file."""

MIGRATIONS: dict[int, Callable[[Record], Record]] = {}
"""From an older schema number, a function to the next. It leaves the axes alone, because files are named by their key."""
_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "schema": ((int,), "a whole number"),
    "key": ((str,), "text"),
    "kind": ((str,), f"one of {', '.join(map(repr, KINDS))}"),
    "dataset": ((str,), "text"),
    "method": ((str,), "text"),
    "protocol": ((str,), "text"),
    "network": ((str,), "text"),
    "trials": ((int,), "a whole number, at least 1"),
    "seed": ((int,), "a whole number below 2^63 in magnitude"),
    "options": ((dict,), "a mapping"),
    "fingerprint": ((str,), "text"),
    "status": ((str,), "'done' or 'failed'"),
    "selected": ((list,), "a list of mappings, one a trial (or none)"),
    "facts": ((dict,), "a mapping"),
    "error": (
        (dict, type(None)),
        "null where the status is 'done', else a mapping with the texts 'kind' and 'message'",
    ),
    "run": ((dict,), "a mapping with 'seconds' (a number or null) and 'attempt' (1, 2, ...)"),
}
_NUMBER_OR_NULL = {int, float, type(None)}
_RESERVED = {"file", "record", "attempt", "seconds", "error_kind", "error_message"}  # columns of the store's table
_TYPES = {
    *itertools.product(*(types for types, _ in _FIELDS.values()))
}  # all fields at once: there may be 100,000 records
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_TEXT = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False)


class NewerSchemaError(InputError):
    """A newer vicinal wrote the record: it is whole, but not for this version to read."""


@dataclass(frozen=True)
class Axes:
    """What a record is the result of; equal axes have equal keys.

    Args:
        dataset: the table's address, such as "openml:1413".
        method: the method's name.
        protocol: the protocol's name.
        network: the classifier's name.
        trials: how many random splits.
        seed: the study's seed.
        options: everything else that changes the numbers, as plain JSON.
        fingerprint: a hash of the table's content.
        kind: "scores" or "profile".

    Examples:
        >>> iris = Axes("openml:61", "mixup", "paper", "linear", trials=5, seed=0, options={"b": 1, "a": 2})
        >>> iris.key
        '70b513a0761417e1'
        >>> iris.key == Axes("openml:61", "mixup", "paper", "linear", 5, 0, {"a": 2, "b": 1}).key
        True
    """

    dataset: str
    method: str
    protocol: str
    network: str
    trials: int
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    fingerprint: str = ""
    kind: str = "scores"

    @property
    def key(self) -> str:
        """16 hexadecimal digits."""
        return _key_of(_plain("axes", asdict(self)))


def make_record(
    axes: Axes,
    metrics: Mapping[str, Any] | None = None,
    *,
    selected: Sequence[Mapping[str, Any]] = (),
    facts: Mapping[str, Any] | None = None,
    error: Mapping[str, str] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Record:
    """Return a checked record of the present schema, as plain JSON.

    Args:
        axes: what it is the result of.
        metrics: from a metric's name to one number a trial (list or array); NaN becomes null, a trial without a number.
        selected: what each trial selected.
        facts: what is known of the data set.
        error: `kind` and `message` of what went wrong: the record is then a failure and has no metrics.
        run: everything volatile, such as `seconds`, `host`, `attempt` (1, if not given).

    Raises:
        InputError: a field that breaks its rule.

    Examples:
        >>> record = make_record(Axes("iris", "mixup", "paper", "linear", trials=2), {"accuracy": [0.5, 1.0]})
        >>> record["status"], record["accuracy"], record["run"]
        ('done', [0.5, 1.0], {'seconds': None, 'attempt': 1})
    """
    if clash := {*(metrics or {})} & {*_FIELDS}:
        raise InputError(f"`metrics` must not be named after a field, got {min(clash)!r}; choose another name.")
    record = {
        "schema": SCHEMA,
        "key": axes.key,
        **_plain("axes", asdict(axes)),
        "status": "done" if error is None else "failed",
        **{name: _plain(name, values) for name, values in sorted((metrics or {}).items())},
        "selected": _plain("selected", list(selected)),
        "facts": _plain("facts", facts or {}),
        "error": _plain("error", error),
        "run": _plain("run", {"seconds": None, "attempt": 1} | dict(run or {})),
    }
    check_record(record)
    return record


def check_record(record: Any) -> None:
    """Raise unless this is a whole record of the present schema whose key is that of its axes.

    Raises:
        InputError: names the field, its rule and what came.

    Examples:
        >>> check_record({"schema": 1, "key": 5})
        Traceback (most recent call last):
        vicinal.core.checks.InputError: A record's field 'key' must be text, got 5.
    """
    if type(record) is not dict:
        raise InputError(f"A record must be a mapping, got {record!r:.60}.")
    if (*map(type, map(record.get, _FIELDS, itertools.repeat(...))),) not in _TYPES:
        raise _wrong(record, next(name for name in _FIELDS if type(record.get(name, ...)) not in _FIELDS[name][0]))
    done, trials, error, run = record["status"] == "done", record["trials"], record["error"], record["run"]
    rules = {
        "schema": record["schema"] == SCHEMA,
        "kind": record["kind"] in KINDS,
        "status": done or record["status"] == "failed",
        "trials": trials >= 1,
        "seed": abs(record["seed"]) < 1 << 63,
        "selected": len(record["selected"]) in (0, trials) and all(type(s) is dict for s in record["selected"]),
        "error": (error is None) == done and (done or type(error.get("kind")) is type(error.get("message")) is str),
        "run": type(run.get("seconds")) in _NUMBER_OR_NULL and type(run.get("attempt")) is int and run["attempt"] > 0,
    }
    if not all(rules.values()):
        raise _wrong(record, next(name for name, kept in rules.items() if not kept))
    metrics = metrics_of(record)
    if done and record["kind"] == "scores" and not metrics:
        raise InputError("A record of scores must hold at least one metric, got none.")
    for name in metrics:
        values = record[name]
        if type(values) is not list or len(values) != trials or not _are_scores(values):
            rule = f"{trials} finite numbers or nulls"
            raise InputError(f"A record's metric {name!r} must be {rule}, got {values!r:.60}.")
        if name in _RESERVED or name.endswith("_trials") or name.startswith("fact_"):
            raise InputError(f"A metric must not be named after a column of the table, got {name!r}.")
    if record["key"] != _key_of(record):
        raise InputError(f"A record's field 'key' must be that of its axes, {_key_of(record)}, got {record['key']}.")


def parse_record(text: bytes | str) -> Record:
    """Return the record that a file holds, brought to the present schema and checked.

    Raises:
        NewerSchemaError: written by a newer vicinal.
        InputError: not JSON, or not a whole record.

    Examples:
        >>> parse_record('{"schema": 1, "key": "70b513')
        Traceback (most recent call last):
        vicinal.core.checks.InputError: A record must be whole JSON, got 28 bytes that are not (...).
    """
    try:
        record = orjson.loads(text)
    except ValueError as error:
        raise InputError(f"A record must be whole JSON, got {len(text)} bytes that are not ({error}).") from error
    if type(record) is dict and type(record.get("schema")) is int:
        record = _migrate(record)
    check_record(record)
    return record  # type: ignore[no-any-return]


def text_of(record: Record) -> bytes:
    """Return a file's content: one line of JSON, the same bytes for the same record.

    Examples:
        >>> text_of({"dataset": "iris", "trials": 5}).strip()
        b'{"dataset":"iris","trials":5}'
    """
    return _TEXT.encode(record).encode() + b"\n"


def stable(record: Record) -> Record:
    """Return the record without `run`: what two runs of the same study agree on.

    Examples:
        >>> stable({"accuracy": [1.0], "run": {"host": "a"}})
        {'accuracy': [1.0]}
    """
    return {name: value for name, value in record.items() if name != "run"}


def metrics_of(record: Collection[str]) -> list[str]:
    """Return the names of a record's metrics, sorted: every field that is no fixed one.

    Examples:
        >>> metrics_of({"status": "done", "ece": [0.1], "accuracy": [0.9]})
        ['accuracy', 'ece']
    """
    return sorted({*record} - _FIELDS.keys())


def _migrate(record: Record) -> Record:
    schema = record["schema"]
    if schema > SCHEMA:
        raise NewerSchemaError(
            f"A record's field 'schema' must be at most {SCHEMA}, got {schema}: a newer vicinal wrote it;"
            " upgrade with `pip install --upgrade vicinal`."
        )
    for step in range(schema, SCHEMA):
        if step not in MIGRATIONS:
            raise InputError(f"A record's field 'schema' must be one that this vicinal knows, got {schema}.")
        record = MIGRATIONS[step](record) | {"schema": step + 1}
    return record


def _key_of(record: Mapping[str, Any]) -> str:
    address = {name: record[name] for name in _AXES}
    return hashlib.sha256(_CANONICAL.encode(address).encode()).hexdigest()[:16]


def _plain(name: str, value: Any) -> Any:
    """The value as JSON would give it back: numpy's types become Python's, tuples lists, NaN null."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _plain(name, value.tolist())
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:  # JSON's readers would make it a float
            raise InputError(f"`{name}` must hold whole numbers of 64 bits, got {value!r:.60}; give it as text.")
        return int(value)
    if isinstance(value, float) and not math.isinf(value):
        return None if math.isnan(value) else float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    raise InputError(f"`{name}` must be plain JSON (text, finite numbers, lists, mappings), got {value!r:.60}.")


def _are_scores(values: list[Any]) -> bool:
    # In C throughout, for a study has millions of scores; zeros and nulls, which the filter drops, are finite.
    return {*map(type, values)} <= _NUMBER_OR_NULL and all(map(math.isfinite, filter(None, values)))


def _wrong(record: Record, name: str) -> InputError:
    came = f"{record[name]!r:.60}" if name in record else "none"
    return InputError(f"A record's field {name!r} must be {_FIELDS[name][1]}, got {came}.")


_AXES = [f.name for f in fields(Axes)]
