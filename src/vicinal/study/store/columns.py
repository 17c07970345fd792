"""Records as columns: one row a record, the same for loose files and for the sealed one.

A metric has two columns: its mean over trials under its own name (NaN if a trial has no number), and `<metric>_trials`, the
numbers. Facts have the prefix `fact_`, nested ones a dot; options and lists among facts are JSON text.
"""

import contextlib
import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd
import pyarrow as pa

from vicinal.study.record import Record, metrics_of

__all__ = ["frame_of", "join", "no_collection", "table_of"]

_TEXTS = ("key", "kind", "dataset", "method", "protocol", "network", "fingerprint", "status")
_TIMES = ("train_seconds", "space_seconds")  # of one training, where a record is of one
_NUMBERS = ("schema", "trials", "seed")
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def table_of(records: Sequence[Record]) -> pa.Table:
    """Return the records' columns."""
    columns = {name: pa.array([r[name] for r in records], pa.string()) for name in _TEXTS}
    columns |= {name: pa.array([r[name] for r in records], pa.int64()) for name in _NUMBERS}
    options = [repr(r["options"]) for r in records]  # a study has few different ones: each is encoded once
    texts = {name: _JSON.encode(r["options"]) for name, r in dict(zip(options, records, strict=True)).items()}
    columns["options"] = pa.array([texts[name] for name in options], pa.string())
    columns["attempt"] = pa.array([r["run"]["attempt"] for r in records], pa.int64())
    columns["seconds"] = pa.array([r["run"]["seconds"] for r in records], pa.float64())
    for name in {name for r in records for name in _TIMES if name in r["run"]}:
        taken = [r["run"].get(name) for r in records]
        columns[name] = pa.array(taken, pa.float64())
        columns[f"{name}_trials"] = pa.array([None if t is None else [t] for t in taken], pa.list_(pa.float64()))
    errors = [r["error"] or {} for r in records]
    columns["error_kind"] = pa.array([e.get("kind") for e in errors], pa.string())
    columns["error_message"] = pa.array([e.get("message") for e in errors], pa.string())
    for name in metrics_of(set().union(*records)):
        values = [r.get(name) for r in records]
        columns[name] = pa.array([None if v is None or None in v else fmean(v) for v in values], pa.float64())
        columns[f"{name}_trials"] = pa.array(values, pa.list_(pa.float64()))
    facts = [_flat(r["facts"]) for r in records]
    for name in sorted(set().union(*facts)):
        columns[f"fact_{name}"] = _column([f.get(name) for f in facts])
    return pa.table(columns)


def join(tables: Sequence[pa.Table]) -> pa.Table:
    """Stack tables whose columns may differ: absent ones are null, numbers widen, other clashes become text."""
    types: dict[str, set[pa.DataType]] = {}
    for field in (field for table in tables for field in table.schema):
        types.setdefault(field.name, set()).add(field.type)
    mixed = {name for name, kinds in types.items() if not _numeric(kinds) and len(kinds - {pa.null()}) > 1}
    for name in mixed:
        tables = [_as_text(table, name) for table in tables]
    return pa.concat_tables(tables, promote_options="permissive")


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return a table as a pandas frame; the numbers of trials are numpy arrays."""
    frame: pd.DataFrame = table.to_pandas()
    return frame


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Spare a hundred thousand mappings without cycles the search for some."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = _JSON.encode(value) if isinstance(value, list) else value
    return flat


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError):  # text among numbers, or numbers beyond 64 bits
        return _texts(values)


def _numeric(kinds: set[pa.DataType]) -> bool:
    return all(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind) for kind in kinds)


def _as_text(table: pa.Table, name: str) -> pa.Table:
    place = table.schema.get_field_index(name)
    if place < 0:
        return table
    return table.set_column(place, name, _texts(table[name].to_pylist()))


def _texts(values: list[Any]) -> pa.Array:
    return pa.array([v if v is None or isinstance(v, str) else _JSON.encode(v) for v in values], pa.string())
