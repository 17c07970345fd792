"""What trainings of image studies cost, and what is lost by the way through the spaces that some of them mix in."""

from typing import Any

import numpy as np

from vicinal.study.analysis._image_pairs import ratios
from vicinal.study.analysis._image_scores import ImageScores

__all__ = ["POOR", "image_cost", "image_spaces"]

POOR = 0.10
"""A fall of accuracy from images to their reconstructions above which a space is said to lose too much."""


def image_cost(scores: ImageScores) -> list[dict[str, Any]]:
    """Return seconds per training by data set and method, and how many times plain training's they are.

    Ratios are medians over the trials that both have. A space's training counts once for each classifier trained with it, as
    the VarMixup paper counts it, though several trainings may share one.
    """
    found = []
    for dataset in scores.datasets:
        plain = scores.trial_values("train_seconds", dataset, "erm")
        for method in scores.methods:
            train = scores.trial_values("train_seconds", dataset, method)
            if not np.isfinite(train).any():
                continue
            space = scores.trial_values("space_seconds", dataset, method)
            if not np.isfinite(space).any():  # a method without a space
                space = np.zeros(len(train))
            both = np.isfinite(train) & np.isfinite(space)
            found.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "trials": int(np.isfinite(train).sum()),
                    "seconds": float(train[np.isfinite(train)].mean()),
                    "space_seconds": float(space[both].mean()) if both.any() else None,
                    "ratio": ratios(train, plain),
                    "ratio_with_space": ratios(train + space, plain),
                }
            )
    return found


def image_spaces(scores: ImageScores) -> list[dict[str, Any]]:
    """Return what each method's space makes of test images: the error of reconstructions, and how well they are recognised.

    The reference is the accuracy on the images themselves of the same plainly trained classifier (`judge_accuracy`), or where
    that is not recorded, plain training's. `poor`: reconstructions fall more than ten points below it.
    """
    found = []
    for dataset in scores.datasets:
        for method in scores.methods:
            error = scores.score("reconstruction_error", dataset, method)
            accuracy = scores.mean("reconstruction_accuracy", dataset, method)
            if error is None and accuracy is None:
                continue
            reference = scores.mean("judge_accuracy", dataset, method)
            if reference is None:
                reference = scores.mean("accuracy", dataset, "erm")
            drop = None if accuracy is None or reference is None else reference - accuracy
            found.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "error": None if error is None else error["mean"],
                    "accuracy": accuracy,
                    "reference": reference,
                    "drop": drop,
                    "poor": drop is not None and drop > POOR,
                }
            )
    return found
