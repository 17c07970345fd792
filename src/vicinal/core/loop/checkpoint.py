"""A checkpoint: everything a training needs to go on, as one safetensors file; nothing is pickled."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vicinal.core.checks import InputError
from vicinal.core.component import describe, restore
from vicinal.core.files import read_tensors, write_tensors

__all__ = ["Checkpoint", "check_fits", "difference", "read_checkpoint", "with_numbers"]

FORMAT = 1


@dataclass(kw_only=True)
class Checkpoint:
    """Where a training stands.

    Attributes:
        weights: the module's `state_dict`.
        optimizer: the optimiser's. scaler: of mixed precision, where there is one.
        epoch, step: done so far: whole epochs, and steps of the next one.
        sums: of the running epoch: the loss, and how many steps it is over.
        seconds: of training so far, over all resumptions.
        best: the best score so far. history: one mapping an epoch.
        identity: of task and settings. about: whatever else the file's owner wants to find in it.
    """

    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    scaler: Mapping[str, Any] = field(default_factory=dict)
    epoch: int = 0
    step: int = 0
    sums: tuple[float, int] = (0.0, 0)
    seconds: float = 0.0
    best: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    identity: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            InputError: the disk is full or can't be written to; an older checkpoint stays.
        """
        tensors: dict[str, Tensor] = {}
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = describe(parts, tensors=tensors, path="checkpoint")
        write_tensors(path, tensors, {"format": FORMAT, "checkpoint": plain})


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read what `Checkpoint.write` wrote.

    Raises:
        InputError: no such file, a torn one, no checkpoint, or one of a newer vicinal.

    Examples:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Checkpoint(weights={"w": torch.ones(2)}, epoch=3).write(f"{folder}/last.safetensors")
        ...     again = read_checkpoint(f"{folder}/last.safetensors")
        >>> again.epoch, again.weights["w"].tolist()
        (3, [1.0, 1.0])
    """
    tensors, plain = read_tensors(path)
    if "checkpoint" not in plain:
        raise InputError(f"{path} is no checkpoint of a training; `vicinal train` writes them.")
    if plain["format"] > FORMAT:
        raise InputError(f"{path} was written by a newer vicinal (format {plain['format']}); upgrade with pip.")
    parts = restore(plain["checkpoint"], tensors)
    return Checkpoint(**{**parts, "sums": tuple(parts["sums"])})


def check_fits(module: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise unless weights are those of such a module.

    Raises:
        InputError: names the first tensor that is missing, left over or of another shape.

    Examples:
        >>> check_fits(nn.Linear(2, 1), {"weight": nn.Linear(3, 1).weight}, "a.safetensors")
        Traceback (most recent call last):
        vicinal.core.checks.InputError: a.safetensors holds another network: `weight` is (1, 3) there, and here (1, 2); give ...
    """
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in weights.items()}
    for name in [*own, *theirs]:
        if own.get(name) != theirs.get(name):
            raise InputError(
                f"{path} holds another network: `{name}` is {theirs.get(name, 'missing')} there, and here"
                f" {own.get(name, 'missing')}; give the network and data set that it was trained with."
            )


def difference(there: Any, here: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """Return the dotted name of the first thing that differs, and both its values."""
    if not isinstance(there, Mapping) or not isinstance(here, Mapping):
        return None if there == here else (name, there, here)
    for key in {**here, **there}:
        if found := difference(there.get(key), here.get(key), f"{name}.{key}".removeprefix(".")):
            return found
    return None


def with_numbers(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimiser's state with whole numbers for keys, as torch has them and JSON has not."""
    return {**state, "state": {int(key): value for key, value in state["state"].items()}}
