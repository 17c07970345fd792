"""From a comparison to a summary: the plain numbers that JSON, the terminal and the report all read."""

import datetime
import platform
import shlex
from typing import Any

import numpy as np
import scipy
import sklearn
import torch
from sklearn.decomposition import PCA

import vicinal
from vicinal.core import generator_at
from vicinal.evaluation import LOWER_IS_BETTER, METRICS, paired_difference, reliability_bins, score_probabilities
from vicinal.study.compare import Comparison
from vicinal.study.methods import densities_of
from vicinal.study.trials import Trial
from vicinal.training import make_group
from vicinal.vicinity import Mixup, intrusions

__all__ = ["SCHEMA", "summarize"]

SCHEMA = 1
CRITERION = 0.95
"""Training accuracy above which the paper counts a density as one that fits (section 6)."""

SHOWN = 600
"""Points of either kind that the projection shows."""


def summarize(result: Comparison, command: list[str] | None = None) -> dict[str, Any]:
    """Return the summary of a comparison, as plain JSON.

    Args:
        result: from `compare`.
        command: the words of the command that ran it.
    """
    problem, protocol = result.problem, result.protocol
    names = [m.name for m in result.methods]
    baseline = "vanilla" if "vanilla" in names else names[0]
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "dataset": {
            "name": problem.name,
            "rows": problem.rows,
            "features": problem.features,
            "classes": len(problem.labels),
            "labels": problem.labels,
            "counts": problem.counts,
            "source": problem.source,
        },
        "protocol": protocol.name,
        "settings": {
            "network": protocol.network,
            "trials": result.asked,
            "folds": protocol.folds,
            "seed": result.seed,
            "test_size": protocol.test_size or "fresh rows",
            "epochs": protocol.epochs(len(result.trials[0].x)),
            "batch_size": protocol.batch_size,
            "optimizer": protocol.optimizer.name,
            "weight_decay": protocol.weight_decay,
            "chosen by": protocol.scoring,
            "epoch kept": protocol.keep,
            "standardised": protocol.scale,
        },
        "baseline": baseline,
        "methods": {name: _method(result, name) for name in names},
        "comparisons": _comparisons(result, names, baseline),
        "reliability": {name: _reliability(result, name) for name in names},
        "projection": _projection(result),
        "densities": _densities(result),
        "reproduce": {
            "command": shlex.join(["vicinal", *command]) if command else None,
            "versions": {
                "vicinal": vicinal.__version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "scikit-learn": sklearn.__version__,
                "numpy": np.__version__,
                "scipy": scipy.__version__,
            },
            "device": result.device,
            "date": datetime.date.today().isoformat(),
        },
        "seconds": round(result.seconds, 3),
        "notes": list(problem.notes),
        "complete": result.complete,
        "missing": [f"trial {t + 1}" for t in range(len(result.trials), result.asked)],
    }
    return summary


def _method(result: Comparison, name: str) -> dict[str, Any]:
    outcome = result.outcomes[name]
    scores = {
        metric: {
            "mean": float(np.mean(values)),
            "std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
            "trials": values,
        }
        for metric, values in outcome.scores.items()
    }
    return {**scores, "seconds": round(outcome.seconds, 4), "selected": outcome.selected}


def _comparisons(result: Comparison, names: list[str], baseline: str) -> list[dict[str, Any]]:
    found = []
    for name in names:
        for metric in METRICS:
            if name == baseline:
                continue
            ours, theirs = (result.outcomes[n].scores[metric] for n in (name, baseline))
            paired = paired_difference(ours, theirs, result.protocol.test_size)
            found.append(
                {
                    "method": name,
                    "baseline": baseline,
                    "metric": metric,
                    "difference": paired.difference,
                    "low": paired.low,
                    "high": paired.high,
                    "confidence": paired.confidence,
                    "trials": len(ours),
                    "verdict": paired.verdict(higher_is_better=metric not in LOWER_IS_BETTER),
                }
            )
    return found


def _reliability(result: Comparison, name: str) -> list[dict[str, Any]]:
    pooled = np.concatenate(result.outcomes[name].probabilities)
    return reliability_bins(pooled, np.concatenate([trial.y_test for trial in result.trials]))


def _scaled(result: Comparison, trial: Trial) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    group = make_group(
        trial.x,
        trial.y,
        len(result.problem.labels),
        {},
        scale=result.protocol.scale,
        held_out=(trial.x_test, trial.y_test, None),
    )
    assert group.x_eval is not None  # noqa: S101 - for the type checker
    return group.x, group.y, group.x_eval


def _projection(result: Comparison) -> dict[str, Any]:
    """The first trial's training rows, and mixup's points between them, on two axes."""
    trial = result.trials[0]
    x, y, _ = _scaled(result, trial)
    generator = generator_at(dataset=result.problem.name, seed=result.seed, purpose="projection")
    rows = torch.nn.functional.one_hot(y, len(result.problem.labels)).to(x.dtype)
    repeats = max(1, -(-SHOWN // len(x)))
    batch = Mixup(result.protocol.alpha, per="sample").draw_rows(
        x.expand(repeats, *x.shape), rows.expand(repeats, *rows.shape), None, generator
    )
    intruder = intrusions(batch, x, y).flatten()
    mixed = batch.x.flatten(0, 1)
    if x.shape[1] > 2:
        pca = PCA(2, svd_solver="full").fit(x.numpy())
        axes = [f"PC {i + 1} ({share:.0%})" for i, share in enumerate(np.nan_to_num(pca.explained_variance_ratio_))]
        points, between = pca.transform(x.numpy()), pca.transform(mixed.numpy())
    else:
        axes = ["feature 1", "feature 2"][: x.shape[1]]
        points, between = x.numpy(), mixed.numpy()
        if x.shape[1] == 1:
            axes.append("")
            points, between = (np.pad(part, ((0, 0), (0, 1))) for part in (points, between))
    chosen = torch.randperm(len(x), generator=generator)[: 2 * SHOWN].numpy()
    some = torch.randperm(len(mixed), generator=generator)[:SHOWN].numpy()
    return {
        "axes": axes,
        "points": np.round(points[chosen], 4).tolist(),
        "labels": y.numpy()[chosen].tolist(),
        "mixed": np.round(between[some], 4).tolist(),
        "intruder": intruder.numpy()[some].tolist(),
        "intrusion_rate": float(intruder.double().mean()),
    }


def _densities(result: Comparison) -> dict[str, Any]:
    """How well each density tells the classes apart: on the rows it was fitted to, and on test rows; means over trials."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for trial in result.trials:
        x, y, x_test = _scaled(result, trial)
        for name, density in densities_of(result.protocol).items():
            density.fit(x, y, len(result.problem.labels))
            held_out = score_probabilities(density.posterior(x_test.double()).numpy(), trial.y_test)
            found.setdefault(name, []).append((density.score(x, y), held_out["accuracy"], held_out["log_loss"]))
    return {
        name: {
            "train_accuracy": float(np.mean([v[0] for v in values])),
            "held_out_accuracy": float(np.mean([v[1] for v in values])),
            "held_out_log_loss": float(np.mean([v[2] for v in values])),
            "meets_criterion": bool(np.mean([v[0] for v in values]) > CRITERION),
        }
        for name, values in found.items()
    }
