"""What a classifier of images is made of, so that a file of weights can say it."""

from dataclasses import dataclass

from vicinal.core import InputError
from vicinal.data.images import ImageSet
from vicinal.networks import Normalized, make_network

__all__ = ["Architecture"]


@dataclass(frozen=True)
class Architecture:
    """What it takes to make a classifier again: a file of weights says it of its network.

    Attributes:
        network: a name of `vicinal.networks.NETWORKS`, or 'torchvision:NAME', 'timm:NAME'.
        shape: of an image, (C, H, W).
        classes: their names.
        mean, std: of every channel, in pixels from 0 to 1: what the network's input is normalised by.

    Examples:
        >>> import torch
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
