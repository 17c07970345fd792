"""Files that are whole or absent: written under a temporary name, flushed to the disk, then given their own.

A process that dies leaves at most a temporary file, whose name starts with a dot and ends in `.tmp`.
"""

import contextlib
import errno
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vicinal.core import InputError

__all__ = ["Problem", "explained", "locked", "remove", "replace", "replace_with", "sweep", "write_new"]

ABANDONED = 3600.0
"""Seconds after which a temporary file has no writer any more."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True)
class Problem:
    """Something in a study's folder that wants a person's eye: where, what, and the way out.

    Examples:
        >>> print(Problem(Path("records/iris/notes.txt"), "is no record", "move it out of the folder"))
        records/iris/notes.txt is no record; move it out of the folder.
    """

    path: Path
    what: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}; {self.way_out}."


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn the disk's refusals into an `InputError` that names the folder and the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            rule, way_out = "have room", "free some space"
        elif error.errno in _READ_ONLY:
            rule, way_out = "be writable", "change its permissions or copy it elsewhere"
        else:
            rule, way_out = "be a folder that can be written", "look at the disk"
        raise InputError(
            f"`folder` must {rule}, got {os.fspath(folder)!r} ({error.strerror or error}); {way_out} and run the same command"
            " again: earlier records are intact."
        ) from error


def write_new(path: Path, data: bytes) -> bool:
    """Write a file unless one of that name exists; return whether it was written. Never overwrites.

    Raises:
        OSError: what the disk refuses; the temporary file is gone then.
    """
    with _temporary(path) as temporary:
        _write(temporary, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Some network and USB disks have no links; there, two writers of one name at one instant are not told apart.
            if path.exists():
                return False
            temporary.rename(path)
        _sync_folder(path.parent)
        return True


def replace(path: Path, data: bytes) -> None:
    """Write a file in the place of the one that may be there; readers see the old or the new one, whole."""
    replace_with(path, lambda temporary: _write(temporary, data))


def replace_with(path: Path, write: Callable[[Path], None]) -> None:
    """Like `replace`, for a function that writes (and may check) the temporary file itself."""
    with _temporary(path) as temporary:
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
        _sync_folder(path.parent)


def remove(paths: Iterable[Path]) -> None:
    """Remove files that another place keeps; their folders stay, for a writer may be about to use one."""
    for path in paths:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files, here and below, that dead writers left behind."""
    for path in folder.rglob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; a process that dies lets go of it. Writers of records do without."""
    with open(folder / ".lock", "ab") as file:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - exists on Windows only

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - does not exist on Windows

            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                # Some network disks have no locks; there, two processes that seal at one instant are not told apart.
                if error.errno not in _NO_LOCKS:
                    raise
        yield


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    _make_folder(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
