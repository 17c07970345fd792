"""From a source to trials: training rows and untouched test rows, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from vicinal.core import InputError, seed_at
from vicinal.data import SYNTHETIC, Table, Vectorizer, load_table

__all__ = ["Problem", "Trial", "read_problem"]

MOST_CLASSES = 100


@dataclass(frozen=True)
class Trial:
    """One split, or one fresh sample.

    Attributes:
        number: from 0. x, y: training rows (N, D) and class indices. x_test, y_test: untouched rows.
        fresh: rows to choose on where the problem can be sampled (x, y), else None.
    """

    number: int
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    fresh: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Problem:
    """What is compared on: a table, or a synthetic problem of section E.1 of the GenLabel paper.

    Attributes:
        name, source: what it is called and where it came from. labels: (K,) names of the classes. counts: rows of each.
        rows, features: size of the table, or of a synthetic training set. synthetic: whether it is sampled afresh.
        notes: what a reader should know of how it was read.
    """

    name: str
    source: str
    labels: list[str]
    counts: list[int]
    rows: int
    features: int
    notes: tuple[str, ...]
    table: Table | None = None

    @property
    def title(self) -> str:
        """The table's own name, whatever a study calls it."""
        return self.name if self.table is None else self.table.name

    @property
    def synthetic(self) -> bool:
        """Whether rows are sampled afresh for every trial."""
        return self.table is None

    def trial(self, number: int, seed: int, test_size: float) -> Trial:
        """Return a trial: the same for the same seed and number, whatever is compared on it."""
        address = seed_at(dataset=self.name, seed=seed, trial=number, purpose="split")
        if self.table is None:
            problem = SYNTHETIC[self.name]
            x, y = problem.sample(seed=address)
            test = problem.sample(problem.test_per_class, seed=address + 1)
            return Trial(number, x, y, *test, fresh=problem.sample(seed=address + 2))
        y = np.searchsorted(self.labels, self.table.target.to_numpy(dtype=str))
        train, held_out = _split(y, test_size, address % 2**32)
        if len(np.unique(y[train])) < 2:
            raise InputError(f"{self.name} has too few rows to split: training rows of only one class were left.")
        vectorizer = Vectorizer().fit(self.table.features.iloc[train])
        x, x_test = (vectorizer.transform(self.table.features.iloc[part]) for part in (train, held_out))
        return Trial(number, x, y[train], x_test, y[held_out])


def read_problem(source: Any, target: str | None = None, name: str | None = None) -> Problem:
    """Read a table as `load_table` does, or take a synthetic problem by name.

    Args:
        source: as `load_table` takes it.
        target: as `load_table` takes it.
        name: what to call it in seeds and records; default the table's own name.

    Raises:
        InputError: what `load_table` raises; a target column for a synthetic problem; more than 100 classes; too few rows.
    """
    if isinstance(source, str) and source in SYNTHETIC:
        if target is not None:
            raise InputError(f"{source} is a synthetic problem and has no target column; leave out --target.")
        problem = SYNTHETIC[source]
        k, n = problem.n_classes, problem.train_per_class
        return Problem(source, "synthetic", [str(c) for c in range(k)], [n] * k, n * k, problem.n_features, ())
    table = load_table(source, target)
    labels, counts = np.unique(table.target.to_numpy(dtype=str), return_counts=True)
    if len(labels) > MOST_CLASSES:
        raise InputError(
            f"{table.name} has {len(labels)} classes, more than {MOST_CLASSES}; is {table.target_name!r} a class?"
        )
    if table.rows < 6:
        raise InputError(f"{table.name} has {table.rows} rows; a comparison on held-out rows needs at least 6.")
    shape = (table.rows, table.features.shape[1])
    return Problem(name or table.name, table.source, labels.tolist(), counts.tolist(), *shape, table.notes, table)


def _split(y: np.ndarray, test_size: float, seed: int) -> Sequence[np.ndarray]:
    """Split rows by class where that can be done; a class of one row is trained on."""
    counts = np.bincount(y)
    alone = np.flatnonzero(counts[y] == 1)
    shared = np.flatnonzero(counts[y] > 1)
    splitters = (StratifiedShuffleSplit, ShuffleSplit)
    for splitter in splitters:
        try:
            train, test = next(splitter(1, test_size=test_size, random_state=seed).split(shared[:, None], y[shared]))
        except ValueError:
            # More classes than test rows: the split can't be stratified.
            continue
        return np.concatenate([shared[train], alone]), shared[test]
    raise InputError("too few rows to hold some out: every class has a single row.")
