"""Robustness to corrupted images: accuracy and calibration over kinds of corruption and their severities.

The benchmark holds one test set, corrupted in several ways (noise, blur, weather, compression), each at several
severities. A network predicts all of them; what comes out are tables by corruption and severity, and the means that
papers report.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vicinal.core import InputError, check_device, check_labels, check_number
from vicinal.evaluation.metrics import expected_calibration_error

__all__ = ["CorruptedImages", "CorruptionScores", "corruption_accuracy", "evaluating", "predict"]


class CorruptedImages(Protocol):
    """What `corruption_accuracy` asks of a benchmark: any object with these four will do.

    Attributes:
        corruptions: names.
        severities: levels, such as 1 to 5.
        y: (N,) classes 0..K-1 of the images, the same for all corruptions.

    Examples:
        >>> class Darker:
        ...     corruptions, severities, y = ("dark",), (1, 2), torch.tensor([0, 1])
        ...     def batch(self, corruption, severity):
        ...         return torch.full((2, 3, 4, 4), 120 // severity, dtype=torch.uint8)
        >>> benchmark: CorruptedImages = Darker()
        >>> benchmark.batch("dark", 2).unique().tolist()
        [60]
    """

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Names of the corruptions."""

    @property
    def severities(self) -> tuple[int, ...]:
        """Levels of severity."""

    @property
    def y(self) -> Tensor:
        """Classes (N,)."""

    def batch(self, corruption: str, severity: int, /) -> Tensor:
        """Return the images, (N, C, H, W) in uint8."""


@dataclass(frozen=True)
class CorruptionScores:
    """Accuracy and calibration of one network on corrupted images.

    Attributes:
        accuracy: by corruption and severity, in [0, 1].
        calibration: expected calibration error by corruption and severity, in [0, 1].

    Examples:
        >>> scores = CorruptionScores(
        ...     accuracy={"noise": {1: 0.75, 2: 0.25}, "blur": {1: 1.0, 2: 0.5}},
        ...     calibration={"noise": {1: 0.0, 2: 0.5}, "blur": {1: 0.0, 2: 0.5}},
        ... )
        >>> scores.mean, scores.per_corruption(), scores.per_severity()
        (0.625, {'noise': 0.5, 'blur': 0.75}, {1: 0.875, 2: 0.375})
        >>> scores.ece, scores.mce(scores)
        (0.25, 1.0)
    """

    accuracy: Mapping[str, Mapping[int, float]]
    calibration: Mapping[str, Mapping[int, float]]

    @property
    def mean(self) -> float:
        """Mean accuracy over all corruptions and severities, in [0, 1], as in Tables 1 and 2 of the VarMixup paper."""
        return _mean([value for row in self.accuracy.values() for value in row.values()])

    @property
    def ece(self) -> float:
        """Mean expected calibration error over all corruptions and severities, in [0, 1]."""
        return _mean([value for row in self.calibration.values() for value in row.values()])

    def per_corruption(self) -> dict[str, float]:
        """Return each corruption's accuracy, the mean over severities."""
        return {corruption: _mean(list(row.values())) for corruption, row in self.accuracy.items()}

    def per_severity(self) -> dict[int, float]:
        """Return each severity's accuracy, the mean over corruptions."""
        first = next(iter(self.accuracy.values()))
        return {severity: _mean([row[severity] for row in self.accuracy.values()]) for severity in first}

    def mce(self, reference: "CorruptionScores") -> float:
        """Return the mean corruption error relative to another network's.

            mCE = 1/C sum_c CE_c,    CE_c = sum_s E_{s,c} / sum_s E^reference_{s,c}

        with E the error rate, 1 - accuracy, over the C corruptions c and the severities s. It is a ratio: 1 is as good as
        the reference, below 1 is better. Published values are 100 times as large, with AlexNet as the reference.

        Raises:
            InputError: the reference was scored on other corruptions or severities, or makes no error on one of them.

        Reference: D. Hendrycks, T. Dietterich. Benchmarking neural network robustness to common corruptions and
        perturbations. ICLR 2019, Section 4.
        """
        own, other = ({c: sorted(row) for c, row in s.accuracy.items()} for s in (self, reference))
        if own != other:
            raise InputError(
                f"`reference` must be scored on the same corruptions and severities, got {_listed(other)} for {_listed(own)};"
                " score both networks on one benchmark."
            )
        ratios = []
        for corruption, row in self.accuracy.items():
            errors = sum(1 - value for value in reference.accuracy[corruption].values())
            if errors <= 0:
                raise InputError(
                    f"`reference` must make errors on each corruption, got none on {corruption!r}; take a weaker reference."
                )
            ratios.append(sum(1 - value for value in row.values()) / errors)
        return _mean(ratios)


def corruption_accuracy(
    network: nn.Module,
    corrupted: CorruptedImages,
    *,
    batch_size: int = 128,
    device: torch.device | str | None = None,
) -> CorruptionScores:
    """Score a network on every corruption at every severity.

    Args:
        network: takes pixels in [0, 1], (B, C, H, W), to logits (B, K); see `vicinal.networks.Normalized`. It predicts in
            evaluation mode; its mode stays as it was.
        corrupted: the benchmark, see `CorruptedImages`.
        batch_size: B, images at a time; more are slower where they leave a processor's caches.
        device: where to predict; None is where the network is.

    Raises:
        InputError: no corruptions or severities, images that are not uint8 (N, C, H, W), classes outside 0..K-1, or a
            network without finite (B, K) outputs.

    Reference: D. Hendrycks, T. Dietterich. Benchmarking neural network robustness to common corruptions and perturbations.
    ICLR 2019. The VarMixup paper, Tables 1 and 2, and Eq. 11 for the calibration error.

    Examples:
        >>> class Darker:                                            # class 1 is the bright image
        ...     corruptions, severities, y = ("dark",), (1, 2, 4), torch.tensor([0, 1])
        ...     def batch(self, corruption, severity):
        ...         return (torch.tensor([40, 240]) // severity).to(torch.uint8).reshape(2, 1, 1, 1)
        >>> from vicinal.networks import MLP
        >>> bright = MLP.from_parameters([torch.tensor([[0.0], [2.0]]), torch.tensor([0.0, -0.6])])   # above 0.3
        >>> corruption_accuracy(nn.Sequential(nn.Flatten(), bright), Darker()).accuracy
        {'dark': {1: 1.0, 2: 1.0, 4: 0.5}}
    """
    if not len(corrupted.corruptions) or not len(corrupted.severities):
        raise InputError(
            f"`corrupted` must name at least one corruption and one severity, got {corrupted.corruptions!r} and"
            f" {corrupted.severities!r}."
        )
    accuracy: dict[str, dict[int, float]] = {c: {} for c in corrupted.corruptions}
    calibration: dict[str, dict[int, float]] = {c: {} for c in corrupted.corruptions}
    with evaluating(network, device) as (ready, _):
        for corruption in corrupted.corruptions:
            for severity in corrupted.severities:
                x = corrupted.batch(corruption, severity)
                if x.dtype != torch.uint8 or x.ndim != 4 or len(x) != len(corrupted.y):
                    raise InputError(
                        f"`corrupted` must give {len(corrupted.y)} images in uint8, shape (N, C, H, W), got {x.dtype} and"
                        f" {tuple(x.shape)} for {corruption!r}."
                    )
                p = predict(ready, x, batch_size)
                y = check_labels(corrupted.y.cpu(), p.shape[1], len(x))[0].numpy()
                accuracy[corruption][severity] = float((p.argmax(1) == y).mean())
                calibration[corruption][severity] = expected_calibration_error(p, y)
    return CorruptionScores(accuracy, calibration)


def predict(
    network: nn.Module, x: Tensor, batch_size: int = 128, device: torch.device | str | None = None
) -> np.ndarray:
    """Predict class probabilities of images.

        p_c = exp(f_c(x)) / sum_k exp(f_k(x)),    in double precision

    Args:
        network: takes (B, ...) to logits (B, K). It predicts in evaluation mode; its mode stays as it was.
        x: (N, ...) pixels 0..255 in uint8, which the network gets as pixels in [0, 1]; floating numbers as they are.
        batch_size: B, rows at a time; more are slower where they leave a processor's caches.
        device: where to predict; None is where the network is.

    Returns:
        (N, K) rows on the simplex, float64.

    Raises:
        TypeError: `x` is neither uint8 nor floating.
        InputError: no rows, or a network without finite (B, K) outputs.

    Examples:
        >>> predict(nn.Flatten(), torch.tensor([[0, 0], [255, 0]], dtype=torch.uint8)).round(3).tolist()
        [[0.5, 0.5], [0.731, 0.269]]
    """
    check_number("batch_size", batch_size, 1, whole=True)
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise TypeError(f"`x` must hold pixels in uint8, or floating numbers, got {x.dtype}; give x.float().")
    if x.ndim < 2 or not len(x):
        raise InputError(f"`x` must have at least one row, shape (N, ...), got {tuple(x.shape)}.")
    found = []
    with evaluating(network, device, x) as (ready, like), torch.no_grad():
        for rows in x.split(batch_size):
            logits = ready(rows.to(like) / 255 if x.dtype == torch.uint8 else rows.to(like))
            if not isinstance(logits, Tensor) or logits.ndim != 2:
                got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise InputError(f"`network` must give logits of shape (B, K), got {got}; take its classifier.")
            if not bool(logits.isfinite().all()):
                raise InputError(
                    "`network` must give finite logits, got NaN or infinite values; check how it was trained."
                )
            found.append(logits.cpu().double().softmax(1).numpy())
    return np.concatenate(found)


@contextmanager
def evaluating(
    network: nn.Module, device: torch.device | str | None = None, x: Tensor | None = None
) -> Iterator[tuple[nn.Module, Tensor]]:
    """Lend a network in evaluation mode, and put the mode of each of its modules back afterwards.

    Args:
        network: stays where it is; a copy goes to another device.
        device: where to evaluate; None is where the network is.
        x: rows; a network without weights takes them in their type, if it is floating, where they are.

    Yields:
        The network, and an empty tensor of the type and on the device of its weights.

    Examples:
        >>> network = nn.Dropout()
        >>> with evaluating(network) as (ready, like):
        ...     ready.training, like.dtype
        (False, torch.float32)
        >>> network.training
        True
    """
    states: Sequence[Tensor] = [*network.parameters(), *network.buffers()]
    like = next((t.detach().new_empty(0) for t in states if t.is_floating_point()), None)
    if like is None:
        like = x.new_empty(0) if x is not None and x.is_floating_point() else torch.empty(0)
    if device is not None:
        target = check_device(device)
        if target != like.device:
            network, like = copy.deepcopy(network).to(target), like.to(target)
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield network, like
    finally:
        for module, mode in modes.items():
            module.training = mode


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _listed(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{corruption} {severities}" for corruption, severities in found.items())
