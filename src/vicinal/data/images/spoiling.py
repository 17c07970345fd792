"""Corrupt rows of images with the library imagecorruptions, in a way that only (seed, corruption, severity, row) decide.

The library draws from three sources: numpy's global state (noise, motion blur, snow, frost, fog, elastic transform), a
generator of scikit-image that is new at each call (impulse noise) and numba's own state (glass blur). The first is seeded
for every image and put back as it was; the other two take the seed as an argument.
"""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vicinal.core import require, seed_at

__all__ = ["SMALLEST", "Bytes", "spoil_rows"]

SMALLEST: Final = 32
"""The library takes no image whose height or width is less."""

SEEDED: Final = ("impulse_noise", "glass_blur")
"""What takes its seed as an argument."""

MOST: Final = 12
"""Photographs that are kept, of the library's six."""

_TURN = threading.Lock()

Bytes = npt.NDArray[np.uint8]
"""Images, or rows of them."""


def spoil_rows(x: Bytes, start: int, corruption: str, severity: int, seed: int) -> Bytes:
    """Corrupt images one by one.

    Sides below 32 pixels are padded to 32 by repeating the edge, half at each end, and cut back after. A grey image is given
    as three equal channels, and its value is their mean, rounded.

    Args:
        x: (B, C, H, W), C 1 or 3.
        start: the row number of the first, which its draws depend on.
        corruption: one of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: names the draws, with the three above.

    Returns:
        (B, C, H, W).
    """
    library = require("imagecorruptions", "images")
    height, width = x.shape[2:]
    top, left = (max(0, SMALLEST - side) // 2 for side in (height, width))
    sides = [(before, max(0, SMALLEST - side) - before) for before, side in ((top, height), (left, width))]
    out = np.empty(x.shape, np.uint8)
    kept = _photographs_kept() if corruption == "frost" else nullcontext()
    with _TURN, _global_state(), kept:
        for row, image in enumerate(x):
            padded = np.pad(image.transpose(1, 2, 0), [*sides, (0, 0)], mode="edge")
            # 32 bits, all that numba takes.
            own = seed_at(purpose="corruption", seed=seed, corruption=corruption, severity=severity, row=start + row)
            own &= 0xFFFFFFFF
            np.random.seed(own)  # noqa: NPY002 - the library draws from this state
            given = {"seed": own} if corruption in SEEDED else {}
            spoilt = library.corrupt(padded, severity=severity, corruption_name=corruption, **given)
            cut = spoilt[top : top + height, left : left + width].transpose(2, 0, 1)
            out[row] = cut if len(image) == 3 else (cut.sum(0, dtype=np.uint16, keepdims=True) + 1) // 3
    return out


@contextmanager
def _global_state() -> Iterator[None]:
    cv2 = require("cv2", "images")
    drawn, threads = np.random.get_state(), cv2.getNumThreads()  # noqa: NPY002
    cv2.setNumThreads(0)  # images are far too small for threads
    try:
        yield
    finally:
        np.random.set_state(drawn)  # noqa: NPY002
        cv2.setNumThreads(threads)


@contextmanager
def _photographs_kept() -> Iterator[None]:
    # Frost reads and enlarges one of six photographs for every image, close to half of the time of all corruptions
    # together. While this holds, the library finds them as they were returned the last time.
    module: Any = require("imagecorruptions.corruptions", "images")
    given = module.cv2
    module.cv2 = _photographs()
    try:
        yield
    finally:
        module.cv2 = given


class _Photographs:
    """OpenCV, but for photographs that are read and enlarged once."""

    def __init__(self, cv2: ModuleType) -> None:
        self._cv2 = cv2
        self._enlarged: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        self.imread = functools.lru_cache(maxsize=MOST)(cv2.imread)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cv2, name)

    def resize(self, image: Any, dsize: tuple[int, int], interpolation: int) -> Any:
        """Enlarge an image, the same object only once."""
        key = (id(image), dsize, interpolation)
        if key not in self._enlarged:
            if len(self._enlarged) >= MOST:
                self._enlarged.clear()
            # The image is kept too, so that its id stays its own.
            self._enlarged[key] = (image, self._cv2.resize(image, dsize=dsize, interpolation=interpolation))
        return self._enlarged[key][1]


@functools.cache
def _photographs() -> _Photographs:
    return _Photographs(require("cv2", "images"))
