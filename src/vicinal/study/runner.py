"""Runs a plan's units on a dask cluster and stores what comes of them.

    with local_cluster(workers=2) as client:      # or connect("tcp://...")
        run_plan(plan, store, client)

Only this process touches the folder: workers need vicinal, and no shared disk. A few units a thread are in flight, so a plan may
be long; what is stored is stored, so a study that was killed goes on where it was. A unit whose worker dies is tried on another;
one that keeps failing becomes records that say why.
"""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import vicinal
from vicinal.core import InputError, require
from vicinal.study.plan import Plan, Work
from vicinal.study.store import Problem as Conflict
from vicinal.study.store import Store
from vicinal.study.tally import Tally
from vicinal.study.work import failed_records, run_unit

__all__ = ["connect", "local_cluster", "run_plan"]

AHEAD = 2
"""Units in flight for every thread of the cluster, so that none waits for this process."""

RETRIES = 2
"""How often a unit that raised is tried again."""

DEATHS = 3
"""How many workers may die over a unit of a local cluster before it is given up."""

COUNT_SECONDS = 5.0
"""How often the cluster's threads are counted anew: workers come and go."""

CONNECT_SECONDS = 20

WRITERS = 8
"""Threads that write records: each waits for the disk, and a disk flushes many files as quickly as one."""


SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "distributed.scheduler.allowed-failures": DEATHS,
        # Nothing of dask's own takes time from the training.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.worker.memory.monitor-interval": "1s",
        # dask would have workers give back freed memory at once, and fresh memory costs much of the training's time.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
        # No message of a library may come between a person and the progress bar.
        "distributed.logging.distributed": "critical",
    }
)
"""dask's settings for a local cluster."""


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """Yield a client of worker processes on this machine, one thread each; a worker that dies is started anew.

    In a script, keep what starts it under `if __name__ == "__main__"`, as for every pool of processes.

    Examples:
        Run a plan here::

            with local_cluster(workers=2) as client:
                run_plan(plan, Store("studies/mine"), client)
    """
    distributed, dask = require("distributed", "study"), require("dask", "study")
    with (
        dask.config.set(SETTINGS),
        # Without a limit: an even share of the memory, on many cores less than torch's libraries, would pause workers for ever.
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL", memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def connect(address: str) -> Iterator[Any]:
    """Yield a client of a scheduler that runs elsewhere (`dask scheduler`, `dask worker`).

    Raises:
        InputError: nobody answers there, no worker comes, or a worker has no vicinal or another version of it.

    Examples:
        Run a plan on a cluster::

            with connect("tcp://host:8786") as client:
                run_plan(plan, Store("studies/mine"), client)
    """
    distributed = require("distributed", "study")
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"no dask scheduler answers at {address}; start one with `dask scheduler` and give the address it prints."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise InputError(
                f"the scheduler at {address} has no workers; start some with `dask worker {address} --nthreads 1`."
            ) from error
        _same_versions(client)
        yield client


def _same_versions(client: Any) -> None:
    for worker, version in client.run(_version, on_error="return").items():
        if version != vicinal.__version__:
            found = f"vicinal {version}" if isinstance(version, str) else "no vicinal"
            raise InputError(f"the worker at {worker} has {found}; install vicinal {vicinal.__version__} there.")


def _version() -> str:
    return vicinal.__version__


def run_plan(
    plan: Plan,
    store: Store,
    client: Any,
    *,
    retry_failed: bool = False,
    work: Callable[..., list[dict[str, Any]]] = run_unit,
    tell: Callable[[Tally], None] | None = None,
) -> Tally:
    """Run what is not yet stored.

    Args:
        plan: from `make_plan`.
        store: the study's folder; what an earlier run planned there stays planned.
        client: from `local_cluster` or `connect`.
        retry_failed: whether to try again what failed in an earlier run.
        work: what a worker does with a unit and its problem.
        tell: called whenever units start or records are stored.

    Returns:
        Where the study stands at the end.

    Raises:
        InputError: the folder holds another study or can't be written to, or the cluster is gone; what is stored is kept.

    Examples:
        From a suite's name to a report::

            plan = make_plan(read_suite("genlabel/table8"), Catalogue(None))
            with local_cluster(workers=2) as client:
                run_plan(plan, store := Store("studies/table8"), client)
            write_study_report(summary_of(store), "report.html")
    """
    return _Run(plan, store, client, work, tell).run(retry_failed)


class WorkerDied(Exception):  # noqa: N818 - the name is what the record says
    """Every worker that tried a unit died."""


class _Run:
    """One run of a plan."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        client: Any,
        work: Callable[..., list[dict[str, Any]]],
        tell: Callable[[Tally], None] | None,
    ) -> None:
        self.plan, self.store, self.client, self.work = plan, store, client, work
        self.tell = tell or (lambda tally: None)
        self.distributed = require("distributed", "study")
        self.started = time.monotonic()
        self.counts = Counter[str]()
        self.stored: set[str] = set()
        self.suspects: deque[Work] = deque()
        self.writers = ThreadPoolExecutor(WRITERS)
        self.writing: deque[tuple[Work, list[tuple[dict[str, Any], Future[Conflict | None]]]]] = deque()
        self.conflicts: list[Conflict] = []
        self.flying: dict[Any, tuple[Work, bool]] = {}
        self.threads = 1
        self.spent = self.to_spend = 0.0

    def run(self, retry_failed: bool) -> Tally:
        self.store.extend_manifest(self.plan.manifest)
        self.store.verify()  # a torn record is missing, and is made again
        known = self.store.index()
        states = {key: known[key].status for unit in self.plan.units for key in unit.keys if key in known}
        queue = deque(self.plan.left(known, retry_failed))
        self.to_spend = sum(unit.cost for unit in queue)
        self.stored = {key for key, state in states.items() if state == "done"}
        for key in {key for unit in queue for key in unit.keys} & states.keys() - self.stored:
            del states[key]
        self.counts = Counter(states.values())
        flying, landing, counted = self.flying, self.distributed.as_completed(), -COUNT_SECONDS
        try:
            while queue or flying or self.suspects or self.writing:
                if time.monotonic() - counted > COUNT_SECONDS:
                    self.threads, counted = max(1, sum(self.client.nthreads().values())), time.monotonic()
                # A dying worker takes down what waits on it too: suspects are tried once more, alone.
                alone = not queue and not flying
                if alone:
                    queue.extend([self.suspects.popleft()] if self.suspects else [])
                chosen = [queue.popleft() for _ in range(min(len(queue), AHEAD * self.threads - len(flying)))]
                submitted = self._submit([unit for unit in chosen if not self._stored_meanwhile(unit)], alone)
                flying |= submitted
                landing.update(submitted)
                self.tell(self._tally())
                if flying:
                    self._land([(future, *flying.pop(future)) for future in landing.next_batch()])
                self._settle(wait=not flying)
        except (self.distributed.comm.CommClosedError, OSError) as error:
            raise InputError(
                f"the cluster is gone ({error}); what was done is kept in {self.store.folder}, run again to go on."
            ) from error
        finally:
            # After an interrupt or an error, workers should not go on with what nobody waits for.
            with contextlib.suppress(Exception):
                self.client.cancel(list(flying), force=True)
            self.writers.shutdown()
        return self._tally()

    def _submit(self, units: list[Work], alone: bool) -> dict[Any, tuple[Work, bool]]:
        """Hand units to the cluster in one message."""
        if not units:
            return {}
        problems = [self.plan.problems.get(unit.dataset) for unit in units]
        names = [f"{u.dataset}-{u.axes[0].method}-{u.keys[0]}{'-alone' * alone}" for u in units]
        futures = self.client.map(self.work, units, problems, key=names, pure=False, retries=RETRIES)
        return {future: (unit, alone) for future, unit in zip(futures, units, strict=True)}

    def _stored_meanwhile(self, unit: Work) -> bool:
        """Whether another run on this folder has done the unit since this one began."""
        if all(self.store.has(axes) for axes in unit.axes):
            self._count(unit, dict.fromkeys(unit.keys, "done"))
            return True
        return False

    def _land(self, arrived: list[tuple[Any, Work, bool]]) -> None:
        """Write what came of units, or why nothing did."""
        results, errors = self._fates([future for future, *_ in arrived])
        for future, unit, alone in arrived:
            error = errors.get(future)
            if error is None:
                records = results[future]
            elif isinstance(error, self.distributed.CancelledError):
                raise OSError("the scheduler forgot a task")
            elif isinstance(error, self.distributed.KilledWorker) and not alone:
                self.suspects.append(unit)
                continue
            elif isinstance(error, self.distributed.KilledWorker):
                records = failed_records(
                    unit, WorkerDied("every worker that tried this alone died, for want of memory perhaps")
                )
            else:
                records = failed_records(unit, error)
            # A unit is run anew when a method of its family is: what is stored stays, for companions move the last bits.
            records = [record for record in records if record["key"] not in self.stored]
            self.writing.append((unit, [(record, self.writers.submit(self.store.write, record)) for record in records]))

    def _fates(self, futures: list[Any]) -> tuple[dict[Any, list[dict[str, Any]]], dict[Any, BaseException]]:
        """Return the results of futures that arrived, and the errors of the others.

        A worker may die with results that nobody has fetched; these are computed anew, which is waited for.
        """
        errors = {f: error for f in futures if f.status != "finished" and (error := f.exception()) is not None}
        good = [future for future in futures if future not in errors]
        try:
            return dict(zip(good, self.client.gather(good), strict=True)), errors
        except self.distributed.KilledWorker:  # now its future says so
            return self._fates(futures)

    def _settle(self, wait: bool) -> None:
        """Count the units whose records are on the disk, in the order of writing."""
        while self.writing and (wait or all(written.done() for _, written in self.writing[0][1])):
            unit, writes = self.writing.popleft()
            self.conflicts += [conflict for _, written in writes if (conflict := written.result()) is not None]
            self._count(unit, {record["key"]: record["status"] for record, _ in writes})

    def _count(self, unit: Work, states: dict[str, str]) -> None:
        self.counts.update(state for key, state in states.items() if key not in self.stored)
        self.spent += unit.cost
        self.tell(self._tally())

    def _tally(self) -> Tally:
        seconds = time.monotonic() - self.started
        left = seconds / self.spent * (self.to_spend - self.spent) if self.spent else None
        planned, running = len(self.plan.manifest["planned"]), min(self.threads, len(self.flying))
        done, failed = self.counts["done"], self.counts["failed"]
        return Tally(planned, done, failed, seconds, left, tuple(self.conflicts), running)
