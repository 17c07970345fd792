"""The manifest of a study, `study.json` in its folder: what is planned, and the words of its report.

A folder holds one study, which may grow: runs with other methods or tables, and merged folders, add to what is planned.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vicinal.core.checks import InputError

__all__ = ["join_manifests"]

IDENTITY = ("kind", "suite", "protocol", "network", "trials", "seed", "options", "attack")
"""What makes a study another one: records that differ in these stand in no common table."""


def join_manifests(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a study that plans what either does, in the words of the new one.

    A manifest without a plan gives way. Where both plan a record of one data set and method (of a table that has changed, say),
    the new one's counts.

    Raises:
        InputError: they are of different studies.

    Examples:
        >>> old, new = ({"trials": 5, "methods": [name], "planned": [[name, "scores", "iris", name]]} for name in ("a", "b"))
        >>> join_manifests(old, new)["methods"]
        ['a', 'b']
        >>> join_manifests(old, new | {"trials": 2})
        Traceback (most recent call last):
        vicinal.core.checks.InputError: the folder holds another study (trials: 5, not 2); choose another with --out.
    """
    if "planned" not in old:
        return dict(new)
    for key in IDENTITY:
        if (old.get(key) or None) != (new.get(key) or None):
            raise InputError(
                f"the folder holds another study ({key}: {old.get(key)!r}, not {new.get(key)!r}); choose another with --out."
            )
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


def _together(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the names of both: in the new order if it has all of them, else the old ones first."""
    return list(dict.fromkeys(new if {*old} <= {*new} else (*old, *new)))
