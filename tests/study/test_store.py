"""The store where nothing goes wrong: what goes in comes out, by every way in and every way out."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vicinal.core import InputError
from vicinal.study import record as records
from vicinal.study.record import Axes, Record, make_record, parse_record, stable, text_of
from vicinal.study.store import Store, read_records
from vicinal.study.store.disk import write_new
from vicinal.study.tally import tally_of

METHODS = ("vanilla", "mixup", "genlabel-kde")


def axes_of(dataset: str = "openml:61", method: str = "mixup", **changes: Any) -> Axes:
    return Axes(dataset, method, "paper", "linear", **{"trials": 2, "seed": 0, "fingerprint": "ab", **changes})


def result(dataset: str = "openml:61", method: str = "mixup", accuracy: Any = (0.5, 1.0), **run: Any) -> Record:
    facts = {"rows": 150, "family": "flowers", "fits": {"kde": 0.9}}
    metrics = {"accuracy": list(accuracy), "ece": np.array([0.125, 0.25])}
    return make_record(axes_of(dataset, method), metrics, selected=[{"gamma": 0.5}] * 2, facts=facts, run=run)


def failure(message: str = "too few rows", **run: Any) -> Record:
    return make_record(axes_of(), error={"kind": "InputError", "message": message}, run=run)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Six records: two data sets by three methods."""
    store = Store(tmp_path / "study")
    for dataset, method in itertools.product(("openml:61", "iris"), METHODS):
        assert store.write(result(dataset, method)) is None
    return store


def texts(store: Store) -> dict[str, bytes]:
    """Every loose record, byte for byte."""
    folder = store.folder / "records"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.json")}


# --- records


def test_a_key_is_the_hash_of_the_canonical_axes() -> None:
    import hashlib

    axes = axes_of(options={"b": 1, "a": [2.5, None]})
    canonical = (
        '{"dataset":"openml:61","fingerprint":"ab","kind":"scores","method":"mixup","network":"linear",'
        '"options":{"a":[2.5,null],"b":1},"protocol":"paper","seed":0,"trials":2}'
    )
    assert axes.key == hashlib.sha256(canonical.encode()).hexdigest()[:16] == make_record(axes, {"a": [0, 1]})["key"]


@pytest.mark.parametrize(
    "change",
    [{"dataset": "a"}, {"method": "a"}, {"trials": 3}, {"seed": 1}, {"options": {"a": 1}}, {"kind": "profile"}],
)
def test_every_axis_changes_the_key(change: dict[str, Any]) -> None:
    assert axes_of(**change).key != axes_of().key


def test_a_record_is_plain_json_and_a_lost_trial_is_null() -> None:
    options = {"k": np.int64(3), "pair": (1, 2)}
    made = make_record(
        axes_of(options=options), {"accuracy": np.array([0.5, np.nan], "float32")}, facts={"n": np.int8(4)}
    )
    assert made == json.loads(text_of(made)) == parse_record(text_of(made))
    assert (made["accuracy"], made["options"], made["facts"]) == ([0.5, None], {"k": 3, "pair": [1, 2]}, {"n": 4})


def test_two_runs_differ_in_run_alone() -> None:
    first, second = result(seconds=1.5, host="a"), result(seconds=2.5, host="b")
    assert first != second
    assert text_of(stable(first)) == text_of(stable(second))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("key", "0" * 16, r"'key' must be that of its axes, [0-9a-f]{16}, got 0000"),
        ("kind", "other", "'kind' must be one of 'scores', 'profile', got 'other'"),
        ("trials", 0, "'trials' must be a whole number, at least 1, got 0"),
        ("trials", True, "'trials' must be a whole number"),
        ("seed", 2**63, "'seed' must be a whole number below 2"),
        ("status", "running", "'status' must be 'done' or 'failed', got 'running'"),
        ("selected", [{}], "'selected' must be a list of mappings"),
        ("options", [], "'options' must be a mapping, got"),
        ("error", {"kind": "a", "message": "b"}, "'error' must be null where"),
        ("run", {"attempt": 0}, "'run' must be a mapping with"),
        ("run", {"seconds": "1", "attempt": 1}, "'run' must be a mapping with"),
        ("accuracy", [0.5], "metric 'accuracy' must be 2 finite numbers or nulls, got"),
        ("accuracy", [0.5, float("inf")], "metric 'accuracy' must be 2 finite"),
        ("accuracy", [0.5, True], "metric 'accuracy' must be 2 finite"),
        ("accuracy", "good", "metric 'accuracy' must be 2 finite"),
        ("seconds", [1, 2], "must not be named after a column of the table, got 'seconds'"),
        ("ece_trials", [1, 2], "must not be named after a column of the table, got 'ece_trials'"),
        ("schema", "1", "'schema' must be a whole number, got '1'"),
        ("schema", 0, "'schema' must be a whole number, got 0|that this vicinal knows, got 0"),
        (
            "schema",
            2,
            "'schema' must be a whole number, got 2|at most 1, got 2: a newer vicinal wrote it; upgrade with `pip",
        ),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, message: str) -> None:
    wrong = result() | {field: value}
    with pytest.raises(InputError, match=message):
        records.check_record(wrong)
    with pytest.raises(InputError, match=message if value != [0.5, float("inf")] else "must be whole JSON"):
        parse_record(json.dumps(wrong))


def test_a_missing_field_and_a_missing_metric_are_named() -> None:
    made = result()
    with pytest.raises(InputError, match=r"'error' must be null where the status is 'done', .* got none"):
        records.check_record({name: made[name] for name in made if name != "error"})
    with pytest.raises(InputError, match="must hold at least one metric"):
        make_record(axes_of())
    with pytest.raises(InputError, match="`metrics` must not be named after a field, got 'run'"):
        make_record(axes_of(), {"run": [1, 2]})
    with pytest.raises(InputError, match=r"`ece` must be plain JSON .*, got inf"):
        make_record(axes_of(), {"ece": [1, np.inf]})
    with pytest.raises(InputError, match="A record must be a mapping, got 5"):
        parse_record("5")


def test_an_older_schema_is_migrated_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    new = result()
    old = {("loss" if name == "ece" else name): value for name, value in new.items()} | {"schema": -1}
    steps = {-1: lambda r: r | {"ece": r["loss"]}, 0: lambda r: {n: v for n, v in r.items() if n != "loss"}}
    monkeypatch.setattr(records, "MIGRATIONS", steps)
    assert parse_record(json.dumps(old)) == new


# --- writing and reading


def test_what_is_written_is_read(store: Store) -> None:
    index = store.index()
    assert len(index) == 6
    for dataset, method in itertools.product(("openml:61", "iris"), METHODS):
        written = result(dataset, method)
        assert store.read(written["key"]) == written
        entry = index[written["key"]]
        assert (entry.status, entry.method, entry.failures, entry.sealed) == ("done", method, 0, False)
        assert store.has(axes_of(dataset, method))
    assert not store.has(axes_of("wine"))
    assert sorted(r["key"] for r in store.records()) == sorted(index)
    assert store.verify() == []


def test_two_runs_of_a_study_write_the_same_folder(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "1"), Store(tmp_path / "2")
    first.write(result(host="a"))
    second.write(result(host="b"))
    strip = {name: text_of(stable(json.loads(text))) for name, text in texts(first).items()}
    assert strip == {name: text_of(stable(json.loads(text))) for name, text in texts(second).items()}


def test_the_first_of_equal_records_stays(store: Store) -> None:
    before = texts(store)
    assert store.write(result(host="another", seconds=9.0)) is None
    assert texts(store) == before


def test_a_success_supersedes_failures_which_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(failure("first"))
    store.write(failure("second"))
    key = axes_of().key
    assert (store.index()[key].status, store.index()[key].failures) == ("failed", 2)
    assert store.read(key)["error"]["message"] == "second"
    assert store.frame()["error_message"].tolist() == ["second"]
    assert not store.has(axes_of())
    store.write(result())
    for _ in range(2):
        assert (store.index()[key].status, store.index()[key].failures) == ("done", 2)
        assert store.frame()["status"].tolist() == ["done"]
        store.seal()
    store.write(failure("third"))  # history, no more
    assert (store.index()[key].status, store.index()[key].failures) == ("done", 3)


def test_names_that_file_systems_refuse(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = ["../../etc", "a/b", "ü" * 300, "", ".", "x\x00y", "con:1", "A", "a"]
    for name in names:
        store.write(result(name, name))
    assert len(store.index()) == len(names)
    assert sorted(store.frame()["dataset"]) == sorted(names)
    assert {path.parent.parent for path in tmp_path.rglob("*.json")} == {tmp_path / "records"}


def test_a_frame_has_a_row_a_record(store: Store) -> None:
    frame = store.frame()
    assert frame["dataset"].tolist() == ["iris"] * 3 + ["openml:61"] * 3
    assert frame["method"].tolist() == sorted(METHODS) * 2
    assert frame["accuracy"].tolist() == [0.75] * 6
    assert frame["ece"].tolist() == [0.1875] * 6
    assert all(isinstance(v, np.ndarray) and v.tolist() == [0.5, 1.0] for v in frame["accuracy_trials"])
    assert frame["fact_rows"].tolist() == [150] * 6
    assert frame["fact_fits.kde"].tolist() == [0.9] * 6
    assert frame["options"].tolist() == ["{}"] * 6
    some = axes_of("iris", "vanilla").key
    pd.testing.assert_frame_equal(
        store.frame([some, some, "absent"]), frame[frame["key"] == some].reset_index(drop=True)
    )


def test_a_lost_trial_makes_the_mean_nan_and_kinds_stay_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(result(accuracy=(0.5, None)))
    profile = make_record(axes_of(method="profile", kind="profile"), facts={"kde_fits": True, "counts": [3, 4]})
    store.write(profile)
    for _ in range(2):
        scores, profiles = store.frame(), store.frame(kind="profile")
        assert np.isnan(scores["accuracy"].item())
        np.testing.assert_equal(scores["accuracy_trials"].item(), [0.5, np.nan])
        assert (profiles["fact_kde_fits"].item(), profiles["fact_counts"].item()) == (True, "[3,4]")
        assert len(store.frame(kind=None)) == 2
        store.seal()


def test_facts_of_several_types_share_a_column(tmp_path: Path) -> None:
    store = Store(tmp_path)
    values = [1, "many", 2.5, None, 2**62, True]
    for place, value in enumerate(values):
        store.write(make_record(axes_of(f"d{place}"), {"a": [0, 1]}, facts={"n": value}))
        if place in (0, 2):
            store.seal()
    assert store.frame()["fact_n"].fillna("-").tolist() == ["1", "many", "2.5", "-", str(2**62), "true"]
    with pytest.raises(InputError, match="`facts` must hold whole numbers of 64 bits"):
        make_record(axes_of("d"), {"a": [0, 1]}, facts={"n": 2**63})


def test_an_empty_study_has_an_empty_frame(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert (len(store.frame()), store.index(), store.seal(), store.unseal(), store.manifest) == (0, {}, 0, 0, None)
    assert store.frame().columns.tolist()[:2] == ["key", "kind"]
    assert not store.folder.exists()
    with pytest.raises(InputError, match=r"`key` must be that of a record in .*none, got 'abc'; `index` lists them"):
        store.read("abc")
    with pytest.raises(InputError, match=r"`folder` must be a study's folder, got .*none', which does not exist"):
        read_records(store.folder)


def test_the_manifest_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path / "study")
    for content in ({"a": [1]}, {"b": None}):
        store.write_manifest(content)
        assert Store(store.folder).manifest == content
    for torn, reason in (('{"b"', "Expecting"), ("[]", "not a mapping")):
        (store.folder / "study.json").write_text(torn)
        with pytest.raises(InputError, match=rf"whole study.json, got .*study.json \({reason}.*; mend or remove it"):
            _ = store.manifest


# --- sealing, copying, merging


def test_a_sealed_study_reads_like_a_loose_one_and_comes_back_byte_for_byte(store: Store) -> None:
    store.write(failure())
    before, frame, index = texts(store), store.frame(), store.index()
    assert store.seal() == 7
    assert texts(store) == {}
    assert sorted(path.name for path in store.folder.iterdir()) == [".lock", "records", "records.parquet"]
    for fresh in (store, Store(store.folder)):
        pd.testing.assert_frame_equal(fresh.frame(), frame)
        assert {key: (e.status, e.failures, e.sealed) for key, e in fresh.index().items()} == {
            key: (e.status, e.failures, True) for key, e in index.items()
        }
        assert fresh.read(axes_of("iris").key) == result("iris")
        assert fresh.has(axes_of("iris"))
        assert fresh.verify() == []
    assert store.unseal() == 7
    assert texts(store) == before
    assert not (store.folder / "records.parquet").exists()


def test_sealing_again_adds(store: Store) -> None:
    store.seal()
    assert store.write(result("wine")) is None
    assert store.write(result("iris", host="later")) is None  # sealed already
    assert len(texts(store)) == 1
    assert len(store.frame()) == len(store.index()) == 7
    assert store.seal() == 7 == store.seal()
    assert len(store.frame()) == 7


def test_a_row_sealed_by_an_older_schema_is_migrated(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.seal()
    loose = result("wine")
    monkeypatch.setattr(records, "SCHEMA", 2)
    monkeypatch.setattr("vicinal.study.store.sealed.SCHEMA", 2)
    monkeypatch.setattr(records, "MIGRATIONS", {1: lambda r: r | {"skill": r["accuracy"]}})
    store.write(loose | {"schema": 2, "skill": [0.5, 1.0]})
    frame = store.frame()
    assert frame["skill"].tolist() == [0.75] * 7
    assert {r["schema"] for r in store.records()} == {2}


def test_pandas_and_duckdb_read_a_study_in_one_line(store: Store) -> None:
    duckdb = pytest.importorskip("duckdb")
    store.write(failure("no scores"))
    query = f"select dataset, method, list_avg(accuracy) from '{store.folder}/records/*/*.json' where status = 'done'"
    rows = sorted(duckdb.sql(query).fetchall())
    assert rows == sorted((d, m, 0.75) for d, m in itertools.product(("openml:61", "iris"), METHODS))
    store.seal()
    sealed = pd.read_parquet(store.folder / "records.parquet")
    assert sealed.loc[sealed["status"] == "done", "accuracy"].tolist() == [0.75] * 6
    assert json.loads(sealed["record"][0])["key"] == sealed["key"][0]
    assert duckdb.sql(f"select count(accuracy) from '{store.folder}/records.parquet'").fetchall() == [(6,)]


def test_a_copied_folder_is_the_study(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.folder, tmp_path / "copy")
    pd.testing.assert_frame_equal(read_records(tmp_path / "copy"), store.frame())


@pytest.mark.parametrize("seal", list(itertools.product([False, True], repeat=2)))
def test_overlapping_folders_merge(store: Store, tmp_path: Path, seal: tuple[bool, bool]) -> None:
    other = Store(tmp_path / "other")
    other.write(result("iris", host="other"))  # the same
    other.write(result("wine"))  # new
    other.write(result("iris", "vanilla", accuracy=(0, 0)))  # a conflict
    other.write(failure("first"))
    for one, sealed in zip((store, other), seal, strict=True):
        _ = sealed and one.seal()
    before = sorted(path.name for path in other.folder.rglob("*"))
    report = store.merge([other])
    assert (report.added, report.same, len(report.conflicts), report.problems) == (2, 1, 1, ())
    assert report.conflicts[0].path.read_bytes() == text_of(result("iris", "vanilla", accuracy=(0, 0)))
    assert store.read(axes_of("iris", "vanilla").key)["accuracy"] == [0.5, 1.0]
    assert len(store.index()) == 7
    again = store.merge([other.folder])
    assert (again.added, again.same, len(again.conflicts)) == (0, 3, 1)
    assert len(list((store.folder / "conflicts").rglob("*.json"))) == 1
    assert sorted(path.name for path in other.folder.rglob("*")) == before


def test_merged_folders_plan_what_either_does(store: Store, tmp_path: Path) -> None:
    halves = [Store(tmp_path / name) for name in ("iris", "wine")]
    for half in halves:
        name = half.folder.name
        half.write(result(name))
        planned = [[axes_of(name).key, "scores", name, "mixup"]]
        other = next(h.folder.name for h in halves if h is not half)
        missing = [{"id": other, "why": "not here"}]
        half.write_manifest(
            {"trials": 2, "datasets": [name], "methods": ["mixup"], "planned": planned, "missing": missing}
        )
    whole = Store(tmp_path / "whole")
    whole.merge(halves)
    assert [row[2] for row in whole.manifest["planned"]] == whole.manifest["datasets"] == ["wine", "iris"]
    assert whole.manifest["missing"] == []
    assert tally_of(whole)[0].done == 2
    halves[0].write_manifest({"trials": 3, "planned": []})
    with pytest.raises(
        InputError, match=r"holds another study \(trials: 3 there, 2 asked\); merge folders of one study"
    ):
        whole.merge(halves)
    whole.write_manifest({})  # names nothing, so there is nothing to keep
    whole.merge(halves[1:])
    assert whole.manifest["trials"] == 2


def test_merging_needs_a_folder(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`others` must be folders of studies, got .*absent', which is none"):
        store.merge([tmp_path / "absent"])


def test_no_torch() -> None:
    code = "import sys, vicinal.study.store, vicinal.study.record; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_is_written_once(tmp_path: Path) -> None:
    assert write_new(tmp_path / "new" / "a", b"1")
    assert not write_new(tmp_path / "new" / "a", b"2")
    assert [path.read_bytes() for path in (tmp_path / "new").iterdir()] == [b"1"]
