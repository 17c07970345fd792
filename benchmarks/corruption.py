"""How long all corruptions of some test images take, against a plain loop over the library that makes them.

    python benchmarks/corruption.py [--images 2000] [--rounds 1] [--shape 1,28,28] [--workers 2]

The loop calls `imagecorruptions.corrupt` for every image, corruption and severity in one process. `corrupt_images` does the same
work, seeds every draw, writes arrays to a new folder, and starts its processes anew each round. A second call finds the arrays.
"""

import argparse
import os
import statistics
import tempfile
from functools import partial

import numpy as np
import torch
from imagecorruptions import corrupt
from joblib.externals.loky import get_reusable_executor
from measure import print_facts, print_table, timed

from vicinal.data.images import CORRUPTIONS, SEVERITIES, ImageSet, corrupt_images


def main() -> None:
    """Print seconds and ratios to the library's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--shape", default="1,28,28")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    shape = tuple(int(part) for part in asked.shape.split(","))
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (asked.images, *shape), generator=generator, dtype=torch.uint8)
    images = ImageSet("random", x, torch.zeros(asked.images, dtype=torch.int64), ("0",))
    plain(images.take(slice(0, 1)))  # compiles and reads what the library does once
    seconds: dict[str, list[float]] = {
        "the library, one process": [],
        f"{asked.workers} processes": [],
        "found again": [],
    }
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            call = partial(corrupt_images, images, folder=folder, workers=asked.workers)
            get_reusable_executor().shutdown()
            for taken, function in zip(seconds.values(), (partial(plain, images), call, call), strict=True):
                taken.append(timed(function))
    print_facts()
    pictures = len(images) * len(CORRUPTIONS) * len(SEVERITIES)
    first = next(iter(seconds.values()))
    print_table(
        (f"{pictures} pictures", "seconds", "ratio"),
        [
            (
                name,
                f"{statistics.median(taken):.2f}",
                f"{statistics.median(a / b for a, b in zip(taken, first, strict=True)):.3f}",
            )
            for name, taken in seconds.items()
        ],
    )


def plain(images: ImageSet) -> None:
    """Corrupt images one by one, as the library's manual does, padded to the 32 pixels that it asks for."""
    height, width = images.x.shape[2:]
    pad = [(0, max(0, 32 - height)), (0, max(0, 32 - width)), (0, 0)]
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            for image in images.x.numpy():
                corrupt(np.pad(image.transpose(1, 2, 0), pad, mode="edge"), severity=severity, corruption_name=name)


if __name__ == "__main__":
    main()
