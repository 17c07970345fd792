"""What a loop trains: a module, and the loss of some of its rows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.core.checks import InputError

__all__ = ["Batch", "Task", "steps_of"]


@dataclass(frozen=True)
class Batch:
    """One step's rows, and the randomness that belongs to it.

    What is drawn is drawn for the whole batch, from a generator that is in the same state in every process; a process then
    computes its own part. So two processes train as one does, but for what depends on a part as a whole: statistics of batch
    norm, and what an objective (not a vicinity) draws or pairs, as adversarial ones and manifold mixup do.

    Attributes:
        index: (B,) rows of the data, the batch of all processes.
        part: which of them this process has in hand, at this stage of the gradient's accumulation.
        generator: on the CPU.
        device: where to compute.
    """

    index: Tensor
    part: slice
    generator: torch.Generator
    device: torch.device


class Task(ABC):
    """Abstract task.

    Attributes:
        module: what is trained, in place.
        rows: N, how many rows an epoch visits.
        least: rows that one call of `loss` needs; where an epoch's last batch has fewer, it is left out.

    Examples:
        Fit a line to three points:

        >>> class Line(Task):
        ...     module, rows = nn.Linear(1, 1), 3
        ...
        ...     def loss(self, module, batch):
        ...         x = batch.index[batch.part, None].float()
        ...         return (module(x) - 2 * x).square().mean()
        >>> from vicinal.core.loop import Descent, Hardware, run_loop
        >>> result = run_loop(Line(), epochs=300, descent=Descent(learning_rate=0.1), hardware=Hardware(device="cpu"))
        >>> round(float(Line.module.weight.detach()), 2)
        2.0
    """

    module: nn.Module
    rows: int
    least: int = 1

    @abstractmethod
    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss of the rows `batch.index[batch.part]`.

        Args:
            module: `self.module`, ready to be called: moved, and wrapped for precision and processes.
            batch: see `Batch`.
        """

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        """Return scores after an epoch; the module is in evaluation mode."""
        return {}

    def identity(self) -> Mapping[str, Any]:
        """Return what a checkpoint must agree with to go on from it, as plain JSON."""
        return {}

    def words(self) -> Mapping[str, str]:
        """Return, by its name, what people call that of which `identity` has a hash: {"images": "60000 of mnist"}."""
        return {}


def steps_of(task: Task, batch_size: int, parts: int, processes: int) -> int:
    """Return the steps of an epoch, whose last rows may be too few to share them out.

    Raises:
        InputError: too few rows for any step.
    """
    least = task.least * parts * processes
    for name, value in (("batch_size", batch_size), ("task.rows", task.rows)):
        if value < least:
            raise InputError(
                f"`{name}` must be at least {least} ({task.least} for each part of a step: {parts} accumulated in {processes}"
                f" processes), got {value}; take fewer parts, or more rows."
            )
    whole, rest = divmod(task.rows, batch_size)
    return whole + (rest >= least)
