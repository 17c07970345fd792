"""How strings and numbers of a summary appear in words: harmless, rounded, and with a dash for what is not known."""

import html
import math
import re
import textwrap
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from vicinal.evaluation import LOWER_IS_BETTER

__all__ = [
    "BY_KEY",
    "METRICS",
    "Metric",
    "clean",
    "finite",
    "listing",
    "plot_text",
    "seconds",
    "setting",
    "short",
    "shown",
    "signed",
    "thousands",
    "wrapped",
]

DASH = "–"
HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\ufeff]")
"""Marks that reorder text without being seen."""


@dataclass(frozen=True)
class Metric:
    """A quality of predictions: its key, its name, its name in a sentence, whether it is a share, and what it asks.

    Whether lower is better is known of those that `vicinal.evaluation` has; others say it.
    """

    key: str
    name: str
    word: str
    percent: bool
    asks: str
    lower: bool | None = None

    @property
    def higher(self) -> bool:
        """Whether higher is better."""
        return self.key not in LOWER_IS_BETTER if self.lower is None else not self.lower

    @property
    def scale(self) -> float:
        """What a value is multiplied with before it is shown."""
        return 100.0 if self.percent else 1.0

    @property
    def arrow(self) -> str:
        """The better direction, as one sign."""
        return "↑" if self.higher else "↓"


METRICS = (
    Metric("accuracy", "Accuracy", "accuracy", True, "How many test rows get the right class."),
    Metric(
        "log_loss",
        "Log loss",
        "log loss",
        False,
        "How surprised the model is by the true class: the mean of −log(its probability)."
        " One confident mistake costs a lot.",
    ),
    Metric(
        "brier",
        "Brier",
        "Brier",
        False,
        "The squared distance between the predicted probabilities and what happened."
        " Milder on single mistakes than log loss.",
    ),
    Metric(
        "ece",
        "ECE",
        "ECE",
        False,
        "Expected calibration error: how far the stated confidence lies from how often the model is right."
        " 0 is perfect.",
    ),
)

ROBUST = Metric(
    "robust_accuracy",
    "Robust accuracy",
    "robust accuracy",
    True,
    "How many test rows get the right class even when an attack may move them within its radius.",
)
BY_KEY = {metric.key: metric for metric in (*METRICS, ROBUST)}


def clean(value: Any) -> Any:
    """Return `value` with strings that print, finite numbers and text keys, all the way down.

    Control characters (terminal escapes too) and lone surrogates become the replacement character, invisible
    reordering marks vanish, and NaN or an infinity becomes None: not known.
    """
    if isinstance(value, str):
        text = re.sub("[\t\n\r\u2028\u2029]", " ", HIDDEN.sub("", value))
        return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def finite(value: Any) -> TypeGuard[float]:
    """Whether a cleaned value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def shown(value: Any, metric: Metric | None = None) -> str:
    """Return a value in its metric's unit: accuracy as '96.0 %', all others with 3 decimals, unknown as a dash."""
    if not finite(value):
        return DASH
    if metric is not None and metric.percent:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}".replace("-", "−")


def signed(value: Any, metric: Metric, unit: bool = True) -> str:
    """Return a difference with its sign, in points for accuracy."""
    if not finite(value):
        return DASH
    text = f"{metric.scale * value:+.{1 if metric.percent else 3}f}".replace("-", "−")
    return f"{text} points" if metric.percent and unit else text


def seconds(value: Any) -> str:
    """Return seconds with a decimal below 100."""
    if not finite(value):
        return DASH
    return f"{value:.1f}" if value < 100 else thousands(round(value))


def thousands(value: Any) -> str:
    """Return a count with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f") if finite(value) else DASH


def setting(value: Any) -> str:
    """Return a setting as a short text: 0.1, yes, kde."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−")
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {setting(item)}" for key, item in value.items())
    return ", ".join(map(setting, value)) if isinstance(value, list) else str(value)


def short(text: str, width: int) -> str:
    """Return `text` cut to `width` characters, with an ellipsis where something is gone."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def plot_text(text: str) -> str:
    """Return `text` so that plotly, which reads some tags and entities, shows it as it is."""
    return html.escape(text, quote=False)


def wrapped(text: str, width: int = 19, lines: int = 2) -> tuple[str, int]:
    """Return a label for an axis, in a few short lines, and the length of its longest line."""
    parts = textwrap.wrap(text, width) or [DASH]
    if len(parts) > lines:
        parts = [*parts[: lines - 1], short(parts[lines - 1] + "…" * width, width)]
    return "<br>".join(map(plot_text, parts)), max(map(len, parts))


def listing(names: list[str], most: int = 4) -> str:
    """Return names as a phrase: 'a, b and c', or 'a, b, c, d and 3 more'.

    Examples:
        >>> listing(["a", "b", "c"])
        'a, b and c'
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
