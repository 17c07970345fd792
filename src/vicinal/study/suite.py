"""Suites: frozen specifications of studies, one readable TOML file each, and the numbers that were published.

    title, question, citation       what a report says at its head
    protocol, network, trials       as `vicinal compare` takes them
    datasets, openml                names, and numbers of OpenML tables
    methods, subject, metrics       what runs, the method that the others are compared with, what is reported
    criterion, balanced             subsets: training accuracy of the better density, smallest over largest class
    published, published_counts     files in `suites/published`: accuracies in percent (one file or several), and counts in
                                    percent of tables
    published_on                    "one split" if the published trials share their test rows, or left out
    best_of                         a method made of several, the best on each table's test rows
    attack                          an attack on every trained network
    kind, images, figures           'images' for a suite of images; entries of its protocol (`vicinal.study.images`); what of the
                                    report it is about
    extends                         another suite, whose entries hold unless given here

A suite of one's own is such a file anywhere, or a folder of tables.
"""

import csv
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self

from vicinal.core.checks import InputError
from vicinal.evaluation import METRICS
from vicinal.study.catalogue import Catalogue

__all__ = ["Suite", "folder_of", "list_suites", "read_suite"]

HOME = resources.files("vicinal.study") / "suites"

COUNTED = {"baseline", "subset", "higher", "on_par", "lower"}
"""Columns of a file of published counts."""

KINDS: dict[str, tuple[Callable[[Any], bool], tuple[str, ...]]] = {
    "text": (
        lambda value: isinstance(value, str),
        ("title", "question", "citation", "protocol", "network", "subject", "published_on", "kind"),
    ),
    "a list of texts": (
        lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value),
        ("datasets", "methods", "metrics", "remarks", "figures"),
    ),
    "a list of numbers of OpenML tables": (
        lambda value: isinstance(value, list) and all(type(v) is int for v in value),
        ("openml",),
    ),
    "a whole number from 1": (lambda value: type(value) is int and value > 0, ("trials",)),
    "a share from 0 to 1": (lambda value: type(value) in (int, float) and 0 <= value <= 1, ("criterion", "balanced")),
    "a table": (lambda value: isinstance(value, dict), ("images",)),
    "a table with a name and methods": (lambda value: _has(value, "name", "methods"), ("best_of",)),
    "a table with a name, steps and a radius": (lambda value: _has(value, "name", "steps", "radius"), ("attack",)),
    "the name of a file or a list of them": (
        lambda value: isinstance(value, list) and all(isinstance(v, Path | Traversable) for v in value),
        ("published", "published_counts"),
    ),
}
"""What an entry must be, and the entries that must be that."""


@dataclass(frozen=True)
class Suite:
    """What a study runs and asks; see the module's text for the fields."""

    name: str
    title: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    question: str = ""
    citation: str = ""
    protocol: str = "paper"
    network: str = "linear"
    trials: int = 5
    subject: str | None = None
    metrics: tuple[str, ...] = ("accuracy", "log_loss")
    criterion: float | None = None
    balanced: float | None = None
    published: tuple[Mapping[str, Any], ...] = ()
    published_counts: tuple[Mapping[str, Any], ...] = ()
    published_on: str = ""
    best_of: Mapping[str, Any] | None = None
    attack: Mapping[str, Any] | None = None
    remarks: tuple[str, ...] = ()
    kind: str = "tables"
    images: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[str, ...] = ()

    def with_attack_steps(self, steps: int | None) -> Self:
        """Return the suite with another step budget for its attack, without numbers published for its own; itself for None.

        Raises:
            InputError: the suite has no attack.
        """
        if steps is None:
            return self
        if self.attack is None:
            raise InputError(f"{self.name} attacks nothing, so it has no steps of an attack; leave out --attack-steps.")
        if steps == self.attack["steps"]:
            return self
        # The published robust accuracies are of the suite's own attack.
        published = [row for row in self.published if row.get("metric", self.metrics[0]) != "robust_accuracy"]
        counts = [row for row in self.published_counts if row.get("metric", self.metrics[0]) != "robust_accuracy"]
        attack = {**self.attack, "steps": steps}
        return replace(self, attack=attack, published=tuple(published), published_counts=tuple(counts))


def list_suites() -> dict[str, str]:
    """Return the names and titles of the suites that come along.

    Examples:
        >>> list_suites()["genlabel/table4"]
        'GenLabel, Table 4: selected tables'
    """
    found = {}
    for paper in sorted(HOME.iterdir(), key=lambda entry: entry.name):
        for file in sorted(paper.iterdir(), key=lambda entry: entry.name) if paper.is_dir() else ():
            if file.name.endswith(".toml"):
                found[f"{paper.name}/{file.name.removesuffix('.toml')}"] = tomllib.loads(file.read_text("utf-8"))[
                    "title"
                ]
    return found


def read_suite(name: str) -> Suite:
    """Return a suite by its name, from a TOML file, or of all tables in a folder.

    Raises:
        InputError: no such suite, file or folder, or a file that is no suite; names what is wrong.

    Examples:
        >>> suite = read_suite("genlabel/table4")
        >>> suite.datasets[-1], suite.methods[-1], suite.published[-1]["value"]
        ('openml:1413', 'genlabel', 96.44)
    """
    if (folder := folder_of(name)) is not None:
        return _of_folder(folder)
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(f"no suite at {name}.")
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name} must be text in UTF-8 ({error.reason}).") from error
        return _suite(path.stem, _entries(text, name, path.parent))
    known = list_suites()
    if name not in known:
        # People say the table's number.
        near = [full for full in known if full.endswith(f"/{name}")] or get_close_matches(name, known, 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise InputError(
            f"no suite is called {name!r}{hint} `vicinal study list` lists them; a folder of tables is one too."
        )
    return _suite(name, _bundled(name))


def folder_of(name: str) -> Path | None:
    """Return the folder of tables that a suite's name stands for; None for any other name, a suite's own above all.

    Examples:
        >>> folder_of("."), folder_of("genlabel/table4")
        (PosixPath('.'), None)
    """
    return Path(name) if name and name not in list_suites() and Path(name).is_dir() else None


def _of_folder(folder: Path) -> Suite:
    catalogue = Catalogue(folder)
    standard = read_suite("genlabel/openml")
    found = {source.dataset for source in catalogue.sources}
    return Suite(
        name=folder.resolve().name,
        title=f"The tables of {folder.resolve().name}",
        question="On which of these tables does each way of training win?",
        datasets=tuple(source.dataset for source in catalogue.sources),
        methods=standard.methods,
        protocol="tuned",
        subject=standard.subject,
        metrics=("accuracy", "log_loss"),
        criterion=standard.criterion,
        balanced=standard.balanced,
        published_on=standard.published_on,
        published=tuple({**row, "protocol": "paper"} for row in standard.published if row["dataset"] in found),
    )


def _bundled(name: str) -> dict[str, Any]:
    return _entries((HOME / f"{name}.toml").read_text("utf-8"), name, HOME / "published")


def _entries(text: str, name: str, beside: Traversable) -> dict[str, Any]:
    """Read a suite's entries and those it inherits; files of published numbers are beside the suite that names them."""
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is no TOML: {error}.") from error
    for key in ("published", "published_counts"):
        files = entries.get(key)
        if isinstance(files, str):
            files = [files] if files else []
        if isinstance(files, list):
            entries[key] = [beside / file if isinstance(file, str) else file for file in files]
    base = entries.pop("extends", None)
    if base is None:
        return entries
    if base not in list_suites():
        raise InputError(f"{name} extends {base!r}, and there is no such suite; `vicinal study list` lists them.")
    inherited = _bundled(base)
    if "openml" in entries or "datasets" in entries:
        inherited = {k: v for k, v in inherited.items() if k not in ("openml", "datasets")}
    return {**inherited, **entries}


def _suite(name: str, entries: dict[str, Any]) -> Suite:
    for what, (holds, keys) in KINDS.items():
        if wrong := [key for key in keys if key in entries and not holds(entries[key])]:
            raise InputError(f"{name} must have {what} in {wrong[0]!r}, got {entries[wrong[0]]!r:.80}.")
    openml = entries.pop("openml", [])
    datasets = [*entries.pop("datasets", []), *(f"openml:{number}" for number in openml)]
    known = {f.name for f in fields(Suite)} - {"name", "datasets"}
    if wrong := sorted(entries.keys() - known):
        raise InputError(
            f"{name} has an entry {wrong[0]!r}; a suite has {', '.join(sorted(known | {'openml', 'datasets'}))}."
        )
    for required, value in (
        ("title", entries.get("title")),
        ("datasets", datasets),
        ("methods", entries.get("methods")),
    ):
        if not value:
            raise InputError(f"{name} must have {required!r}.")
    best_of = entries.get("best_of") or {"name": None, "methods": []}
    for key, named, known in (
        ("kind", [entries.get("kind", "tables")], {"tables", "images"}),
        ("metrics", entries.get("metrics", ()), _metrics(entries)),
        ("best_of", best_of["methods"], {*entries["methods"]}),
        ("attack", [entries["attack"]["name"]] if "attack" in entries else [], {"boundary"}),
        ("subject", [entries["subject"]] if entries.get("subject") else [], {*entries["methods"], best_of["name"]}),
    ):
        if strange := [word for word in named if word not in known]:
            raise InputError(
                f"{name} has {strange[0]!r} in {key!r}; it must be one of {', '.join(filter(None, known))}."
            )
    for key in ("published", "published_counts"):
        entries[key] = _published(entries.get(key, []))
    entries["published"] = [
        row
        for row in entries["published"]
        if row["dataset"] in datasets and row.get("method", entries["methods"][0]) in entries["methods"]
    ]
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()}
    return Suite(name=name, datasets=tuple(datasets), **values)


def _metrics(entries: Mapping[str, Any]) -> set[str]:
    more = ["robust_accuracy"] if "attack" in entries else []
    return {*METRICS, *more, *(["corruption_accuracy"] if entries.get("kind") == "images" else [])}


def _has(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and {*keys} <= value.keys()


def _published(files: list[Traversable]) -> tuple[Mapping[str, Any], ...]:
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for source in files:
        if not source.is_file():
            raise InputError(f"no file of published numbers at {source}.")
        for row in csv.DictReader(source.read_text("utf-8-sig").splitlines()):
            if wrong := {"dataset", "value"} - row.keys() if "baseline" not in row else COUNTED - row.keys():
                raise InputError(f"{source} must have a column {min(wrong)!r}.")
            entry = {key: _read(value) for key, value in row.items() if value != ""}
            # Papers print a number in several tables; the first stands.
            found.setdefault(tuple(v for k, v in entry.items() if isinstance(v, str) and k != "note"), entry)
    return tuple(found.values())


def _read(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
