"""Inception v3 as it was trained for the published distances of images, and its weights, which torch.hub's folder keeps."""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from vicinal.core import InputError, require

__all__ = ["Inception", "fetch_inception", "has_inception"]


class Inception(nn.Module):
    """torch-fidelity's Inception v3: pixels in [0, 1], (B, C, H, W), gray or colour, to features (B, 2048).

    Args:
        download: fetch the weights if they are not here.

    Raises:
        InputError: no weights here, or others.
        ImportError: the extra 'images' is not installed.

    Examples:
        Where the weights are here::

            Inception()(torch.rand(8, 3, 32, 32))
    """

    label = "inception-v3 of torch-fidelity"

    def __init__(self, download: bool = False) -> None:
        super().__init__()
        module: Any = require("torch_fidelity.feature_extractor_inceptionv3", "images")
        path = _weights(module.URL_INCEPTION_V3, download)
        self.extractor = module.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, 2048)."""
        pixels = (x * 255).round().to(torch.uint8)
        features: Tensor = self.extractor(pixels.expand(-1, 3, -1, -1) if x.shape[1] == 1 else pixels)[0]
        return features


def fetch_inception() -> Path:
    """Fetch the weights of Inception v3 (91 MB, from torch-fidelity's releases), unless they are here; return their file.

    Raises:
        InputError: they can't be fetched, or are others.
        ImportError: the extra 'images' is not installed.

    Examples:
        Once on every machine that measures distances::

            fetch_inception()
    """
    module: Any = require("torch_fidelity.feature_extractor_inceptionv3", "images")
    return _weights(module.URL_INCEPTION_V3, download=True)


def has_inception() -> bool:
    """Whether the weights of Inception v3 are here, so that `image_distance` needs no network.

    Examples:
        Take it where it is, and a classifier's own features elsewhere::

            image_distance(real, fake, None if has_inception() else penultimate(classifier))
    """
    module: Any = require("torch_fidelity.feature_extractor_inceptionv3", "images")
    return _place(module.URL_INCEPTION_V3).exists()


def _place(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def _weights(url: str, download: bool) -> Path:
    """Return the file of weights in torch.hub's folder, whose name ends in the first digits of its SHA-256."""
    path = _place(url)
    digits = path.stem.rpartition("-")[2]
    if not path.is_file():
        if not download:
            raise InputError(
                f"`network` must be given, as the weights of Inception v3 are not at {path}: give"
                " `penultimate(classifier)`, or `download=True`."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digits)
        except (OSError, RuntimeError) as error:  # no network, no room; or another file came
            raise InputError(
                f"the weights of Inception v3 can't be fetched ({error}); try again, or put {url} at {path} in another way."
            ) from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digits):
        raise InputError(
            f"the weights at {path} must have a SHA-256 that begins with {digits}, got {found[:8]}; delete the file, then fetch"
            " it again."
        )
    return path
