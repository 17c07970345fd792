"""Summaries as `vicinal compare` leaves them: a realistic one, an extreme one and a hostile one."""

import math
import random
from typing import Any

__all__ = ["HOSTILE", "crowded", "hostile", "realistic"]

METHODS = {  # accuracy, log loss, Brier, ECE, seconds
    "vanilla": (0.953, 0.162, 0.081, 0.048, 6.1),
    "mixup": (0.949, 0.243, 0.109, 0.117, 6.6),
    "cutmix": (0.938, 0.271, 0.121, 0.124, 6.9),
    "mixup-excluding-intrusion": (0.956, 0.201, 0.092, 0.083, 8.4),
    "logistic-mixup": (0.953, 0.158, 0.080, 0.047, 7.0),
    "genlabel-gaussian": (0.967, 0.109, 0.060, 0.031, 12.8),
    "genlabel-kde": (0.957, 0.149, 0.064, 0.036, 15.2),
    "genlabel-knn": (0.955, 0.157, 0.070, 0.040, 11.0),
    "genlabel": (0.971, 0.104, 0.057, 0.029, 41.7),
    "generative-classifier": (0.960, 0.168, 0.078, 0.052, 0.4),
}
SIGNS = {"accuracy": 1, "log_loss": -1, "brier": -1, "ece": -1}
SCALES = {"accuracy": 0.012, "log_loss": 0.022, "brier": 0.009, "ece": 0.010}


def realistic(trials: int = 10, seed: int = 0) -> dict[str, Any]:
    """Return a small problem in which GenLabel helps, every part present."""
    draw = random.Random(seed)
    shared = [draw.gauss(0, 1) for _ in range(trials)]
    methods: dict[str, Any] = {}
    for name, (*means, seconds) in METHODS.items():
        methods[name] = {"seconds": seconds, "selected": [_pick(name, draw) for _ in range(trials)]}
        for (metric, scale), mean in zip(SCALES.items(), means, strict=True):
            own = [mean + SIGNS[metric] * scale * (0.8 * s + 0.7 * draw.gauss(0, 1)) for s in shared]
            methods[name][metric] = _stat([min(1.0, max(0.004, v)) for v in own])
    return {
        "schema": 1,
        "dataset": {
            "name": "iris",
            "rows": 150,
            "features": 4,
            "classes": 3,
            "labels": ["setosa", "versicolor", "virginica"],
            "counts": [50, 50, 50],
            "source": "iris.csv, target species",
        },
        "protocol": "tuned",
        "settings": {"network": "linear", "trials": trials, "folds": 5, "seed": 0, "test_size": 0.4, "epochs": 100},
        "baseline": "vanilla",
        "methods": methods,
        "comparisons": _comparisons(methods),
        "reliability": {name: _bins(draw, bold) for name, bold in zip(METHODS, _bold(), strict=True)},
        "projection": _projection(draw, 3, 50),
        "densities": {
            "gaussian": _fit(0.98, 0.973, 0.071, True),
            "kde": _fit(0.967, 0.951, 0.134, True),
            "knn": _fit(0.947, 0.94, 0.188, False),
        },
        "reproduce": {
            "command": "vicinal compare iris.csv --target species --trials 10 --seed 0",
            "versions": {
                "vicinal": "0.1.0",
                "torch": "2.14.0",
                "numpy": "2.4.1",
                "scikit-learn": "1.8.0",
                "python": "3.11.9",
            },
            "device": "cpu",
            "date": "2026-03-01",
        },
        "notes": ["1 duplicated row was kept.", "The column 'id' was left out: it is different in each row."],
        "complete": True,
        "missing": [],
    }


def crowded() -> dict[str, Any]:
    """Return one trial, 26 classes, long and unknown method names, and a run that was interrupted."""
    draw = random.Random(1)
    summary = realistic(trials=1, seed=1)
    long = {
        "a-method-of-my-own-with-a-rather-long-name-that-goes-on": "mixup",
        "unbroken_method_name_without_any_hyphen_in_it": "genlabel",
    }
    for name, twin in long.items():
        summary["methods"][name] = summary["methods"][twin]
        summary["reliability"][name] = summary["reliability"][twin]
    summary["comparisons"] = _comparisons(summary["methods"])
    summary["dataset"] |= {
        "name": "letter recognition with a long name, the version that was downloaded twice",
        "rows": 20000,
        "features": 16,
        "classes": 26,
        "labels": [f"letter {chr(65 + k)}" if k else "a label that is far too long for any legend" for k in range(26)],
        "counts": [700 + 7 * k for k in range(26)],
    }
    summary["projection"] = _projection(draw, 26, 25)
    summary["projection"]["intrusion_rate"] = 0.44
    summary["densities"] = {"gaussian": _fit(0.881, 0.874, 0.512, False), "kde": _fit(0.94, 0.71, 1.913, False)}
    summary["protocol"] = "paper"
    summary["settings"] |= {"network": "mlp", "learning_rates": [0.1, 0.01, 0.001], "test_size": None}
    summary["complete"] = False
    summary["missing"] = [f"genlabel, trial {i}" for i in range(2, 20)]
    return summary


HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "<b>bold</b><a href='http://evil.example/'>link</a>",
    "&lt;i&gt; %{x} {{ 7 * 7 }} ${1}",
    "\x1b[31mred\x1b[0m \u202egnirts\u202c",
    "<!--<script>",
    "snow ☃ \U0001f600 Ünïcode \ud800",
)


def hostile() -> dict[str, Any]:
    """Return a summary with a dangerous string wherever a string may stand."""
    summary = realistic(trials=3)
    names = dict(zip(list(METHODS)[1:], HOSTILE, strict=False))

    def renamed(parts: dict[str, Any]) -> dict[str, Any]:
        return {names.get(name, name): part for name, part in parts.items()}

    summary["methods"] = renamed(summary["methods"])
    summary["reliability"] = renamed(summary["reliability"])
    for comparison in summary["comparisons"]:
        comparison["method"] = names.get(comparison["method"], comparison["method"])
    for result in summary["methods"].values():
        result["selected"] = [{text: text for text in HOSTILE} for _ in range(3)]
    text = " ".join(HOSTILE)
    summary["dataset"] |= {"name": text, "labels": list(HOSTILE[:3]), "source": text}
    summary["projection"]["axes"] = [HOSTILE[0], HOSTILE[3]]
    summary["densities"] = dict.fromkeys(HOSTILE, _fit(0.9, 0.8, 0.4, False))
    summary["settings"] |= {"network": HOSTILE[1], HOSTILE[0]: HOSTILE[0]}
    summary["reproduce"] = {
        "command": text,
        "versions": {HOSTILE[0]: HOSTILE[1]},
        "device": HOSTILE[0],
        "date": HOSTILE[1],
    }
    summary["notes"] = list(HOSTILE)
    summary["complete"] = False
    summary["missing"] = list(HOSTILE)
    return summary


def _stat(values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1))
    return {"mean": mean, "std": spread, "trials": values}


def _comparisons(methods: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name in list(methods)[1:]:
        for metric, sign in SIGNS.items():
            pairs = zip(methods[name][metric]["trials"], methods["vanilla"][metric]["trials"], strict=True)
            stat = _stat([a - b for a, b in pairs])
            n, mean = len(stat["trials"]), stat["mean"]
            half = 2.3 * stat["std"] / math.sqrt(n)
            low, high = (mean - half, mean + half) if n > 1 else (None, None)
            said = "no clear difference"
            if n > 1 and abs(mean) > half:
                said = "better" if mean * sign > 0 else "worse"
            span = {"difference": mean, "low": low, "high": high, "confidence": 0.95}
            found.append(
                {"method": name, "baseline": "vanilla", "metric": metric, **span, "trials": n, "verdict": said}
            )
    return found


def _pick(name: str, draw: random.Random) -> dict[str, Any]:
    pick: dict[str, Any] = {"learning_rate": draw.choice([0.1, 0.1, 0.01]), "epochs": draw.choice([40, 80, 100, 100])}
    if name.startswith("genlabel"):
        pick["gamma"] = draw.choice([0.4, 0.6, 0.6, 0.8, 1.0])
        pick["density"] = draw.choice(["gaussian", "kde"]) if name == "genlabel" else name.removeprefix("genlabel-")
    return pick


def _bold() -> list[float]:
    return [0.04, -0.12, -0.13, -0.08, 0.02, 0.01, -0.02, 0.03, 0.01, 0.07]


def _bins(draw: random.Random, bold: float) -> list[dict[str, Any]]:
    bins = []
    for i, count in enumerate([0, 0, 0, 3, 9, 17, 28, 45, 81, 417]):
        middle = min(0.985, i / 10 + 0.06)
        accuracy = min(1.0, max(0.0, middle - bold + draw.gauss(0, 0.35 / math.sqrt(count or 1))))
        known = {"confidence": middle, "accuracy": accuracy} if count else {"confidence": None, "accuracy": None}
        bins.append({"low": i / 10, "high": (i + 1) / 10, "count": count, **known})
    return bins


def _projection(draw: random.Random, classes: int, each: int) -> dict[str, Any]:
    if classes == 3:  # in a row, so that the middle class is intruded upon
        centres = [(-2.7, -0.2), (0.5, 0.3), (2.3, -0.1)]
    else:
        turns = [(math.sqrt(k + 1), 2.4 * k) for k in range(classes)]
        centres = [(2.4 * r * math.cos(a), 1.7 * r * math.sin(a)) for r, a in turns]
    labels = [k for k in range(classes) for _ in range(each)]
    points = [[draw.gauss(centres[k][0], 0.6), draw.gauss(centres[k][1], 0.4)] for k in labels]
    mixed, intruder = [], []
    for _ in range(min(300, 2 * len(points))):
        i, j, lam = draw.randrange(len(points)), draw.randrange(len(points)), draw.random()
        point = [lam * a + (1 - lam) * b for a, b in zip(points[i], points[j], strict=True)]
        nearest = min(range(len(points)), key=lambda n: math.dist(points[n], point))
        mixed.append(point)
        intruder.append(labels[nearest] not in (labels[i], labels[j]))
    rate = sum(intruder) / len(intruder)
    axes = ["PC 1 (73 %)", "PC 2 (23 %)"]
    return {
        "axes": axes,
        "points": points,
        "labels": labels,
        "mixed": mixed,
        "intruder": intruder,
        "intrusion_rate": rate,
    }


def _fit(train: float, held_out: float, loss: float, meets: bool) -> dict[str, Any]:
    return {"train_accuracy": train, "held_out_accuracy": held_out, "held_out_log_loss": loss, "meets_criterion": meets}
