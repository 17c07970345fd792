"""Files are whole or absent, whatever the disk does."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vicinal.core import InputError
from vicinal.core.files import read_tensors, write_tensors, write_whole


def refuse(number: int) -> Callable[..., Any]:
    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refused


@pytest.mark.parametrize("step", ["os.fsync", "Path.replace", "Path.open", "Path.mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_a_refusing_disk(step: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, b"old")
    owner, name = step.split(".")
    monkeypatch.setattr({"os": os, "Path": Path}[owner], name, refuse(number))
    with pytest.raises(
        InputError, match=rf"a\.txt can't be written \({os.strerror(number)}\); what was there .* Free some"
    ):
        write_whole(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    """The system itself refuses the bytes beyond a limit."""
    path, tensors = tmp_path / "a.safetensors", {"w": torch.zeros(1 << 18)}
    write_tensors(path, {"w": torch.ones(2)}, {"epoch": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(InputError, match=r"can't be written \(File too large"):
            write_tensors(path, tensors, {"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert read_tensors(path)[1] == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]
    write_tensors(path, tensors, {"epoch": 2})
    assert read_tensors(path)[1] == {"epoch": 2}


def test_what_can_not_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(InputError, match=r"b can't be written .*choose another folder"):
        write_whole(tmp_path / "file" / "b", b"data")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder can't be written"):
        write_whole(tmp_path / "folder", b"data")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    """Also those that share memory, are not contiguous, or have no rows, of every dtype."""
    base = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    kinds = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool)
    tensors = {"a": base, "same": base, "turned": base.T, "part": base[1:, ::2], "none": base[:0], "number": base[0, 0]}
    tensors |= {str(kind): base.to(kind) for kind in kinds}
    tensors["gradient"] = base.clone().requires_grad_()
    plain = {"text": "ä", "number": 0.1, "list": [1, None, True], "dict": {"nan": float("inf")}}
    write_tensors(tmp_path / "a", tensors, plain)
    found, about = read_tensors(tmp_path / "a")
    assert about == plain
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value.detach()), name


@pytest.mark.slow
def test_reading_while_another_process_writes(tmp_path: Path) -> None:
    """A checkpoint is read whole, the older or the newer one, never the weights of one under the names of the other."""
    path = tmp_path / "a.safetensors"
    script = f"""
import itertools, torch
from vicinal.core import files
files.os.fsync = lambda descriptor: None
for i in itertools.count():
    value = torch.full((5 + i % 7,), float(i))
    files.write_tensors({str(path)!r}, {{"a": value, "b": value[:3]}}, {{"i": i, "pad": "x" * (i % 50)}})
"""
    writer = subprocess.Popen([sys.executable, "-c", script])
    try:
        while not path.exists():
            time.sleep(0.01)
        for _ in range(5000):
            tensors, plain = read_tensors(path)
            assert all(bool((value == plain["i"]).all()) for value in tensors.values())
    finally:
        writer.kill()
        writer.wait()
    assert plain["i"] > 100


def test_what_is_no_json(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {}, {"epoch": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_tensors(tmp_path / "a", {}, {"f": len})
    assert read_tensors(tmp_path / "a") == ({}, {"epoch": 1})


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 30, -1])
def test_torn_files(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.ones(100)}, {"epoch": 1})
    whole = path.read_bytes()
    for torn in (whole[:cut], whole[:cut] + bytes(len(whole) - len(whole[:cut]))):
        if torn[:-4] == whole[:-4]:  # a lost byte of a weight that a zero stands in for: nothing can tell
            continue
        path.write_bytes(torn)
        with pytest.raises(InputError, match="is not a safetensors file, or it is torn"):
            read_tensors(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file: "):
        read_tensors(tmp_path / "a")
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        read_tensors(tmp_path)
