"""Networks by name: those of the mixup papers, and any classifier of torchvision or timm with new weights.

Nothing is downloaded: a network starts from random weights, which depend on its name, its shape and a seed alone.
"""

import difflib
import importlib
from collections.abc import Callable
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from torch import nn

from vicinal.networks.lenet import LeNet5
from vicinal.networks.residual import PreActResNet18, SmallResNet, WideResNet

__all__ = ["NETWORKS", "make_network"]

NETWORKS = MappingProxyType(
    {
        "lenet-5": "LeNet-5 with ReLU and max pooling (LeCun et al. 1998): 0.06 million parameters",
        "small-resnet": "residual network with 16, 32 and 64 channels, for a CPU: 0.08 million",
        "resnet-18": "torchvision's ResNet-18 with a 3 x 3 stem (He et al. 2016a): 11.2 million",
        "resnet-34": "torchvision's ResNet-34 with a 3 x 3 stem (He et al. 2016a): 21.3 million",
        "preact-resnet-18": "pre-activation ResNet-18 of manifold mixup (He et al. 2016b): 11.2 million",
        "wide-resnet-28-10": "WRN-28-10 (Zagoruyko and Komodakis 2016): 36.5 million",
    }
)
"""What each name of `make_network` stands for; parameters for CIFAR-10. `torchvision:NAME` and `timm:NAME` are names too."""


def make_network(name: str, n_classes: int, channels: int = 3, size: int = 32, seed: int = 0) -> nn.Module:
    """Make an image classifier with new weights.

    ResNet-18 and ResNet-34 are torchvision's for ImageNet with the stem of the CIFAR networks: a 3 x 3 convolution of
    stride 1 in place of the 7 x 7 one of stride 2, and no max pooling. Other networks of torchvision
    (`'torchvision:NAME'`) and those of timm (`'timm:NAME'`) come as they are, but for the number of classes and channels,
    and the image size where they have one; many want images of 64 pixels or more.

    Args:
        name: one of `NETWORKS`, `'torchvision:NAME'` or `'timm:NAME'`.
        n_classes: K.
        channels: C of the images.
        size: height and width of the images.
        seed: of the initial weights; torch's global generators are left as they were.

    Returns:
        A network in training mode, on the CPU, that takes images (B, C, size, size) to logits (B, K).

    Raises:
        ValueError: an unknown name, a number out of range, or images that the network can't take.
        ImportError: torchvision or timm is not installed.

    Examples:
        >>> network = make_network("small-resnet", n_classes=10, channels=1, size=28)
        >>> network(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
        >>> make_network("wide-resnet", n_classes=10)
        Traceback (most recent call last):
        ValueError: `name` must be one of vicinal's networks, got 'wide-resnet'; did you mean 'wide-resnet-28-10'?
    """
    for argument, value, low in (
        ("n_classes", n_classes, 1),
        ("channels", channels, 1),
        ("size", size, 1),
        ("seed", seed, 0),
    ):
        if value < low:
            raise ValueError(f"`{argument}` must be at least {low}, got {value}.")
    source, colon, rest = name.partition(":")
    makers: dict[str, Callable[[], nn.Module]] = {
        "lenet-5": lambda: LeNet5(n_classes, channels, size),
        "small-resnet": lambda: SmallResNet(n_classes, channels),
        "resnet-18": lambda: _resnet("resnet18", n_classes, channels),
        "resnet-34": lambda: _resnet("resnet34", n_classes, channels),
        "preact-resnet-18": lambda: PreActResNet18(n_classes, channels),
        "wide-resnet-28-10": lambda: WideResNet(n_classes, channels),
    }
    # The CPU's generator alone is seeded and put back: `torch.manual_seed` would reach other devices' too.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        if colon and source in ("torchvision", "timm"):
            make = _torchvision if source == "torchvision" else _timm
            return _tried(make(rest, n_classes, channels, size), name, n_classes, channels, size)
        if name not in makers:
            raise ValueError(f"`name` must be one of vicinal's networks, got {name!r}; {_suggest(name)}")
        return makers[name]()


def _resnet(name: str, n_classes: int, channels: int) -> nn.Module:
    network: Any = _import("torchvision", "images").models.get_model(name, weights=None, num_classes=n_classes)
    network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    made: nn.Module = network
    return made


def _torchvision(name: str, n_classes: int, channels: int, size: int) -> nn.Module:
    models = _import("torchvision", "images").models
    known = models.list_models(module=models)  # the classifiers; detection and video have modules of their own
    if name not in known:
        raise ValueError(f"`name` must be a classifier of torchvision, got {name!r}; {_closest(name, known)}")
    options: dict[str, Any] = {"weights": None, "num_classes": n_classes}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options["image_size"] = size
    try:
        network: nn.Module = models.get_model(name, **options)
    except AssertionError as error:
        raise _refused(f"torchvision:{name}", channels, size, error) from error
    return network if channels == 3 else _with_channels(network, channels)


def _with_channels(network: nn.Module, channels: int) -> nn.Module:
    """Put a convolution of as many channels, with torch's own initial weights, in place of the first one."""
    name, old = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, new)
    return network


def _timm(name: str, n_classes: int, channels: int, size: int) -> nn.Module:
    timm = _import("timm", "timm")
    if not timm.is_model(name):
        raise ValueError(f"`name` must be a network of timm, got {name!r}; {_closest(name, timm.list_models())}")
    options: dict[str, Any] = {"num_classes": n_classes, "in_chans": channels}
    cfg = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.fixed_input_size:
        options["img_size"] = size
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, **options)
    except (RuntimeError, ValueError, ArithmeticError, AssertionError) as error:
        raise _refused(f"timm:{name}", channels, size, error) from error
    return network


def _tried(network: nn.Module, name: str, n_classes: int, channels: int, size: int) -> nn.Module:
    """Return the network if it takes such images."""
    try:
        with torch.no_grad():
            shape = tuple(network.eval()(torch.zeros(1, channels, size, size)).shape)
    except (RuntimeError, ValueError, ArithmeticError, AssertionError) as error:
        raise _refused(name, channels, size, error) from error
    if shape != (1, n_classes):
        raise ValueError(f"`{name}` must give logits (1, {n_classes}), got {shape}; take another network.")
    return network.train()


def _refused(name: str, channels: int, size: int, error: Exception) -> ValueError:
    problem = (str(error) or type(error).__name__).splitlines()[0].rstrip(".! ")
    return ValueError(
        f"`size` must suit {name!r}, which does not take images of {channels} x {size} x {size} ({problem}); give a"
        " larger one, such as 224, or take another network."
    )


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), NETWORKS, n=1, cutoff=0.5)
    for source in ("torchvision", "timm"):
        try:
            module = importlib.import_module(source)
        except ImportError:
            continue
        known = module.models.list_models(module=module.models) if source == "torchvision" else module.list_models()
        if name in known:
            close.append(f"{source}:{name}")
            break
    if close:
        return f"did you mean {', '.join(map(repr, close))}?"
    return f"there are {', '.join(map(repr, NETWORKS))}, 'torchvision:NAME' and 'timm:NAME'."


def _closest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {', '.join(map(repr, close))}?" if close else "see its list_models()."


def _import(module: str, extra: str) -> ModuleType:
    # As `vicinal.core.require`; networks stand beside core and do not import it.
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise ImportError(f"`{module}` is not installed; install it with: pip install 'vicinal[{extra}]'") from error
