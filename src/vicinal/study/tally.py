"""Where a study stands, from its folder alone: nothing is trained, and torch is not loaded."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vicinal.core.checks import InputError
from vicinal.study.analysis import analyse, analyse_images
from vicinal.study.store import Problem, Store

__all__ = ["Tally", "manifest_of", "summary_of", "tally_of"]


@dataclass(frozen=True)
class Tally:
    """Where a study stands.

    Attributes:
        planned, done, failed: records. seconds: since the start. seconds_left: a guess, or None before anything is done.
        conflicts: records that differ from ones stored before; both are kept. running: units that are being worked on.
    """

    planned: int
    done: int
    failed: int
    seconds: float = 0.0
    seconds_left: float | None = None
    conflicts: tuple[Problem, ...] = ()
    running: int = 0

    @property
    def left(self) -> int:
        """Records that are neither done nor failed."""
        return self.planned - self.done - self.failed


def manifest_of(store: Store) -> Mapping[str, Any]:
    """Return what a study's folder says of its plan.

    Raises:
        InputError: the folder holds no study, or a study.json without a plan.

    Examples:
        >>> manifest_of(Store("nowhere"))
        Traceback (most recent call last):
        vicinal.core.checks.InputError: no study at nowhere; `vicinal study run SUITE --out nowhere` makes one.
    """
    manifest = store.manifest
    if manifest is None:
        raise InputError(f"no study at {store.folder}; `vicinal study run SUITE --out {store.folder}` makes one.")
    if "planned" not in manifest:
        raise InputError(
            f"{store.folder / 'study.json'} names no planned records; run the study again, which writes it anew."
        )
    return manifest


def tally_of(store: Store) -> tuple[Tally, dict[str, Counter[str]]]:
    """Count a study's records by their file names: in all, and of every method.

    Returns:
        The tally, and by method a counter of 'done', 'failed' and 'left'. Records of other plans in the folder don't count.

    Examples:
        >>> import tempfile
        >>> from vicinal.study.record import Axes, make_record
        >>> store, axes = Store(tempfile.mkdtemp()), Axes("iris", "mixup", "paper", "linear", trials=2)
        >>> planned = [[axes.key, "scores", "iris", "mixup"], ["0" * 16, "scores", "iris", "vanilla"]]
        >>> store.write_manifest({"planned": planned})
        >>> store.write(make_record(axes, {"accuracy": [0.5, 1.0]}))
        >>> tally, methods = tally_of(store)
        >>> tally.done, tally.left, methods["vanilla"]["left"]
        (1, 1, 1)
    """
    index = store.index()
    methods: dict[str, Counter[str]] = {}
    for key, _, _, method in manifest_of(store)["planned"]:
        methods.setdefault(method, Counter())[index[key].status if key in index else "left"] += 1
    total: Counter[str] = sum(methods.values(), Counter())
    return Tally(total.total(), total["done"], total["failed"]), methods


def summary_of(store: Store) -> dict[str, Any]:
    """Return the summary of a study that its report and exports are made from; what could not be read is among its notes.

    Examples:
        From a folder to its report::

            write_study_report(summary_of(Store("studies/mine")), "report.html")
    """
    manifest = manifest_of(store)
    frame = store.frame([row[0] for row in manifest["planned"]], kind=None)
    notes = [*(manifest.get("notes") or []), *map(str, store.problems)]
    told = {**manifest, "notes": notes}
    if manifest.get("kind") == "images":
        return analyse_images(frame[frame["kind"] == "scores"], told)
    return analyse(frame[frame["kind"] == "scores"], frame[frame["kind"] == "profile"], told)
