"""The contract of a class-conditional density."""

import math

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.core import InputError
from vicinal.densities import Density
from vicinal.testing.components import (
    FLOATS,
    assert_close,
    assert_raises,
    assert_simplex,
    check_component,
    label_rows,
    table,
)

__all__ = ["check_density"]


def check_density(density: Density) -> None:
    """Check all that a density promises.

    - Every p_c integrates to 1 over one and two features, if and only if the class declares `normalized`.
    - Samples, where it can be sampled, have the moments of the density that was integrated.
    - A batch equals a loop, classes and training rows may come in any order, a row of weight 2 equals two rows.
    - A class without rows gets log p = -inf and posterior 0; points in any float dtype get log p in double precision.
    - Posteriors are finite and on the simplex far away, and for tables with a class of one row, copies of rows,
      constant or collinear columns, and scales from 1e-6 to 1e6; shifting all features changes none.
    - It is a component (`check_component`), and says so when it was not fitted or the features are not those of `fit`.

    Args:
        density: not fitted; it is cloned, never changed.

    Raises:
        AssertionError: the density breaks the contract; the message says how.

    Examples:
        >>> from vicinal.densities import Gaussian
        >>> check_density(Gaussian(covariance="diagonal"))
    """
    for check in (
        _check_shapes,
        _check_symmetry,
        _check_missing_class,
        _check_weights,
        _check_far_points,
        _check_hard_tables,
        _check_shift,
        _check_integral,
        _check_samples,
        _check_errors,
    ):
        check(density)
    x, y = table(30, 2, 3)
    check_component(density, lambda part: part.fit(x, y), lambda part: part.log_prob(x + 0.1))


def _name(density: Density) -> str:
    return type(density).__name__


def _check_shapes(density: Density) -> None:
    name, (x, y) = _name(density), table(45, 4, 3)
    fitted = clone(density).fit(x, y)
    queries = table(7, 4, 3, seed=1)[0]
    whole = fitted.log_prob(queries)
    assert whole.shape == (7, 3), (
        f"{name}: log_prob of 7 points and 3 classes must be (7, 3), got {tuple(whole.shape)}."
    )
    assert fitted.log_prob(queries[:0]).shape == (0, 3), f"{name}: log_prob of no points must be (0, 3)."
    loop = torch.cat([fitted.log_prob(row[None]) for row in queries])
    assert_close(whole, loop, f"{name}: a batch must equal a loop over its rows", 1e-9)
    for dtype in FLOATS:
        given = queries.to(dtype)
        log_p = fitted.log_prob(given)
        assert log_p.dtype == torch.float64, (
            f"{name}: log_prob of {dtype} must be in double precision, got {log_p.dtype}."
        )
        rounding = 1e-5 if density.takes_single and dtype == torch.float32 else 1e-9
        assert_close(
            log_p, fitted.log_prob(given.double()), f"{name}: log_prob must not depend on the points' dtype", rounding
        )
        assert fitted.posterior(given).dtype == dtype, (
            f"{name}: posterior must come in the dtype of the points, {dtype}."
        )
        assert torch.isfinite(clone(density).fit(x.to(dtype), y).log_prob(given)).all(), (
            f"{name}: must fit {dtype} rows."
        )
    images = clone(density).fit(x.reshape(45, 1, 2, 2), y).log_prob(queries.reshape(7, 1, 2, 2))
    assert_close(images, whole, f"{name}: rows of any shape must count as flat rows", 1e-12)
    arrays = clone(density).fit(x.numpy(), y.numpy()).log_prob(queries)
    assert_close(arrays, whole, f"{name}: arrays must fit as tensors do", 1e-12)


def _check_symmetry(density: Density) -> None:
    name, (x, y) = _name(density), table(45, 3, 3)
    queries = table(9, 3, 3, seed=1)[0]
    whole = clone(density).fit(x, y).log_prob(queries)
    to = torch.tensor([2, 0, 1])
    permuted = clone(density).fit(x, to[y]).log_prob(queries)
    assert_close(permuted[:, to], whole, f"{name}: renaming the classes must permute the columns", 1e-9)
    order = torch.randperm(45, generator=torch.Generator().manual_seed(0))
    shuffled = clone(density).fit(x[order], y[order]).log_prob(queries)
    assert_close(shuffled, whole, f"{name}: the order of the training rows must not matter", 1e-9)


def _check_missing_class(density: Density) -> None:
    name, (x, y) = _name(density), table(30, 2, 2)
    plain = clone(density).fit(x, y).log_prob(x)
    wider = clone(density).fit(x, 2 * y, n_classes=4)
    log_p = wider.log_prob(x)
    assert bool((log_p[:, [1, 3]] == -torch.inf).all()), f"{name}: a class without rows must get log p = -inf."
    assert_close(log_p[:, [0, 2]], plain, f"{name}: a class without rows must not change the others", 1e-9)
    for prior in ("uniform", "empirical"):
        posterior = wider.posterior(x, prior)
        assert_simplex(posterior, f"{name}, one class without rows, prior {prior!r}")
        assert bool((posterior[:, [1, 3]] == 0).all()), f"{name}: a class without rows must get posterior 0."


def _check_weights(density: Density) -> None:
    name, (x, y) = _name(density), table(40, 2, 3)
    weight = torch.arange(40) % 4
    try:
        weighted = clone(density).fit(x, y, n_classes=3, sample_weight=weight)
    except InputError:
        return  # a density may refuse weights, in words
    repeated = clone(density).fit(x.repeat_interleave(weight, 0), y.repeat_interleave(weight), n_classes=3)
    queries = table(9, 2, 3, seed=1)[0]
    rule = f"{name}: a row of weight w must equal w rows, and weight 0 no row"
    assert_close(weighted.log_prob(queries), repeated.log_prob(queries), rule, 1e-8)
    assert_close(weighted.posterior(queries, "empirical"), repeated.posterior(queries, "empirical"), rule, 1e-8)


def _check_far_points(density: Density) -> None:
    name, (x, y) = _name(density), table(45, 3, 3)
    fitted = clone(density).fit(x, y)
    ray = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)
    for distance in (1e1, 1e2, 1e3, 1e4, 1e6, 1e8):
        points = torch.stack([distance * ray, -distance * ray])
        log_p = fitted.log_prob(points)
        assert bool(torch.isfinite(log_p).all()), f"{name}: log_prob must be finite {distance:g} away from the rows."
        posterior = fitted.posterior(points)
        assert_simplex(posterior, f"{name}, {distance:g} away from the rows")
        exact = torch.exp(log_p - log_p.amax(1, keepdim=True))
        exact = exact / exact.sum(1, keepdim=True)
        assert_close(posterior, exact, f"{name}: posterior must be the softmax of log_prob {distance:g} away", 1e-9)
        assert_simplex(fitted.posterior(points.float()), f"{name}, float32, {distance:g} away from the rows")


def _check_hard_tables(density: Density) -> None:
    name, (x, y) = _name(density), table(30, 3, 3)
    one_row = y.clone()
    one_row[y == 2] = 1
    one_row[2] = 2
    copies = x.clone()
    copies[y == 1] = x[1]
    constant, collinear = x.clone(), x.clone()
    constant[:, 1] = 7.0
    collinear[:, 2] = collinear[:, 0] - 2 * collinear[:, 1]
    tables = {
        "a class of one row": (x, one_row),
        "one row in every class": (x[:3], y[:3]),
        "a class of copies of one row": (copies, y),
        "copies of one row only": (x[:1].expand(6, 3), y[:6]),
        "a constant column": (constant, y),
        "collinear columns": (collinear, y),
        "more columns than rows": (torch.cat([x, x.flip(0), x**2, x**3, x.sin()], 1)[:9], y[:9]),
        "scales from 1e-6 to 1e6": (x * torch.tensor([1e-6, 1.0, 1e6], dtype=x.dtype), y),
        "columns of size 1e-6": (x * 1e-6, y),
        "columns of size 1e6": (x * 1e6, y),
    }
    for what, (rows, classes) in tables.items():
        fitted = clone(density).fit(rows, classes)
        points = torch.cat([rows, rows.roll(1, 0) * 0.3 + rows * 0.7, rows + rows.abs().amax(0)])
        assert bool(torch.isfinite(fitted.log_prob(points)).all()), f"{name}: log_prob must be finite with {what}."
        assert_simplex(fitted.posterior(points), f"{name} with {what}")
    lonely = clone(density).fit(x[:3], y[:3])
    rule = f"{name}: with one row in every class, each row must belong to its own class"
    assert bool((lonely.posterior(x[:3]).argmax(1) == y[:3]).all()), rule


def _check_shift(density: Density) -> None:
    name, (x, y) = _name(density), table(45, 3, 3)
    queries = table(9, 3, 3, seed=1)[0]
    constant = torch.cat([x, torch.full((45, 1), 2.0, dtype=x.dtype)], 1)
    probes = torch.cat([queries, torch.full((9, 1), 2.0, dtype=x.dtype)], 1)
    for rows, points in ((x, queries), (constant, probes)):
        plain = clone(density).fit(rows, y).posterior(points)
        for size in (1.0, -1e3, 1e5):
            shift = size * torch.arange(1.0, rows.shape[1] + 1, dtype=x.dtype)
            moved = clone(density).fit(rows + shift, y).posterior(points + shift)
            assert_close(moved, plain, f"{name}: shifting all features by {size:g} must not change the posterior", 1e-6)


def _grid(x: Tensor, steps: int) -> tuple[Tensor, float]:
    """Return points (steps^D, D) of a grid ten standard deviations wider than the rows, and a cell's volume."""
    reach = 10 * x.std(0)
    low, high = (x.amin(0) - reach).tolist(), (x.amax(0) + reach).tolist()
    axes = [torch.linspace(a, b, steps, dtype=x.dtype) for a, b in zip(low, high, strict=True)]
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    return torch.cartesian_prod(*axes).reshape(-1, len(axes)), cell


GRID_ERROR = 5e-3
"""What an integral over the grid may be off where a density has a kink."""


def _check_integral(density: Density) -> None:
    name = _name(density)
    for d, steps in ((1, 8001), (2, 321)):
        x, y = table(40, d, 2)
        points, cell = _grid(x, steps)
        mass = clone(density).fit(x, y).log_prob(points).exp().sum(0) * cell
        off = float((mass - 1).abs().max())
        found = [round(m, 4) for m in mass.tolist()]
        if density.normalized:
            assert off < GRID_ERROR, (
                f"{name}: declares `normalized`, but its densities of {d} features integrate to {found}."
            )
        else:
            assert off > GRID_ERROR, f"{name}: declares `normalized = False`, but its densities integrate to {found}."


def _check_samples(density: Density) -> None:
    name, (x, y), n = _name(density), table(40, 2, 2), 20_000
    fitted = clone(density).fit(x, y)
    if type(density)._sample is Density._sample:
        assert_raises(InputError, lambda: fitted.sample(3), f"{name}: must say that it can't be sampled")
        return
    points, cell = _grid(x, 321)
    for c in range(2):
        mass = fitted.log_prob(points)[:, c].exp() * cell
        mean = mass @ points
        spread = ((points - mean) * mass[:, None]).T @ (points - mean)
        drawn, label = fitted.sample(n, torch.full((n,), c), seed=1)
        assert drawn.shape == (n, 2), f"{name}: {n} samples of 2 features must be ({n}, 2), got {tuple(drawn.shape)}."
        assert bool((label == c).all()), f"{name}: samples must be of the classes given."
        unit = spread.diagonal().sqrt()
        assert_close(
            drawn.mean(0) / unit, mean / unit, f"{name}: samples must have the density's mean", 5 / math.sqrt(n)
        )
        scale = unit[:, None] * unit
        rule = f"{name}: samples must have the density's covariance"
        assert_close(drawn.T.cov() / scale, spread / scale, rule, 10 / math.sqrt(n))
    again = fitted.sample(9, seed=3)[0]
    assert_close(fitted.sample(9, seed=3)[0], again, f"{name}: the same seed must draw the same samples", 0.0)
    assert not torch.equal(fitted.sample(9, seed=4)[0], again), f"{name}: another seed must draw other samples."
    share = label_rows(clone(density).fit(x[:16], (torch.arange(16) % 4 == 0).long()).sample(n)[1], 2).mean(0)
    expected = torch.tensor([0.75, 0.25], dtype=share.dtype)
    assert_close(share, expected, f"{name}: classes must be drawn by their shares", 2.5 / math.sqrt(n))


def _check_errors(density: Density) -> None:
    name, (x, y) = _name(density), table(12, 2, 2)
    assert_raises(InputError, lambda: clone(density).log_prob(x), f"{name}: must say that it is not fitted")
    fitted = clone(density).fit(x, y)
    assert_raises(InputError, lambda: fitted.log_prob(x[:, :1]), f"{name}: must refuse points of other features")
    assert_raises(InputError, lambda: fitted.log_prob(x[0]), f"{name}: must refuse a point without a batch axis")
    assert_raises(InputError, lambda: clone(density).fit(x * torch.nan, y), f"{name}: must refuse NaN")
    assert_raises(
        InputError, lambda: clone(density).fit(x, y[1:]), f"{name}: must refuse rows and classes of other lengths"
    )
    assert_raises(InputError, lambda: fitted.posterior(x, temperature=0.0), f"{name}: must refuse a temperature of 0")
