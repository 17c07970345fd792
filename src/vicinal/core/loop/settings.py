"""How parameters move, and what the loop runs on."""

import math
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vicinal.core.checks import InputError, check_in, check_number
from vicinal.core.extras import require
from vicinal.core.tensors import check_device

__all__ = ["Descent", "Hardware", "check_processes"]

SCHEDULES = ("constant", "cosine", "multistep")


@dataclass(frozen=True, kw_only=True)
class Descent:
    """The optimiser and its learning rate over time.

    The defaults are the VarMixup paper's (section 4). `Descent(optimizer="sgd", learning_rate=0.1, weight_decay=1e-4,
    schedule="multistep", milestones=(100, 150))` is what the GenLabel paper trains image networks with (Tables 13 and 14).

    Attributes:
        optimizer: 'adam' (betas 0.9 and 0.999), 'adamw' or 'sgd'.
        learning_rate: above 0.
        weight_decay: at least 0.
        momentum: of SGD.
        schedule: 'constant'; 'cosine' to 0 at the end; or 'multistep', times `decay` at every one of `milestones`.
        milestones: epochs, counted from 0, at whose beginning the rate falls.
        decay: see `milestones`.
        warmup: epochs in which the rate rises linearly to its full height.

    Examples:
        >>> descent = Descent(schedule="multistep", milestones=(2, 3), decay=0.1)
        >>> [round(descent.rate(epoch, epochs=4), 6) for epoch in (0, 1.9, 2, 3)]
        [0.001, 0.001, 0.0001, 1e-05]
        >>> Descent(schedule="cosine").rate(5, epochs=10)
        0.0005
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_in("optimizer", self.optimizer, ("adam", "adamw", "sgd"))
        check_in("schedule", self.schedule, SCHEDULES)
        if (self.schedule == "multistep") != bool(self.milestones):
            raise InputError(
                f"`milestones` must name the epochs at which a 'multistep' schedule falls, and no other has them, got"
                f" {self.milestones!r} for {self.schedule!r}; give some, as in milestones=(100, 150), or another schedule."
            )
        check_number("learning_rate", self.learning_rate, 0, open_low=True)
        check_number("weight_decay", self.weight_decay, 0)
        check_number("momentum", self.momentum, 0, 1, open_high=True)
        check_number("warmup", self.warmup, 0)

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return torch's optimiser."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, self.learning_rate, self.momentum, weight_decay=self.weight_decay)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, self.learning_rate, weight_decay=self.weight_decay)

    def rate(self, epoch: float, epochs: int) -> float:
        """Return the learning rate when `epoch` epochs (2.5: in the middle of the third) of `epochs` are done."""
        scale = min(1.0, epoch / self.warmup) if self.warmup else 1.0
        if self.schedule == "cosine":
            scale *= (1 + math.cos(math.pi * epoch / epochs)) / 2
        elif self.schedule == "multistep":
            scale *= self.decay ** sum(epoch >= milestone for milestone in self.milestones)
        return self.learning_rate * scale


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What the loop runs on, and how it computes there.

    Attributes:
        device: 'auto' (CUDA, else MPS, else CPU), or torch's name for one, such as 'cpu' or 'cuda:1'.
        processes: how many devices, a process each (distributed data parallel). Batches are shared out: `batch_size` is
            the global one. `torchrun` starts them, or the loop itself starts the running command again: all that the command
            does, each of them does.
        precision: '32-true', '16-mixed' or 'bf16-mixed', as Lightning Fabric names them.
        channels_last: keep images' channels last in memory: on CPUs, and on GPUs in mixed precision, convolutions are faster so.
        compile: run the module through `torch.compile`.

    Examples:
        >>> Hardware(device="cpu").found()
        'cpu'
    """

    device: str = "auto"
    processes: int = 1
    precision: str = "32-true"
    channels_last: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        check_in("precision", self.precision, ("32-true", "16-mixed", "bf16-mixed"))
        check_number("processes", self.processes, 1, whole=True)

    def found(self) -> str:
        """Return the device that 'auto' comes to here, checked.

        Raises:
            InputError: torch can't use the device.
        """
        if self.device != "auto":
            check_device(self.device)
            named = torch.device(self.device)
            if self.processes > 1 and named.index is not None:
                raise InputError(
                    f"`device` must not be a single one for {self.processes} processes, got {self.device!r}; give {named.type!r}."
                )
            return named.type if named.type == "cpu" else str(named)
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def start(self) -> Any:
        """Return Lightning Fabric on this hardware, its processes started.

        Raises:
            InputError: torch can't use the device, or the processes can't be started.
            ImportError: lightning-fabric is not installed; the message holds the pip command.
        """
        device = torch.device(self.found())
        check_processes(self.processes)
        found = require("lightning_fabric", "images").Fabric(
            accelerator={"cpu": "cpu", "cuda": "cuda", "mps": "mps"}.get(device.type, "auto"),
            devices=self.processes if device.index is None or self.processes > 1 else [device.index],
            strategy="ddp" if self.processes > 1 else "auto",
            precision=self.precision,
        )
        if self.processes > 1:
            found.launch()
        return found


def check_processes(processes: int) -> None:
    """Raise where processes were started, but not so many, or where the loop can't start them.

    Raises:
        InputError: says how to start them.
    """
    started = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1
    if started not in (1, processes):
        raise InputError(
            f"`processes` must be the {started} that were started, got {processes}; give {started}, or start the command"
            f" with torchrun --nproc-per-node {processes}."
        )
    # Fabric starts the running command again, which needs to be one.
    again = sys.modules["__main__"].__spec__ is not None or os.path.isfile(sys.argv[0])
    if processes > 1 and started == 1 and ("ps1" in vars(sys) or not again):
        raise InputError(
            f"`processes` can't be {processes} in an interactive session, which can't be started again; put it into a script,"
            f" and run that, or torchrun --nproc-per-node {processes} with it."
        )
