"""A checkpoint: everything a training needs to go on, as one safetensors file; nothing is pickled."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.core.checks import InputError
from vicinal.core.component import describe, restore
from vicinal.core.files import read_tensors, write_tensors

__all__ = ["Checkpoint", "check_fits", "check_same", "difference", "load_optimizer", "read_checkpoint", "score_of"]

FORMAT = 1

LONGEST = 160
"""Characters of two values that people may still read, beyond which they are keys for machines."""


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
        identity: of task and settings. words: what people call that of which the identity has a hash, by its dotted name.
        about: whatever else the file's owner wants to find in it.
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
    words: Mapping[str, str] = field(default_factory=dict)
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


def check_same(found: Checkpoint, asked: Checkpoint, folder: Path) -> None:
    """Raise unless a checkpoint is of the training that is asked for.

    Raises:
        InputError: names the first thing that differs, in words where its values are no text for people.

    Examples:
        >>> def of(images):
        ...     words = {"task.images": f"{images} of mnist"}
        ...     return Checkpoint(weights={}, identity={"task": {"images": f"{images:x}"}}, words=words)
        >>> check_same(of(500), of(100), Path("runs/mine"))
        Traceback (most recent call last):
        vicinal.core.checks.InputError: runs/mine holds a training with other images (500 of mnist, here 100 of mnist); choose ...
    """
    differs = difference(found.identity, asked.identity)
    if differs is None:
        return
    name, there, here = differs
    if name in asked.words:
        there, here = found.words.get(name, "unnamed ones"), asked.words[name]
        said = f"{here} too, but not the same ones" if there == here else f"{there}, here {here}"
        what = f"other {name.rpartition('.')[2]} ({said})"
    else:
        said = f" ({there!r}, here {here!r})"
        what = f"another `{name}`{said if len(said) < LONGEST else ''}"
    raise InputError(
        f"{folder} holds a training with {what}; choose another folder, give what it was trained with, or delete this one to"
        " start anew."
    )


def difference(there: Any, here: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """Return the dotted name of the first thing that differs, and both its values."""
    if not isinstance(there, Mapping) or not isinstance(here, Mapping):
        return None if there == here else (name, there, here)
    for key in {**here, **there}:
        if found := difference(there.get(key), here.get(key), f"{name}.{key}".removeprefix(".")):
            return found
    return None


def load_optimizer(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Give an optimiser the state that a checkpoint holds.

    Args:
        optimizer: torch's, or one that wraps it.
        state: its `state_dict`, as JSON has it.
    """
    # torch has whole numbers for keys, and JSON has not.
    optimizer.load_state_dict({**state, "state": {int(key): value for key, value in state["state"].items()}})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            # In the parameter's own memory format, which an optimiser's fast paths ask for.
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def score_of(line: Mapping[str, Any], keep: str) -> float:
    """Return what an epoch of the history is kept for, the higher the better; the least for NaN."""
    name = keep.removeprefix("-")
    if name not in line:
        raise InputError(f"`keep` must name a score of an epoch ({', '.join(line)}), got {keep!r}.")
    score = -float(line[name]) if keep.startswith("-") else float(line[name])
    return -math.inf if math.isnan(score) else score
