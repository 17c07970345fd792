"""Manifold mixup of any network: the output of one of its modules is mixed, by a hook that lasts one forward."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vicinal.core import InputError
from vicinal.training.single.base import NetworkObjective, soft_cross_entropy
from vicinal.training.single.pairs import Pairs, draw_pairs

__all__ = ["ManifoldMixup"]

INPUT = "input"
SHOWN = 20


class ManifoldMixup(NetworkObjective):
    """Mix hidden representations: h = lam h_l(x) + (1 - lam) h_l(x'), and the labels by the same line.

        loss = 1/B sum_i CE(F_l(h_i), lam y_i + (1 - lam) y'_i)

    h_l(x) is the output of layer l, and F_l the rest of the network. For every batch one layer l at random among `layers`,
    one lam ~ Beta(alpha, alpha), and one permutation for the partners x'. The layers are those of the paper's ResNets: the
    input and the first two groups of residual blocks; alpha = 2 is its value for CIFAR-10.

    A module must be called once in a forward, and give one tensor of B rows. It is mixed by a forward hook, which compiled code
    does not see, so batches that mix at a module run uncompiled. Activation checkpointing around that module would compute it
    anew without the hook, and is not supported.

    Args:
        alpha: above 0.
        layers: names of the network's modules whose output is mixed, or 'input'. A name is a module's full name
            ('layer1.0'), or the end of just one ('layer1' where the network is wrapped and it is 'network.layer1').

    Reference: V. Verma et al. Manifold mixup: Better representations by interpolating hidden states. ICML 2019.

    Examples:
        >>> network = nn.Sequential(nn.Identity(), nn.Flatten())
        >>> objective = ManifoldMixup(layers=("0",))
        >>> x, y = torch.zeros(4, 2), torch.eye(2)[[0, 0, 1, 1]]
        >>> float(objective.loss(network, x, y, torch.Generator(), nn.ModuleDict()).exp())
        2.0
        >>> len(network[0]._forward_hooks)
        0
    """

    def __init__(self, alpha: float = 2.0, layers: Sequence[str] = (INPUT, "layer1", "layer2")) -> None:
        self.alpha = alpha
        self.layers = layers

    def loss(
        self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, extras: nn.ModuleDict
    ) -> Tensor:
        """Return the cross entropy of the mixed representations; see `NetworkObjective.loss`.

        Raises:
            InputError: `layers` is empty or a text; a name that no module has, or several; a module that is not called once
                in the forward, or gives anything but one tensor of B rows.
        """
        if isinstance(self.layers, str) or not self.layers:
            raise InputError(f"`layers` must hold one name or more, as in ('input', 'layer1'), got {self.layers!r}.")
        modules = [None if name == INPUT else _find(network, name) for name in self.layers]
        pairs = draw_pairs(x, y, self.alpha, generator)
        chosen = int(torch.randint(len(modules), (1,), generator=generator))
        module = modules[chosen]
        if module is None:
            logits = network(pairs.mix(x))
        else:
            logits = _mixed_forward(network, module, self.layers[chosen], x, pairs)
        return soft_cross_entropy(logits, pairs.mix(y)).mean()


class _Mix:
    """A forward hook that mixes the output of a module, and counts its calls."""

    def __init__(self, name: str, pairs: Pairs) -> None:
        self.name = name
        self.pairs = pairs
        self.calls = 0

    def __call__(self, module: nn.Module, inputs: object, output: object) -> Tensor:
        self.calls += 1
        if self.calls > 1:
            raise InputError(
                f"`layers`: '{self.name}' must be called once in a forward, got a second call; "
                "name a module that the network does not use again."
            )
        if not isinstance(output, Tensor):
            raise InputError(
                f"`layers`: '{self.name}' must give one tensor, got {type(output).__name__}; "
                "name a module around or inside it that does."
            )
        if output.ndim == 0 or len(output) != len(self.pairs.lam):
            raise InputError(
                f"`layers`: '{self.name}' must give a row for each of the {len(self.pairs.lam)} points, "
                f"got shape {tuple(output.shape)}; name a module that keeps the batch first."
            )
        return self.pairs.mix(output)


def _mixed_forward(network: nn.Module, module: nn.Module, name: str, x: Tensor, pairs: Pairs) -> Tensor:
    hook = _Mix(name, pairs)
    handle = module.register_forward_hook(hook)
    try:
        # Compiled code runs past hooks that were not there when it was compiled.
        with torch.compiler.set_stance("force_eager"):
            logits: Tensor = network(x)
    finally:
        handle.remove()
    if not hook.calls:
        raise InputError(
            f"`layers`: '{name}' must be called once in a forward, got no call; name a module that the network uses."
        )
    return logits


def _find(network: nn.Module, name: str) -> nn.Module:
    """Return the module of this full name, or the one whose name ends so."""
    modules: dict[str, nn.Module] = {
        full: module for full, module in network.named_modules(remove_duplicate=False) if full
    }
    if name in modules:
        return modules[name]
    found = {full: module for full, module in modules.items() if full.endswith(f".{name}")}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    if found:
        raise InputError(f"`layers`: '{name}' must name one module, got {_listed(found)}; write out one of them.")
    raise InputError(f"`layers` must be 'input' or modules of the network ({_listed(modules)}), got '{name}'.")


def _listed(modules: dict[str, nn.Module]) -> str:
    # The shallow ones first, which are those one would mix at.
    names = sorted(modules, key=lambda full: full.count("."))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"'{full}'" for full in names[:SHOWN]) + more
