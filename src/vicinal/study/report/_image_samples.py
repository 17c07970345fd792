"""Pictures that a summary brings along: shown only if they are what they say."""

import base64
import binascii
import re
from typing import Any

__all__ = ["png_size"]

URI = re.compile(r"data:image/png;base64,([A-Za-z0-9+/]+={0,2})")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = 24
"""Bytes up to the end of a PNG's width and height."""

LARGEST = 1 << 23
"""Most characters of a picture; a page of larger ones would not open."""


def png_size(uri: Any) -> tuple[int, int] | None:
    """Return width and height of the PNG in a data URI, or None for anything else."""
    if not isinstance(uri, str) or len(uri) > LARGEST:
        return None
    found = URI.fullmatch(uri)
    if found is None:
        return None
    try:
        data = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return None
    if len(data) <= HEADER or not data.startswith(SIGNATURE) or data[12:16] != b"IHDR":
        return None
    width, height = (int.from_bytes(data[start : start + 4]) for start in (16, 20))
    return (width, height) if width and height else None
