"""The contract of every component: its parameters and tensors are all there is of it."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from sklearn.base import clone
from torch import Tensor

from vicinal.core import Component, load, save

__all__ = ["check_component"]

Part = TypeVar("Part", bound=Component)

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
ROUNDING = {torch.float16: 5e-3, torch.bfloat16: 3e-2, torch.float32: 1e-5, torch.float64: 1e-12}
"""What a sum of a few label entries may miss, by dtype."""


def check_component(component: Part, fit: Callable[[Part], object], answer: Callable[[Part], Tensor]) -> None:
    """Check that a component is its parameters and its tensors: it clones, saves and loads without a change.

    Args:
        component: not fitted.
        fit: fits a component, in place.
        answer: what a fitted component is asked, the same every time.

    Raises:
        AssertionError: the component breaks the contract; the message says how.

    Examples:
        >>> from vicinal.densities import Gaussian
        >>> x, y = torch.tensor([[0.0], [1.0], [4.0], [5.0]]), [0, 0, 1, 1]
        >>> check_component(Gaussian(), lambda density: density.fit(x, y), lambda density: density.log_prob(x))
    """
    name, key = type(component).__name__, component.key()
    again = type(component)(**component.get_params(deep=False))
    assert again.key() == key, f"{name}: `__init__` must keep its arguments as they come, under their own names."
    assert clone(component).set_params(**component.get_params(deep=True)).key() == key, (
        f"{name}: `set_params(**get_params())` must change nothing."
    )
    first, second = clone(component), clone(component)
    fit(first)
    fit(second)
    assert first.key() == key, f"{name}: `fit` must leave the parameters alone; fitted values end in an underscore."
    stray = {a for a in vars(first) if not a.endswith("_") and not a.startswith("_")} - set(
        first.get_params(deep=False)
    )
    assert not stray, f"{name}: fitted attributes must end in an underscore to be saved, got {sorted(stray)}."
    expected = answer(first)
    assert_close(answer(second), expected, f"{name}: two fits to the same rows must agree", 0.0)
    fit(second)
    assert_close(answer(second), expected, f"{name}: a second `fit` must forget the first", 0.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.safetensors"
        save(component, path)
        assert load(path).key() == key, f"{name}: `save` and `load` must keep the parameters."
        save(first, path)
        loaded = load(path)
    assert type(loaded) is type(component), f"{name}: loading gave a {type(loaded).__name__}."
    assert loaded.key() == key, f"{name}: `save` and `load` must keep the parameters of a fitted component."
    assert_close(answer(loaded), expected, f"{name}: a loaded component must answer as the saved one did", 0.0)


def table(n: int, d: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return rows x (n, d) in double precision and classes y (n,), overlapping, every class more than once.

    Examples:
        >>> x, y = table(6, 2, 3)
        >>> x.shape, y.tolist()
        (torch.Size([6, 2]), [0, 1, 2, 0, 1, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % k
    slant = torch.eye(d, dtype=torch.float64) + 0.4 * torch.rand(k, d, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, d, generator=generator, dtype=torch.float64)
    centre = 1.5 * torch.randn(k, d, generator=generator, dtype=torch.float64)
    return (slant[y] @ noise[..., None])[..., 0] + centre[y], y


def label_rows(y: Tensor, k: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return one-hot rows.

    Examples:
        >>> label_rows(torch.tensor([1]), 2).tolist()
        [[0.0, 1.0]]
    """
    return torch.nn.functional.one_hot(y, k).to(dtype)


def assert_close(actual: Tensor, expected: Tensor, rule: str, tolerance: float) -> None:
    """Assert that two tensors agree, infinities included; `tolerance` is relative where numbers exceed 1.

    Examples:
        >>> assert_close(torch.tensor([2.0]), torch.tensor([2.5]), "halves must agree", 0.1)
        Traceback (most recent call last):
        AssertionError: halves must agree; they differ by up to 0.5 where 0.1 of the size is allowed.
    """
    assert actual.shape == expected.shape, f"{rule}; shapes are {tuple(actual.shape)} and {tuple(expected.shape)}."
    a, b = actual.detach().double(), expected.detach().double()
    same = (a == b) | ((a - b).abs() <= tolerance * b.abs().clamp(min=1.0))
    worst = float((a - b)[~same].abs().amax()) if not bool(same.all()) else 0.0
    assert bool(same.all()), f"{rule}; they differ by up to {worst:.3g} where {tolerance:g} of the size is allowed."


def assert_simplex(rows: Tensor, rule: str) -> None:
    """Assert that rows (..., K) are finite, nowhere negative, and sum to one within their dtype's rounding."""
    assert bool(torch.isfinite(rows).all()), f"{rule}: label rows must be finite."
    assert bool((rows >= 0).all()), f"{rule}: label rows must not be negative, got {float(rows.min()):.3g}."
    assert_close(
        rows.sum(-1), torch.ones_like(rows[..., 0]), f"{rule}: label rows must sum to one", ROUNDING[rows.dtype]
    )


def assert_raises(error: type[Exception], call: Callable[[], object], rule: str) -> None:
    """Assert that a call raises an error of this kind, and that its message is a sentence."""
    message = None
    try:
        call()
    except error as raised:
        message = str(raised)
    assert message is not None, f"{rule}, by raising {error.__name__}."
    assert len(message.split()) > 3, f"{rule}, in words, got {message!r}."
