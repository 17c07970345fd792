"""`--set ENTRY=VALUE`: entries of a protocol from the command line."""

import tomllib
from collections.abc import Collection, Sequence
from typing import Any

from vicinal.core.checks import InputError

__all__ = ["read_entries"]


def read_entries(given: Sequence[str] | None, allowed: Collection[str] | None = None) -> dict[str, Any]:
    """Read `ENTRY=VALUE` as TOML does; a value that is no TOML is a text.

    Args:
        given: from the command line.
        allowed: names, where not every entry of a protocol has a meaning; None for all.

    Raises:
        InputError: no name, no value, or a name that is not allowed.

    Examples:
        >>> read_entries(["epochs=5", "network=lenet-5", "vae={ width = 16 }"])
        {'epochs': 5, 'network': 'lenet-5', 'vae': {'width': 16}}
    """
    found: dict[str, Any] = {}
    for text in given or ():
        name, _, value = (part.strip() for part in text.partition("="))
        if not (name and value):
            raise InputError(f"--set must be ENTRY=VALUE, such as {min(allowed or ['epochs'])}=5, got {text!r}.")
        if allowed is not None and name not in allowed:
            raise InputError(f"--set takes {', '.join(allowed)} here, got {name!r}; leave it out.")
        try:
            found |= tomllib.loads(f"{name} = {value}")
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found
