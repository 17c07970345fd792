"""Files that are written at once or not at all."""

import secrets
from pathlib import Path

from vicinal.core.checks import InputError

__all__ = ["write_text"]


def write_text(text: str, target: Path) -> Path:
    """Write a text under a temporary name and rename it, so that a reader never meets half of it; return its path."""
    if target.is_dir():
        raise InputError(f"`path` must name a file, got the folder '{target}'; add a name such as 'report.html'.")
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(target)
    except OSError as error:
        raise InputError(
            f"`path` must be a file that can be written, got '{target}' ({error.strerror or error});"
            " choose another folder."
        ) from error
    finally:
        _forget(temporary)
    return target


def _forget(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:  # an unwritable folder: nothing was left there
        return
