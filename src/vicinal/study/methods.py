"""The methods that a comparison knows: each a name, what it does, and the candidates it chooses among."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import torch

from vicinal.core import InputError
from vicinal.densities import KDE, KNN, Density, Gaussian
from vicinal.mixing import Beta, CutMixer, DifferentClass, Mixer
from vicinal.study.protocol import Protocol
from vicinal.training import AdaMixup, Latent, ManifoldMixup, Objective, Setting
from vicinal.vicinity import (
    BaseVicinity,
    CutMix,
    GenLabel,
    LogisticMixup,
    Mixup,
    MixupExcludingIntrusion,
    Vanilla,
    Vicinity,
)

__all__ = ["DEFAULT_METHODS", "METHODS", "Candidate", "Method", "densities_of", "read_methods"]


@dataclass(frozen=True)
class Candidate:
    """One way of training that a method may choose, and the words for it in 'selected'.

    Attributes:
        vicinity, objective, latent: as of a `Setting`.
        described: such as {"density": "kde", "gamma": 0.4}.
    """

    vicinity: BaseVicinity
    described: Mapping[str, Any] = field(default_factory=dict)
    objective: Objective | None = None
    latent: Latent | None = None

    def setting(self, learning_rate: float, weight_decay: float) -> Setting:
        """Return the setting that trains it."""
        return Setting(self.vicinity, learning_rate, weight_decay, objective=self.objective, latent=self.latent)

    def key(self) -> tuple[str | None, ...]:
        """Return what two candidates share if they train the same: GenLabel with gamma 0 is mixup."""
        labels = [(share, labeler.key()) for share, labeler in self.vicinity.terms()]
        rest = (None if part is None else part.key() for part in (self.objective, self.latent))
        return (self.vicinity.mixing_key(), str(labels), *rest)

    def own_weights(self, n_features: int) -> int:
        """Return how many weights the objective's own networks have."""
        brought = [] if self.objective is None else self.objective.networks(n_features, torch.Generator())
        return sum(p.numel() for network in brought for p in network.parameters())


Candidates = Callable[[Protocol], Sequence[Candidate]]


@dataclass(frozen=True)
class Method:
    """A method of a comparison.

    Attributes:
        name: as on the command line.
        summary: one line.
        reference: where it comes from.
        candidates: from a protocol to the ways of training to choose among by cross-validation; None for the generative
            classifier, which trains no network.
        hidden: whether it needs a network with hidden layers.
        default: whether it runs unless methods are named; those that cost many times a mixup's time, or that answer a
            question of their own, do not.
    """

    name: str
    summary: str
    reference: str
    candidates: Candidates | None
    hidden: bool = False
    default: bool = True

    def lacking(self) -> str:
        """Say why it can't run on a network without hidden layers, and the way out."""
        return f"{self.name} needs hidden layers, which a linear network lacks; train an mlp (`--network mlp`), or leave it out."


def densities_of(protocol: Protocol) -> dict[str, Density]:
    """Return the densities by name.

    The paper's nearest-neighbour density has k = 1; `tuned` takes sqrt(n_c). On the synthetic problems of 'paper', Gaussians
    are spherical, as the identity covariance of section E.1, and the KDE's bandwidths are the published code's.
    """
    if protocol.name == "paper" and protocol.synthetic is not None:
        bandwidth = {"four-circle": 0.1, "moon": 0.2, "circle": 0.2}.get(protocol.synthetic, "scott")
        return {"gaussian": Gaussian("spherical"), "kde": KDE(bandwidth), "knn": KNN()}
    return {"gaussian": Gaussian(), "kde": KDE(), "knn": KNN(1 if protocol.name == "paper" else "sqrt")}


def _one(make: Callable[[Protocol], BaseVicinity]) -> Candidates:
    return lambda protocol: [Candidate(make(protocol))]


def _under(make: Callable[[Protocol], Objective]) -> Candidates:
    return lambda protocol: [Candidate(Vanilla(), objective=make(protocol))]


def _logistic(exclude_intrusion: bool) -> Candidates:
    return lambda protocol: [
        Candidate(LogisticMixup(sigma, protocol.alpha, exclude_intrusion=exclude_intrusion), {"sigma": sigma})
        for sigma in protocol.sigmas
    ]


def _genlabel(*names: str, mixer: Mixer | None = None, latent: Latent | None = None) -> Candidates:
    def candidates(protocol: Protocol) -> Sequence[Candidate]:
        densities = densities_of(protocol)
        # The paper's GenLabel (CV) chooses between GM and KDE.
        chosen = names or (("gaussian", "kde") if protocol.name == "paper" else tuple(densities))
        return [
            Candidate(
                GenLabel(densities[name], gamma, protocol.alpha, mixer=mixer),
                {"density": name, "gamma": gamma},
                latent=latent,
            )
            for name in chosen
            for gamma in protocol.gammas
        ]

    return candidates


_SOHN = "Sohn et al., GenLabel, ICML 2022"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method(
                "vanilla",
                "plain training on the rows as they are",
                "empirical risk minimisation",
                _one(lambda protocol: Vanilla()),
            ),
            Method(
                "mixup",
                "points and labels on a straight line",
                "Zhang et al., mixup, ICLR 2018",
                _one(lambda protocol: Mixup(protocol.alpha)),
            ),
            Method(
                "mixup-different-class",
                "mixup between rows of different classes only",
                f"{_SOHN}, Example 1",
                _one(lambda protocol: Vicinity(DifferentClass(), Beta(protocol.alpha))),
                default=False,
            ),
            Method(
                "manifold-mixup",
                "mixup at a random layer of a network with hidden layers",
                "Verma et al., Manifold mixup, ICML 2019",
                _under(lambda protocol: ManifoldMixup(protocol.alpha)),
                hidden=True,
            ),
            Method(
                "adamixup",
                "mixup whose range a network learns, so that points do not intrude",
                "Guo et al., AdaMixUp, AAAI 2019",
                _under(lambda protocol: AdaMixup()),
                default=False,
            ),
            Method(
                "cutmix",
                "some columns from a partner",
                "Yun et al., CutMix, ICCV 2019",
                _one(lambda protocol: CutMix(protocol.alpha)),
            ),
            Method(
                "mixup-excluding-intrusion",
                "mixup without points that land on a third class",
                f"{_SOHN}, Definition 1",
                _one(lambda protocol: MixupExcludingIntrusion(protocol.alpha)),
            ),
            Method("logistic-mixup", "mixup with logistic labels", f"{_SOHN}, section 3.2", _logistic(False)),
            Method(
                "logistic-mixup-excluding-intrusion",
                "logistic labels, without points that land on a third class",
                f"{_SOHN}, section 3.2",
                _logistic(True),
                default=False,
            ),
            Method("genlabel-gaussian", "mixup relabelled by one Gaussian per class", _SOHN, _genlabel("gaussian")),
            Method("genlabel-kde", "mixup relabelled by kernel density estimates", _SOHN, _genlabel("kde")),
            Method("genlabel-knn", "mixup relabelled by nearest-neighbour densities", _SOHN, _genlabel("knn")),
            Method("genlabel", "GenLabel, its density chosen by cross-validation", _SOHN, _genlabel()),
            Method(
                "cutmix-genlabel",
                "CutMix relabelled by Gaussians or kernel density estimates",
                f"{_SOHN}, section A.5",
                _genlabel("gaussian", "kde", mixer=CutMixer()),
                default=False,
            ),
            Method(
                "genlabel-latent-gaussian",
                "the last of several layers, relabelled by Gaussians of the features below",
                f"{_SOHN}, Algorithm 2",
                _genlabel("gaussian", latent=Latent()),
                hidden=True,
                default=False,
            ),
            Method(
                "genlabel-latent-knn",
                "the last of several layers, relabelled by nearest neighbours among the features below",
                f"{_SOHN}, Algorithm 2",
                _genlabel("knn", latent=Latent()),
                hidden=True,
                default=False,
            ),
            Method("generative-classifier", "Bayes' rule from one Gaussian per class", f"{_SOHN}, section 6", None),
        )
    }
)

DEFAULT_METHODS = tuple(name for name, method in METHODS.items() if method.default)


def read_methods(names: str | Sequence[str] | None, network: str | None = None) -> list[Method]:
    """Return methods by name, without repeats, in the order given; for None those that run by default on the network.

    Args:
        names: a list, or a text with commas between.
        network: a protocol's; 'linear' has no hidden layers, any other has. None is linear where no names are given, and
            leaves the check to `compare` where they are.

    Raises:
        InputError: an unknown name, or a method that needs hidden layers on a linear network.

    Examples:
        >>> [method.name for method in read_methods("mixup,vanilla")]
        ['mixup', 'vanilla']
        >>> "manifold-mixup" in {method.name for method in read_methods(None, "mlp")}
        True
    """
    if names is None:
        known = [METHODS[name] for name in DEFAULT_METHODS]
        return [method for method in known if not method.hidden or network not in (None, "linear")]
    found = []
    for name in dict.fromkeys(map(str.strip, names.split(",") if isinstance(names, str) else names)):
        if not name:
            continue
        if name not in METHODS:
            near = get_close_matches(name, METHODS, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"no method is called {name!r}{hint}. `vicinal methods` lists them.".replace("?.", "?"))
        if METHODS[name].hidden and network == "linear":
            raise InputError(METHODS[name].lacking())
        found.append(METHODS[name])
    if not found:
        raise InputError("`methods` names none; `vicinal methods` lists them.")
    return found
