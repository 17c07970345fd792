"""Train one classifier of images under any vicinity and any objective, by the loop, and read it again."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

from vicinal.core import InputError
from vicinal.core.loop import LoopOptions, LoopResult, check_fits, read_checkpoint, run_loop
from vicinal.data.images import ImageSet
from vicinal.networks import Normalized
from vicinal.training.single.architecture import Architecture
from vicinal.training.single.base import NetworkObjective
from vicinal.training.single.erm import ERM
from vicinal.training.single.task import ClassifierTask, Trainee, ready_for
from vicinal.vicinity import BaseVicinity, Vanilla

__all__ = ["read_classifier", "train_classifier"]


def train_classifier(
    architecture: Architecture,
    images: ImageSet,
    vicinity: BaseVicinity | None = None,
    objective: NetworkObjective | None = None,
    *,
    epochs: int,
    augmented: bool = False,
    validation: ImageSet | None = None,
    about: Mapping[str, Any] | None = None,
    **options: Unpack[LoopOptions],
) -> tuple[Normalized, LoopResult]:
    """Train a classifier of images.

    Args:
        architecture: what to train.
        images: the training images.
        vicinity: what is drawn from them; default `Vanilla`. One that has something to learn is fitted to them.
        objective: the loss of what is drawn; default `ERM`.
        epochs: passes over the images.
        augmented: whether images are cropped and flipped at random first (not their codes).
        validation: images to score after every epoch: 'accuracy' and 'log_loss' in the history, to `keep` the best by.
        about: plain JSON to find in the file of weights, beside the architecture.
        **options: `batch_size`, `descent`, `hardware`, `accumulate`, `seed`, `keep`, `folder`, ...: as of `run_loop`.

    Returns:
        The classifier in evaluation mode, and what the loop tells of its training.

    Raises:
        InputError, DivergedError: as `run_loop`, and images that the space or the network can't take.

    Examples:
        >>> import torch
        >>> from vicinal.evaluation import predict
        >>> x = torch.cat([torch.zeros(20, 1, 12, 12), torch.full((20, 1, 12, 12), 200.0)]).to(torch.uint8)
        >>> images = ImageSet("dark and bright", x, torch.arange(40) // 20, ("dark", "bright"))
        >>> from vicinal.core.loop import Hardware
        >>> small = Architecture.of("lenet-5", images)
        >>> classifier, result = train_classifier(small, images, epochs=5, batch_size=8, hardware=Hardware(device="cpu"))
        >>> predict(classifier, x[[0, 39]]).argmax(1).tolist()
        [0, 1]
    """
    if tuple(images.x.shape[1:]) != tuple(architecture.shape) or len(images.classes) != len(architecture.classes):
        raise InputError(
            f"`images` must be {architecture.shape} with {len(architecture.classes)} classes as the architecture says, got"
            f" {tuple(images.x.shape[1:])} with {len(images.classes)}; make it with `Architecture.of`."
        )
    objective, seed = objective or ERM(), options.get("seed", 0)
    classifier = architecture.make(seed)
    extras = objective.extras(tuple(images.x.shape[1:]), len(images.classes), seed)
    task = ClassifierTask(
        Trainee(classifier, extras), images, ready_for(vicinity or Vanilla(), images), objective, augmented, validation
    )
    result = run_loop(
        task,
        epochs=epochs,
        about={"architecture": asdict(architecture), **(about or {})},
        **options,
    )
    return classifier.eval(), result


def read_classifier(path: str | Path) -> tuple[Normalized, Mapping[str, Any]]:
    """Read the classifier that `train_classifier` left in its folder.

    Args:
        path: `last.safetensors` or `best.safetensors`, or their folder, where the best is preferred.

    Returns:
        The classifier in evaluation mode, on the CPU, and what the file says about it: 'architecture', and what was given to
        `train_classifier`; its history is under 'history', and its epochs under 'epoch'.

    Raises:
        InputError: no file, a torn one, or one of something else.

    Examples:
        After `vicinal train mixup --data cifar-10`::

            classifier, about = read_classifier("runs/cifar-10-mixup-0")
            predict(classifier, images.x)
    """
    path = Path(path)
    if path.is_dir():
        path = path / "best.safetensors" if (path / "best.safetensors").exists() else path / "last.safetensors"
    found = read_checkpoint(path)
    if "architecture" not in found.about:
        raise InputError(f"{path} holds no classifier; `vicinal train` writes them.")
    plain = found.about["architecture"]
    parts: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    architecture = Architecture(**parts)
    classifier = architecture.make()
    prefix = "classifier."
    weights = {name.removeprefix(prefix): value for name, value in found.weights.items() if name.startswith(prefix)}
    check_fits(classifier, weights, path)
    classifier.load_state_dict(weights)
    about = {**found.about, "architecture": architecture, "history": found.history, "epoch": found.epoch}
    return classifier.eval(), {**about, "seconds": found.seconds}
