"""What is measured of a classifier of images: which side is better, what is a share, and in which order it is told."""

from collections.abc import Iterable

__all__ = ["FEWEST", "ORDER", "goal", "is_compared", "is_share", "ordered"]

FEWEST = 3
"""Trials below which no verdict is given."""

ORDER = (
    "corruption_accuracy",
    "accuracy",
    "mce",
    "robust_accuracy",
    "ece",
    "corruption_ece",
    "log_loss",
    "brier",
    "fid",
    "kid",
    "reconstruction_error",
    "reconstruction_accuracy",
    "judge_accuracy",
    "train_seconds",
    "space_seconds",
)
LOWER = {"mce", "ece", "corruption_ece", "log_loss", "brier", "reconstruction_error"}
NO_GOAL = {"fid", "kid", "train_seconds", "space_seconds"}
OF_SPACES = {"reconstruction_error", "reconstruction_accuracy", "judge_accuracy"}


def goal(metric: str) -> str | None:
    """Return 'higher' or 'lower', whichever is better, or None where neither is.

    Mixed images far from the training images (FID, KID) are no better and no worse than near ones; the VarMixup paper takes
    their distance as a reason for robustness (section 5).

    Examples:
        >>> goal("corruption_accuracy"), goal("linearity_8"), goal("fid")
        ('higher', 'lower', None)
    """
    if metric in NO_GOAL:
        return None
    return "lower" if metric in LOWER or metric.startswith("linearity_") else "higher"


def is_share(metric: str) -> bool:
    """Whether a metric is a share in [0, 1] that is shown in percent.

    Examples:
        >>> is_share("severity_accuracy_3"), is_share("ece")
        (True, False)
    """
    return "accuracy" in metric


def is_compared(metric: str) -> bool:
    """Whether methods are compared in a metric trial by trial: those of the whole test set, and of the classifier itself.

    Examples:
        >>> is_compared("corruption_accuracy"), is_compared("corruption_accuracy_fog")
        (True, False)
    """
    part = metric.startswith(("corruption_accuracy_", "severity_accuracy_"))
    return not part and goal(metric) is not None and metric not in OF_SPACES


def ordered(metrics: Iterable[str]) -> list[str]:
    """Return metrics in the order of the page: the known ones first, then families by their number, then names.

    Examples:
        >>> ordered(["linearity_16", "linearity_8", "accuracy"])
        ['accuracy', 'linearity_8', 'linearity_16']
    """

    def place(metric: str) -> tuple[int, str, float, str]:
        family, _, number = metric.rpartition("_")
        try:
            size, stem = float(number), family
        except ValueError:
            size, stem = 0.0, metric
        return (ORDER.index(metric) if metric in ORDER else len(ORDER), stem, size, metric)

    return sorted(metrics, key=place)
