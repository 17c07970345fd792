"""Where image files are kept, and what is said when one is missing or damaged."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vicinal.core import InputError

__all__ = ["damaged", "image_folder", "patience"]


def image_folder(folder: str | Path | None = None) -> Path:
    """Return where image files are kept: `folder`, else $VICINAL_DATA, else ~/.cache/vicinal/images.

    Examples:
        >>> image_folder("pictures").name
        'pictures'
    """
    named = folder or os.environ.get("VICINAL_DATA") or Path("~") / ".cache" / "vicinal" / "images"
    return Path(named).expanduser()


def damaged(path: str | Path, reason: str) -> InputError:
    """Return the error for a file that can't be what it should be.

    Examples:
        >>> str(damaged("a.gz", "it ends early"))
        "'a.gz' is damaged: it ends early; delete it and fetch it again."
    """
    return InputError(f"{str(path)!r} is damaged: {reason}; delete it and fetch it again.")


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Give up on a silent server: torchvision opens its connections without a timeout.

    Examples:
        >>> with patience(30.0):
        ...     socket.getdefaulttimeout()
        30.0
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
