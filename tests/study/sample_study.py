"""Simulated studies: a frame of records, the data sets' profiles and a manifest, of any size."""

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["METHODS", "manifest", "simulate"]

METHODS = {  # accuracy above vanilla's, seconds over vanilla's
    "vanilla": (0.0, 1.0),
    "adamixup": (0.002, 1.9),
    "mixup": (-0.004, 1.1),
    "mixup-excluding-intrusion": (-0.002, 1.4),
    "generative-classifier": (-0.03, 0.1),
    "genlabel-gaussian": (0.012, 6.2),
    "genlabel-kde": (0.008, 8.5),
    "genlabel": (0.015, 15.1),
}


def manifest(datasets: list[str], methods: list[str], **changes: Any) -> dict[str, Any]:
    """Return a manifest with its required parts and the words of the paper's Table 4."""
    return {
        "suite": "genlabel/table4",
        "title": "Accuracy on selected OpenML data sets",
        "question": "Does relabelling mixed points with a generative model repair what mixup loses on small tables?",
        "citation": "J. Sohn et al. GenLabel: mixup relabeling using generative models. ICML 2022, Tables 3 and 4.",
        "network": "linear",
        "protocol": "paper",
        "trials": 5,
        "seed": 0,
        "methods": methods,
        "subject": "genlabel" if "genlabel" in methods else None,
        "metrics": ["accuracy"],
        "datasets": datasets,
        "missing": [],
        "criterion": None,
        "balanced": None,
        "published": [],
        "published_counts": [],
        "remarks": ["The paper does not say how trials are split; here 30 % of the rows are held out in each."],
        "command": "vicinal study run genlabel/table4 --workers 2",
        "versions": {"vicinal": "0.1.0", "python": "3.11.9", "torch": "2.14.0"},
        "notes": [],
        **changes,
    }


def simulate(
    datasets: int = 60,
    methods: list[str] | None = None,
    trials: int = 5,
    seed: int = 0,
    failing: float = 0.02,
    metrics: tuple[str, ...] = ("accuracy",),
    **changes: Any,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Return frame, profiles and manifest: test accuracies of 90 rows a trial, so that ties occur as they do in life."""
    rng = np.random.default_rng(seed)
    names = list(METHODS) if methods is None else methods
    ids = [f"openml:{700 + 7 * i}" for i in range(datasets)]
    base, own = rng.beta(8, 2, (datasets, 1, 1)), rng.normal(0, 0.012, (datasets, len(names), 1))
    lift = np.array([METHODS.get(name, (rng.normal(0, 0.005), 2.0))[0] for name in names])[None, :, None]
    split = rng.normal(0, 0.01, (datasets, 1, trials))
    rows = rng.integers(60, 900, datasets)
    balance = np.round(rng.uniform(0.1, 1.0, datasets), 3)
    frame = pd.DataFrame(
        {
            "dataset": np.repeat(ids, len(names)),
            "method": names * datasets,
            "status": np.where(rng.random(datasets * len(names)) < failing, "failed", "done"),
            "seconds": (rng.lognormal(0, 0.4, (datasets, 1)) * [METHODS.get(n, (0, 2.0))[1] for n in names]).ravel(),
            "fact_rows": np.repeat(rows, len(names)),
            "fact_features": np.repeat(rng.integers(2, 20, datasets), len(names)),
            "fact_classes": np.repeat(rng.choice([2, 2, 2, 3, 5], datasets), len(names)),
            "fact_balance": np.repeat(balance, len(names)),
        }
    )
    about = {
        d: {"family": f"f{i // 3}" if i < datasets // 2 else None, "name": f"table_{i}"} for i, d in enumerate(ids)
    }
    frame["key"], frame["kind"], frame["network"] = [f"k{i}" for i in range(len(frame))], "scores", "linear"
    failed = (frame["status"] == "failed").to_numpy()
    frame["error_kind"] = np.where(failed, "InputError", None)
    frame["error_message"] = np.where(failed, "`x` must have two rows of every class, got 1 of class 'b'.", None)
    for metric in metrics:
        chance = np.clip(base + own + lift + split - (0.3 if metric == "robust_accuracy" else 0), 0.05, 0.999)
        scores = rng.binomial(90, chance).reshape(-1, trials) / 90
        frame[metric] = np.where(failed, np.nan, scores.mean(axis=1))
        frame[f"{metric}_trials"] = [
            np.full(0, np.nan) if bad else row for row, bad in zip(scores, failed, strict=True)
        ]
    fit = rng.beta(12, 1, (datasets, 2))
    profiles = pd.DataFrame(
        {
            "dataset": ids,
            "status": "done",
            "fact_gaussian_train_accuracy": fit[:, 0],
            "fact_kde_train_accuracy": fit[:, 1],
            "fact_intrusion_rate": rng.beta(1, 9, datasets),
        }
    )
    return frame, profiles, manifest(ids, names, trials=trials, about=about, **{"metrics": list(metrics), **changes})
