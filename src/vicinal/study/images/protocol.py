"""Protocols of image studies: how classifiers and spaces are trained, and what they are tested on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from vicinal.core import InputError, check_number
from vicinal.core.loop import Descent
from vicinal.data.images import CORRUPTIONS, SEVERITIES
from vicinal.data.images.corruptions import check_corruptions, check_severities
from vicinal.spaces import MMDVAE

__all__ = ["TESTING", "ImageProtocol", "read_image_protocol"]

TESTING = (
    "attacked_images",
    "batch_size",
    "corruptions",
    "epsilon",
    "linearity",
    "linearity_images",
    "severities",
    "test_images",
)
"""Entries that say how a classifier is tested, whatever it was trained by."""


@dataclass(frozen=True)
class ImageProtocol:
    """How methods are trained and tested; the defaults are the VarMixup paper's (section 4) where it says them.

    Attributes:
        network: a name of `vicinal.networks.NETWORKS`.
        epochs: of every method; None for each method's own of the paper.
        batch_size, learning_rate, weight_decay, optimizer, schedule, milestones: of the classifier's training; see `Descent`.
        augmented: random crops and flips; the paper does not say, and its clean accuracies are of such training.
        train_images: how many of the training images, drawn by the trial; None for all.
        test_images: how many of the test images are corrupted, the same for every trial; None for all. Clean scores are of all.
        alpha: of mixup's Beta, the paper's eta. manifold_alpha: of manifold mixup's. manifold_layers: where it mixes.
        epsilon, step_size: of AT, TRADES and IAT, in pixels from 0 to 1. attack_steps: of their search; the paper does not say.
        beta: of TRADES. gamma: the posterior's share in varmixup-genlabel.
        vae: parameters of `MMDVAE`. vae_epsilon: of the adversarial one, in pixels from 0 to 1.
        space_images: a data set from which spaces learn instead of the training images, brought to their size; '' for these.
        corruptions, severities: of the corrupted test images: the published set where its folder is beside the images, else
            the test images corrupted here.
        linearity: the epsilons of the local linear error (Figure 3), in pixels from 0 to 1; none leaves it out.
        linearity_images: how many test images it is the mean over.
        distance_images: how many mixed images' FID and KID are computed (Figure 4); 0 leaves it out.
        attacked_images: how many test images AutoAttack tries to turn within epsilon; 0 leaves it out.

    Examples:
        >>> ImageProtocol().epochs is None, ImageProtocol(epochs=15).epochs
        (True, 15)
    """

    network: str = "resnet-34"
    epochs: int | None = None
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimizer: str = "adam"
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    augmented: bool = True
    train_images: int | None = None
    test_images: int | None = None
    alpha: float = 1.0
    manifold_alpha: float = 2.0
    manifold_layers: tuple[str, ...] = ("input", "layer1", "layer2")
    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    attack_steps: int = 10
    beta: float = 6.0
    gamma: float = 0.5
    vae: Mapping[str, Any] = field(default_factory=dict)
    vae_epsilon: float = 8 / 255
    space_images: str = ""
    corruptions: tuple[str, ...] = CORRUPTIONS
    severities: tuple[int, ...] = SEVERITIES
    linearity: tuple[float, ...] = (2 / 255, 4 / 255, 8 / 255)
    linearity_images: int = 1000
    distance_images: int = 0
    attacked_images: int = 0

    def __post_init__(self) -> None:
        # What is wrong is said now, and not after hours of training.
        for name in ("epochs", "train_images", "test_images"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 1, whole=True)
        check_number("batch_size", self.batch_size, 1, whole=True)
        for name in ("linearity_images", "distance_images", "attacked_images"):
            check_number(name, getattr(self, name), 0, whole=True)
        if self.distance_images == 1:
            raise InputError("`distance_images` must be 0 for none, or at least 2, got 1; one image has no spread.")
        for name in ("linearity", "corruptions", "severities", "milestones", "manifold_layers"):
            if not isinstance(getattr(self, name), tuple):
                raise InputError(f"`{name}` must be a list, got {getattr(self, name)!r}; write it in brackets.")
        for epsilon in self.linearity:
            check_number("linearity", epsilon, 0)
        for name in ("alpha", "manifold_alpha"):
            check_number(name, getattr(self, name), 0, open_low=True)
        for name, highest in (("epsilon", 1), ("step_size", 1), ("vae_epsilon", 1), ("gamma", 1), ("beta", math.inf)):
            check_number(name, getattr(self, name), 0, highest)
        check_number("attack_steps", self.attack_steps, 0, whole=True)
        check_corruptions(self.corruptions)
        check_severities(self.severities)
        if not self.corruptions or not self.severities:
            raise InputError("`corruptions` and `severities` must name at least one each, got none.")
        self.descent()

    def descent(self) -> Descent:
        """Return the classifier's optimiser and schedule."""
        return Descent(
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            milestones=self.milestones,
        )

    def space(self, kind: str, seed: int, device: str = "auto", precision: str = "32-true") -> MMDVAE:
        """Return the space that a method needs, not fitted: 'vae' or 'adv-vae'."""
        epsilon = self.vae_epsilon if kind == "adv-vae" else 0.0
        return MMDVAE(**{"epsilon": epsilon, "seed": seed, "device": device, "precision": precision, **self.vae})


def read_image_protocol(given: Mapping[str, Any], base: ImageProtocol | None = None) -> ImageProtocol:
    """Return a protocol with some entries given, as they stand in a suite's file.

    Raises:
        InputError: an entry that a protocol has not, or a value of another kind; names the nearest.

    Examples:
        >>> read_image_protocol({"network": "small-resnet", "severities": [1, 3]}).severities
        (1, 3)
    """
    base = base or ImageProtocol()
    known = {f.name: getattr(base, f.name) for f in fields(ImageProtocol)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}."
            raise InputError(f"a protocol of images has no entry {key!r}; {hint}")
        # That a list must be one is said below.
        kinds = () if isinstance(known[key], tuple) else (bool, str, Mapping)
        if any(isinstance(known[key], kind) != isinstance(value, kind) for kind in kinds):
            raise InputError(f"{key!r} of a protocol must be like {known[key]!r}, got {value!r}.")
        values[key] = tuple(value) if isinstance(value, list) else value
    if "vae" in values:
        allowed = MMDVAE._get_param_names()
        if strange := sorted(values["vae"].keys() - set(allowed)):
            raise InputError(f"a protocol's 'vae' has no entry {strange[0]!r}; it has {', '.join(allowed)}.")
    try:
        return replace(base, **values)
    except TypeError as error:
        raise InputError(str(error)) from error
