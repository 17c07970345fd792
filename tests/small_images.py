"""A problem of images that a network learns in seconds: bars across or down, noisy, as a folder of PNG files."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 16
CLASSES = ("across", "down")


def write_images(folder: Path, train: int = 24, test: int = 8, seed: int = 0) -> Path:
    """Write train/CLASS/*.png and test/CLASS/*.png, so many of each class, and return the folder."""
    draw = np.random.default_rng(seed)
    for part, count in (("train", train), ("test", test)):
        for label, name in enumerate(CLASSES):
            place = folder / part / name
            place.mkdir(parents=True)
            for number in range(count):
                image = draw.integers(0, 60, (SIZE, SIZE))
                where = draw.integers(2, SIZE - 4)
                bar = (slice(where, where + 3), slice(None))
                image[bar if label == 0 else bar[::-1]] += 180
                Image.fromarray(image.astype(np.uint8)).save(place / f"{number:03}.png")
    return folder


QUICK = {
    "network": "small-resnet",
    "epochs": 2,
    "batch_size": 16,
    "augmented": False,
    "corruptions": ["gaussian_noise", "contrast"],
    "severities": [1, 5],
    "linearity": [0.01],
    "linearity_images": 4,
    "distance_images": 16,
    "attack_steps": 1,
    "vae": {"epochs": 1, "width": 8, "latent": [4, 4, 4], "batch_size": 16},
}
"""Entries of a protocol under which a training takes a second."""
