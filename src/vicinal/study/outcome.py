"""What came of a comparison: scores, probabilities, choices and networks by method and trial."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from vicinal.evaluation import METRICS, score_probabilities
from vicinal.study.methods import Method
from vicinal.study.protocol import Protocol
from vicinal.study.trials import Problem, Trial

__all__ = ["Comparison", "Outcome", "Tested"]


@dataclass(frozen=True)
class Tested:
    """One method on one trial.

    Attributes:
        probabilities: (N_test, K). selected: what was chosen.
        network: the trained network, on the CPU; its inputs are features as `make_group` gives them. None where there is none.
    """

    probabilities: np.ndarray
    selected: dict[str, Any]
    network: nn.Module | None = None


@dataclass
class Outcome:
    """What one method did, trial by trial.

    Attributes:
        scores: by metric, one number a trial.
        probabilities, selected, networks: see `Tested`, one a trial.
        seconds: its share of the time of the stacked runs.
    """

    scores: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})
    probabilities: list[np.ndarray] = field(default_factory=list)
    selected: list[dict[str, Any]] = field(default_factory=list)
    networks: list[nn.Module | None] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, tested: Tested, y: np.ndarray) -> None:
        """Score a trial by its test labels (N_test,)."""
        for name, value in score_probabilities(tested.probabilities, y).items():
            self.scores[name].append(value)
        self.probabilities.append(tested.probabilities)
        self.selected.append(tested.selected)
        self.networks.append(tested.network)


@dataclass
class Comparison:
    """Everything that came of a comparison.

    Attributes:
        problem, protocol, methods, seed, asked: what was run; `asked` trials were asked for.
        outcomes: by method name; those of `trials` that are done.
        device: where it ran. seconds: of the whole.
    """

    problem: Problem
    protocol: Protocol
    methods: list[Method]
    seed: int
    asked: int
    outcomes: dict[str, Outcome]
    trials: list[Trial]
    device: str
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every trial that was asked for is there."""
        return len(self.trials) == self.asked
