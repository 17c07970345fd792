"""What a long training tells while it runs."""

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True)
class Progress:
    """One report of a running stack.

    Attributes:
        done: replica steps done so far.
        total: replica steps in all.
        loss: mean training loss (cross entropy against the vicinal labels) of the last batches, in nats.
    """

    done: int
    total: int
    loss: float
