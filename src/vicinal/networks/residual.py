"""Residual networks for small images: a 3 x 3 stem that keeps the resolution, stages `layer1`, `layer2`, ..., and a mean.

A basic block adds two 3 x 3 convolutions F to its input, `x + F(x)`; the first block of a later stage halves the
resolution, and there a 1 x 1 convolution takes the input's place. Batch normalisation and ReLU come after the convolution
and the sum (`SmallResNet`, He et al. 2016a) or before each convolution (`PreActResNet18` and `WideResNet`, He et al.
2016b). Initial weights come from torch's global state; `vicinal.networks.make_network` takes a seed.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["PreActResNet18", "SmallResNet", "WideResNet"]


class PreActResNet18(nn.Module):
    """The pre-activation ResNet-18 of manifold mixup: 11,171,146 parameters for CIFAR-10.

    Four stages of two blocks with 64, 128, 256 and 512 channels, as in the code of Verma et al., which is that of K. Liu
    (pytorch-cifar): unlike in He et al. no batch normalisation follows the last block. Global average pooling takes the
    place of their 4 x 4 pooling, which is the same for 32 x 32 images.

    Args:
        n_classes: K.
        channels: C of the images.

    Raises:
        ValueError: an argument below 1.

    Reference: K. He, X. Zhang, S. Ren, J. Sun. Identity mappings in deep residual networks. ECCV 2016. V. Verma et al.
    Manifold mixup. ICML 2019.

    Examples:
        >>> sum(p.numel() for p in PreActResNet18(10).parameters())
        11171146
    """

    def __init__(self, n_classes: int, channels: int = 3) -> None:
        super().__init__()
        _check(n_classes=n_classes, channels=channels)
        self.conv1 = _conv3(channels, 64)
        self.layer1 = _stage(_PreActBlock, 64, 64, 2, 1)
        self.layer2 = _stage(_PreActBlock, 64, 128, 2, 2)
        self.layer3 = _stage(_PreActBlock, 128, 256, 2, 2)
        self.layer4 = _stage(_PreActBlock, 256, 512, 2, 2)
        self.fc = nn.Linear(512, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) for x (B, C, H, W)."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        return cast(Tensor, self.fc(x.mean((2, 3))))


class WideResNet(nn.Module):
    """A wide residual network, WRN-depth-width: WRN-28-10 has 36,479,194 parameters for CIFAR-10.

    Three stages of (depth - 4) / 6 pre-activation blocks with 16, 32 and 64 times `width` channels, without dropout.
    Weights of the convolutions are drawn from N(0, 2 / (9 c_out)) (2 / c_out for 1 x 1), as in the authors' code; the
    bias of `fc` is 0.

    Args:
        n_classes: K.
        channels: C of the images.
        depth: number of convolutions, 6 n + 4.
        width: factor k of the channels.

    Raises:
        ValueError: another depth, or an argument below 1.

    Reference: S. Zagoruyko, N. Komodakis. Wide residual networks. BMVC 2016, Table 1.

    Examples:
        >>> network = WideResNet(10, depth=10, width=1)
        >>> network(torch.zeros(2, 3, 32, 32)).shape, len(network.layer1)
        (torch.Size([2, 10]), 1)
    """

    def __init__(self, n_classes: int, channels: int = 3, depth: int = 28, width: int = 10) -> None:
        super().__init__()
        _check(n_classes=n_classes, channels=channels, width=width)
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"`depth` must be 6 n + 4 with n = 1, 2, ..., got {depth}; 28 has n = 4.")
        self.conv1 = _conv3(channels, 16)
        self.layer1 = _stage(_PreActBlock, 16, 16 * width, blocks, 1)
        self.layer2 = _stage(_PreActBlock, 16 * width, 32 * width, blocks, 2)
        self.layer3 = _stage(_PreActBlock, 32 * width, 64 * width, blocks, 2)
        self.bn = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, n_classes)
        _draw_convolutions(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) for x (B, C, H, W)."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return cast(Tensor, self.fc(torch.relu(self.bn(x)).mean((2, 3))))


class SmallResNet(nn.Module):
    """A residual network that trains on a CPU: 78,042 parameters for CIFAR-10 as it stands.

    One stage for each width; with `blocks=3` it is the ResNet-20 of He et al. for CIFAR-10, but for their shortcuts,
    which pad with zeros where these are 1 x 1 convolutions with batch normalisation. Weights of the convolutions are
    drawn from N(0, 2 / (9 c_out)) (2 / c_out for 1 x 1).

    Args:
        n_classes: K.
        channels: C of the images.
        widths: channels of the stages `layer1`, `layer2`, ...; each after the first halves the resolution.
        blocks: basic blocks in each stage.

    Raises:
        ValueError: no stage, or an argument below 1.

    Reference: K. He, X. Zhang, S. Ren, J. Sun. Deep residual learning for image recognition. CVPR 2016, Section 4.2.

    Examples:
        >>> network = SmallResNet(10, channels=1)
        >>> network(torch.zeros(2, 1, 28, 28)).shape, network.layer2(torch.zeros(2, 16, 28, 28)).shape
        (torch.Size([2, 10]), torch.Size([2, 32, 14, 14]))
    """

    def __init__(
        self, n_classes: int, channels: int = 3, widths: Sequence[int] = (16, 32, 64), blocks: int = 1
    ) -> None:
        super().__init__()
        _check(n_classes=n_classes, channels=channels, blocks=blocks, widths=min(widths, default=0))
        self.conv1 = _conv3(channels, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages = tuple(f"layer{i}" for i in range(1, len(widths) + 1))
        for name, c_in, c_out in zip(self.stages, [widths[0], *widths], widths, strict=False):
            self.add_module(name, _stage(_BasicBlock, c_in, c_out, blocks, 1 if name == "layer1" else 2))
        self.fc = nn.Linear(widths[-1], n_classes)
        _draw_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) for x (B, C, H, W)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return cast(Tensor, self.fc(x.mean((2, 3))))


class _BasicBlock(nn.Module):
    """`relu(shortcut(x) + bn2(conv2(relu(bn1(conv1(x))))))`."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3(c_in, c_out, stride), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = _conv3(c_out, c_out), nn.BatchNorm2d(c_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(self.shortcut(x) + inner)


class _PreActBlock(nn.Module):
    """`a = relu(bn1(x))`, then `x + conv2(relu(bn2(conv1(a))))`; where shapes change, `shortcut(a)` takes the place of `x`."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(c_in), _conv3(c_in, c_out, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(c_out), _conv3(c_out, c_out)
        changes = stride != 1 or c_in != c_out
        self.shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.bn1(x))
        inner = self.conv2(torch.relu(self.bn2(self.conv1(a))))
        return cast(Tensor, inner + (x if self.shortcut is None else self.shortcut(a)))


def _conv3(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)


def _stage(
    block: type[_BasicBlock] | type[_PreActBlock], c_in: int, c_out: int, blocks: int, stride: int
) -> nn.Sequential:
    return nn.Sequential(block(c_in, c_out, stride), *[block(c_out, c_out, 1) for _ in range(blocks - 1)])


def _draw_convolutions(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
