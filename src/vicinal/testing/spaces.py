"""The contract of a space: what a vicinity that mixes its codes relies on."""

import pickle
import tempfile
from pathlib import Path
from typing import TypeVar

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.core import InputError, load, save
from vicinal.spaces import Space
from vicinal.testing.components import FLOATS, assert_close, assert_raises

__all__ = ["check_space"]

Part = TypeVar("Part", bound=Space)
ROWS = 20


def check_space(space: Space, shape: tuple[int, ...] = (1, 8, 6), tolerance: float = 1e-4) -> None:
    """Check all that a space promises.

    - `encode` and `decode` keep the number of rows, none included, and the dtype; rows do not depend on each other; no gradient
      goes through; points lie in `bounds`. The same rows always get the same codes, and torch's own state of randomness stays.
    - `shape_`, `code_shape_` and `residual_` are what they say.
    - Two fits to the same rows agree, a second `fit` forgets the first, and `x` is not changed.
    - A clone of a fitted space is the space itself, one of another is a fresh copy with the same parameters.
    - What was saved and loaded, or pickled, gives the same codes to the bit, and has the same `key`; `key` tells a fitted space
      from one that is not.
    - Wrong shapes, and codes asked of a space that is not fitted, are refused in words.

    Args:
        space: not fitted; it is cloned, never changed.
        shape: of the points it is tried on, whose features lie in [0, 1].
        tolerance: what a row alone may differ by from the same row among others.

    Raises:
        AssertionError: the space breaks the contract; the message says how.

    Examples:
        >>> from vicinal.spaces import PCA
        >>> check_space(PCA(3))
    """
    name, key, x = type(space).__name__, space.key(), _points(shape)
    assert type(space)(**space.get_params(deep=False)).key() == key, f"{name}: `__init__` must keep its arguments."
    assert not space.fitted, f"{name}: give one that is not fitted."
    _check_errors(name, space, x)
    seen, state = x.clone(), torch.random.get_rng_state()
    fitted = _copy(space).fit(x)
    assert torch.equal(x, seen), f"{name}: `fit` must leave the points as they are."
    _check_shapes(name, fitted, x)
    _check_rows(name, fitted, x, tolerance)
    _check_copies(name, space, fitted, x)
    assert torch.equal(torch.random.get_rng_state(), state), f"{name}: torch's own randomness must stay as it is."


def _points(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Points near a plane, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.Size(shape).numel()
    plane = torch.randn(ROWS, 2, generator=generator) @ torch.randn(2, size, generator=generator)
    return torch.sigmoid(plane + 0.1 * torch.randn(ROWS, size, generator=generator)).reshape(ROWS, *shape)


def _copy(space: Part) -> Part:
    copy: Part = clone(space)
    assert copy is not space, f"{type(space).__name__}: a clone of what is not fitted must be a copy."
    return copy


def _check_shapes(name: str, fitted: Space, x: Tensor) -> None:
    assert tuple(fitted.shape_) == tuple(x.shape[1:]), f"{name}: `shape_` must be the points', got {fitted.shape_}."
    for dtype in FLOATS:
        for b in (ROWS, 3, 1, 0):
            points = x[:b].to(dtype)
            z = fitted.encode(points)
            assert tuple(z.shape) == (b, *fitted.code_shape_), f"{name}: {b} rows got codes {tuple(z.shape)}."
            back = fitted.decode(z)
            assert back.shape == points.shape, f"{name}: {b} rows came back as {tuple(back.shape)}."
            assert z.dtype == back.dtype == dtype, f"{name}: {dtype} became {z.dtype} and {back.dtype}."
            assert torch.equal(points, x[:b].to(dtype)), f"{name}: must leave the points as they are."
    far = fitted.decode(30 * torch.randn(9, *fitted.code_shape_, generator=torch.Generator().manual_seed(1)))
    assert bool(far.isfinite().all()), f"{name}: points must be finite."
    if fitted.bounds is not None:
        low, high = fitted.bounds
        assert bool(((far >= low) & (far <= high)).all()), f"{name}: points must lie in [{low}, {high}]."
    z = fitted.encode(x.clone().requires_grad_())
    assert not z.requires_grad, f"{name}: no gradient may go through `encode`."
    assert not fitted.decode(z.requires_grad_()).requires_grad, f"{name}: no gradient may go through `decode`."


def _check_rows(name: str, fitted: Space, x: Tensor, tolerance: float) -> None:
    z = fitted.encode(x)
    back = fitted.decode(z)
    alone = torch.cat([fitted.encode(row[None]) for row in x])
    assert_close(alone, z, f"{name}: a row's code must not depend on the others", tolerance)
    alone = torch.cat([fitted.decode(code[None]) for code in z])
    assert_close(alone, back, f"{name}: a code's point must not depend on the others", tolerance)
    assert_close(fitted.encode(x), z, f"{name}: the same rows must get the same codes", 0.0)
    error = (back.double() - x.double()).square()
    rule = f"{name}: `reconstruction_error` must be the squared distance from the points, a row's sum"
    own = torch.tensor(fitted.reconstruction_error(x))
    assert_close(own, error.flatten(1).sum(1).mean(), rule, 1e-4)
    rule = f"{name}: `residual_` must be the root mean square of a feature's distance"
    assert_close(torch.tensor(fitted.residual_), error.mean().sqrt(), rule, 1e-4)


def _check_copies(name: str, space: Space, fitted: Space, x: Tensor) -> None:
    z = fitted.encode(x)
    points, key = fitted.decode(z), fitted.key()
    assert fitted.fitted, f"{name}: must be fitted after `fit`."
    assert key != space.key(), f"{name}: `key` must tell a fitted space from one that is not."
    assert clone(fitted) is fitted, f"{name}: a clone of a fitted space must be the space itself."
    again = _copy(space).fit(_points(tuple(x.shape[1:]), seed=1)).fit(x)
    assert_close(again.encode(x), z, f"{name}: two fits to the same rows must agree, whatever was before", 0.0)
    assert again.key() == key, f"{name}: two fits to the same rows must have the same key."
    copies = {"pickling": pickle.loads(pickle.dumps(fitted))}
    with tempfile.TemporaryDirectory() as folder:
        save(fitted, Path(folder) / "space.safetensors")
        copies["saving"] = load(Path(folder) / "space.safetensors")
    for how, copy in copies.items():
        assert type(copy) is type(fitted), f"{name}: {how} gave a {type(copy).__name__}."
        assert copy.key() == key, f"{name}: {how} must keep the key."
        assert_close(copy.encode(x), z, f"{name}: {how} must keep the codes", 0.0)
        assert_close(copy.decode(z), points, f"{name}: {how} must keep the points", 0.0)
        assert copy.residual_ == fitted.residual_, f"{name}: {how} must keep the residual."
    _check_wrong_shapes(name, fitted, x)


def _check_wrong_shapes(name: str, fitted: Space, x: Tensor) -> None:
    z = fitted.encode(x)
    rule = f"{name} must refuse"
    assert_raises(InputError, lambda: fitted.encode(x[..., :-1]), f"{rule} points of another shape")
    assert_raises(InputError, lambda: fitted.encode(x[0]), f"{rule} a point alone")
    assert_raises(InputError, lambda: fitted.decode(torch.cat([z, z], 1)), f"{rule} codes of another shape")


def _check_errors(name: str, space: Space, x: Tensor) -> None:
    rule = f"{name} must refuse"
    assert_raises(InputError, lambda: _copy(space).encode(x), f"{rule} to encode before it is fitted")
    assert_raises(InputError, lambda: _copy(space).fit(x[:0]), f"{rule} no rows")
    assert_raises(InputError, lambda: _copy(space).fit(torch.full_like(x, torch.nan)), f"{rule} NaN")
