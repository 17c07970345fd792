"""The methods that a comparison knows: each a name, what it does, and the candidates it chooses among."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from vicinal.core import InputError
from vicinal.densities import KDE, KNN, Density, Gaussian
from vicinal.study.protocol import Protocol
from vicinal.vicinity import (
    BaseVicinity,
    CutMix,
    GenLabel,
    LogisticMixup,
    Mixup,
    MixupExcludingIntrusion,
    Vanilla,
)

__all__ = ["DEFAULT_METHODS", "METHODS", "Candidate", "Method", "densities_of", "read_methods"]


@dataclass(frozen=True)
class Candidate:
    """One vicinity that a method may choose, and the words for it in 'selected'."""

    vicinity: BaseVicinity
    described: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A method of a comparison.

    Attributes:
        name: as on the command line.
        summary: one line.
        reference: where it comes from.
        candidates: from a protocol to the vicinities to choose among by cross-validation; None for the generative
            classifier, which trains no network.
    """

    name: str
    summary: str
    reference: str
    candidates: Callable[[Protocol], Sequence[Candidate]] | None


def densities_of(protocol: Protocol) -> dict[str, Density]:
    """Return the densities by name.

    The paper's nearest-neighbour density has k = 1; `tuned` takes sqrt(n_c). On the synthetic problems of 'paper', Gaussians
    are spherical, as the identity covariance of section E.1, and the KDE's bandwidths are the published code's.
    """
    if protocol.name == "paper" and protocol.synthetic is not None:
        bandwidth = {"four-circle": 0.1, "moon": 0.2, "circle": 0.2}.get(protocol.synthetic, "scott")
        return {"gaussian": Gaussian("spherical"), "kde": KDE(bandwidth), "knn": KNN()}
    return {"gaussian": Gaussian(), "kde": KDE(), "knn": KNN(1 if protocol.name == "paper" else "sqrt")}


def _one(make: Callable[[], BaseVicinity]) -> Callable[[Protocol], Sequence[Candidate]]:
    return lambda protocol: [Candidate(make())]


def _logistic(protocol: Protocol) -> Sequence[Candidate]:
    return [Candidate(LogisticMixup(sigma), {"sigma": sigma}) for sigma in protocol.sigmas]


def _genlabel(*names: str) -> Callable[[Protocol], Sequence[Candidate]]:
    def candidates(protocol: Protocol) -> Sequence[Candidate]:
        densities = densities_of(protocol)
        # The paper's GenLabel (CV) chooses between GM and KDE.
        chosen = names or (("gaussian", "kde") if protocol.name == "paper" else tuple(densities))
        return [
            Candidate(GenLabel(densities[name], gamma), {"density": name, "gamma": gamma})
            for name in chosen
            for gamma in protocol.gammas
        ]

    return candidates


_GENLABEL = "Sohn et al., GenLabel, ICML 2022"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("vanilla", "plain training on the rows as they are", "empirical risk minimisation", _one(Vanilla)),
            Method("mixup", "points and labels on a straight line", "Zhang et al., mixup, ICLR 2018", _one(Mixup)),
            Method("cutmix", "some columns from a partner", "Yun et al., CutMix, ICCV 2019", _one(CutMix)),
            Method(
                "mixup-excluding-intrusion",
                "mixup without points that land on a third class",
                f"{_GENLABEL}, Definition 1",
                _one(MixupExcludingIntrusion),
            ),
            Method("logistic-mixup", "mixup with logistic labels", f"{_GENLABEL}, section 3.2", _logistic),
            Method("genlabel-gaussian", "mixup relabelled by one Gaussian per class", _GENLABEL, _genlabel("gaussian")),
            Method("genlabel-kde", "mixup relabelled by kernel density estimates", _GENLABEL, _genlabel("kde")),
            Method("genlabel-knn", "mixup relabelled by nearest-neighbour densities", _GENLABEL, _genlabel("knn")),
            Method("genlabel", "GenLabel, its density chosen by cross-validation", _GENLABEL, _genlabel()),
            Method("generative-classifier", "Bayes' rule from one Gaussian per class", f"{_GENLABEL}, section 6", None),
        )
    }
)

DEFAULT_METHODS = tuple(METHODS)


def read_methods(names: str | Sequence[str] | None) -> list[Method]:
    """Return methods by name, without repeats, in the order given; all of them for None.

    Examples:
        >>> [method.name for method in read_methods("mixup,vanilla")]
        ['mixup', 'vanilla']
    """
    if names is None:
        return [METHODS[name] for name in DEFAULT_METHODS]
    wanted = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    found = []
    for name in dict.fromkeys(name for name in wanted if name):
        if name not in METHODS:
            near = get_close_matches(name, METHODS, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"no method is called {name!r}{hint} `vicinal methods` lists them.".replace("?`", "? `"))
        found.append(METHODS[name])
    if not found:
        raise InputError("`methods` names none; `vicinal methods` lists them.")
    return found
