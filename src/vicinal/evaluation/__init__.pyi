from .corruption import CorruptedImages, CorruptionScores, corruption_accuracy, predict
from .distribution import ImageDistance, image_distance, penultimate
from .inception import fetch_inception, has_inception
from .linearity import local_linearity
from .metrics import (
    LOWER_IS_BETTER,
    METRICS,
    expected_calibration_error,
    reliability_bins,
    score_probabilities,
)
from .paired import PairedDifference, paired_difference

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "CorruptedImages",
    "CorruptionScores",
    "ImageDistance",
    "PairedDifference",
    "corruption_accuracy",
    "expected_calibration_error",
    "fetch_inception",
    "has_inception",
    "image_distance",
    "local_linearity",
    "paired_difference",
    "penultimate",
    "predict",
    "reliability_bins",
    "score_probabilities",
]
