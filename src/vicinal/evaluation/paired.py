"""Whether two methods differ, judged on the same splits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vicinal.core import InputError, check_number

__all__ = ["PairedDifference", "paired_difference"]


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference of two methods' scores over trials, with a confidence interval.

    Attributes:
        difference: mean of a - b. low, high: the interval, None with a single trial. confidence: its level.
    """

    difference: float
    low: float | None
    high: float | None
    confidence: float

    def verdict(self, higher_is_better: bool) -> str:
        """Return 'better', 'worse' or 'no clear difference' for a against b."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "no clear difference"
        return "better" if (self.difference > 0) == higher_is_better else "worse"


def paired_difference(
    a: Sequence[float], b: Sequence[float], test_share: float, confidence: float = 0.95
) -> PairedDifference:
    """Compare scores of two methods on the same J random splits.

    Training sets of random splits overlap, so their scores are not independent, and a plain t interval is too narrow. The
    corrected resampled t interval widens it:

        mean(d) +- t_{J-1} sqrt((1/J + n_test/n_train) var(d)),    d_j = a_j - b_j

    Args:
        a: (J,) scores of one method.
        b: (J,) scores of the other, on the same splits.
        test_share: n_test / (n_test + n_train), in [0, 1); 0 for trials on fresh data.
        confidence: level of the interval.

    Reference: C. Nadeau, Y. Bengio. Inference for the generalization error. Machine Learning 52, 2003.

    Examples:
        >>> result = paired_difference([0.9, 0.8, 0.9], [0.7, 0.7, 0.8], test_share=0.3)
        >>> round(result.difference, 3), result.verdict(higher_is_better=True)
        (0.133, 'no clear difference')
    """
    if len(a) != len(b) or not len(a):
        raise InputError(f"`a` and `b` must hold one score a trial each, got {len(a)} and {len(b)}.")
    check_number("test_share", test_share, 0, 1, open_high=True)
    d = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    mean, n = float(d.mean()), len(d)
    if n == 1:
        return PairedDifference(mean, None, None, confidence)
    error = float(np.sqrt((1 / n + test_share / (1 - test_share)) * d.var(ddof=1)))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    return PairedDifference(mean, mean - half, mean + half, confidence)
