"""The manifest of a study, `study.json` in its folder: what is planned, and the words of its report.

A folder holds one study, which may grow: runs with other methods or tables, and merged folders, add to what is planned.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vicinal.core.checks import InputError

__all__ = ["join_manifests"]

IDENTITY = ("kind", "suite", "protocol", "network", "trials", "seed", "options", "attack")
"""What makes a study another one: records that differ in these stand in no common table."""


def join_manifests(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    folder: str | Path = "the folder",
    way_out: str = "choose another with --out",
) -> dict[str, Any]:
    """Return the manifest of a study that plans what either does, in the words of the new one.

    A manifest without a plan gives way. Where both plan a record of one data set and method (of a table that has changed, say),
    the new one's counts.

    Args:
        old: what a folder holds.
        new: what is asked for.
        folder: of the old one, for the message.
        way_out: of who asks for another study than that, for the message.

    Raises:
        InputError: they are of different studies.

    Examples:
        >>> old, new = ({"trials": 5, "methods": [name], "planned": [[name, "scores", "iris", name]]} for name in ("a", "b"))
        >>> join_manifests(old, new)["methods"]
        ['a', 'b']
        >>> join_manifests(old, new | {"trials": 2})
        Traceback (most recent call last):
        vicinal.core.checks.InputError: the folder holds another study (trials: 5 there, 2 asked); choose another with --out.
    """
    if "planned" not in old:
        return dict(new)
    other = [key for key in IDENTITY if (old.get(key) or None) != (new.get(key) or None)]
    if other:
        words = [text for key in other for text in _differing(key, old.get(key), new.get(key))]
        # The network, say, may be among the options too.
        raise InputError(f"{folder} holds another study ({'; '.join(dict.fromkeys(words))}); {way_out}.")
    parts = ("datasets", "methods", "notes")
    joined = dict(new) | {key: _together(old.get(key) or [], new.get(key) or []) for key in parts}
    # A study of images has a record for every trial, told apart by its key alone.
    first = 0 if new.get("kind") == "images" else 1
    planned = {tuple(row[first:]): row for row in (*(old.get("planned") or []), *(new.get("planned") or []))}
    missing = {entry["id"]: entry for entry in (*(old.get("missing") or []), *(new.get("missing") or []))}
    return joined | {
        "planned": list(planned.values()),
        "missing": [entry for name, entry in missing.items() if name not in joined["datasets"]],
        "about": {**(old.get("about") or {}), **(new.get("about") or {})},
    }


def _differing(name: str, there: Any, asked: Any) -> list[str]:
    """Return in words what differs; of mappings, such as a study's options, each entry that does."""
    if there == asked:
        return []
    if not (there or asked) or not all(value is None or isinstance(value, Mapping) for value in (there, asked)):
        return [f"{name}: {_said(there)} there, {_said(asked)} asked"]
    there, asked = there or {}, asked or {}
    within = "" if name == "options" else f"{name}."
    return [words for key in {**there, **asked} for words in _differing(within + key, there.get(key), asked.get(key))]


def _said(value: Any) -> str:
    return "the default" if value is None else value if isinstance(value, str) else json.dumps(value)


def _together(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the names of both: in the new order if it has all of them, else the old ones first."""
    return list(dict.fromkeys(new if {*old} <= {*new} else (*old, *new)))
