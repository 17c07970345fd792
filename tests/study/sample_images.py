"""A made-up study of images: records as the store's frame has them, and a manifest. Numbers are near the VarMixup paper's."""

import base64
import json
import struct
import zlib
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["GROUPS", "METHODS", "manifest", "picture", "simulate"]

GROUPS = {
    "noise": ["gaussian_noise", "shot_noise", "impulse_noise"],
    "blur": ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur"],
    "weather": ["snow", "frost", "fog", "brightness"],
    "digital": ["contrast", "elastic_transform", "pixelate", "jpeg_compression"],
}
SHARES = {"noise": -0.16, "blur": 0.02, "weather": 0.06, "digital": 0.04}
"""How much easier than the mean a group of corruptions is."""

METHODS: dict[str, tuple[float, float, float, float, float, str | None]] = {
    # corrupted accuracy, clean accuracy, ECE, local linear error at 8/255, times plain training, space
    "erm": (0.693, 0.945, 0.052, 2.9, 1.0, None),
    "mixup": (0.747, 0.955, 0.061, 1.30, 1.1, None),
    "mixup-r": (0.743, 0.899, 0.048, 1.05, 1.4, "vae"),
    "manifold-mixup": (0.725, 0.952, 0.071, 1.48, 1.2, None),
    "cutmix": (0.682, 0.957, 0.049, 2.1, 1.1, None),
    "mixup-noise": (0.802, 0.941, 0.057, 0.71, 1.1, None),
    "varmixup": (0.789, 0.921, 0.031, 0.62, 1.6, "vae"),
    "adv-varmixup": (0.796, 0.909, 0.034, 0.44, 1.6, "adv-vae"),
    "mixup+varmixup": (0.805, 0.941, 0.027, 0.66, 1.4, "vae"),
    "varmixup-sampled": (0.812, 0.917, 0.036, 0.48, 1.6, "vae"),
    "mixup+varmixup-sampled": (0.818, 0.938, 0.029, 0.55, 1.4, "vae"),
    "varmixup-genlabel": (0.771, 0.926, 0.042, 0.74, 1.9, "vae"),
    "at": (0.731, 0.856, 0.102, 0.061, 8.6, None),
    "trades": (0.755, 0.881, 0.115, 0.048, 11.2, None),
    "iat": (0.790, 0.897, 0.124, 0.082, 10.4, None),
}
HARDER = {"cifar-10": 0.0, "fashion-mnist": -0.18, "cifar-100": -0.3, "svhn": -0.05}
DECODED = {"vae": (0.06, 4.1), "adv-vae": (0.145, 6.8)}
"""How much accuracy and what error a space costs."""


def manifest(datasets: list[str], methods: list[str], **changes: Any) -> dict[str, Any]:
    """Return a manifest in the words of the paper's Table 1."""
    return {
        "schema": 1,
        "kind": "images",
        "suite": "varmixup/table1",
        "title": "Robustness to common corruptions",
        "question": "Does mixing in a variational autoencoder's latent space make classifiers of images more robust?",
        "citation": "P. Mangla et al. On the benefits of defining vicinal distributions in latent space. PRL 2021, Table 1.",
        "protocol": "images",
        "network": "small-resnet",
        "options": {
            "epochs": 15,
            "train_images": 10000,
            "severities": [1, 3, 5],
            "vae": {"channels": 64, "epochs": 20},
        },
        "trials": 3,
        "seed": 0,
        "methods": methods,
        "subject": "mixup+varmixup" if "mixup+varmixup" in methods else None,
        "metrics": ["corruption_accuracy", "accuracy"],
        "datasets": datasets,
        "missing": [],
        "published": [
            {"dataset": "cifar-10", "method": name, "metric": metric, "value": value, "std": std}
            for name, *scores in (
                ("erm", (69.29, 0.21), (94.5, 0.14)),
                ("mixup", (74.74, 0.34), (95.5, 0.35)),
                ("varmixup", (82.57, 0.42), (93.91, 0.45)),
                ("adv-varmixup", (82.12, 0.46), (92.19, 0.32)),
                ("mixup+varmixup", (83.36, 0.46), (94.1, 0.13)),
                ("at", (73.12, 0.31), (85.58, 0.14)),
            )
            for metric, (value, std) in zip(("corruption_accuracy", "accuracy"), scores, strict=True)
        ],
        "remarks": [
            "The paper trains ResNet-34 for 150 epochs on all images; here a small network, 15 epochs, 10,000 images."
        ],
        "notes": [],
        "command": "vicinal study run varmixup/table1 --workers 2",
        "date": "2025-11-03",
        "versions": {"vicinal": "0.1.0", "python": "3.11.9", "torch": "2.14.0", "torchvision": "0.29.0"},
        "corruption_groups": GROUPS,
        **changes,
    }


def simulate(
    datasets: tuple[str, ...] = ("cifar-10", "fashion-mnist"),
    methods: tuple[str, ...] = tuple(METHODS),
    trials: int = 3,
    seed: int = 0,
    gaps: bool = True,
    **changes: Any,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return frame and manifest; with gaps a failed training, a missing one, and a metric that one method lacks."""
    rng = np.random.default_rng(seed)
    rows = []
    for dataset in datasets:
        for trial in range(trials):
            split = rng.normal(0, 0.004)  # a hard split is hard for every method
            for method in methods:
                row = {
                    "key": f"{dataset}-{method}-{trial}",
                    "kind": "scores",
                    "dataset": dataset,
                    "method": method,
                    "options": json.dumps({"epochs": 15, "trial": trial}),
                    "status": "done",
                    "error_kind": None,
                    "error_message": None,
                    **_facts(dataset, method, trial),
                }
                if gaps and (method, trial) == ("at", 1) and dataset == "cifar-10":
                    row |= {"status": "failed", "error_kind": "InputError", "error_message": "the loss is no number."}
                    rows.append(row)
                    continue
                if gaps and method == "varmixup-genlabel" and dataset == "fashion-mnist":
                    continue
                metrics = _metrics(dataset, method, split, rng)
                if gaps and method == "cutmix":
                    metrics = {name: value for name, value in metrics.items() if not name.startswith("linearity_")}
                if gaps and method == "iat":
                    metrics["ece"] = None
                row |= metrics
                row |= {f"{name}_trials": [value] for name, value in metrics.items()}
                rows.append(row)
    study = manifest(list(datasets), list(methods), trials=trials, **changes)
    study.setdefault(
        "planned", [[f"{d}-{m}-{t}", "scores", d, m] for d in datasets for m in methods for t in range(trials)]
    )
    return pd.DataFrame(rows), study


def picture(seed: int = 0, grey: bool = False, rows: int = 4, columns: int = 8, side: int = 32) -> str:
    """Return a PNG of a grid of smooth blobs as a data URI."""
    rng = np.random.default_rng(seed)
    height, width = rows * (side + 1) + 1, columns * (side + 1) + 1
    pixels = np.full((height, width, 3), 255, dtype=np.uint8)
    y, x = np.mgrid[0:side, 0:side] / side
    for i in range(rows):
        for j in range(columns):
            tile = np.ones((side, side, 3)) * rng.uniform(0.1, 0.6, 3)
            for _ in range(3):
                a, b, r = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.4)
                blob = np.exp(-((x - a) ** 2 + (y - b) ** 2) / r**2)[..., None]
                tile = tile * (1 - blob) + blob * rng.uniform(0.2, 1, 3)
            if grey:
                tile = np.repeat(tile.mean(2, keepdims=True), 3, 2)
            at = i * (side + 1) + 1, j * (side + 1) + 1
            pixels[at[0] : at[0] + side, at[1] : at[1] + side] = (255 * tile).clip(0, 255)
    return "data:image/png;base64," + base64.b64encode(_png(pixels)).decode()


def _png(pixels: np.ndarray) -> bytes:
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    chunks = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _metrics(dataset: str, method: str, split: float, rng: np.random.Generator) -> dict[str, Any]:
    corrupted, clean, ece, linear, times, space = METHODS[method]
    shift = HARDER[dataset]
    clean += shift / 4

    def near(value: float, spread: float = 0.0025) -> float:
        return float(np.clip(value + split + rng.normal(0, spread), 0, 1))

    metrics: dict[str, Any] = {"accuracy": near(clean), "log_loss": 0.2 + 3 * ece, "brier": 0.08 + ece, "ece": ece}
    metrics["log_loss"] -= metrics["accuracy"] - clean
    metrics["brier"] -= metrics["accuracy"] - clean
    metrics["ece"] = abs(ece + rng.normal(0, 0.003))
    robust = 0.1 if method in ("at", "trades", "iat") else 0.0
    parts = {}
    for group, names in GROUPS.items():
        for name in names:
            gain = 0.07 * (group in ("noise", "blur")) if space else 0.0
            loss = 0.05 * (name in ("fog", "contrast")) if space or robust else 0.0
            noise = 0.12 * (group == "noise") if robust or method == "mixup-noise" else 0.0
            own = 0.05 * np.sin(sum(map(ord, name)))
            parts[name] = near(corrupted + shift + SHARES[group] + own + gain - loss + noise, 0.006)
    metrics |= {f"corruption_accuracy_{name}": value for name, value in parts.items()}
    metrics["corruption_accuracy"] = float(np.mean(list(parts.values())))
    metrics["corruption_ece"] = abs(0.08 + ece + rng.normal(0, 0.004))
    for level, drop in ((1, 0.09), (3, 0.0), (5, -0.11)):
        metrics[f"severity_accuracy_{level}"] = near(metrics["corruption_accuracy"] + drop, 0.003)
    for k in (2, 4, 8):
        metrics[f"linearity_{k}"] = float(linear * (k / 8) ** 1.7 * np.exp(rng.normal(0, 0.05)))
    metrics["train_seconds"] = 240 * times * float(np.exp(rng.normal(0, 0.03)))
    metrics["space_seconds"] = {"vae": 310.0, "adv-vae": 2150.0}[space] if space else 0.0
    if space:
        drop, error = DECODED[space]
        metrics |= {
            "judge_accuracy": near(0.93 + shift / 4, 0),
            "reconstruction_accuracy": near(0.93 - drop + shift / 4, 0),
            "reconstruction_error": error,
        }
        metrics |= {"fid": 40 * drop * 10 + rng.normal(0, 1), "kid": 0.3 * drop + rng.normal(0, 0.001)}
    elif method in ("mixup", "cutmix", "mixup-noise"):
        metrics |= {"fid": 11 + rng.normal(0, 1), "kid": 0.008 + rng.normal(0, 0.001)}
    return metrics


def _facts(dataset: str, method: str, trial: int) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "fact_rows": 10_000,
        "fact_test_rows": 10_000,
        "fact_corrupted_rows": 2_000,
        "fact_classes": 10,
        "fact_channels": 1 if dataset == "fashion-mnist" else 3,
        "fact_size": 32,
        "fact_parameters": 175_258,
        "fact_epochs": 15,
        "fact_device": "cpu",
        "fact_features": "last layer of a small ResNet trained plainly, 64 features",
    }
    if trial == 0 and method in ("mixup", "cutmix", "varmixup", "adv-varmixup", "mixup+varmixup", "varmixup-sampled"):
        facts["fact_samples"] = picture(sum(map(ord, method)), grey=dataset == "fashion-mnist")
    return facts
