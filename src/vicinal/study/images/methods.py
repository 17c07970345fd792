"""The methods of the VarMixup paper's comparison and their relatives: a vicinity and an objective each, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from vicinal.core import InputError
from vicinal.densities import Gaussian
from vicinal.mixing import Beta, NoisyMixer
from vicinal.spaces import Space
from vicinal.study.images.protocol import ImageProtocol
from vicinal.training.single import AT, ERM, IAT, TRADES, AdaMixup, ManifoldMixup, NetworkObjective
from vicinal.vicinity import BaseVicinity, CutMix, Mixup, MixupR, OneOf, Vanilla, VarMixup, Vicinity

__all__ = ["IMAGE_METHODS", "ImageMethod", "read_image_methods"]


@dataclass(frozen=True)
class ImageMethod:
    """A way to train a classifier of images.

    Attributes:
        name: as on the command line.
        summary: one line.
        reference: where it comes from.
        vicinity: what is drawn, from the protocol and the space (None where it needs none).
        objective: the loss of it, from the protocol.
        space: 'vae', 'adv-vae' for an adversarially trained one, or None.
        epochs: of the VarMixup paper's training (section 4).
    """

    name: str
    summary: str
    reference: str
    vicinity: Callable[[ImageProtocol, Space | None], BaseVicinity]
    objective: Callable[[ImageProtocol], NetworkObjective] = lambda protocol: ERM()
    space: str | None = None
    epochs: int = 150


def _plain(make: Callable[[ImageProtocol], BaseVicinity]) -> Callable[[ImageProtocol, Space | None], BaseVicinity]:
    return lambda protocol, space: make(protocol)


def _in(make: Callable[[ImageProtocol, Space], BaseVicinity]) -> Callable[[ImageProtocol, Space | None], BaseVicinity]:
    def vicinity(protocol: ImageProtocol, space: Space | None) -> BaseVicinity:
        if space is None:
            raise InputError("this method mixes in a space; give a trained one, or let `vicinal train` train it.")
        return make(protocol, space)

    return vicinity


def _labelled(protocol: ImageProtocol, space: Space, sample: bool = False) -> BaseVicinity:
    # One covariance for all classes: of codes, each class's own variances give posteriors that are sure and often wrong.
    density = Gaussian("tied", "ledoit-wolf")
    return VarMixup(space, protocol.alpha, density=density, gamma=protocol.gamma, sample=sample)


_MANGLA = "Mangla et al., VarMixup, Pattern Recognition Letters 2021"
_VANILLA = _plain(lambda protocol: Vanilla())

IMAGE_METHODS: Mapping[str, ImageMethod] = MappingProxyType(
    {
        method.name: method
        for method in (
            ImageMethod("erm", "plain training on the images as they are", "Vapnik, 1998", _VANILLA, epochs=100),
            ImageMethod(
                "mixup",
                "images and labels on a straight line",
                "Zhang et al., mixup, ICLR 2018",
                _plain(lambda protocol: Mixup(protocol.alpha)),
            ),
            ImageMethod(
                "mixup-r",
                "mixup of reconstructed images",
                f"{_MANGLA}, section 4",
                _in(lambda protocol, space: MixupR(space, protocol.alpha)),
                space="vae",
            ),
            ImageMethod(
                "manifold-mixup",
                "mixup at a random layer of the network",
                "Verma et al., Manifold mixup, ICML 2019",
                _VANILLA,
                lambda protocol: ManifoldMixup(protocol.manifold_alpha, protocol.manifold_layers),
            ),
            ImageMethod(
                "cutmix",
                "a box of the partner's image",
                "Yun et al., CutMix, ICCV 2019",
                _plain(lambda protocol: CutMix(protocol.alpha)),
            ),
            ImageMethod(
                "varmixup",
                "mixup of an MMD-VAE's codes, decoded",
                f"{_MANGLA}, Eq. 9",
                _in(lambda protocol, space: VarMixup(space, protocol.alpha)),
                space="vae",
            ),
            ImageMethod(
                "adv-varmixup",
                "VarMixup in the space of an adversarially trained MMD-VAE",
                f"{_MANGLA}, Eq. 10",
                _in(lambda protocol, space: VarMixup(space, protocol.alpha)),
                space="adv-vae",
            ),
            ImageMethod(
                "mixup+varmixup",
                "one of the two for every batch",
                f"{_MANGLA}, section 4",
                _in(lambda protocol, space: OneOf(Mixup(protocol.alpha), VarMixup(space, protocol.alpha))),
                space="vae",
            ),
            ImageMethod(
                "varmixup-sampled",
                "VarMixup's points drawn from the decoder's distribution, not its mean",
                "this library",
                _in(lambda protocol, space: VarMixup(space, protocol.alpha, sample=True)),
                space="vae",
            ),
            ImageMethod(
                "mixup+varmixup-sampled",
                "mixup or varmixup-sampled for every batch",
                "this library",
                _in(lambda protocol, space: OneOf(Mixup(protocol.alpha), VarMixup(space, protocol.alpha, sample=True))),
                space="vae",
            ),
            ImageMethod(
                "mixup-noise",
                "mixup with noise of the size of varmixup-sampled's: its control",
                "Chapelle et al., Vicinal risk minimization, NIPS 2000",
                _in(
                    lambda protocol, space: Vicinity(
                        ratio=Beta(protocol.alpha), mixer=NoisyMixer(space.residual_, bounds=space.bounds)
                    )
                ),
                space="vae",
            ),
            ImageMethod(
                "varmixup-genlabel",
                "VarMixup labelled by the posterior of Gaussians of the codes",
                "this library; Sohn et al., GenLabel, ICML 2022",
                _in(_labelled),
                space="vae",
            ),
            ImageMethod(
                "mixup+varmixup-genlabel",
                "mixup+varmixup-sampled, labelled as varmixup-genlabel is",
                "this library; Sohn et al., GenLabel, ICML 2022",
                _in(lambda protocol, space: OneOf(Mixup(protocol.alpha), _labelled(protocol, space, sample=True))),
                space="vae",
            ),
            ImageMethod(
                "adamixup",
                "mixup whose range a network learns, so that points do not intrude",
                "Guo et al., AdaMixUp, AAAI 2019",
                _VANILLA,
                lambda protocol: AdaMixup(),
            ),
            ImageMethod(
                "at",
                "adversarial training on the worst point of a ball, found by PGD",
                "Madry et al., ICLR 2018",
                _VANILLA,
                lambda protocol: AT(protocol.epsilon, protocol.step_size, protocol.attack_steps),
                epochs=250,
            ),
            ImageMethod(
                "trades",
                "accuracy traded for stability within a ball",
                "Zhang et al., TRADES, ICML 2019",
                _VANILLA,
                lambda protocol: TRADES(protocol.beta, protocol.epsilon, protocol.step_size, protocol.attack_steps),
                epochs=250,
            ),
            ImageMethod(
                "iat",
                "mixup of images and mixup of their worst points",
                "Lamb et al., Interpolated adversarial training, AISec 2019",
                _VANILLA,
                lambda protocol: IAT(protocol.alpha, protocol.epsilon, protocol.step_size, protocol.attack_steps),
                epochs=350,
            ),
        )
    }
)


def read_image_methods(names: str | Sequence[str]) -> list[ImageMethod]:
    """Return methods by name, without repeats, in the order given.

    Args:
        names: a list, or a text with commas between.

    Raises:
        InputError: an unknown name, or none.

    Examples:
        >>> [method.name for method in read_image_methods("varmixup, erm")]
        ['varmixup', 'erm']
    """
    listed = names.split(",") if isinstance(names, str) else names
    found = [name for name in dict.fromkeys(map(str.strip, listed)) if name]
    for name in found:
        if name not in IMAGE_METHODS:
            near = get_close_matches(name, IMAGE_METHODS, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(IMAGE_METHODS)}."
            raise InputError(f"no method of images is called {name!r}{hint}")
    if not found:
        raise InputError(f"`methods` names none; there are {', '.join(IMAGE_METHODS)}.")
    return [IMAGE_METHODS[name] for name in found]
