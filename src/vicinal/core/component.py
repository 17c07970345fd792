"""A component: a part with parameters, which fitting completes with tensors.

Densities, labelers, pairings, mixers and vicinities are components. They follow scikit-learn's convention (parameters are
the arguments of `__init__`, fitted attributes end in an underscore), so `clone`, nested `get_params` and a grid search work
on them, and the state of any component is its parameters as JSON and its tensors as safetensors: nothing is pickled, and
loading a file runs no code from it.
"""

import contextlib
import importlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from vicinal.core.checks import InputError
from vicinal.core.files import read_tensors, write_tensors

__all__ = ["Component", "describe", "load", "restore", "save"]

FORMAT = 1


class Component(BaseEstimator):  # type: ignore[misc]
    """Abstract: parameters in `__init__`, fitted attributes with a trailing underscore.

    A fitted attribute is a tensor, an array, a component, a plain value (number, text, None), or a list or dict of these.
    """

    _registry: ClassVar[dict[str, type["Component"]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Component._registry[f"{cls.__module__}.{cls.__qualname__}"] = cls

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        # scikit-learn reads the signature at each call, which adds up where thousands of parts are cloned.
        return cast(list[str], super()._get_param_names())

    def key(self) -> str:
        """Return a text that is equal for two components of the same class and parameters.

        Of parts that are used as they were fitted, such as a trained space, it also tells what they learnt.
        """
        return json.dumps(describe(self, fitted=False), sort_keys=True, default=repr)

    def _learnt(self) -> str:
        """Return a text for what was learnt, where copies and fits keep it; most parts learn anew."""
        return ""

    def to(self, device: torch.device | str) -> Self:
        """Move the fitted tensors to a device, in place, and return self."""
        for owner, name, value in _tensors(self):
            setattr(owner, name, value.to(device))
        return self


def _fitted(component: Component) -> Iterator[tuple[str, Any]]:
    for name in sorted(vars(component)):
        if name.endswith("_") and not name.startswith("_"):
            yield name, getattr(component, name)


def _children(component: Component, fitted: bool) -> Iterator[tuple[str, Any]]:
    yield from component.get_params(deep=False).items()
    if fitted:
        yield from _fitted(component)


def _tensors(component: Component) -> Iterator[tuple[Component, str, Tensor]]:
    for name, value in _children(component, fitted=True):
        if isinstance(value, Tensor):
            yield component, name, value
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, Component):
                yield from _tensors(part)


def describe(value: Any, *, fitted: bool = False, tensors: dict[str, Tensor] | None = None, path: str = "") -> Any:
    """Turn a component, or a tree of tensors and plain values, into plain JSON; collect the tensors by dotted path."""
    if isinstance(value, Component):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        parts = {
            name: describe(part, fitted=fitted, tensors=tensors, path=f"{path}.{name}")
            for name, part in _children(value, fitted)
        }
        learnt = "" if fitted else value._learnt()
        return {"component": kind, "parts": parts, **({"learnt": learnt} if learnt else {})}
    if isinstance(value, Tensor):
        if tensors is not None:
            tensors[path] = value.detach().cpu().contiguous()
            return {"tensor": path}
        return value.tolist()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return {"array": describe(torch.from_numpy(value), fitted=fitted, tensors=tensors, path=path)}
    if isinstance(value, np.ndarray):
        return {"strings": [str(v) for v in value], "dtype": "object" if value.dtype == object else "str"}
    if isinstance(value, dict):
        return {
            "dict": {
                str(name): describe(part, fitted=fitted, tensors=tensors, path=f"{path}.{name}")
                for name, part in value.items()
            }
        }
    if isinstance(value, list | tuple):
        return [describe(v, fitted=fitted, tensors=tensors, path=f"{path}.{i}") for i, v in enumerate(value)]
    return value.item() if hasattr(value, "item") else value


def restore(plain: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo `describe`; the keys of mappings are texts then."""
    if isinstance(plain, list):
        return [restore(part, tensors) for part in plain]
    if not isinstance(plain, dict):
        return plain
    if "tensor" in plain:
        if plain["tensor"] not in tensors:
            raise InputError(f"the file lacks the tensor `{plain['tensor']}` that it describes; save it again.")
        return tensors[plain["tensor"]]
    if "dict" in plain:
        return {name: restore(part, tensors) for name, part in plain["dict"].items()}
    if "array" in plain:
        return restore(plain["array"], tensors).numpy()
    if "strings" in plain:
        return np.array(plain["strings"], dtype=plain["dtype"])
    kind = plain["component"]
    if kind not in Component._registry and kind.startswith("vicinal."):
        with contextlib.suppress(ImportError):
            importlib.import_module(kind.rpartition(".")[0])
    cls = Component._registry.get(kind)
    if cls is None:
        raise InputError(f"the file holds a `{kind}`; import the module that defines it, then load again.")
    parts = {name: restore(part, tensors) for name, part in plain["parts"].items()}
    names = set(cls._get_param_names())
    for name in parts.keys() - names:
        if not name.endswith("_"):
            raise InputError(f"`{cls.__name__}` has no parameter `{name}`; upgrade vicinal with pip.")
    component = cls(**{name: part for name, part in parts.items() if name in names})
    for name, part in parts.items():
        if name not in names:
            setattr(component, name, part)
    return component


def save(component: Component, path: str | Path, **extra: Any) -> None:
    """Write a component, fitted or not, to a safetensors file.

    Args:
        component: what to save; its parameters must be numbers, texts, lists or components.
        path: the file; replaced whole or not at all.
        **extra: plain values that `load` gives back beside the component's own.

    Raises:
        InputError: a parameter can't be written as JSON, such as a function.

    Examples:
        >>> import tempfile, torch, vicinal as vc
        >>> density = vc.densities.Gaussian().fit(torch.tensor([[0.0], [1.0], [9.0], [8.0]]), [0, 0, 1, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(density, f"{folder}/density.safetensors")
        ...     again = load(f"{folder}/density.safetensors")
        >>> bool((again.log_prob(torch.zeros(1, 1)) == density.log_prob(torch.zeros(1, 1))).all())
        True
    """
    tensors: dict[str, Tensor] = {}
    plain = {"format": FORMAT, "root": describe(component, fitted=True, tensors=tensors, path="root"), "extra": extra}
    try:
        write_tensors(path, tensors, plain)
    except TypeError as error:
        raise InputError(
            f"`{type(component).__name__}` has a parameter that can't be saved without pickle: {error}."
        ) from error


def load(path: str | Path) -> Any:
    """Read what `save` wrote.

    Raises:
        InputError: no such file, not a file of vicinal's, or one of a newer format.

    Examples:
        >>> import tempfile, torch, vicinal as vc
        >>> mix = vc.Mixup(alpha=0.4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(mix, f"{folder}/mix.safetensors")
        ...     load(f"{folder}/mix.safetensors").ratio.alpha
        0.4
    """
    tensors, plain = read_tensors(path)
    if "root" not in plain:
        raise InputError(f"{path} holds tensors but no component of vicinal; `vicinal.save` writes them.")
    if plain["format"] > FORMAT:
        raise InputError(f"{path} was written by a newer vicinal (format {plain['format']}); upgrade with pip.")
    component = restore(plain["root"], tensors)
    for name, value in plain["extra"].items():
        setattr(component, name, value)
    return component
