"""The contract of a labeler."""

from dataclasses import fields, replace

import torch
from sklearn.base import clone

from vicinal.core import MixedBatch
from vicinal.labeling import Labeler
from vicinal.testing.components import (
    FLOATS,
    ROUNDING,
    assert_close,
    assert_simplex,
    check_component,
    label_rows,
    table,
)

__all__ = ["check_labeler"]


def check_labeler(labeler: Labeler) -> None:
    """Check all that a labeler promises.

    - Labels are rows on the simplex, finite near and far, (..., B, K) in the dtype of the points, for any float dtype.
    - Batches drawn at once are labelled as one after another, and rows of a batch as row after row.
    - Renaming the classes permutes the columns.
    - `terms()` are labelers whose weighted sum, each fitted to the same rows, is the label.
    - It is a component (`check_component`).

    Args:
        labeler: not fitted; it is cloned, never changed.

    Raises:
        AssertionError: the labeler breaks the contract; the message says how.

    Examples:
        >>> from vicinal.labeling import LogisticLabels
        >>> check_labeler(LogisticLabels(sigma=0.3))
    """
    for check in (_check_rows, _check_loop, _check_classes, _check_terms):
        check(labeler)
    x, y = table(30, 2, 3)
    batch = _batch(3, 2)
    check_component(labeler, lambda part: part.fit(x, y, 3), lambda part: part(batch))


def _batch(k: int, d: int, shape: tuple[int, ...] = (7,), dtype: torch.dtype = torch.float64) -> MixedBatch:
    """Return points on lines between rows of `table`, some of them between rows of one class."""
    n = torch.Size(shape).numel()
    x, y = table(2 * n + k, d, k, seed=2)
    lam = torch.linspace(0, 1, n, dtype=torch.float64) if n else torch.zeros(0, dtype=torch.float64)
    a, b = torch.arange(n), n + torch.arange(n)
    rows = label_rows(y, k)
    mixed = torch.lerp(x[b], x[a], lam[:, None])
    flat = (mixed, x[a], x[b], rows[a], rows[b], lam, torch.ones_like(lam))
    return MixedBatch(*(part.to(dtype).reshape(*shape, *part.shape[1:]) for part in flat))


def _one(batch: MixedBatch, index: object) -> MixedBatch:
    return replace(batch, **{field.name: getattr(batch, field.name)[index] for field in fields(MixedBatch)})


def _check_rows(labeler: Labeler) -> None:
    name = type(labeler).__name__
    for k in (2, 3):
        fitted = clone(labeler).fit(*table(30, 4, k), k)
        for dtype in FLOATS:
            for shape in ((7,), (1,), (0,), (2, 5), (2, 3, 1)):
                batch = _batch(k, 4, shape, dtype)
                y = fitted(batch)
                assert y.shape == (*shape, k), f"{name}: labels must be {(*shape, k)}, got {tuple(y.shape)}."
                assert y.dtype == dtype, f"{name}: labels must come in the dtype of the points, {dtype}, got {y.dtype}."
                assert_simplex(y, f"{name}, {dtype}")
        far = _batch(k, 4)
        far = replace(far, x=far.x * 1e6, x_a=far.x_a * 1e6, x_b=far.x_b * 1e6)
        assert_simplex(fitted(far), f"{name}, far from the training rows")
    wide = clone(labeler).fit(*table(30, 4, 2), 5)
    assert_simplex(wide(_batch(5, 4)), f"{name}, fitted to rows without some of the classes")


def _check_loop(labeler: Labeler) -> None:
    name = type(labeler).__name__
    fitted = clone(labeler).fit(*table(30, 4, 3), 3)
    batch = _batch(3, 4, (4, 6))
    whole = fitted(batch)
    loop = torch.stack([fitted(_one(batch, i)) for i in range(4)])
    assert_close(whole, loop, f"{name}: batches labelled at once must equal a loop over them", 1e-9)
    single = torch.cat([fitted(_one(batch, (0, slice(i, i + 1)))) for i in range(6)])
    assert_close(whole[0], single, f"{name}: a row's label must not depend on the other rows", 1e-9)
    images = {part: getattr(batch, part).reshape(4, 6, 1, 2, 2) for part in ("x", "x_a", "x_b")}
    x, y = table(30, 4, 3)
    shaped = clone(labeler).fit(x.reshape(30, 1, 2, 2), y, 3)(replace(batch, **images))
    assert_close(shaped, whole, f"{name}: rows of any shape must count as flat rows", 1e-9)


def _check_classes(labeler: Labeler) -> None:
    name, (x, y), batch = type(labeler).__name__, table(30, 4, 3), _batch(3, 4)
    to = torch.tensor([2, 0, 1])
    back = to.argsort()
    renamed = replace(batch, y_a=batch.y_a[:, back], y_b=batch.y_b[:, back])
    permuted = clone(labeler).fit(x, to[y], 3)(renamed)
    plain = clone(labeler).fit(x, y, 3)(batch)
    assert_close(permuted[:, to], plain, f"{name}: renaming the classes must permute the columns", 1e-9)


def _check_terms(labeler: Labeler) -> None:
    name, (x, y), batch = type(labeler).__name__, table(30, 4, 3), _batch(3, 4)
    terms = clone(labeler).terms()
    total = torch.zeros_like(batch.y_a)
    for weight, term in terms:
        total = total + weight * clone(term).fit(x, y, 3)(batch)
    whole = clone(labeler).fit(x, y, 3)
    assert_close(total, whole(batch), f"{name}: `terms()` must sum to the label", ROUNDING[torch.float64])
    assert abs(sum(weight for weight, _ in terms) - 1) < 1e-9, f"{name}: the weights of `terms()` must sum to one."
