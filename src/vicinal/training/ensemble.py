"""Ensemble selection: hedge among many trained networks instead of picking one.

From held-out predictions p_m of a library of M models, members are taken one by one, with replacement, each the one whose
addition makes the mean loss of the mixture least:

    m_t = argmin_m loss((p_{m_1} + ... + p_{m_{t-1}} + p_m) / t)

A member's weight is how often it was taken; of all the mixtures met on the way the best is kept. Held-out rows are few where it
matters, so this is repeated on bootstrap samples of them and the weights are averaged: what only some rows speak for gets
little.

Reference: R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes. Ensemble selection from libraries of models. ICML 2004 (who
bag the models instead of the rows).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vicinal.core import InputError, check_in, check_number

__all__ = ["predict_ensemble", "select_ensemble"]

LEAST = 1e-7
"""Probabilities below this count as this: what single precision can tell from zero."""

PREDICTED_NUMBERS = 1 << 24
"""Activations held at once while predicting."""


def select_ensemble(
    predictions: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    scoring: str = "log_loss",
    rounds: int = 15,
    bags: int = 10,
    most: int = 8,
    trust: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, float]:
    """Choose members and their weights by held-out predictions.

    Args:
        predictions: (M, V, K) class probabilities of every model of the library.
        y: (V,) class indices.
        weight: (V,) frequencies, or None for equal ones.
        scoring: 'log_loss', or 'accuracy' (of which the least error rate is sought).
        rounds: members taken in one selection, counted with repetition, at least 1.
        bags: bootstrap samples of the rows to repeat it on; 0 for one selection on the rows as they are.
        most: members kept, those of the largest weights, at least 1.
        trust: (M,) positive factors on the weights that were found, which are then made to sum to one again; None for 1.
        seed: of the bootstrap.

    Returns:
        (M,) weights that sum to one, and the mixture's loss on all rows: log loss in nats, or an error rate.

    Raises:
        InputError: shapes that do not fit, or a number out of range.

    Examples:
        >>> p = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.1, 0.9]], [[0.5, 0.5], [0.5, 0.5]]])
        >>> select_ensemble(p, np.array([0, 1]), bags=0)[0].tolist()        # the first two make up for each other
        [0.5, 0.5, 0.0]
    """
    check_in("scoring", scoring, ("log_loss", "accuracy"))
    check_number("rounds", rounds, 1, whole=True)
    check_number("bags", bags, 0, whole=True)
    check_number("most", most, 1, whole=True)
    if predictions.ndim != 3 or predictions.shape[1] != len(y):
        raise InputError(f"`predictions` must be (M, {len(y)}, K), a row for each of `y`, got {predictions.shape}.")
    share = np.full(len(y), 1 / len(y)) if weight is None else weight / weight.sum()
    astray = np.isnan(predictions).any((1, 2))
    if scoring == "log_loss":
        # Only the probability of the true class counts.
        predictions = predictions[:, np.arange(len(y)), y, None]

    def loss(mixture: np.ndarray, share: np.ndarray) -> np.ndarray:
        if scoring == "accuracy":
            result: np.ndarray = (mixture.argmax(-1) != y) @ share
        else:
            result = -np.log(np.maximum(mixture[..., 0], LEAST)) @ share
        return result

    def select(share: np.ndarray) -> np.ndarray:
        counts = np.zeros(len(predictions))
        total = np.zeros(predictions.shape[1:], predictions.dtype)
        least, best = np.inf, counts
        for taken in range(1, rounds + 1):
            losses = np.where(astray, np.inf, loss((total + predictions) / taken, share))
            member = losses.argmin()
            counts[member] += 1
            total += predictions[member]
            if losses[member] < least:
                least, best = losses[member], counts / taken
        return best

    random = np.random.default_rng(seed)
    samples = random.multinomial(len(y), share, bags) / len(y) if bags else share[None]
    mean = np.mean([select(sample) for sample in samples.astype(predictions.dtype)], 0)
    mean[np.argsort(-mean, kind="stable")[most:]] = 0
    mean *= 1.0 if trust is None else trust
    mean /= mean.sum()
    kept = mean > 0
    return mean, float(loss(np.tensordot(mean[kept], predictions[kept], 1), share))


def predict_ensemble(parameters: Sequence[Tensor], weight: Tensor, x: Tensor) -> Tensor:
    """Return the mixture of many networks' class probabilities.

        p(x) = sum_m w_m softmax(f_m(x))

    Args:
        parameters: weights (M, out, in) and biases (M, out) of M networks in turn, first layer first, ReLU between layers.
        weight: (M,) that sum to one.
        x: (B, D).

    Returns:
        (B, K) in double precision.

    Examples:
        >>> same = [torch.tensor([[[1.0], [-1.0]]]).expand(2, 2, 1), torch.zeros(2, 2)]
        >>> predict_ensemble(same, torch.tensor([0.25, 0.75]), torch.zeros(1, 1)).tolist()
        [[0.5, 0.5]]
    """
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    rows = max(1, PREDICTED_NUMBERS // sum(bias.numel() for _, bias in layers))
    parts = []
    for part in x.split(rows):
        h = part.expand(len(weight), *part.shape)
        for i, (matrix, bias) in enumerate(layers):
            h = torch.baddbmm(bias[:, None], h.relu() if i else h, matrix.mT)
        parts.append(torch.einsum("m,mbk->bk", weight.double(), torch.softmax(h.double(), 2)))
    return torch.cat(parts)
