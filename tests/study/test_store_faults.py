"""The store where things go wrong: nothing is lost, nothing is skipped without a word."""

import errno
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vicinal.core import InputError
from vicinal.study.record import Axes, Record, make_record, text_of
from vicinal.study.store import Store, contents, disk, folder

ROOT = os.name == "posix" and os.geteuid() == 0


def result(number: int = 0, accuracy: float = 0.5, **run: Any) -> Record:
    axes = Axes("iris", f"method-{number}", "paper", "linear", trials=2)
    return make_record(axes, {"accuracy": [accuracy, 1.0]}, run=run)


def path_of(store: Store, number: int = 0) -> Path:
    return next((store.folder / "records" / "iris").glob(f"method-{number}.*.json"))


def temporaries(store: Store) -> list[Path]:
    return list(store.folder.rglob(".*.tmp"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three records."""
    store = Store(tmp_path / "study")
    for number in range(3):
        store.write(result(number))
    return store


# --- a full or a read-only disk


def refuse(number: int) -> Callable[..., Any]:
    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refused


def half(write: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
    """A disk that takes some bytes, then no more."""
    calls = iter([True])

    def written(descriptor: int, data: Any) -> int:
        return write(descriptor, data[:10]) if next(calls, False) else refuse(errno.ENOSPC)()

    return written


@pytest.mark.parametrize("step", ["write", "half a write", "fsync", "link", "open"])
@pytest.mark.parametrize(
    ("number", "rule"),
    [(errno.ENOSPC, "have room"), (errno.EROFS, "be writable"), (errno.EIO, "be a folder that can be")],
)
def test_a_refusing_disk_is_explained(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str, number: int, rule: str
) -> None:
    if step == "half a write":
        number, rule = errno.ENOSPC, "have room"
    fault = half(os.write) if step == "half a write" else refuse(number)
    monkeypatch.setattr(os, "write" if step == "half a write" else step, fault)
    with pytest.raises(
        InputError, match=rf"`folder` must {rule}.*, got '.*study' \(.+\); .*: earlier records are intact"
    ):
        store.write(result(3))
    monkeypatch.undo()
    assert temporaries(store) == []
    assert (len(store.index()), store.verify()) == (3, [])
    assert store.write(result(3)) is None
    assert len(store.frame()) == 4


@pytest.mark.parametrize("fault", ["fsync", "replace", "read back"])
def test_a_disk_that_refuses_the_sealed_file(store: Store, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    if fault == "fsync":
        monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    elif fault == "replace":
        monkeypatch.setattr(Path, "replace", refuse(errno.EROFS))
    else:
        write = pq.write_table
        monkeypatch.setattr(pq, "write_table", lambda table, *a, **k: write(table.slice(1), *a, **k))
    with pytest.raises(InputError, match="`folder` must"):
        store.seal()
    monkeypatch.undo()
    assert not (store.folder / "records.parquet").exists()
    assert temporaries(store) == []
    assert (len(store.frame()), store.verify()) == (3, [])
    assert store.seal() == 3


@pytest.mark.skipif(ROOT, reason="root may write anywhere")
def test_a_folder_without_permission(store: Store) -> None:
    place = store.folder / "records" / "iris"
    path_of(store).write_bytes(b"torn")
    place.chmod(0o555)
    try:
        with pytest.raises(InputError, match=r"`folder` must be writable, got .*; change its permissions"):
            store.write(result(3))
        assert (len(store.frame()), len(store.index())) == (2, 2)
    finally:
        place.chmod(0o755)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where this process may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if not ROOT or sys.platform != "linux" or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full_and_really_read_only(small_disk: Path) -> None:
    store = Store(small_disk)
    with pytest.raises(InputError, match=r"`folder` must have room, got .*small' .*free some space"):
        _ = [store.write(result(number)) for number in range(1000)]
    stored = len(store.index())
    assert 0 < stored < 1000
    assert temporaries(store) == []
    assert (len(store.frame()), store.verify()) == (stored, [])
    path_of(store, 1).write_bytes(b"torn")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(InputError, match="`folder` must be writable"):
        store.write(result(1001))
    with pytest.raises(InputError, match="`folder` must be writable"):
        store.seal()
    assert len(store.frame()) == len(store.index()) == stored - 1
    assert [problem.way_out for problem in store.problems] == [
        "make the folder writable and run the study again, which makes it anew"
    ]


# --- files that are not whole

TORN: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda text: text[:-20],
    "empty": lambda _: b"",
    "binary": lambda _: bytes(range(256)),
    "zeros": lambda text: bytes(len(text)),
    "twice": lambda text: text + text,
    "a list": lambda _: b"[1, 2]",
    "deep": lambda _: b"[" * 100_000,
    "another record": lambda _: text_of(result(1)),
    "a failure": lambda _: text_of(
        make_record(Axes("iris", "method-0", "paper", "linear", trials=2), error={"kind": "a", "message": "b"})
    ),
    "other axes": lambda text: text.replace(b'"seed":0', b'"seed":1'),
    "not a number": lambda text: text.replace(b"0.5", b"NaN"),
    "a field less": lambda text: text.replace(b'"facts":{},', b""),
}


@pytest.mark.parametrize("how", TORN)
@pytest.mark.parametrize("reader", ["frame", "records", "verify", "has then seal"])
def test_a_torn_file_is_set_aside_and_made_again(store: Store, how: str, reader: str) -> None:
    path = path_of(store)
    torn = TORN[how](path.read_bytes())
    path.write_bytes(torn)
    key = result()["key"]
    assert key in store.index()  # by name alone, it looks done
    if reader == "frame":
        assert len(store.frame()) == 2
    elif reader == "records":
        assert len(list(store.records())) == 2
    elif reader == "verify":
        assert len(store.verify()) == 1
    else:
        assert store.seal() == 2
    assert key not in store.index()
    assert (store.folder / "torn" / path.relative_to(store.folder)).read_bytes() == torn
    (problem,) = store.problems
    assert path.name in problem.what
    assert "is not whole" in problem.what
    assert len(Store(store.folder).problems) == 1  # another process says so too
    assert store.write(result()) is None
    assert len(store.frame()) == len(store.index()) == 3


def test_a_torn_success_leaves_its_failures_in_sight(store: Store) -> None:
    axes = Axes("iris", "method-0", "paper", "linear", trials=2)
    store.write(make_record(axes, error={"kind": "a", "message": "b"}))
    (store.folder / "records" / "iris" / f"method-0.{axes.key}.json").write_bytes(b"")
    assert sorted(store.frame()["status"]) == ["done", "done", "failed"]


def test_a_file_torn_twice_is_kept_twice(store: Store) -> None:
    for torn in (b"1", b"2"):
        path_of(store).write_bytes(torn)
        store.verify()
        store.write(result())
    assert sorted(path.read_bytes() for path in (store.folder / "torn").rglob("*.json*")) == [b"1", b"2"]


def test_where_nothing_may_be_moved_a_torn_file_is_listed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of(store)
    path.write_bytes(b"torn")
    looks = Store(store.folder, read_only=True)
    for one in (looks, store):
        if one is store:
            monkeypatch.setattr(Path, "rename", refuse(errno.EROFS))
        assert len(one.frame()) == len(one.index()) == 2
        assert not one.has(Axes("iris", "method-0", "paper", "linear", trials=2))
        (problem,) = one.problems
        assert (problem.path, path.read_bytes()) == (path, b"torn")


def test_a_newer_record_stays_and_says_upgrade(store: Store) -> None:
    path = path_of(store)
    newer = text_of(result() | {"schema": 99, "news": True})
    path.write_bytes(newer)
    for reader in (store.frame, lambda: list(store.records()), store.frame):
        assert len(reader()) == 2
    assert store.seal() == 2
    assert len(store.index()) == 3  # it is done: nothing makes it again
    assert path.read_bytes() == newer
    (problem,) = store.problems
    assert (problem.path, problem.way_out) == (path, "upgrade with `pip install --upgrade vicinal`")
    conflict = store.write(result())
    assert conflict is not None
    assert (conflict.path.read_bytes(), path.read_bytes()) == (text_of(result()), newer)


def test_a_file_that_cannot_be_read_is_named(store: Store) -> None:
    path = path_of(store)
    path.unlink()
    path.mkdir()
    assert len(store.frame()) == len(store.frame()) == 2
    assert [(p.path, p.what) for p in store.problems] == [(path, "cannot be read (Is a directory)")]


def test_strangers_are_named_and_left_alone(store: Store) -> None:
    for name in ("notes.txt", "iris/notes.txt", "iris/x.json", "iris/.DS_Store"):
        (store.folder / "records" / name).write_text("mine")
    assert len(store.frame()) == 3
    assert {p.path.name for p in store.problems} == {"notes.txt", "x.json"}
    assert [p.what for p in store.problems] == ["is no record's name"] * 3
    assert store.seal() == 3
    assert len(list((store.folder / "records").rglob("*.*"))) == 4


def test_dead_writers_files_are_swept_and_live_ones_are_not(store: Store) -> None:
    old, new = (store.folder / "records" / "iris" / name for name in (".1.tmp", ".2.tmp"))
    for path in (old, new):
        path.write_bytes(b"{")
    os.utime(old, (0, time.time() - 2 * disk.ABANDONED))
    assert store.verify() == []
    assert temporaries(store) == [new]


# --- conflicts


def test_a_different_record_of_the_same_key_is_kept_beside(store: Store) -> None:
    before = path_of(store).read_bytes()
    for _ in range(2):
        conflict = store.write(result(accuracy=0.25))
        assert conflict is not None
        assert "differs from the stored records/iris/method-0." in str(conflict)
        assert conflict.path.read_bytes() == text_of(result(accuracy=0.25))
    assert path_of(store).read_bytes() == before
    assert [p.path for p in Store(store.folder).problems] == [conflict.path] == [p.path for p in store.problems]


def test_a_loose_twin_of_a_sealed_record(store: Store) -> None:
    texts = [path_of(store, number).read_bytes() for number in range(2)]
    store.seal()
    place = store.folder / "records" / "iris"
    same, other = (place / f"method-{n}.{result(n)['key']}.json" for n in range(2))
    same.write_bytes(texts[0])
    other.write_bytes(text_of(result(1, accuracy=0.125)))
    assert len(store.frame()) == 3
    assert store.seal() == 3
    assert store.read(result(1)["key"])["accuracy"] == [0.5, 1.0]
    (conflict,) = store.problems
    assert conflict.path.read_bytes() == text_of(result(1, accuracy=0.125))


# --- the sealed file


def flip(content: bytes) -> bytes:
    """One bit of the last column's data, where the texts are."""
    place = len(content) * 2 // 3
    metadata = pq.read_metadata(pa.BufferReader(content)).row_group(0)
    column = next(c for c in map(metadata.column, range(metadata.num_columns)) if c.path_in_schema == "record")
    place = column.data_page_offset + column.total_compressed_size - 40
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-100],
    "empty": lambda _: b"",
    "binary": lambda _: bytes(range(256)) * 100,
    "flipped": flip,
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_sealed_file_is_set_aside(store: Store, how: str) -> None:
    store.seal()
    store.write(result(3))
    parquet = store.folder / "records.parquet"
    broken = BROKEN[how](parquet.read_bytes())
    parquet.write_bytes(broken)
    (problem,) = store.verify()
    assert "was records.parquet, which is not whole" in problem.what
    assert (store.folder / "torn" / "records.parquet").read_bytes() == broken
    assert len(store.frame()) == len(store.index()) == 1
    for number in range(3):
        assert store.write(result(number)) is None
    assert store.seal() == 4


def test_broken_columns_lose_no_record(store: Store) -> None:
    """The texts of the sealed records are whole, and they are what counts."""
    store.seal()
    whole = store.frame()
    parquet = store.folder / "records.parquet"
    content = bytearray(parquet.read_bytes())
    metadata = pq.read_metadata(parquet).row_group(0)
    column = next(
        c for c in map(metadata.column, range(metadata.num_columns)) if c.path_in_schema.startswith("accuracy")
    )
    content[column.data_page_offset + column.total_compressed_size - 5] ^= 1
    parquet.write_bytes(content)
    fresh = Store(store.folder)
    fresh.verify()
    pd.testing.assert_frame_equal(fresh.frame(), whole, check_like=True)
    assert "broken columns" in fresh.problems[0].what
    fresh.write(result(3))
    with pytest.raises(InputError, match="which cannot and would be replaced"):
        fresh.seal()
    assert len(Store(store.folder).frame()) == 4
    assert fresh.unseal() == 3
    assert fresh.seal() == 4
    assert Store(store.folder).verify() == []


def test_writers_wait_for_a_sealed_file_that_another_opens(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.seal()
    opening, go_on = threading.Event(), threading.Event()
    original = contents.Sealed.__init__

    def slow(self: contents.Sealed, path: Path) -> None:
        opening.set()
        go_on.wait(10)
        original(self, path)

    monkeypatch.setattr(contents.Sealed, "__init__", slow)
    fresh = Store(store.folder)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fresh.write, result(0))
        opening.wait(10)
        second = pool.submit(fresh.write, result(0, accuracy=0.25))
        time.sleep(0.05)
        go_on.set()
        assert first.result() is None
        assert second.result() is not None  # a conflict with the sealed record, not a second loose one
    assert not list((store.folder / "records").rglob("*.json"))


def test_a_sealed_file_that_cannot_be_read_is_not_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.seal()
    parquet = store.folder / "records.parquet"
    before = parquet.read_bytes()
    store.write(result(3))
    fresh = Store(store.folder)
    monkeypatch.setattr(pq, "ParquetFile", refuse(errno.EIO))
    assert len(fresh.frame()) == 1
    with pytest.raises(
        InputError, match=r"must have a records.parquet that can be read, got .*; restore it or move it away"
    ):
        fresh.seal()
    monkeypatch.undo()
    (problem,) = fresh.problems
    assert (problem.path, problem.what) == (parquet, f"cannot be read ({os.strerror(errno.EIO)})")
    assert parquet.read_bytes() == before
    assert len(Store(store.folder).frame()) == 4


def test_a_torn_loose_twin_gives_way_to_the_sealed_record(store: Store) -> None:
    path, text = path_of(store), path_of(store).read_bytes()
    store.seal()
    path.write_bytes(b"torn")
    assert store.unseal() == 3
    assert path.read_bytes() == text
    assert [p.path.read_bytes() for p in store.problems] == [b"torn"]


def test_one_bad_row_costs_no_other(store: Store) -> None:
    store.seal()
    parquet = store.folder / "records.parquet"
    table = pq.read_table(parquet)
    texts = ["{}", *table["record"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.schema.get_field_index("record"), "record", pa.array(texts)), parquet)
    assert len(list(store.records())) == 2
    assert ["which is not whole" in p.what for p in store.verify()] == [True]
    assert parquet.exists()


@pytest.mark.parametrize("method", ["seal", "unseal", "frame", "merge"])
def test_a_broken_sealed_file_stops_nobody(store: Store, tmp_path: Path, method: str) -> None:
    store.seal()
    store.write(result(3))
    parquet = store.folder / "records.parquet"
    parquet.write_bytes(b"broken")
    if method == "merge":
        report = Store(tmp_path / "new").merge([store])
        assert (report.added, [p.path for p in report.problems]) == (1, [parquet])
        assert parquet.read_bytes() == b"broken"  # the others' folder is left as it is
    else:
        getattr(store, method)()
        assert (store.folder / "torn" / "records.parquet").read_bytes() == b"broken"
    assert len(store.frame()) == 1


def test_a_sealed_file_cannot_write_elsewhere(store: Store) -> None:
    store.seal()
    parquet = store.folder / "records.parquet"
    table = pq.read_table(parquet)
    place = table.schema.get_field_index("file")
    pq.write_table(table.set_column(place, "file", pa.array(["../../../evil.json"] * 3)), parquet)
    assert store.unseal() == 0
    assert "is not whole (a row is of the file '../../../evil.json')" in store.problems[0].what
    assert not list(store.folder.parent.rglob("evil.json"))


def test_a_crash_after_the_sealed_file_has_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: object) -> None:
        raise KeyboardInterrupt

    for step in (store.seal, store.unseal):  # loose and sealed are there, twice over
        monkeypatch.setattr(folder.disk, "remove", crash)
        with pytest.raises(KeyboardInterrupt):
            step()
        monkeypatch.undo()
        assert path_of(store).exists()
        assert (store.folder / "records.parquet").exists()
        assert (len(store.frame()), len(list(store.records())), store.verify()) == (3, 3, [])
        assert store.merge([store]).same == 3
    assert store.seal() == 3
    assert not list((store.folder / "records").rglob("*.json"))


# --- several processes

WORKER = """
import itertools, sys
from vicinal.study.record import Axes, make_record
from vicinal.study.store import Store

def result(number, accuracy=0.5, **run):
    axes = Axes("iris", f"method-{number}", "paper", "linear", trials=2)
    return make_record(axes, {"accuracy": [accuracy, 1.0]}, run=run)

store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
"""


def start(store: Store, code: str) -> "subprocess.Popen[str]":
    """A process that waits for `go`."""
    command = [sys.executable, "-c", WORKER + code, str(store.folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_writers_of_the_same_records(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = "for n in range(150):\n    store.write(result(n, 0.25 if n % 3 == 0 and HOST else 0.5, host=str(HOST)))"
    both = [start(store, code.replace("HOST", host)) for host in "01"]
    for process in both:
        go(process)
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(store.frame()) == 150
    assert temporaries(store) == []
    conflicts = store.verify()
    assert len(conflicts) == 50
    for problem in conflicts:  # whoever came first: both are kept
        beside = json.loads(problem.path.read_bytes())
        assert {beside["accuracy"][0], store.read(beside["key"])["accuracy"][0]} == {0.25, 0.5}


def test_a_killed_writer_leaves_whole_records(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = "for n in itertools.count(len(store.index())):\n    store.write(result(n))\n    _ = n % 20 == 19 and store.seal()"
    for wait in itertools.cycle((0.02, 0.11, 0.05, 0.3, 0.17)):
        process = start(store, code)
        go(process)
        time.sleep(wait)
        process.kill()
        process.wait(10)
        assert store.verify() == []
        frame = store.frame()
        assert {*frame["method"]} == {f"method-{number}" for number in range(len(frame))}
        if len(frame) > 50:
            break


def test_readers_miss_nothing_while_another_seals(store: Store) -> None:
    for number in range(3, 40):
        store.write(result(number))
    process = start(store, "for _ in range(8):\n    store.seal()\n    store.unseal()")
    go(process)
    looks = 0
    while process.poll() is None:
        assert len(store.index()) == len(store.frame()) == len(list(store.records())) == 40
        looks += 1
    assert (process.returncode, store.problems) == (0, [])
    assert looks > 1


def test_two_sealers_lose_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = "for n in range(HOST, 60, 2):\n    store.write(result(n))\n    _ = n % 5 == 0 and store.seal()"
    both = [start(store, code.replace("HOST", host)) for host in "01"]
    for process in both:
        go(process)
    assert [process.wait(60) for process in both] == [0, 0]
    assert (len(store.frame()), store.seal(), len(store.frame()), store.problems) == (60, 60, 60, [])


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"`folder` must be a folder, got the file '.*file'; give the study's folder"):
        Store(tmp_path / "file")


def test_a_disk_without_links(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse(errno.ENOTSUP))
    assert store.write(result(3)) is None
    assert store.write(result(3, host="later")) is None
    assert not disk.write_new(path_of(store, 3), b"")
    assert (len(store.frame()), temporaries(store), store.problems) == (4, [], [])
