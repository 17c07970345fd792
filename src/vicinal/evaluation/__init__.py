"""Evaluation: how good and how honest predicted probabilities are, and whether a difference means anything."""

from vicinal.evaluation.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    expected_calibration_error,
    reliability_bins,
    score_probabilities,
)
from vicinal.evaluation.paired import PairedDifference, paired_difference

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "PairedDifference",
    "expected_calibration_error",
    "paired_difference",
    "reliability_bins",
    "score_probabilities",
]
