"""Scores of predicted class probabilities: scikit-learn's, and the calibration error of the VarMixup paper."""

from typing import Any

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

__all__ = ["LOWER_IS_BETTER", "METRICS", "expected_calibration_error", "reliability_bins", "score_probabilities"]

METRICS = ("accuracy", "log_loss", "brier", "ece")
"""Names of the scores."""

LOWER_IS_BETTER = ("log_loss", "brier", "ece")

BINS = 15
"""Bins of the calibration error, as in Guo et al. (2017)."""


def score_probabilities(probabilities: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Score predicted probabilities.

    Args:
        probabilities: (N, K) rows on the simplex.
        y: (N,) class indices 0..K-1.

    Returns:
        'accuracy' in [0, 1]; 'log_loss' in nats; 'brier', the mean squared distance to the one-hot label, in [0, 2] (in [0, 1],
        half of it, for two classes, as scikit-learn has it); 'ece' in [0, 1].

    Examples:
        >>> scores = score_probabilities(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1]))
        >>> {name: round(value, 2) for name, value in scores.items()}
        {'accuracy': 0.5, 'log_loss': 0.92, 'brier': 0.34, 'ece': 0.3}
    """
    p = np.asarray(probabilities, dtype=float)
    labels = np.arange(p.shape[1])
    # Rows that sum to one in single precision are made to in double, as scikit-learn asks.
    p = p / p.sum(1, keepdims=True)
    return {
        "accuracy": float(accuracy_score(y, p.argmax(1))),
        "log_loss": float(log_loss(y, p, labels=labels)),
        "brier": float(brier_score_loss(y, p[:, 1] if len(labels) == 2 else p, labels=labels)),
        "ece": expected_calibration_error(p, y),
    }


def reliability_bins(probabilities: np.ndarray, y: np.ndarray, bins: int = BINS) -> list[dict[str, Any]]:
    """Group predictions by their confidence into bins of equal width.

    Args:
        probabilities: (N, K).
        y: (N,) class indices.
        bins: M.

    Returns:
        M dicts: 'low' and 'high' edge, 'count', and mean 'confidence' and 'accuracy', None for an empty bin.

    Examples:
        >>> reliability_bins(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), bins=2)[1]
        {'low': 0.5, 'high': 1.0, 'count': 2, 'confidence': 0.9, 'accuracy': 0.5}
    """
    confidence, right = probabilities.max(1).clip(0, 1), probabilities.argmax(1) == y
    edges = np.linspace(0, 1, bins + 1)
    count = np.bincount(np.searchsorted(edges[1:-1], confidence), minlength=bins)
    accuracy, mean = calibration_curve(right, confidence, n_bins=bins, pos_label=True)
    filled = iter(zip(mean, accuracy, strict=True))
    result = []
    for low, high, n in zip(edges[:-1], edges[1:], count, strict=True):
        c, a = next(filled) if n else (None, None)
        result.append(
            {
                "low": float(low),
                "high": float(high),
                "count": int(n),
                "confidence": None if c is None else float(c),
                "accuracy": None if a is None else float(a),
            }
        )
    return result


def expected_calibration_error(probabilities: np.ndarray, y: np.ndarray, bins: int = BINS) -> float:
    """Return the mean gap between confidence and accuracy (VarMixup, Eq. 11).

        ECE = sum_m |B_m| / N |acc(B_m) - conf(B_m)|

    over M bins B_m of equal width of the confidence max_c p_c.

    Args:
        probabilities: (N, K).
        y: (N,) class indices.
        bins: M.

    Examples:
        >>> p = np.array([[0.9, 0.1], [0.9, 0.1]])               # 90 % sure, right half of the time
        >>> round(expected_calibration_error(p, np.array([0, 1])), 3)
        0.4
    """
    found = [b for b in reliability_bins(probabilities, y, bins) if b["count"]]
    return float(sum(b["count"] * abs(b["accuracy"] - b["confidence"]) for b in found) / len(y))
