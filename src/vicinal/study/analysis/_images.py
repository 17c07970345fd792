"""From the records of a study of images to its summary: the plain numbers that its report and exports read.

Such a study asks what a few ways of training do to a classifier of images: under common corruptions, on clean images, in
calibration and local linearity, and at what cost (P. Mangla et al., VarMixup, Tables 1 and 2, Figures 2 to 5). One record
holds one trial; methods of the same trial share split and initial weights, so their differences are paired.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vicinal.core.checks import InputError
from vicinal.study.analysis._image_cost import image_cost, image_spaces
from vicinal.study.analysis._image_metrics import goal, is_share, ordered
from vicinal.study.analysis._image_names import dataset_name, method_name
from vicinal.study.analysis._image_pairs import BASELINES, image_differences
from vicinal.study.analysis._image_scores import ImageScores, read_image_scores, with_trials
from vicinal.study.analysis._image_words import image_headline
from vicinal.study.analysis._status import SCHEMA, plain_json, status_of

__all__ = ["analyse_images"]

FACTS = ("rows", "test_rows", "corrupted_rows", "classes", "channels", "size", "features")
OF_METHODS = ("parameters", "epochs", "device")
CORRUPTION, SEVERITY, LINEARITY = "corruption_accuracy_", "severity_accuracy_", "linearity_"
PARTS = ("table", "corruptions", "calibration", "linearity", "distance", "samples", "cost", "transfer")
"""What a suite may be about, in the order of the page."""

MAIN = {
    "table": ("corruption_accuracy", "accuracy"),
    "transfer": ("corruption_accuracy", "accuracy"),
    "corruptions": ("corruption_accuracy",),
    "calibration": ("ece",),
    "linearity": (LINEARITY,),
    "distance": ("fid",),
    "samples": ("corruption_accuracy", "accuracy"),
    "cost": ("train_seconds",),
}
"""What the headline speaks of, by the first part that the suite is about."""


def analyse_images(frame: pd.DataFrame, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a study of images, as plain JSON.

    Args:
        frame: one row a record, which is one trial: `dataset`, `method`, `trial` (or `options` that name it), `status`
            ('done' or 'failed'), `error_kind`, `error_message`, each metric and its `<metric>_trials` (the store's columns),
            and facts (`fact_rows`, `fact_features`, `fact_samples`, ...). Columns may be absent, values NaN.
        study: the manifest; `datasets` and `methods` are required. `subject` is the method that the headline speaks of,
            `figures` the parts that the suite is about (all that have data, if there is none), `corruption_groups` the
            corruptions by kind, `published` the published numbers (accuracies in percent).

    Returns:
        The summary: `status`, `headline`, `datasets` with their scores (mean, standard deviation, trials), `published` beside
        ours, `corruptions` as differences from mixup, `differences` of all methods from the baselines with 95 % t intervals
        over trials, `spaces`, `cost`, `samples`, and the manifest's own words.

    Raises:
        InputError: the study lacks a part, or two records are of one data set, method and trial.

    References:
        P. Mangla, V. Singh, S. Havaldar, V. N. Balasubramanian. On the benefits of defining vicinal distributions in
        latent space. Pattern Recognition Letters 152, 2021, section 4, Tables 1 and 2.

    Examples:
        >>> scores = {"accuracy": [0.9, 0.8], "accuracy_trials": [[0.9], [0.8]]}
        >>> frame = pd.DataFrame({"dataset": "cifar-10", "method": ["erm", "mixup"], "status": "done", **scores})
        >>> summary = analyse_images(frame, {"datasets": ["cifar-10"], "methods": ["erm", "mixup"], "subject": "mixup"})
        >>> summary["headline"]["claim"]
        'Mixup gets 80.0 % of clean images right, plain training 90.0 % (1 trial).'
    """
    for part in ("datasets", "methods"):
        if not study.get(part):
            raise InputError(f"`study` must have the part '{part}' with at least one name, got {study.get(part)!r}.")
    frame = with_trials(frame)
    methods, notes = list(study["methods"]), list(study.get("notes") or [])
    subject = study.get("subject")
    if subject is not None and subject not in methods:
        notes.append(f"{method_name(subject)}, which the suite is about, was not run.")
        subject = None
    scores = read_image_scores(frame, study)
    devices = _devices(frame)
    if len(devices) > 1:
        notes.append(f"Trainings ran on different devices ({', '.join(devices)}), so their seconds can't be compared.")
    samples = _samples(frame, scores)
    parts = [part for part in PARTS if part in (study.get("figures") or PARTS) and _has(part, scores, samples)]
    baselines = [name for name in BASELINES if name in methods]
    words = ("suite", "title", "question", "citation", "command", "versions", "date")
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "images",
        **{key: study.get(key) for key in words},
        "settings": {key: study.get(key) for key in ("network", "protocol", "trials", "seed")}
        | dict(study.get("options") or {}),
        "remarks": list(study.get("remarks") or []),
        "notes": notes,
        "parts": parts,
        "methods": methods,
        "names": {name: method_name(name) for name in methods},
        "subject": subject,
        "baselines": baselines,
        "metrics": [{"key": key, "percent": is_share(key), "goal": goal(key)} for key in scores.values],
        "devices": devices,
        "status": status_of(frame, _none(), study, records=int(study.get("trials") or 1)),
        "datasets": _datasets(frame, scores, study),
        "facts": _method_facts(frame, methods),
        "published": _published(scores, study),
        "corruptions": _corruptions(scores, study),
        "differences": image_differences(scores, baselines),
        "spaces": image_spaces(scores),
        "cost": image_cost(scores),
        "samples": samples,
    }
    summary["main"] = _main(scores, subject, parts, baselines)
    summary["headline"] = image_headline(summary)
    plain: dict[str, Any] = plain_json(summary)
    return plain


def _none() -> pd.DataFrame:
    return pd.DataFrame({"dataset": [], "status": []})


def _has(part: str, scores: ImageScores, samples: Sequence[Any]) -> bool:
    needs = {
        "table": ("corruption_accuracy", "accuracy"),
        "transfer": ("corruption_accuracy", "accuracy"),
        "corruptions": (CORRUPTION, SEVERITY),
        "calibration": ("ece", "corruption_ece"),
        "linearity": (LINEARITY,),
        "distance": ("fid", "kid"),
        "cost": ("train_seconds",),
    }
    if part == "samples":
        return bool(samples)
    return any(
        metric == need or (need.endswith("_") and metric.startswith(need))
        for metric in scores.values
        for need in needs[part]
    )


def _main(scores: ImageScores, subject: str | None, parts: list[str], baselines: list[str]) -> dict[str, Any] | None:
    """The one comparison that the headline speaks of: the subject, or else the best method, with mixup."""
    order = [name for part in MAIN if part in parts for name in MAIN[part]] or ["corruption_accuracy", "accuracy"]
    found = [
        m for name in order for m in reversed(scores.values) if m == name or (name == LINEARITY and m.startswith(name))
    ]
    if not found:
        return None
    metric = found[0]
    method = subject
    if method is None:
        sign = -1.0 if goal(metric) == "lower" else 1.0
        means = {
            name: sign * mean
            for name in scores.methods
            if (mean := scores.mean(metric, scores.datasets[0], name)) is not None
        }
        if not means:
            return None
        method = max(means, key=lambda name: means[name])
    baseline = next((name for name in baselines if name != method), None)
    return {"metric": metric, "method": method, "baseline": baseline}


def _datasets(frame: pd.DataFrame, scores: ImageScores, study: Mapping[str, Any]) -> list[dict[str, Any]]:
    facts = _first(frame, "dataset", FACTS)
    return [
        {
            "id": dataset,
            "name": dataset_name(dataset, study.get("about") or {}),
            **{name: facts.get(dataset, {}).get(name) for name in FACTS},
            "scores": {
                metric: {name: score for name in scores.methods if (score := scores.score(metric, dataset, name))}
                for metric in scores.values
            },
        }
        for dataset in scores.datasets
    ]


def _method_facts(frame: pd.DataFrame, methods: list[str]) -> list[dict[str, Any]]:
    facts = _first(frame, "method", OF_METHODS)
    return [{"method": name, **facts[name]} for name in methods if name in facts]


def _first(frame: pd.DataFrame, by: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The first known value of each fact."""
    known = [name for name in names if f"fact_{name}" in frame]
    if not known:
        return {}
    found = frame.groupby(by)[[f"fact_{name}" for name in known]].first().astype(object)
    found = found.where(found.notna(), None).rename(columns=lambda column: column.removeprefix("fact_"))
    return {str(key): {str(name): value for name, value in row.items()} for key, row in found.to_dict("index").items()}


def _devices(frame: pd.DataFrame) -> list[str]:
    return sorted({str(name) for name in frame["fact_device"].dropna()}) if "fact_device" in frame else []


def _samples(frame: pd.DataFrame, scores: ImageScores) -> list[dict[str, Any]]:
    if "fact_samples" not in frame:
        return []
    told = frame[frame["fact_samples"].notna()].sort_values("trial").drop_duplicates(["dataset", "method"])
    images = {(row["dataset"], row["method"]): row["fact_samples"] for row in told.to_dict("records")}
    return [
        {"dataset": dataset, "method": method, "image": images[dataset, method]}
        for dataset in scores.datasets
        for method in scores.methods
        if (dataset, method) in images
    ]


def _published(scores: ImageScores, study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each published number with ours, and whether ours lies within 2 sqrt(s^2 + s_published^2); None if that can't be said."""
    found = []
    for entry in study.get("published") or []:
        metric = entry.get("metric") or "corruption_accuracy"
        scale = 0.01 if is_share(metric) else 1.0
        value, spread = scale * entry["value"], entry.get("std")
        theirs = None if spread is None else scale * spread
        ours = scores.score(metric, str(entry["dataset"]), str(entry.get("method"))) or {"mean": None, "std": None}
        gap = None if ours["mean"] is None else ours["mean"] - value
        reach = None if ours["std"] is None else 2 * float(np.hypot(ours["std"], theirs or 0.0)) + 1e-9
        found.append(
            {
                "dataset": str(entry["dataset"]),
                "method": entry.get("method"),
                "metric": metric,
                "published": value,
                "published_std": theirs,
                "note": entry.get("note") or "",
                "ours": ours["mean"],
                "std": ours["std"],
                "difference": gap,
                "within": None if gap is None or reach is None else abs(gap) <= reach,
            }
        )
    return found


def _corruptions(scores: ImageScores, study: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracies by corruption, and their differences from mixup's (plain training's, where mixup did not run)."""
    known = [metric.removeprefix(CORRUPTION) for metric in scores.values if metric.startswith(CORRUPTION)]
    said = {
        group: [name for name in names if name in known]
        for group, names in (study.get("corruption_groups") or {}).items()
    }
    rest = [name for name in known if name not in {name for names in said.values() for name in names}]
    groups = {group: names for group, names in {**said, "other": rest}.items() if names}
    tables = []
    for dataset in scores.datasets:
        cells = {
            name: {k: m for k in known if (m := scores.mean(CORRUPTION + k, dataset, name)) is not None}
            for name in scores.methods
        }
        cells = {name: row for name, row in cells.items() if row}
        reference = next((name for name in BASELINES if name in cells), None)
        base = cells.get(reference or "", {})
        if not cells:
            continue
        gaps = {name: {k: row[k] - base[k] for k in row if k in base} for name, row in cells.items()}
        mean = {name: scores.mean("corruption_accuracy", dataset, name) for name in cells}
        of_base = mean.get(reference or "")
        tables.append(
            {
                "dataset": dataset,
                "reference": reference,
                "accuracy": cells,
                "difference": gaps,
                "mean": mean,
                "mean_difference": {
                    name: None if value is None or of_base is None else value - of_base for name, value in mean.items()
                },
            }
        )
    levels = [metric.removeprefix(SEVERITY) for metric in scores.values if metric.startswith(SEVERITY)]
    epsilons = [metric.removeprefix(LINEARITY) for metric in scores.values if metric.startswith(LINEARITY)]
    return {"groups": groups, "severities": ordered(levels), "epsilons": ordered(epsilons), "tables": tables}
