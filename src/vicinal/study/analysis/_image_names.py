"""Methods and data sets of image studies as readers know them."""

from collections.abc import Mapping

__all__ = ["METHOD_NAMES", "dataset_name", "method_name", "prose_name"]

METHOD_NAMES: Mapping[str, str] = {
    "erm": "ERM",
    "mixup": "Mixup",
    "mixup-r": "Mixup-R",
    "manifold-mixup": "Manifold mixup",
    "cutmix": "CutMix",
    "adamixup": "AdaMixUp",
    "mixup-noise": "Mixup + noise",
    "varmixup": "VarMixup",
    "adv-varmixup": "adv-VarMixup",
    "mixup+varmixup": "Mixup + VarMixup",
    "varmixup-sampled": "VarMixup, sampled",
    "mixup+varmixup-sampled": "Mixup + VarMixup, sampled",
    "varmixup-genlabel": "VarMixup, GenLabel",
    "mixup+varmixup-genlabel": "Mixup + VarMixup, GenLabel",
    "at": "AT",
    "trades": "TRADES",
    "iat": "IAT",
}
DATASET_NAMES = {
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "emnist": "EMNIST",
    "svhn": "SVHN",
    "cifar-10": "CIFAR-10",
    "cifar-100": "CIFAR-100",
    "tiny-imagenet": "Tiny-ImageNet",
}


def method_name(method: str) -> str:
    """Return a method's name as in the literature; its own where none is known.

    Examples:
        >>> method_name("mixup+varmixup"), method_name("mine")
        ('Mixup + VarMixup', 'mine')
    """
    return METHOD_NAMES.get(method, method)


def prose_name(method: str) -> str:
    """Return a method's name inside a sentence.

    Examples:
        >>> prose_name("erm")
        'plain training'
    """
    return "plain training" if method == "erm" else method_name(method)


def dataset_name(dataset: str, about: Mapping[str, Mapping[str, str]]) -> str:
    """Return a data set's name: what the study says of it, or as in the literature.

    Examples:
        >>> dataset_name("cifar-10", {}), dataset_name("x", {"x": {"name": "Leaves"}})
        ('CIFAR-10', 'Leaves')
    """
    said = (about.get(dataset) or {}).get("name")
    return said if said and said != dataset else DATASET_NAMES.get(dataset, dataset)
