"""What is measured of classifiers of images, in words; and corruptions as readers know them."""

from collections.abc import Mapping
from typing import Any

from vicinal.study.report._text import BY_KEY, ROBUST, Metric

__all__ = ["corruption_word", "metrics_of"]

TERMS = {
    "corruption_accuracy": (
        "Corrupted",
        "accuracy on corrupted images",
        "How many corrupted test images get the right class: the mean over all corruptions and severities.",
    ),
    "accuracy": (
        "Clean",
        "accuracy on clean images",
        "How many test images, as they are, get the right class.",
    ),
    "mce": (
        "mCE",
        "mCE",
        "Mean corruption error: errors on each corruption relative to plain training's (100), the mean over corruptions.",
    ),
    "robust_accuracy": (ROBUST.name, ROBUST.word, ROBUST.asks.replace("rows", "images")),
    "ece": ("ECE", "ECE", BY_KEY["ece"].asks),
    "corruption_ece": (
        "ECE, corrupted",
        "ECE on corrupted images",
        "The expected calibration error on corrupted images, the mean over corruptions and severities.",
    ),
    "log_loss": (BY_KEY["log_loss"].name, BY_KEY["log_loss"].word, BY_KEY["log_loss"].asks),
    "brier": (BY_KEY["brier"].name, BY_KEY["brier"].word, BY_KEY["brier"].asks),
    "fid": ("FID", "FID", "Fréchet distance between mixed images and training images, in a network's features."),
    "kid": ("KID", "KID", "Kernel distance between mixed images and training images, in a network's features."),
}
LINEARITY = "How far the loss departs from a plane within ±ε of each pixel, in nats: the mean over test images."
SPECIAL = {"jpeg": "JPEG", "brightness": "bright\u00adness"}
"""Words that are not as they are written: an abbreviation, and one too long for its column."""

SUFFIXES = ("noise", "blur", "transform", "compression")


def metrics_of(summary: Mapping[str, Any]) -> dict[str, Metric]:
    """Return the summary's metrics by key; the summary says which side is better, and what is a share."""
    found = {}
    for entry in summary["metrics"]:
        key = str(entry["key"])
        name, word, asks = TERMS.get(key) or (_plain(key).capitalize(), _plain(key), "")
        if key.startswith("linearity_"):
            epsilon = key.removeprefix("linearity_")
            name = word = f"linear error, ε = {epsilon}/255"
            name, asks = name.capitalize(), LINEARITY
        found[key] = Metric(key, name, word, bool(entry.get("percent")), asks, entry.get("goal") == "lower")
    return found


def corruption_word(corruption: str) -> str:
    """Return a corruption's name without what its group says: 'gaussian_noise' as 'gaussian'."""
    head, _, tail = corruption.rpartition("_")
    word = head if head and tail in SUFFIXES else corruption
    return SPECIAL.get(word) or _plain(word)


def _plain(key: str) -> str:
    return key.replace("_", " ")
