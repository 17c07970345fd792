"""What a loop takes, tells while it runs, and leaves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from vicinal.core.checks import InputError
from vicinal.core.loop.settings import Descent, Hardware

__all__ = ["DivergedError", "LoopOptions", "LoopProgress", "LoopResult"]


class DivergedError(InputError):
    """The loss, or a weight, became infinite or NaN."""


class LoopOptions(TypedDict, total=False):
    """What `run_loop` takes beside the task and the epochs, for functions that hand it on."""

    batch_size: int
    descent: Descent | None
    hardware: Hardware | None
    accumulate: int
    seed: int
    keep: str | None
    folder: str | Path | None
    checkpoint_minutes: float
    tensorboard: bool
    tell: "Callable[[LoopProgress], None] | None"


@dataclass(frozen=True)
class LoopProgress:
    """What a running loop tells.

    Attributes:
        epoch: whole epochs done, of `epochs`. step: of `steps`, over all epochs.
        loss: mean over the running epoch. scores: of the last evaluation.
        seconds: of training so far. left: a guess of the seconds to go, None before the first step.
        resumed: the step that this run went on from, 0 for a fresh one; one that goes on tells so before its first step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    scores: Mapping[str, float]
    seconds: float
    left: float | None
    resumed: int = 0


@dataclass(frozen=True)
class LoopResult:
    """What came of a loop; the task's module holds the weights.

    Attributes:
        history: one mapping an epoch: 'epoch' (from 1), 'loss', 'learning_rate', 'seconds', and the task's scores.
        seconds: of training, over all resumptions.
        device: where it ran.
        resumed: the step that this run went on from, 0 for a fresh one.
        best_epoch: whose weights were kept, from 1.
    """

    history: tuple[Mapping[str, Any], ...]
    seconds: float
    device: str
    resumed: int
    best_epoch: int
