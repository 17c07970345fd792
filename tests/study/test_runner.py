"""A study gives the same records whatever happens to it: killed runners and workers, other clusters, two runs at once."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import distributed
import psutil
import pytest

from vicinal.core import InputError
from vicinal.study import runner
from vicinal.study.catalogue import Catalogue
from vicinal.study.plan import make_plan
from vicinal.study.record import stable
from vicinal.study.runner import connect, local_cluster, run_plan
from vicinal.study.store import Store
from vicinal.study.suite import Suite
from vicinal.study.tally import tally_of
from vicinal.study.work import run_unit

SUITE = """
title = "A small study"
protocol = "tuned"
trials = 2
datasets = ["iris", "wine", "cube2d"]
methods = ["vanilla", "mixup", "genlabel-gaussian", "genlabel", "generative-classifier"]
subject = "genlabel"
"""
PLANNED = 3 * (1 + 5)
COMMAND = [sys.executable, "-c", "from vicinal.cli import main; main()"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "small.toml"
    path.write_text(SUITE)
    return str(path)


def start(suite: str, out: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, "study", "run", suite, "--out", str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def records(folder: Path) -> dict[str, dict]:
    """Every record by its file's name, but for what differs from run to run."""
    found = {}
    for path in sorted((folder / "records").rglob("*.json")):
        found[str(path.relative_to(folder))] = stable(json.loads(path.read_bytes()))
    return found


@pytest.fixture(scope="module")
def undisturbed(suite, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    output = finish(start(suite, folder, "--workers", "1"))
    assert f"{PLANNED} done of {PLANNED} records" in output
    found = records(folder)
    assert len(found) == PLANNED
    return found


def killed_at_random(suite: str, out: Path, seed: int, *more: str) -> int:
    """Kill a worker and then the runner, each a random while after the start; return how many records were left."""
    rng = random.Random(seed)
    process = start(suite, out, *more)
    parent = psutil.Process(process.pid)
    target = rng.randrange(1, PLANNED // 2)
    while process.poll() is None and len(list(out.rglob("records/*/*.json"))) < target:
        time.sleep(0.02)
    time.sleep(rng.random() / 4)
    workers = [p for p in parent.children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
    if workers and process.poll() is None:
        rng.choice(workers).kill()
        time.sleep(rng.random())
    process.kill()
    process.communicate()
    # Workers see that their parent is gone.
    psutil.wait_procs(workers, timeout=20)
    return len(list(out.rglob("records/*/*.json")))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_runners_and_workers_leave_no_trace(seed, suite, undisturbed, tmp_path):
    left = killed_at_random(suite, tmp_path, seed, "--workers", "2")
    assert left < PLANNED
    assert records(tmp_path).items() <= undisturbed.items()
    assert f"{PLANNED} done of" in finish(start(suite, tmp_path, "--workers", "2"))
    assert records(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_scheduler_and_workers_elsewhere_that_die(suite, undisturbed, tmp_path):
    """Separate processes on other addresses of this machine, as on a cluster; a worker dies on the way, and the runner."""
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.2:{port}"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.2", "--port", port, "--no-dashboard", "--no-show"], **quiet
    )
    workers = [
        subprocess.Popen(
            [*dask, "worker", address, "--host", f"127.0.0.{3 + i}", "--nthreads", "1", "--no-dashboard", "--no-nanny"],
            cwd=tmp_path,
            **quiet,
        )
        for i in range(2)
    ]
    try:
        out = tmp_path / "study"
        process = start(suite, out, "--scheduler", address)
        while process.poll() is None and len(list(out.rglob("records/*/*.json"))) < 4:
            time.sleep(0.02)
        workers[0].send_signal(signal.SIGKILL)
        while process.poll() is None and len(list(out.rglob("records/*/*.json"))) < 8:
            time.sleep(0.02)
        process.kill()
        process.communicate()
        assert records(out).items() <= undisturbed.items()
        finish(start(suite, out, "--scheduler", address))
        assert records(out) == undisturbed
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def client():
    with local_cluster(2) as client:
        yield client


@pytest.fixture(scope="module")
def plan():
    suite = Suite(
        "tiny", "Tiny", ("iris", "wine"), ("vanilla", "mixup", "generative-classifier"), protocol="tuned", trials=1
    )
    return make_plan(suite, Catalogue(None))


def fails_on_wine(unit, problem):
    if unit.source.dataset == "wine" and unit.kind == "scores":
        raise RuntimeError("wine is off")
    return run_unit(unit, problem)


def dies_on_mixup(unit, problem):
    if unit.axes[0].method == "mixup" and unit.source.dataset == "wine":
        os.kill(os.getpid(), signal.SIGKILL)
    return run_unit(unit, problem)


def test_what_keeps_failing_becomes_a_record_and_the_study_goes_on(client, plan, tmp_path):
    store = Store(tmp_path)
    tally = run_plan(plan, store, client, work=fails_on_wine)
    assert (tally.done, tally.failed, tally.left) == (5, 3, 0)
    failed = [record for record in store.records() if record["status"] == "failed"]
    assert {(r["dataset"], r["error"]["kind"], r["error"]["message"]) for r in failed} == {
        ("wine", "RuntimeError", "wine is off")
    }
    assert "fails_on_wine" in failed[0]["run"]["traceback"]
    # A resume leaves failures alone unless told to try again.
    assert run_plan(plan, store, client).failed == 3
    again = run_plan(plan, store, client, retry_failed=True)
    assert (again.done, again.failed) == (8, 0)


@pytest.mark.slow
def test_a_unit_that_kills_its_workers_is_named_and_takes_no_other_with_it(plan, tmp_path):
    store = Store(tmp_path)
    with local_cluster(2) as client:
        tally = run_plan(plan, store, client, work=dies_on_mixup)
    assert (tally.done, tally.failed) == (7, 1)
    (failed,) = [record for record in store.records() if record["status"] == "failed"]
    assert (failed["dataset"], failed["method"], failed["error"]["kind"]) == ("wine", "mixup", "WorkerDied")


def test_a_result_that_dies_with_its_worker_is_no_failure(plan, tmp_path):
    """A future may have arrived and be pending again, or its result be lost for good while it is fetched."""
    error = distributed.KilledWorker("task", None, 4)

    class Arrived:
        def __init__(self, status, error=None):
            self.status, self.error = status, error

        def exception(self):
            return self.error

    class Client:
        def gather(self, futures):
            if doomed in futures:
                doomed.status, doomed.error = "error", error
                raise error
            return [run_unit(unit, plan.problems[unit.source.dataset]) for unit in units[: len(futures)]]

    units = [unit for unit in plan.units if unit.kind == "profile"]
    pending, doomed = Arrived("pending"), Arrived("finished")
    run = runner._Run(plan, Store(tmp_path), Client(), run_unit, None)
    run._land([(pending, units[0], False), (doomed, units[1], False)])
    run._settle(wait=True)
    run.writers.shutdown()
    assert [record["status"] for record in Store(tmp_path).records()] == ["done"]
    assert list(run.suspects) == [units[1]]  # tried once more, alone


def test_what_the_input_forbids_is_a_failed_record(plan):
    unit = next(u for u in plan.units if u.kind == "scores")
    bad = replace(unit, axes=(replace(unit.axes[0], protocol="quick"),))
    (record,) = run_unit(bad, plan.problems[unit.source.dataset])
    assert record["status"] == "failed"
    assert "must be one of" in record["error"]["message"]


def test_two_runs_on_one_folder_share_the_work(client, plan, tmp_path):
    store = Store(tmp_path)
    seen = []

    def tell(tally):
        if tally.done and not seen:
            seen.append(tally)
            run_plan(plan, Store(tmp_path), client)

    tally = run_plan(plan, store, client, tell=tell)
    assert (tally.done, tally.left, tally.conflicts) == (8, 0, ())


def test_a_method_added_later_leaves_its_familys_records_alone(client, tmp_path):
    """GenLabel's candidates hold mixup's, so they are trained together, and companions move the last bits."""
    suite = Suite("tiny", "Tiny", ("iris",), ("mixup",), protocol="paper", trials=1)
    run_plan(make_plan(suite, Catalogue(None)), Store(tmp_path), client)
    (first,) = tmp_path.glob("records/iris/mixup*")
    text = first.read_bytes()
    more = make_plan(suite, Catalogue(None), methods=["mixup", "genlabel-gaussian"])
    assert [len(unit.axes) for unit in more.units if unit.kind == "scores"] == [2]
    tally = run_plan(more, Store(tmp_path), client)
    assert (tally.done, tally.failed, tally.left, tally.conflicts) == (3, 0, 0, ())
    assert first.read_bytes() == text


def test_a_folder_holds_one_study_which_grows(client, plan, tmp_path):
    """Runs of fewer methods or tables, one after the other, are one study; another study is refused and changes nothing."""
    suite = Suite("tiny", "Tiny", ("iris",), ("vanilla", "mixup"), subject="mixup", protocol="tuned", trials=1)
    store = Store(tmp_path)
    run_plan(make_plan(suite, Catalogue(None)), store, client)
    part = replace(suite, datasets=("wine", "nowhere"))
    run_plan(make_plan(part, Catalogue(None), methods="vanilla"), store, client)
    manifest = store.manifest
    assert (manifest["datasets"], manifest["methods"], manifest["subject"]) == (
        ["iris", "wine"],
        ["vanilla", "mixup"],
        "mixup",
    )
    tally, methods = tally_of(store)
    assert (tally.done, tally.left, methods["vanilla"]["done"], methods["mixup"]["done"]) == (5, 0, 2, 1)
    assert [entry["id"] for entry in manifest["missing"]] == ["nowhere"]
    for said, other in (
        ("trials: 1 there, 2 asked", {"trials": 2}),
        ("alpha: the default there, 2.0 asked", {"options": {"alpha": 2.0}}),
        ("network: linear there, mlp asked; seed: 0 there, 3 asked", {"network": "mlp", "seed": 3}),
    ):
        with pytest.raises(InputError, match=rf"{tmp_path} holds another study \({said}\); choose another with --out"):
            run_plan(make_plan(suite, Catalogue(None), **other), store, client)
    assert store.manifest == manifest


def test_progress_counts_to_the_end(client, plan, tmp_path):
    told = []
    run_plan(plan, Store(tmp_path), client, tell=told.append)
    assert [t.planned for t in told] == [8] * len(told)
    assert [t.left for t in told] == sorted((t.left for t in told), reverse=True)
    assert (told[0].done, told[0].running) == (0, 2)  # said before anything is done
    assert {t.running for t in told} <= {0, 1, 2}
    assert (told[-1].left, told[-1].running) == (0, 0)
    assert told[-1].seconds_left == pytest.approx(0, abs=1e-6)


def test_a_folder_that_cannot_be_written(client, plan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        run_plan(plan, Store(tmp_path / "file" / "study"), client)


def test_no_scheduler_there(monkeypatch):
    monkeypatch.setattr("vicinal.study.runner.CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match="no dask scheduler answers"), connect("tcp://127.0.0.1:9"):
        pass
