"""`--set ENTRY=VALUE`: entries of a protocol from the command line."""

import tomllib
from collections.abc import Sequence
from typing import Any

from vicinal.core.checks import InputError

__all__ = ["read_entries"]


def read_entries(given: Sequence[str] | None) -> dict[str, Any]:
    """Read `ENTRY=VALUE` as TOML does; a value that is no TOML is a text.

    Raises:
        InputError: no name, or no value.

    Examples:
        >>> read_entries(["epochs=5", "network=lenet-5", "vae={ width = 16 }"])
        {'epochs': 5, 'network': 'lenet-5', 'vae': {'width': 16}}
    """
    found: dict[str, Any] = {}
    for text in given or ():
        name, _, value = (part.strip() for part in text.partition("="))
        if not (name and value):
            raise InputError(f"--set must be ENTRY=VALUE, such as epochs=5, got {text!r}.")
        try:
            found |= tomllib.loads(f"{name} = {value}")
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found
