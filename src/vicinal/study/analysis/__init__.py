"""From a study's records to its summary: the plain numbers that the report and the exports read.

A study asks how methods compare over many data sets. Its summary holds each data set's scores with the published ones
beside them, on how many data sets the study's subject is ahead of each baseline, the paired differences and the ranks
over families of data sets, the cost, and what failed or is missing. A study of images asks what a few methods do to a
classifier of images under corruption, one record a trial. Nothing here trains or imports torch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vicinal.core.checks import InputError
from vicinal.study.analysis._images import analyse_images
from vicinal.study.analysis._paired import counts, differences, increases
from vicinal.study.analysis._published import published_counts, published_scores
from vicinal.study.analysis._ranks import ranks
from vicinal.study.analysis._scores import TEST_SIZE, Array, Scores, read_scores
from vicinal.study.analysis._status import SCHEMA, plain_json, status_of

__all__ = ["SCHEMA", "analyse", "analyse_images"]

FACTS = ("rows", "features", "classes", "balance", "test_share")
ABOUT = ("family", "name")
PROFILE = ("gaussian_train_accuracy", "kde_train_accuracy", "intrusion_rate")


def analyse(frame: pd.DataFrame, profiles: pd.DataFrame | None, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a study, as plain JSON.

    Args:
        frame: one row a record: `dataset`, `method`, `status` ('done' or 'failed'), `error_kind`, `error_message`, the
            means of the metrics over trials (accuracies and ECE as fractions), their `<metric>_trials` arrays,
            `seconds`, and facts of the data set (`fact_rows`, ...; `fact_test_share` is each trial's held-out share, 0 for
            trials on fresh rows, 0.3 where it is not known). Columns may be absent, values NaN.
        profiles: one row a data set, with `status`, `fact_gaussian_train_accuracy` and `fact_kde_train_accuracy`; or None.
        study: the manifest; `datasets`, `methods` and `metrics` are required, the first metric is what the study is
            about. `subject` is the method that is compared with the `baselines` (by default all others) where it ran; `best_of`
            (`name`, `methods`) adds a method that takes the best member on each data set. `about` says the `family` and
            the `name` of each data set. `criterion` and `balanced` give thresholds of subsets; `published` (percent) and
            `published_counts` stand beside ours.

    Returns:
        The summary: `schema`, `status`, `subsets`, `datasets`, `published`, `counts`, `differences`, `increases`,
        `ranks`, `cost`, and the manifest's own words. Means that are equal count as on par.

    Raises:
        InputError: the study lacks a part, or two records are of one data set and method.

    References:
        J. Sohn et al. GenLabel: mixup relabeling using generative models. ICML 2022, section 6, Tables 3 to 5.
        J. Demšar. Statistical comparisons of classifiers over multiple data sets. JMLR 7, 2006.

    Examples:
        >>> frame = pd.DataFrame({"dataset": ["iris"] * 2, "method": ["mixup", "genlabel"], "status": ["done"] * 2,
        ...                       "accuracy": [0.90, 0.95], "accuracy_trials": [[0.9, 0.9], [0.9, 1.0]]})
        >>> study = {"datasets": ["iris"], "methods": ["mixup", "genlabel"], "metrics": ["accuracy"],
        ...          "subject": "genlabel"}
        >>> [row["ahead"] for row in analyse(frame, None, study)["counts"]]
        [1]
    """
    for part in ("datasets", "methods", "metrics"):
        if not study.get(part):
            raise InputError(f"`study` must have the part '{part}' with at least one name, got {study.get(part)!r}.")
    best_of, notes = study.get("best_of") or {"name": None, "methods": []}, list(study.get("notes") or [])
    if not {*best_of["methods"]} <= {*study["methods"]}:  # a run of fewer methods than the suite has
        study, best_of = {**study, "best_of": None}, {"name": None, "methods": []}
    methods = [*study["methods"], *([best_of["name"]] if best_of["name"] else [])]
    subject = study.get("subject") or best_of["name"]
    if subject is not None and subject not in methods:
        notes.append(
            f"{subject}, with which the suite compares the others, was not run, so nothing is compared with it."
        )
        subject = None
    profiles = pd.DataFrame({"dataset": [], "status": []}) if profiles is None or profiles.empty else profiles
    facts = _facts(frame, profiles, study)
    families = facts["family"].where(facts["family"].notna(), facts.index.to_series())
    scores = read_scores(frame, study, families.tolist())
    metrics = list(scores.mean)
    subsets = _subsets(facts, study)
    baselines = [name for name in study.get("baselines") or methods if name != subject]
    if subject == best_of["name"]:
        baselines = [name for name in baselines if name not in best_of["methods"]]
    seed, test_share = abs(int(study.get("seed") or 0)), facts["test_share"].to_numpy(dtype=float)
    parts: dict[str, list[dict[str, Any]]] = {"counts": [], "differences": [], "increases": [], "ranks": []}
    theirs = published_counts(study)
    main = _main_comparison(subsets, baselines, metrics[0], theirs) if subject else None
    for metric in metrics:
        for key, member in subsets.items():
            label = {"metric": metric, "subset": key}
            parts["ranks"].append(label | ranks(scores, metric, member, best_of["name"]))
            if subject is None or not baselines:
                continue
            for row in counts(scores, metric, subject, baselines, member, test_share):
                shares = theirs.get((metric, key, row["baseline"]))
                parts["counts"].append(label | row | {"published": shares})
            parts["differences"] += [
                label | row for row in differences(scores, metric, subject, baselines, member, seed)
            ]
            if main:
                shown = increases(scores, metric, subject, main["baseline"], member)
                parts["increases"].append(label | {"baseline": main["baseline"]} | shown)
    words = ("suite", "title", "question", "citation", "command", "versions", "date")
    summary = {
        "schema": SCHEMA,
        "kind": "study",
        **{key: study.get(key) for key in words},
        "settings": {
            **{key: study.get(key) for key in ("network", "protocol", "trials", "seed")},
            **(study.get("options") or {}),
            "attack": study.get("attack"),
        },
        "remarks": list(study.get("remarks") or []),
        "notes": notes,
        "methods": methods,
        "best_of": study.get("best_of"),
        "metrics": metrics,
        "subject": subject,
        "baselines": baselines,
        "main": main,
        "status": status_of(frame, profiles, study),
        "subsets": _described(subsets, facts, families, study),
        "datasets": _datasets(scores, facts, subsets),
        "published": published_scores(scores, facts, study),
        **parts,
        "cost": _cost(frame, list(study["methods"])),
    }
    plain: dict[str, Any] = plain_json(summary)
    return plain


def _facts(frame: pd.DataFrame, profiles: pd.DataFrame, study: Mapping[str, Any]) -> pd.DataFrame:
    """What is known of each data set, from the manifest or its first record that says it; one row each, in the study's order."""
    datasets, about = study["datasets"], study.get("about") or {}
    found = pd.DataFrame(
        [[about.get(name, {}).get(said) for said in ABOUT] for name in datasets],
        pd.Index(datasets, name="dataset"), ABOUT, dtype=object,
    )  # fmt: skip
    for table, names in ((frame, FACTS), (profiles, PROFILE)):
        known = [name for name in names if f"fact_{name}" in table]
        first = table.groupby("dataset")[[f"fact_{name}" for name in known]].first()
        found[list(names)] = first.rename(columns=lambda c: c.removeprefix("fact_")).reindex(datasets, columns=names)
    found["test_share"] = found["test_share"].astype(float).fillna(TEST_SIZE)
    return found


def _subsets(facts: pd.DataFrame, study: Mapping[str, Any]) -> dict[str, Array]:
    """Masks over the data sets: all; those that a density fits; the balanced ones among these."""
    member = np.ones(len(facts), dtype=bool)
    found = {"all": member}
    if (least := study.get("criterion")) is not None:
        fit = facts[["gaussian_train_accuracy", "kde_train_accuracy"]].astype(float).max(axis=1)
        found["criterion"] = member = member & (fit > least).to_numpy()
    if (least := study.get("balanced")) is not None:
        found["balanced"] = member & (facts["balance"].astype(float) >= least).to_numpy()
    return found


def _described(
    subsets: Mapping[str, Array], facts: pd.DataFrame, families: pd.Series, study: Mapping[str, Any]
) -> list[dict[str, Any]]:
    rules = {
        "all": ("all data sets", ""),
        "criterion": (
            "data sets that a density fits",
            f"a Gaussian mixture or kernel density classifies more than {100 * (study.get('criterion') or 0):g} %"
            " of the training rows",
        ),
        "balanced": (
            "balanced data sets" + (" among them" if "criterion" in subsets else ""),
            f"the smallest class has at least {100 * (study.get('balanced') or 0):g} % of the largest one's rows",
        ),
    }
    unknown = {
        "all": 0,
        "criterion": int(facts[["gaussian_train_accuracy", "kde_train_accuracy"]].isna().all(axis=1).sum()),
        "balanced": int(facts["balance"].isna().sum()),
    }
    return [
        {
            "key": key,
            "name": rules[key][0],
            "rule": rules[key][1],
            "datasets": int(member.sum()),
            "families": int(families[member].nunique()),
            "unknown": unknown[key],
        }
        for key, member in subsets.items()
    ]


def _main_comparison(
    subsets: Mapping[str, Array], baselines: list[str], metric: str, published: Mapping[tuple[str, str, str], Any]
) -> dict[str, str] | None:
    """The one comparison that a headline speaks of: mixup if it is there, on the data sets that the paper counts."""
    if not baselines:
        return None
    filled = [key for key in ("criterion", "all") if key in subsets and subsets[key].any()] or ["all"]
    counted = [key for of, key, _ in published if of == metric and key in filled]
    baseline = "mixup" if "mixup" in baselines else baselines[0]
    return {"metric": metric, "subset": (counted or filled)[0], "baseline": baseline}


def _datasets(scores: Scores, facts: pd.DataFrame, subsets: Mapping[str, Array]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "id": name,
            **{str(k): v for k, v in values.items()},
            "subsets": [key for key, member in subsets.items() if member[i]],
            "scores": {},
        }
        for i, (name, values) in enumerate(zip(scores.datasets, facts.to_dict("records"), strict=True))
    ]
    for metric, mean in scores.mean.items():
        known = np.isfinite(mean)
        spread, trials = scores.std(metric), np.isfinite(scores.trials[metric]).sum(-1)
        for row, *parts in zip(found, mean, spread, trials, known, strict=True):
            row["scores"][metric] = {
                name: {"mean": m, "std": s if t > 1 else None, "trials": t}
                for name, m, s, t, there in zip(scores.methods, *(part.tolist() for part in parts), strict=True)
                if there
            }
    return found


def _cost(frame: pd.DataFrame, methods: list[str]) -> list[dict[str, Any]]:
    if "seconds" not in frame:
        return []
    done = frame[frame["status"] == "done"]
    wide = done.pivot_table(index="dataset", columns="method", values="seconds", aggfunc="sum").reindex(columns=methods)
    reference = wide["vanilla"].where(wide["vanilla"] > 0) if "vanilla" in methods else None
    ratio = None if reference is None else wide.div(reference, axis=0).median()
    return [
        {
            "method": name,
            "records": int(wide[name].notna().sum()),
            "seconds": float(wide[name].sum()),
            "ratio": None if ratio is None else float(ratio[name]),
        }
        for name in methods
    ]
