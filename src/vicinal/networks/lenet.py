"""LeNet-5 in its modern form: two convolutions and three dense layers, with ReLU and max pooling."""

from collections import OrderedDict

from torch import nn

__all__ = ["LeNet5"]


class LeNet5(nn.Sequential):
    """Convolutions of 6 and 16 filters of 5 x 5, each with ReLU and 2 x 2 max pooling; dense layers of 120, 84 and K.

    The original has tanh, trained subsampling and radial basis functions instead. Images of less than 32 x 32 are padded
    by 2 pixels on each side, as LeCun et al. padded MNIST's 28 x 28: both sizes give 61,706 parameters for one channel
    and ten classes. The stages are `layer1` to `layer4`, the output is `fc`. Initial weights are torch's own, from its
    global state; `make_network` takes a seed.

    Args:
        n_classes: K.
        channels: C of the images.
        size: height and width of the images, at least 12.

    Raises:
        ValueError: images too small, or no classes or channels.

    Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner. Gradient-based learning applied to document recognition.
    Proceedings of the IEEE 86, 1998, Section II.B.

    Examples:
        >>> import torch
        >>> network = LeNet5(10, size=28)
        >>> network(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
        >>> sum(p.numel() for p in network.parameters())
        61706
    """

    def __init__(self, n_classes: int, channels: int = 1, size: int = 32) -> None:
        for name, value, low in (("n_classes", n_classes, 1), ("channels", channels, 1), ("size", size, 12)):
            if value < low:
                raise ValueError(f"`{name}` must be at least {low} for LeNet-5, got {value}.")
        padding = 2 if size < 32 else 0
        side = ((size + 2 * padding - 4) // 2 - 4) // 2
        super().__init__(
            OrderedDict(
                layer1=nn.Sequential(nn.Conv2d(channels, 6, 5, padding=padding), nn.ReLU(), nn.MaxPool2d(2)),
                layer2=nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
                layer3=nn.Sequential(nn.Linear(16 * side**2, 120), nn.ReLU()),
                layer4=nn.Sequential(nn.Linear(120, 84), nn.ReLU()),
                fc=nn.Linear(84, n_classes),
            )
        )
