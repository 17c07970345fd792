"""Files that are whole or absent: written under a temporary name, flushed to the disk, then given their own."""

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vicinal.core.checks import InputError

__all__ = ["read_tensors", "write_tensors", "write_whole"]


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file, in place of an older one of that name; a process that dies in between leaves the older one.

    Raises:
        InputError: the disk is full, or the folder can't be written to; the older file is intact.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(f"{folder}/a.txt", b"one")
        ...     write_whole(f"{folder}/a.txt", b"two")
        ...     Path(f"{folder}/a.txt").read_text(), len(list(Path(folder).iterdir()))
        ('two', 1)
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} can't be written ({error.strerror or error}); what was there before is intact. Free some space, or choose"
            " another folder, and run the same command again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
    """Write tensors and plain JSON beside them as one safetensors file, whole or not at all.

    Raises:
        InputError: as `write_whole`. TypeError: `plain` is no JSON.
    """
    # safetensors refuses tensors that share memory; fitted parts may share (a density and its labeler's copy).
    apart = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_whole(path, save(apart, metadata={"vicinal": json.dumps(plain)}))


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the JSON that `write_tensors` wrote; no JSON is {}.

    Raises:
        InputError: no such file, or a torn one.

    Examples:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tensors(f"{folder}/a.safetensors", {"w": torch.ones(2)}, {"epoch": 3})
        ...     tensors, plain = read_tensors(f"{folder}/a.safetensors")
        >>> tensors["w"].tolist(), plain
        ([1.0, 1.0], {'epoch': 3})
    """
    try:
        # At once: `safe_open` opens a file twice, which in between may have become another.
        data = Path(path).read_bytes()
        tensors = load(data)
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; name a file in it.") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a safetensors file, or it is torn ({error}); save it again.") from error
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, json.loads(header.get("__metadata__", {}).get("vicinal", "{}"))
