"""From a suite and the tables at hand to units of work, each with the keys of the records that it makes.

A unit is a data set with a family of methods that share candidates, all trials stacked; one unit a data set more describes the
table itself (its profile). What a record says depends on its axes alone, so plans may grow, overlap and run anywhere; what the
index of a folder says of a table (its family, its name) is the manifest's.
"""

import datetime
import hashlib
import importlib.metadata
import platform
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import vicinal
from vicinal.core import InputError
from vicinal.study.catalogue import Catalogue, Missing, Source
from vicinal.study.families import method_families
from vicinal.study.methods import Method, read_methods
from vicinal.study.protocol import Protocol, read_protocol
from vicinal.study.record import Axes
from vicinal.study.store import Entry
from vicinal.study.suite import Suite
from vicinal.study.trials import Problem, read_problem

__all__ = ["Plan", "Unit", "Work", "make_plan", "protocol_for"]


class Work(typing.Protocol):
    """What a plan's units have in common, whatever they train.

    Examples:
        Of any plan::

            sum(unit.cost for unit in plan.units)
    """

    @property
    def axes(self) -> tuple[Axes, ...]:
        """Of the records that come of it."""

    @property
    def cost(self) -> float:
        """A rough guess, for order and time left."""

    @property
    def dataset(self) -> str:
        """What it is about."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its records."""


PATIENCE = 3
"""Tables that can't be fetched one after another before the rest is not tried."""


@dataclass(frozen=True)
class Unit:
    """What one worker does in one go.

    Attributes:
        kind: 'scores', or 'profile' for the table itself. source: the data set.
        axes: of the records that come of it, one a method.
        cost: a rough guess of seconds, for order and time left.
    """

    kind: str
    source: Source
    axes: tuple[Axes, ...]
    cost: float

    @property
    def dataset(self) -> str:
        """The data set's name in the study."""
        return self.source.dataset

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its records."""
        return tuple(axes.key for axes in self.axes)


@dataclass(frozen=True)
class Plan:
    """What a study does: its units, the problems they are about, and what a report must know of it.

    Attributes:
        manifest: plain JSON, `study.json` of the study's folder. problems: by data set.
    """

    manifest: Mapping[str, Any]
    units: tuple[Work, ...]
    problems: Mapping[str, Problem] = field(repr=False)

    def left(self, stored: Mapping[str, Entry], retry_failed: bool = False) -> list[Work]:
        """Return the units that are still to do.

        Args:
            stored: from `Store.index`.
            retry_failed: whether what failed is to be done again.

        Examples:
            >>> plan = make_plan(Suite("mine", "Mine", ("iris",), ("vanilla",)), Catalogue(None))
            >>> [unit.kind for unit in plan.left({})] == [unit.kind for unit in plan.units]
            True
        """
        finished = {"done"} if retry_failed else {"done", "failed"}
        states = {key: entry.status for key, entry in stored.items()}
        return [unit for unit in self.units if any(states.get(key) not in finished for key in unit.keys)]


def make_plan(
    suite: Suite,
    catalogue: Catalogue,
    *,
    methods: str | Sequence[str] | None = None,
    trials: int | None = None,
    seed: int = 0,
    protocol: str | None = None,
    network: str | None = None,
    options: Mapping[str, Any] | None = None,
    command: str | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> Plan:
    """Read the tables of a suite and plan its units, the longest first.

    Args:
        suite: from `read_suite`.
        catalogue: where its tables are.
        methods: in place of the suite's; a list, or a text with commas between.
        trials: in place of the suite's.
        seed: of everything.
        protocol: in place of the suite's.
        network: in place of the suite's.
        options: more of the protocol, such as {"alpha": 2.0, "folds": 5, "keep": "last"}.
        command: what the user typed.
        tell: called with tables read and tables in all.

    Raises:
        InputError: none of the tables is to be had; an unknown method or protocol.

    Examples:
        >>> suite = Suite("mine", "Mine", ("iris", "nowhere"), ("vanilla", "genlabel-kde", "genlabel"))
        >>> plan = make_plan(suite, Catalogue(None))
        >>> sorted([axes.method for axes in unit.axes] for unit in plan.units)
        [['genlabel-kde', 'genlabel'], ['profile'], ['vanilla']]
        >>> plan.manifest["missing"]
        [{'id': 'nowhere', 'why': 'no such table'}]
    """
    sources, missing = catalogue.find(suite.datasets)
    problems, unread = _read(sources, tell)
    missing += unread
    if not problems:
        raise InputError(
            f"none of the {len(suite.datasets)} data sets of {suite.name} is to be had; the first: "
            f"{missing[0].dataset}, {missing[0].why}. Give a folder that holds some with --tables."
        )
    name, net = protocol or suite.protocol, network or suite.network
    chosen = read_methods(suite.methods if methods is None else methods, net)
    given = {key: value for key, value in (options or {}).items() if value is not None}
    count = suite.trials if trials is None else trials
    attack = {"attack": dict(suite.attack)} if suite.attack else {}
    units, about, said = [], {}, {}
    for source in sources:
        if source.dataset not in problems:
            continue
        problem = problems[source.dataset]
        plan, own = protocol_for(problem, name, net, given), protocol_for(problem, name, net)
        # Only what differs from the protocol's own, in the protocol's words: `--alpha 1` asks for what is there.
        changed = {key: getattr(plan, key) for key in given if getattr(plan, key) != getattr(own, key)}
        said[source.dataset] = changed
        about[source.dataset] = {"family": source.family or source.dataset, "name": problem.title}
        profile = Axes(
            source.dataset, "profile", name, plan.network, count, seed, changed, _fingerprint(problem), kind="profile"
        )
        units.append(Unit("profile", source, (profile,), 1e-6 * problem.rows**2))
        for family in method_families(chosen, plan):
            axes = [replace(profile, kind="scores", method=m.name, options={**changed, **attack}) for m in family]
            units.append(Unit("scores", source, tuple(axes), _cost(problem, family, plan, count)))

    def comparable(row: Mapping[str, Any]) -> bool:
        """Whether a published number is of the study that is planned."""
        return (row.get("protocol", suite.protocol), suite.network) == (name, net)

    manifest = {
        "schema": 1,
        "suite": suite.name,
        "title": suite.title,
        "question": suite.question,
        "citation": suite.citation,
        "protocol": name,
        "network": net,
        "options": {key: value for changed in said.values() for key, value in changed.items()},
        "trials": count,
        "seed": seed,
        "methods": [m.name for m in chosen],
        "subject": suite.subject,
        "metrics": list(suite.metrics),
        "datasets": list(problems),
        "about": about,
        "missing": [{"id": m.dataset, "why": m.why} for m in missing],
        "criterion": suite.criterion,
        "balanced": suite.balanced,
        "published": [dict(row) for row in suite.published if comparable(row) and not said.get(row["dataset"])],
        "published_on": suite.published_on,
        "published_counts": [dict(row) for row in suite.published_counts if comparable(row) and not any(said.values())],
        "best_of": None if suite.best_of is None else dict(suite.best_of),
        "attack": None if suite.attack is None else dict(suite.attack),
        "remarks": list(suite.remarks),
        "notes": [f"{s.dataset}: {s.note}" for s in sources if s.note and s.dataset in problems],
        "planned": [[a.key, a.kind, a.dataset, a.method] for unit in units for a in unit.axes],
        "command": command,
        "date": datetime.date.today().isoformat(),
        "versions": {
            "vicinal": vicinal.__version__,
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in ("torch", "scikit-learn", "numpy", "scipy")},
        },
    }
    return Plan(manifest, tuple(sorted(units, key=lambda unit: -unit.cost)), problems)


def protocol_for(problem: Problem, name: str, network: str, options: Mapping[str, Any] | None = None) -> Protocol:
    """Return a study's protocol on one problem: the paper's synthetic problems have networks of their own.

    Examples:
        >>> [protocol_for(read_problem(name), "paper", "mlp").hidden for name in ("moon", "iris")]
        [(64, 128, 128), (128, 128)]
    """
    synthetic = problem.name if problem.synthetic else None
    return read_protocol(name, None if synthetic and name == "paper" else network, synthetic, **(options or {}))


def _read(
    sources: Sequence[Source], tell: Callable[[int, int], None] | None
) -> tuple[dict[str, Problem], list[Missing]]:
    problems: dict[str, Problem] = {}
    missing, failures = [], 0
    for number, source in enumerate(sources):
        fetched = source.path.startswith("openml:")
        if fetched and failures >= PATIENCE:
            missing.append(Missing(source.dataset, f"not tried, since OpenML failed {PATIENCE} times in a row"))
            continue
        try:
            problems[source.dataset] = read_problem(source.path, source.target, name=source.dataset)
            failures = 0
        except InputError as error:
            missing.append(Missing(source.dataset, str(error).rstrip(".")))
            failures += fetched
        if tell is not None:
            tell(number + 1, len(sources))
    return problems, missing


def _fingerprint(problem: Problem) -> str:
    """Return what tells a changed table from the one that records are of."""
    if problem.table is None:
        return ""
    text = problem.table.features.assign(**{"": problem.table.target}).to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _cost(problem: Problem, family: Sequence[Method], protocol: Protocol, trials: int) -> float:
    """Guess the seconds of a unit on one core: batches, by the weights they move, and pairs of mixed points and rows."""
    candidates = [c for m in family if m.candidates for c in m.candidates(protocol)]
    distinct = {c.key(): c for c in candidates}.values()
    n, d, k = problem.rows, problem.features, len(problem.labels)
    inner = sum(a * b for a, b in pairwise([d, *protocol.hidden, k]))
    weights = len(protocol.learning_rates) * sum(inner + c.own_weights(d) for c in distinct)
    rows = n * protocol.epochs(n) * (max(1, protocol.folds) + 1) * trials * (1 - protocol.test_size)
    met = n * any(word in str(c.key()) for c in distinct for word in ("KDE", "KNN", "ManifoldIntrusion"))
    return float(0.2 + 3e-10 * rows * (weights + 1000) + 3e-11 * rows * met * (d + 8))
