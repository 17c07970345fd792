"""Train one classifier of images under any vicinity and any objective, by the loop.

    rows of a batch --pixels, or codes--> vicinity --points, labels--> objective --loss--> the loop

Codes of a space are those of the images as they are, computed once; decoding what was mixed is the only cost of a step.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Unpack

import torch
from sklearn.base import clone
from torch import Tensor, nn

from vicinal.core import InputError
from vicinal.core.loop import Batch, LoopOptions, LoopResult, Task, check_fits, read_checkpoint, run_loop
from vicinal.data.images import ImageSet, augment
from vicinal.evaluation import predict, score_probabilities
from vicinal.networks import Normalized, make_network
from vicinal.training.single.base import NetworkObjective
from vicinal.training.single.erm import ERM
from vicinal.vicinity import BaseVicinity, Vanilla
from vicinal.vicinity.base import Codes, share_out

__all__ = ["Architecture", "mixed_images", "read_classifier", "ready_for", "train_classifier"]

CHUNK = 1024
"""Images whose codes are computed at once."""


@dataclass(frozen=True)
class Architecture:
    """What it takes to make a classifier again: a file of weights says it of its network.

    Attributes:
        network: a name of `vicinal.networks.NETWORKS`, or 'torchvision:NAME', 'timm:NAME'.
        shape: of an image, (C, H, W).
        classes: their names.
        mean, std: of every channel, in pixels from 0 to 1: what the network's input is normalised by.

    Examples:
        >>> small = Architecture("small-resnet", (1, 28, 28), ("a", "b"), (0.5,), (0.25,))
        >>> small.make(seed=0)(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 2])
    """

    network: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, network: str, images: ImageSet) -> "Architecture":
        """Return the architecture for these images, normalised by their own statistics."""
        mean, std = images.channel_statistics()
        channels, height, width = images.x.shape[1:]
        # A channel of one value has no scale.
        scale = tuple(value or 1.0 for value in std.tolist())
        return cls(network, (channels, height, width), images.classes, tuple(mean.tolist()), scale)

    def make(self, seed: int = 0) -> Normalized:
        """Return a fresh classifier, from pixels in [0, 1] to logits.

        Raises:
            InputError: no such network, or one that can't take such images.
        """
        try:
            network = make_network(self.network, len(self.classes), self.shape[0], self.shape[1], seed)
        except ValueError as error:
            raise InputError(str(error)) from error
        return Normalized(network, self.mean, self.std)


class _Trained(nn.Module):
    """A classifier and the networks that its objective brings."""

    def __init__(self, classifier: nn.Module, extras: nn.ModuleDict) -> None:
        super().__init__()
        self.classifier, self.extras = classifier, extras

    def forward(self, x: Tensor) -> Any:
        return self.classifier(x)


@dataclass
class _ClassifierTask(Task):
    """A vicinity's points under an objective, as a task of the loop."""

    module: _Trained
    images: ImageSet
    vicinity: BaseVicinity
    objective: NetworkObjective
    augmented: bool
    validation: ImageSet | None
    codes: Any = field(init=False)

    def __post_init__(self) -> None:
        self.rows = len(self.images)
        normed = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.module.modules())
        self.least = 2 if normed else 1  # of one row there is no variance
        self.codes = _codes_of(self.vicinity, self.images)

    def identity(self) -> Mapping[str, Any]:
        return {
            "images": self.images.fingerprint,
            "vicinity": f"{self.vicinity.mixing_key()} {[(w, part.key()) for w, part in self.vicinity.terms()]}",
            "objective": self.objective.key(),
            "augmented": self.augmented,
        }

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        x = (self.images.x[batch.index].to(batch.device).float() / 255).contiguous(memory_format=torch.channels_last)
        if self.augmented:
            x = augment(x, batch.generator)
        y = self.images.y[batch.index].to(batch.device)
        rows = torch.zeros(len(y), len(self.images.classes), device=batch.device).scatter_(1, y[:, None], 1)
        mixed = self.vicinity.draw_rows(_taken(self.codes, batch.index, x), rows, generator=batch.generator)
        # Drawn for the whole batch, computed for the part in hand.
        weight = share_out(mixed.weight)[batch.part]
        mixed = mixed.part(batch.part)
        points, labels = self.vicinity.decode(mixed), self.vicinity.label(mixed)
        return self.objective.loss(module, points, labels * weight, batch.generator, self.module.extras)

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        if self.validation is None:
            return {}
        scores = score_probabilities(predict(self.module.classifier, self.validation.x), self.validation.y.numpy())
        return {name: scores[name] for name in ("accuracy", "log_loss")}


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
    task = _ClassifierTask(
        _Trained(classifier, extras), images, ready_for(vicinity or Vanilla(), images), objective, augmented, validation
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


def ready_for(vicinity: BaseVicinity, images: ImageSet) -> BaseVicinity:
    """Return a copy of a vicinity that is fitted to images, if there is anything to learn.

    Examples:
        To mix images by hand::

            ready_for(VarMixup(space), images)(images.pixels([0, 1]), images.y[:2])
    """
    made: BaseVicinity = clone(vicinity)
    if made.learns():
        return made.fit(images.pixels(), images.y, len(images.classes))
    return made.set_params(n_classes=len(images.classes))  # type: ignore[no-any-return]


def mixed_images(vicinity: BaseVicinity, images: ImageSet, count: int, generator: torch.Generator) -> Tensor:
    """Return images as a vicinity draws them from random images, in batches of 128.

    Args:
        vicinity: ready for these images, as `ready_for` makes it.
        images: what to mix.
        count: how many mixed images.
        generator: of all draws.

    Returns:
        (count, C, H, W) pixels.

    Examples:
        What a training sees::

            mixed_images(ready_for(Mixup(), images), images, 32, torch.Generator())
    """
    order = torch.cat([torch.randperm(len(images), generator=generator) for _ in range(-(-count // len(images)))])[
        :count
    ]
    found = []
    for index in order.split(128):
        rows = nn.functional.one_hot(images.y[index], len(images.classes)).float()
        codes = vicinity.encode(images.pixels(index))
        found.append(vicinity.decode(vicinity.draw_rows(codes, rows, generator=generator)))
    return torch.cat(found)


def _codes_of(vicinity: BaseVicinity, images: ImageSet) -> Any:
    """Return the codes of all images; None, whole or in a tuple, where a vicinity mixes the images themselves."""

    def kept(codes: Codes, chunk: Tensor) -> Any:
        if isinstance(codes, tuple):
            return tuple(kept(part, chunk) for part in codes)
        return None if codes is chunk else codes

    def joined(parts: list[Any]) -> Any:
        if isinstance(parts[0], tuple):
            return tuple(joined(list(part)) for part in zip(*parts, strict=True))
        return None if parts[0] is None else torch.cat(parts)

    found = []
    for start in range(0, len(images), CHUNK):
        chunk = images.pixels(slice(start, start + CHUNK))
        found.append(kept(vicinity.encode(chunk), chunk))
        if found[0] is None:  # as most: nothing to keep
            return None
    return joined(found)


def _taken(codes: Any, index: Tensor, x: Tensor) -> Codes:
    """Return a batch's codes, and its points where there are none."""
    if isinstance(codes, tuple):
        return tuple(_taken(part, index, x) for part in codes)
    return x if codes is None else codes[index].to(x.device)
