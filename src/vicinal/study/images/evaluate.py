"""What a trained classifier is worth: clean and corrupted images, calibration, local linearity, and what it was trained on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from vicinal.core import InputError, generator_at
from vicinal.data.images import (
    CorruptedSet,
    ImageProblem,
    ImageSet,
    corrupt_images,
    image_folder,
    read_corrupted,
)
from vicinal.evaluation import (
    corruption_accuracy,
    has_inception,
    image_distance,
    local_linearity,
    penultimate,
    predict,
    score_probabilities,
)
from vicinal.evaluation.attacks import AutoAttack
from vicinal.study.images.methods import ImageMethod
from vicinal.study.images.pictures import sample_grid
from vicinal.study.images.protocol import ImageProtocol
from vicinal.study.images.train import Quality, Trained
from vicinal.study.store.disk import explained, locked
from vicinal.training.single import mixed_images, ready_for
from vicinal.vicinity import BaseVicinity

__all__ = [
    "corrupted_images",
    "evaluate_classifier",
    "evaluate_samples",
    "evaluate_training",
]

LINEARITY_STEPS = 10

PUBLISHED = {
    "cifar-10": ("CIFAR-10-C", (3, 32, 32)),
    "cifar-100": ("CIFAR-100-C", (3, 32, 32)),
    "tiny-imagenet": ("Tiny-ImageNet-C", (3, 64, 64)),
}
"""Folders of the published corrupted sets, and the shape of their images (Hendrycks and Dietterich, 2019)."""


def corrupted_images(
    problem: ImageProblem,
    protocol: ImageProtocol,
    folder: str | Path | None = None,
    workers: int | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> CorruptedSet:
    """Return the corrupted test images of a protocol.

    The published set is taken where its folder (`CIFAR-10-C`, `CIFAR-100-C`, `Tiny-ImageNet-C`) is beside the images and all of
    the test images, in their own size, are asked for; else they are corrupted here, once, and kept on the disk.

    Args:
        problem: whose test images.
        protocol: says how many of them, how corrupted.
        folder: of image files; None for the usual one.
        workers: processes; None for as many as there are cores.
        tell: called with images done and images in all.

    Examples:
        As `vicinal train` tests a classifier::

            corrupted = corrupted_images(problem, ImageProtocol(test_images=2000))
            corruption_accuracy(trained.classifier, corrupted).mean
    """
    count = protocol.test_images
    name, shape = PUBLISHED.get(problem.name, ("", ()))
    published = image_folder(folder) / name
    if count is None and problem.shape == shape and published.is_dir():
        found = read_corrupted(published, classes=problem.classes)
        chosen = tuple(name for name in found.corruptions if name in protocol.corruptions)
        if lacks := sorted(set(protocol.corruptions) - set(chosen)):
            raise InputError(f"{published} lacks {lacks[0]!r}; unpack its archive again, or name other 'corruptions'.")
        return replace(found, corruptions=chosen, severities=tuple(sorted(set(protocol.severities))))
    test = problem.test if count is None or count >= len(problem.test) else problem.test.first(count)
    home = image_folder() / "corrupted"
    with explained(home):
        home.mkdir(parents=True, exist_ok=True)
        (home / ".lock").touch()
    # Of several processes that want them, one works and the others find what it did.
    with locked(home):
        return corrupt_images(
            test, corruptions=protocol.corruptions, severities=protocol.severities, workers=workers, tell=tell
        )


def evaluate_classifier(
    classifier: nn.Module,
    test: ImageSet,
    corrupted: CorruptedSet | None,
    protocol: ImageProtocol,
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> dict[str, float]:
    """Score a classifier.

    Args:
        classifier: from pixels in [0, 1] to logits.
        test: the clean test images.
        corrupted: images corrupted in many ways, or None.
        protocol: says which epsilons of the local linear error, over how many images, and how many are attacked.
        seed: of the search for the largest error.
        tell: called with what comes next.

    Returns:
        'accuracy', 'log_loss', 'brier' and 'ece' of the clean images; with corrupted ones 'corruption_accuracy' and
        'corruption_ece', means over corruptions and severities, 'corruption_accuracy_NAME' and 'severity_accuracy_S'; and
        'linearity_K' in nats for every epsilon of K / 255 (VarMixup, Eq. 12); and 'robust_accuracy' under AutoAttack, if some
        images are to be attacked.

    Examples:
        With the test images corrupted here::

            evaluate_classifier(trained.classifier, problem.test, corrupted_images(problem, protocol), protocol)
    """
    told = tell or (lambda what: None)
    told("clean images")
    scores = score_probabilities(predict(classifier, test.x), test.y.numpy())
    if corrupted is not None:
        told("corrupted images")
        found = corruption_accuracy(classifier, corrupted)
        scores |= {"corruption_accuracy": found.mean, "corruption_ece": found.ece}
        scores |= {f"corruption_accuracy_{name}": value for name, value in found.per_corruption().items()}
        scores |= {f"severity_accuracy_{level}": value for level, value in found.per_severity().items()}
    if protocol.linearity:
        told("local linearity")
        some = test if len(test) <= protocol.linearity_images else test.first(protocol.linearity_images)
        for epsilon in protocol.linearity:
            errors = local_linearity(
                classifier,
                some.pixels(),
                some.y,
                epsilon,
                steps=LINEARITY_STEPS,
                seed=seed,
                # Gradients of as many images as a step of training has: more need not fit into memory.
                batch_size=protocol.batch_size,
            )
            scores[f"linearity_{255 * epsilon:g}"] = float(errors.mean())
    if protocol.attacked_images:
        told("AutoAttack")
        some = test if len(test) <= protocol.attacked_images else test.first(protocol.attacked_images)
        attack = AutoAttack(radius=protocol.epsilon, bounds=(0.0, 1.0), norm="linf", seed=seed % 2**31)
        scores["robust_accuracy"] = attack(classifier, some.pixels(), some.y).robust_accuracy
    return scores


def evaluate_training(
    method: ImageMethod,
    trained: Trained,
    images: ImageSet,
    problem: ImageProblem,
    corrupted: CorruptedSet | None,
    protocol: ImageProtocol,
    judge: nn.Module,
    quality: Quality | None = None,
    seed: int = 0,
    *,
    grid: bool = True,
    tell: Callable[[str], None] | None = None,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Score what came of a training, and say what is known of it.

    Args:
        method: that it was trained by.
        trained: from `train_method`.
        images: that it was trained on.
        problem: whose test images it is tested on.
        corrupted: these, corrupted in many ways, or None.
        protocol: says what is measured.
        judge: a plainly trained classifier, for distances.
        quality: of the space that it mixed in, if any.
        seed: of searches and draws.
        grid: whether to show what the training saw.
        tell: called with what comes next.

    Returns:
        A record's metrics and facts.

    Examples:
        After `train_method`::

            judge = train_judge(problem.train)
            metrics, facts = evaluate_training(method, trained, problem.train, problem, None, protocol, judge)
    """
    metrics = evaluate_classifier(trained.classifier, problem.test, corrupted, protocol, seed, tell)
    facts = {
        "rows": len(images),
        "test_rows": len(problem.test),
        "corrupted_rows": 0 if corrupted is None else len(corrupted),
        "corrupted_set": "" if corrupted is None else corrupted.name,
        "classes": len(images.classes),
        "channels": images.x.shape[1],
        "size": images.x.shape[2],
        "parameters": sum(p.numel() for p in trained.classifier.parameters()),
        "epochs": len(trained.result.history),
        "device": trained.result.device,
    }
    vicinity = ready_for(method.vicinity(protocol, trained.space), images)
    distances, features = evaluate_samples(vicinity, images, protocol, judge, seed)
    metrics |= distances
    if features:
        facts["features"] = features
    if quality is not None:
        metrics |= {"reconstruction_error": quality.error, "reconstruction_accuracy": quality.reconstructed}
        metrics |= {"judge_accuracy": quality.accuracy}
    if grid:
        facts["samples"] = sample_grid(vicinity, images, seed)
    return metrics, facts


def evaluate_samples(
    vicinity: BaseVicinity, images: ImageSet, protocol: ImageProtocol, judge: nn.Module, seed: int = 0
) -> tuple[dict[str, float], str]:
    """Measure how far mixed images are from the images themselves (VarMixup, Figure 4).

    Args:
        vicinity: fitted, as a training drew from it.
        images: the training images.
        protocol: says how many images, and nothing is measured for 0.
        judge: a classifier whose last features are compared, where Inception's weights are not at hand.
        seed: of the draws.

    Returns:
        'fid' and 'kid', and which features they are in.

    Examples:
        Of a fitted vicinity::

            evaluate_samples(ready_for(Mixup(), images), images, ImageProtocol(distance_images=2000), train_judge(images))
    """
    count = min(protocol.distance_images, len(images))
    if not count:
        return {}, ""
    fake = mixed_images(vicinity, images, count, generator_at(seed=seed, purpose="distance"))
    real = images.first(count, seed).pixels()
    features = None if has_inception() else penultimate(judge)
    where = next(judge.parameters()).device
    found = image_distance(real, fake, features, kid_subset_size=min(500, count), seed=seed, device=where)
    return {"fid": found.fid, "kid": found.kid}, found.features
