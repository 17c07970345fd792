"""A vicinity's points under an objective, as a task of the loop.

    rows of a batch --pixels, or codes--> vicinity --points, labels--> objective --loss--> the loop

Codes of a space are those of the images as they are, computed once; decoding what was mixed is the only cost of a step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from sklearn.base import clone
from torch import Tensor, nn

from vicinal.core import generator_at
from vicinal.core.loop import Batch, Task
from vicinal.data.images import ImageSet, augment
from vicinal.evaluation import predict, score_probabilities
from vicinal.training.single.base import NetworkObjective
from vicinal.vicinity import BaseVicinity
from vicinal.vicinity.base import Codes, share_out

__all__ = ["ClassifierTask", "Trainee", "mixed_images", "ready_for"]

CHUNK = 1024
"""Images whose codes are computed at once."""


class Trainee(nn.Module):
    """A classifier, and the networks that its objective brings: what a loop trains."""

    def __init__(self, classifier: nn.Module, extras: nn.ModuleDict) -> None:
        super().__init__()
        self.classifier, self.extras = classifier, extras

    def forward(self, x: Tensor) -> Any:
        """Return the classifier's logits (B, K)."""
        return self.classifier(x)


@dataclass
class ClassifierTask(Task):
    """A vicinity's points under an objective, as a task of the loop.

    Args:
        module: the classifier and the objective's networks.
        images: to train on.
        vicinity: ready for them, see `ready_for`.
        objective: the loss.
        augmented: whether images are cropped and flipped at random first (not their codes).
        validation: images to score after every epoch.

    Examples:
        What `train_classifier` does::

            trainee = Trainee(classifier, objective.extras(shape, n_classes, seed))
            run_loop(ClassifierTask(trainee, images, ready_for(Mixup(), images), objective), epochs=100)
    """

    module: Trainee
    images: ImageSet
    vicinity: BaseVicinity
    objective: NetworkObjective
    augmented: bool = False
    validation: ImageSet | None = None
    codes: Any = field(default=None, init=False)
    placed: torch.device | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.rows = len(self.images)
        normed = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.module.modules())
        self.least = 2 if normed else 1  # of one row there is no variance

    def identity(self) -> Mapping[str, Any]:
        """Return what decides the numbers; see `Task.identity`."""
        return {
            "images": self.images.fingerprint,
            "vicinity": f"{self.vicinity.mixing_key()} {[(w, part.key()) for w, part in self.vicinity.terms()]}",
            "objective": self.objective.key(),
            "augmented": self.augmented,
        }

    def words(self) -> Mapping[str, str]:
        """Return what the images are; see `Task.words`."""
        return {"images": f"{len(self.images)} of {self.images.name}"}

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Draw, decode, label, and ask the objective; see `Task.loss`."""
        x = (self.images.x[batch.index].to(batch.device).float() / 255).contiguous(memory_format=torch.channels_last)
        if self.augmented:
            x = augment(x, batch.generator)
        y = self.images.y[batch.index].to(batch.device)
        rows = torch.zeros(len(y), len(self.images.classes), device=batch.device).scatter_(1, y[:, None], 1)
        if self.placed != batch.device:  # densities and filters learn on the CPU
            self.placed = batch.device
            self.vicinity.to(batch.device)
            self.codes = _codes_of(self.vicinity, self.images, batch.device)
        mixed = self.vicinity.draw_rows(_taken(self.codes, batch.index, x), rows, generator=batch.generator)
        # Drawn for the whole batch, computed for the part in hand.
        weight = share_out(mixed.weight)[batch.part]
        mixed = mixed.part(batch.part)
        points, labels = self.vicinity.decode(mixed), self.vicinity.label(mixed)
        own = batch.generator
        if batch.part.start:  # what an objective draws, it draws for its own rows
            own = generator_at(seed=own.initial_seed(), part=batch.part.start, purpose="objective")
        return self.objective.loss(module, points, labels * weight, own, self.module.extras)

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        """Score the validation images, if there are any; see `Task.evaluate`."""
        if self.validation is None:
            return {}
        scores = score_probabilities(predict(self.module.classifier, self.validation.x), self.validation.y.numpy())
        return {name: scores[name] for name in ("accuracy", "log_loss")}


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


def mixed_images(
    vicinity: BaseVicinity, images: ImageSet, count: int, generator: torch.Generator, batch_size: int = 128
) -> Tensor:
    """Return images as a vicinity draws them from random images.

    Args:
        vicinity: ready for these images, as `ready_for` makes it.
        images: what to mix.
        count: how many mixed images.
        generator: of all draws.
        batch_size: images at a time, which are mixed among themselves.

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
    for index in order.split(batch_size):
        rows = nn.functional.one_hot(images.y[index], len(images.classes)).float()
        codes = vicinity.encode(images.pixels(index))
        found.append(vicinity.decode(vicinity.draw_rows(codes, rows, generator=generator)))
    return torch.cat(found)


def _codes_of(vicinity: BaseVicinity, images: ImageSet, device: torch.device) -> Any:
    """Return the codes of all images; None, whole or in a tuple, where a vicinity mixes the images themselves.

    Computed on the device and kept off it, where they need not find room.
    """

    def kept(codes: Codes, chunk: Tensor) -> Any:
        if isinstance(codes, tuple):
            return tuple(kept(part, chunk) for part in codes)
        return None if codes is chunk else codes

    def filled(whole: Any, part: Any, start: int) -> Any:
        # Into one tensor, as parts that are joined at the end take twice the memory.
        if isinstance(part, tuple):
            wholes = (None,) * len(part) if whole is None else whole
            return tuple(filled(one, other, start) for one, other in zip(wholes, part, strict=True))
        if part is None:
            return None
        if whole is None:
            whole = torch.empty(len(images), *part.shape[1:], dtype=part.dtype)
        whole[start : start + len(part)] = part
        return whole

    found: Any = None
    for start in range(0, len(images), CHUNK):
        chunk = images.pixels(slice(start, start + CHUNK)).to(device)
        found = filled(found, kept(vicinity.encode(chunk), chunk), start)
        if found is None:  # as most: nothing to keep
            return None
    return found


def _taken(codes: Any, index: Tensor, x: Tensor) -> Codes:
    """Return a batch's codes, and its points where there are none."""
    if isinstance(codes, tuple):
        return tuple(_taken(part, index, x) for part in codes)
    return x if codes is None else codes[index].to(x.device)
