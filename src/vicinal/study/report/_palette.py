"""The page's colours: two themes with the same names, one slot per method, told apart with any kind of colour vision.

Figures and styles speak of names (`m1`, `ink`); the page holds both themes and paints with the one in use.
"""

from collections.abc import Iterable

__all__ = ["CLASS_COLOURS", "CLASS_SYMBOLS", "THEMES", "image_slots", "method_slots"]

METHODS = {
    "vanilla": ("#6b7280", "#a9b2be"),
    "mixup": ("#2f6fc4", "#6ea8f2"),
    "cutmix": ("#1b8fb0", "#74d0ec"),
    "mixup-excluding-intrusion": ("#857a12", "#d3c65a"),
    "logistic-mixup": ("#b47708", "#edb650"),
    "genlabel-gaussian": ("#0d7f66", "#41c9a5"),
    "genlabel-kde": ("#b83f78", "#f48dbb"),
    "genlabel-knn": ("#6a4cc0", "#ac97f5"),
    "genlabel": ("#c8440b", "#ff8d50"),
    "generative-classifier": ("#7b4b2e", "#cf9f7d"),
}
SPARE = (("#29398f", "#95a4ff"), ("#4a7a0c", "#a5d75d"), ("#8c1d40", "#ff9a9a"), ("#2b6b70", "#8fd3d1"))
IMAGES = {
    "erm": METHODS["vanilla"],
    "mixup": METHODS["mixup"],
    "mixup-r": METHODS["cutmix"],
    "manifold-mixup": SPARE[0],
    "cutmix": METHODS["genlabel-gaussian"],
    "adamixup": SPARE[1],
    "mixup-noise": METHODS["mixup-excluding-intrusion"],
    "varmixup": METHODS["logistic-mixup"],
    "adv-varmixup": METHODS["genlabel-kde"],
    "mixup+varmixup": METHODS["genlabel"],
    "varmixup-sampled": METHODS["generative-classifier"],
    "mixup+varmixup-sampled": ("#c01f33", "#ff7d80"),
    "varmixup-genlabel": SPARE[2],
    "mixup+varmixup-genlabel": ("#d9a400", "#ffdd66"),
    "at": METHODS["genlabel-knn"],
    "trades": ("#8f35a8", "#d79bec"),
    "iat": ("#4338a8", "#b9b4ff"),
}
"""Methods of images: blues and greens mix pixels, warm colours mix in a space, violets search for the worst point."""

CLASSES = (
    ("#2f6fc4", "#6ea8f2"),
    ("#e07b00", "#ffa94d"),
    ("#0d8a6a", "#41c9a5"),
    ("#b83f78", "#f48dbb"),
    ("#6a4cc0", "#ac97f5"),
    ("#9a8500", "#e0d25e"),
    ("#1b8fb0", "#74d0ec"),
    ("#7b4b2e", "#cf9f7d"),
)
CLASS_COLOURS = len(CLASSES)
CLASS_SYMBOLS = ("circle", "square", "triangle-up", "diamond")

PAPER = {
    "page": ("#f6f5f2", "#121417"),
    "card": ("#ffffff", "#1b1e23"),
    "sunken": ("#f1f0ec", "#24282e"),
    "ink": ("#1d2125", "#eceef0"),
    "soft": ("#5b636c", "#a6aeb8"),
    "line": ("#dedcd6", "#353b43"),
    "grid": ("#e9e7e2", "#2c3138"),
    "good": ("#0b6b57", "#5fd6b4"),
    "good-soft": ("#e0f2ec", "#173a33"),
    "bad": ("#9c3412", "#ffa27a"),
    "bad-soft": ("#fbe9e1", "#43261a"),
    "accent": ("#44546a", "#9db0c9"),
    "mixed": ("#9aa1a9", "#727b86"),
}


def _theme(which: int) -> dict[str, str]:
    colours = {name: pair[which] for name, pair in PAPER.items()}
    colours |= {f"m{i}": pair[which] for i, pair in enumerate([*METHODS.values(), *SPARE])}
    colours |= {f"v{i}": pair[which] for i, pair in enumerate(IMAGES.values())}
    return colours | {f"c{i}": pair[which] for i, pair in enumerate(CLASSES)}


THEMES = {"light": _theme(0), "dark": _theme(1)}


def method_slots(names: Iterable[str]) -> dict[str, str]:
    """Return a colour's name for each method: the known ones keep theirs, others take the spare ones in turn."""
    known = {name: f"m{i}" for i, name in enumerate(METHODS)}
    others = [name for name in dict.fromkeys(names) if name not in known]
    return known | {name: f"m{len(METHODS) + i % len(SPARE)}" for i, name in enumerate(others)}


def image_slots(names: Iterable[str]) -> dict[str, str]:
    """Return a colour's name for each method of images: the known ones keep theirs, others take the spare ones in turn."""
    known = {name: f"v{i}" for i, name in enumerate(IMAGES)}
    others = [name for name in dict.fromkeys(names) if name not in known]
    return known | {name: f"m{len(METHODS) + i % len(SPARE)}" for i, name in enumerate(others)}
