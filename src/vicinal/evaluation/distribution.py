"""How far two sets of images are apart, in the features of a network: the Fréchet and the kernel inception distance.

Both compare distributions of features phi(x), (N, D), not images: what they say depends on the network as much as on the
images, so a result names its features. The metrics are torchmetrics', in double precision; the Inception network is
torch-fidelity's.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.core import InputError, check_number, require
from vicinal.evaluation.attacks.base import seeded
from vicinal.evaluation.corruption import evaluating
from vicinal.evaluation.inception import Inception
from vicinal.networks import Normalized

__all__ = ["ImageDistance", "image_distance", "penultimate"]


@dataclass(frozen=True)
class ImageDistance:
    """Distances of two sets of images; 0 is the same distribution of features.

    Attributes:
        fid: Fréchet distance, at least 0, in squared units of the features.
        kid: kernel distance, the mean over random subsets; unbiased, so it may fall below 0.
        kid_std: standard deviation of the subsets' values.
        features: the network that the features are from; distances by different features can't be compared.

    Examples:
        >>> ImageDistance(fid=4.0, kid=0.5, kid_std=0.1, features="inception-v3, 2048 features").fid
        4.0
    """

    fid: float
    kid: float
    kid_std: float
    features: str


def image_distance(
    real: Tensor,
    fake: Tensor,
    network: nn.Module | None = None,
    *,
    batch_size: int = 100,
    kid_subset_size: int = 1000,
    kid_subsets: int = 100,
    seed: int = 0,
    device: torch.device | str | None = None,
    download: bool = False,
) -> ImageDistance:
    """Measure the Fréchet and the kernel distance of two sets of images.

        FID = |mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2))
        KID = mean over subsets of  k(r, r') + k(f, f') - 2 k(r, f),    k(a, b) = (a^T b / D + 1)^3

    with mu and S the mean and the (unbiased) covariance of the features, (D,) and (D, D), and k(., .) the mean of the
    kernel over all pairs of a subset's rows, but for a row with itself. FID is biased upwards in small sets; compare sets
    of one size, of more than D images.

    Args:
        real: (N, C, H, W) images: uint8, or floating pixels in [0, 1]; N at least 2.
        fake: (M, C, H, W) images of the same kind of pixels.
        network: takes pixels in [0, 1], (B, C, H, W), to features (B, D), see `penultimate`; None is Inception v3 as
            trained for the published distances (the 2048 features before its last layer), which resizes images as the
            original did.
        batch_size: B, images at a time.
        kid_subset_size: images of each set in a subset; at least 2 and no more than the smaller set.
        kid_subsets: how many subsets.
        seed: of the subsets.
        device: where the network works; None is where it is. The metrics are computed on the CPU.
        download: fetch the weights of Inception v3 (91 MB, from torch-fidelity's releases) if they are not in torch.hub's
            folder.

    Raises:
        InputError: sets of images that do not fit, pixels outside [0, 1], a subset larger than a set, features that are
            not finite (B, D), or no network and no weights of Inception v3.
        ImportError: the extra 'images' is not installed.

    Reference: M. Heusel et al. GANs trained by a two time-scale update rule. NeurIPS 2017, Eq. 6. M. Bińkowski et al.
    Demystifying MMD GANs. ICLR 2018.

    Examples:
        The features of `nn.Flatten` are the pixels; a shift by 1/2 in one of them, the covariances the same:

        >>> real = torch.tensor([[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5]]).reshape(4, 1, 1, 2)
        >>> result = image_distance(real, real + torch.tensor([0.5, 0.0]), nn.Flatten(), kid_subset_size=4)
        >>> round(result.fid, 6), result.features
        (0.25, 'Flatten, 2 features')
    """
    check_number("batch_size", batch_size, 1, whole=True)
    check_number("kid_subsets", kid_subsets, 1, whole=True)
    check_number("seed", seed, 0, whole=True)
    for name, images in {"real": real, "fake": fake}.items():
        _check_images(name, images)
    if real.shape[1:] != fake.shape[1:] and network is not None:
        raise InputError(
            f"`fake` must have images of shape {tuple(real.shape[1:])} as `real`, got {tuple(fake.shape[1:])}."
        )
    if network is None and not {real.shape[1], fake.shape[1]} <= {1, 3}:
        raise InputError(
            f"`real` and `fake` must have 1 or 3 channels for Inception v3, got {real.shape[1]} and {fake.shape[1]}; give a"
            " `network`."
        )
    smaller = min(len(real), len(fake))
    check_number("kid_subset_size", kid_subset_size, 2, whole=True)
    if kid_subset_size > smaller:
        raise InputError(
            f"`kid_subset_size` must not exceed the {smaller} images of the smaller set, got {kid_subset_size}; give"
            " a smaller one, or more images."
        )
    fid, kid = require("torchmetrics.image.fid", "images"), require("torchmetrics.image.kid", "images")
    extractor = Inception(download) if network is None else network
    parts = {
        name: list(_features(extractor, x, batch_size, device)) for name, x in {"real": real, "fake": fake}.items()
    }
    given = _Given(parts["real"][0].shape[1])
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Metric `Kernel Inception Distance`"
        )  # of the memory that features take
        metrics = [
            fid.FrechetInceptionDistance(feature=given),
            kid.KernelInceptionDistance(feature=given, subsets=kid_subsets, subset_size=kid_subset_size),
        ]
    for name, batches in parts.items():
        for batch in batches:
            for metric in metrics:
                metric.update(batch, real=name == "real")
    with seeded(seed):
        frechet, (kernel, spread) = (metric.compute() for metric in metrics)
    label = extractor.label if isinstance(extractor, _Penultimate | Inception) else type(extractor).__name__
    # Rounding can take the distance of equal sets below 0.
    return ImageDistance(
        max(0.0, float(frechet)), float(kernel), float(spread), f"{label}, {given.num_features} features"
    )


def penultimate(network: nn.Module) -> nn.Module:
    """Return a classifier's features before its last linear layer, as a network.

    Args:
        network: takes (B, ...) to logits; the `nn.Linear` that was registered last counts as its last layer.

    Returns:
        A network of (B, ...) to what goes into that layer, (B, D), with the attribute `num_features`, D. It shares the
        classifier, its weights and mode.

    Raises:
        InputError: no `nn.Linear` in the network; when it is called, the last one was not used.

    Examples:
        >>> from vicinal.networks import SmallResNet
        >>> features = penultimate(SmallResNet(10))
        >>> features(torch.zeros(2, 3, 32, 32)).shape, features.num_features
        (torch.Size([2, 64]), 64)
    """
    return _Penultimate(network)


class _Penultimate(nn.Module):
    """A classifier cut before its last linear layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
        if not layers:
            raise InputError(
                f"`network` must have an nn.Linear at its end, got {type(network).__name__} without one; give features."
            )
        self.network = network
        self.last = list(layers)[-1]
        self.num_features = layers[self.last].in_features
        named = network.network if isinstance(network, Normalized) else network
        self.label = f"penultimate layer of {type(named).__name__}"

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        layer = self.network.get_submodule(self.last)
        handle = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            self.network(x)
        finally:
            handle.remove()
        if not seen:
            raise InputError(
                f"`network` must use its last nn.Linear, {self.last!r}, but did not; give a module of features."
            )
        return seen[-1]


class _Given(nn.Module):
    """What torchmetrics takes for a network, where the features are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _check_images(name: str, images: Any) -> None:
    if not isinstance(images, Tensor) or not (images.dtype == torch.uint8 or images.is_floating_point()):
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"`{name}` must be a tensor of images, uint8 or floating, got {kind}.")
    if images.ndim != 4 or len(images) < 2:
        raise InputError(f"`{name}` must have at least two images, shape (N, C, H, W), got {tuple(images.shape)}.")
    if images.is_floating_point() and not bool(((images >= 0) & (images <= 1)).all()):
        raise InputError(
            f"`{name}` must hold pixels in [0, 1], got {float(images.min()):g} to {float(images.max()):g}; clip them."
        )


def _features(
    network: nn.Module, images: Tensor, batch_size: int, device: torch.device | str | None
) -> Iterator[Tensor]:
    with evaluating(network, device, images) as (ready, like), torch.no_grad():
        for rows in images.split(batch_size):
            found = ready(rows.to(like) / 255 if rows.dtype == torch.uint8 else rows.to(like))
            if not isinstance(found, Tensor) or found.ndim != 2 or not found.shape[1]:
                got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise InputError(f"`network` must give features of shape (B, D), got {got}; see `penultimate`.")
            if not bool(found.isfinite().all()):
                raise InputError(
                    "`network` must give finite features, got NaN or infinite values; check how it was trained."
                )
            yield found.cpu().double()
