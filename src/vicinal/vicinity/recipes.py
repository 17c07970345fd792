"""Recipes: named vicinities, each with its citation. A recipe is a composition; `mix.labeler`, `mix.ratio`, ... are its parts.

They are functions with the names of the methods: what they return is a `Vicinity` (or a `Choice`), whose parameters a grid
search reaches as `labeler__gamma` or `ratio__alpha`.
"""

from collections.abc import Sequence

from vicinal.densities import Density, Gaussian
from vicinal.labeling import LogisticLabels, PosteriorLabels
from vicinal.mixing import Beta, CutMixer, Fixed, Mixer, NoMixer
from vicinal.spaces import Reconstructed, Space
from vicinal.vicinity.base import BaseVicinity
from vicinal.vicinity.choice import Choice
from vicinal.vicinity.filters import ManifoldIntrusion
from vicinal.vicinity.in_space import InSpace
from vicinal.vicinity.vicinity import Vicinity

__all__ = [
    "CutMix",
    "GenLabel",
    "LogisticMixup",
    "Mixup",
    "MixupExcludingIntrusion",
    "MixupR",
    "OneOf",
    "Vanilla",
    "VarMixup",
]


def Vanilla(n_classes: int | None = None) -> Vicinity:  # noqa: N802
    """Plain training: every row as it is, empirical risk minimisation.

    Examples:
        >>> import torch
        >>> x, y = Vanilla(n_classes=2)(torch.tensor([[3.0]]), torch.tensor([1]))
        >>> x.tolist(), y.tolist()
        ([[3.0]], [[0.0, 1.0]])
    """
    return Vicinity(ratio=Fixed(1.0), mixer=NoMixer(), n_classes=n_classes)


def Mixup(  # noqa: N802
    alpha: float = 1.0, per: str = "batch", n_classes: int | None = None, seed: int | None = None
) -> Vicinity:
    """Mixup: x = lam x_i + (1 - lam) x_j, y = lam y_i + (1 - lam) y_j, lam ~ Beta(alpha, alpha).

    Args:
        alpha: above 0.
        per: draw lam per 'batch' (the published code) or per 'sample'.
        n_classes: K, for labels (B,) without a call of `fit`.
        seed: see `Vicinity`.

    Reference: H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz. mixup: Beyond empirical risk minimization. ICLR 2018.

    Examples:
        >>> import torch
        >>> mix = Mixup(n_classes=2, seed=0)
        >>> x, y = mix(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
        >>> bool((x[:, 0] == y[:, 1]).all())
        True
    """
    return Vicinity(ratio=Beta(alpha, per), n_classes=n_classes, seed=seed)


def CutMix(  # noqa: N802
    alpha: float = 1.0, per: str = "batch", n_classes: int | None = None, seed: int | None = None
) -> Vicinity:
    """CutMix: a box of an image, or some columns of a table's row, come from the partner.

    Args:
        alpha: above 0.
        per: draw lam per 'batch' or per 'sample'.
        n_classes: K, for labels (B,) without a call of `fit`.
        seed: see `Vicinity`.

    Reference: S. Yun et al. CutMix: Regularization strategy to train strong classifiers with localizable features.
    ICCV 2019. For tables: GenLabel, section A.5.

    Examples:
        >>> import torch
        >>> x, y = CutMix(n_classes=2, seed=0)(torch.eye(2).repeat(1, 3), torch.tensor([0, 1]))
        >>> sorted(set(x.flatten().tolist()))                     # cut, never blended
        [0.0, 1.0]
    """
    return Vicinity(ratio=Beta(alpha, per), mixer=CutMixer(), n_classes=n_classes, seed=seed)


def GenLabel(  # noqa: N802
    density: Density | None = None,
    gamma: float = 1.0,
    alpha: float = 1.0,
    per: str = "batch",
    temperature: float = 1.0,
    prior: str = "uniform",
    top2: bool = False,
    mixer: Mixer | None = None,
    seed: int | None = None,
) -> Vicinity:
    """GenLabel: mixup's points, labelled gamma * posterior + (1 - gamma) * linear; call `fit` with the training rows.

    Args:
        density: class-conditional density; default `Gaussian()`.
        gamma: the paper's loss ratio in [0, 1]; 0 is mixup.
        alpha: of lam ~ Beta(alpha, alpha).
        per: draw lam per 'batch' or per 'sample'.
        temperature: of the posterior; see `PosteriorLabels`.
        prior: of the posterior, 'uniform' (Eq. 1) or 'empirical'.
        top2: keep the two most probable classes (Algorithm 3).
        mixer: default the straight line; `CutMixer()` for GenLabel on CutMix (section A.5).
        seed: see `Vicinity`.

    Reference: J. Sohn et al. GenLabel: Mixup relabeling using generative models. ICML 2022. Algorithm 1.

    Examples:
        >>> import torch
        >>> x, y = torch.tensor([[0.0], [1.0], [9.0], [10.0]]), torch.tensor([0, 0, 1, 1])
        >>> x, y = GenLabel(seed=0).fit(x, y)(x, y)
        >>> bool(((x[:, 0] > 5) == (y[:, 1] > 0.5)).all())        # labels follow the point, not the line
        True
    """
    labels = PosteriorLabels(Gaussian() if density is None else density, gamma, temperature, prior, top2)
    return Vicinity(ratio=Beta(alpha, per), mixer=mixer, labeler=labels, seed=seed)


def MixupExcludingIntrusion(alpha: float = 1.0, per: str = "batch", seed: int | None = None) -> Vicinity:  # noqa: N802
    """Mixup without the points that intrude on a third class's manifold; call `fit` with the training rows.

    Args:
        alpha: above 0.
        per: draw lam per 'batch' or per 'sample'.
        seed: see `Vicinity`.

    Reference: GenLabel, Definition 1 and Table 2 ('mixup + excluding MI').

    Examples:
        >>> import torch
        >>> x, y = torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([0, 1, 0])
        >>> MixupExcludingIntrusion(seed=0).fit(x, y)(x, y)[0].shape
        torch.Size([3, 1])
    """
    return Vicinity(ratio=Beta(alpha, per), filter=ManifoldIntrusion(), seed=seed)


def LogisticMixup(  # noqa: N802
    sigma: float = 0.5,
    alpha: float = 1.0,
    per: str = "batch",
    exclude_intrusion: bool = False,
    n_classes: int | None = None,
    seed: int | None = None,
) -> Vicinity:
    """Mixup with logistic labels: y = rho y_i + (1 - rho) y_j, rho = 1 / (1 + exp(-2 (lam - 1/2) / sigma^2)).

    Args:
        sigma: above 0; see `LogisticLabels`.
        alpha: of lam ~ Beta(alpha, alpha).
        per: draw lam per 'batch' or per 'sample'.
        exclude_intrusion: leave out intruding points, as the paper's study of 133 tables does; then call `fit`.
        n_classes: K, for labels (B,) without a call of `fit`.
        seed: see `Vicinity`.

    Reference: GenLabel, section 3.2.

    Examples:
        >>> import torch
        >>> x, y = LogisticMixup(n_classes=2, seed=0)(torch.eye(2), torch.tensor([0, 1]))
        >>> bool(torch.allclose(y.sum(1), torch.ones(2)))
        True
    """
    rule = ManifoldIntrusion() if exclude_intrusion else None
    return Vicinity(ratio=Beta(alpha, per), labeler=LogisticLabels(sigma), filter=rule, n_classes=n_classes, seed=seed)


def OneOf(  # noqa: N802
    *vicinities: BaseVicinity,
    probabilities: Sequence[float] | None = None,
    n_classes: int | None = None,
    seed: int | None = None,
) -> Choice:
    """One of several vicinities, chosen at random for every batch.

    Args:
        *vicinities: two or more.
        probabilities: one number per vicinity, on any scale; None for equal ones.
        n_classes: K, for labels (B,) without a call of `fit`.
        seed: see `Vicinity`.

    Examples:
        >>> import torch
        >>> mix = OneOf(Vanilla(), Mixup(), probabilities=[1, 0], n_classes=2)
        >>> mix(torch.tensor([[3.0], [4.0]]), torch.tensor([1, 0]))[0].tolist()
        [[3.0], [4.0]]
    """
    return Choice(list(vicinities), probabilities, n_classes, seed)


def VarMixup(  # noqa: N802
    space: Space,
    alpha: float = 1.0,
    per: str = "batch",
    density: Density | None = None,
    gamma: float = 1.0,
    sample: bool = False,
    n_classes: int | None = None,
    seed: int | None = None,
) -> InSpace:
    """VarMixup: mixup among the codes of a space, decoded: x = decode(lam z_i + (1 - lam) z_j), y = lam y_i + (1 - lam) y_j.

    Args:
        space: an `MMDVAE` as in the paper, or any space; a fitted one is used as it is.
        alpha: above 0, the paper's eta; its experiments have 1.
        per: draw lam per 'batch' or per 'sample'.
        density: a density of the codes, whose posterior labels the mixed ones in place of the straight line (as `GenLabel`).
        gamma: its share of the label.
        sample: draw points from the decoder's distribution instead of taking its mean; see `InSpace`.
        n_classes: K, for labels (B,) without a call of `fit`.
        seed: see `Vicinity`.

    Reference: P. Mangla, V. Singh, S. Havaldar, V. N. Balasubramanian. On the benefits of defining vicinal
    distributions in latent space. Pattern Recognition Letters 152, 2021. Eq. 8 and 9.

    Examples:
        >>> import torch
        >>> from vicinal.spaces import Identity
        >>> x, y = torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1])
        >>> points, labels = VarMixup(Identity(), seed=0).fit(x, y)(x, y)          # in the space of the points: mixup
        >>> bool((points[:, 0] / 4 == labels[:, 1]).all())
        True
    """
    ratio = Beta(alpha, per)
    inner = Vicinity(ratio=ratio, labeler=None if density is None else PosteriorLabels(density, gamma))
    return InSpace(space, inner, sample, n_classes, seed)


def MixupR(  # noqa: N802
    space: Space, alpha: float = 1.0, per: str = "batch", n_classes: int | None = None, seed: int | None = None
) -> InSpace:
    """Mixup-R: mixup of reconstructions, x = lam r_i + (1 - lam) r_j with r = decode(encode(x)).

    It tells what of VarMixup's effect comes of the decoder alone (VarMixup, section 4).

    Args:
        space: an `MMDVAE` as in the paper, or any space; a fitted one is used as it is.
        alpha: above 0.
        per: draw lam per 'batch' or per 'sample'.
        n_classes: K, for labels (B,) without a call of `fit`.
        seed: see `Vicinity`.

    Examples:
        >>> import torch
        >>> from vicinal.spaces import PCA
        >>> x, y = torch.tensor([[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]]), torch.tensor([0, 1, 0])
        >>> points, labels = MixupR(PCA(1), seed=0).fit(x, y)(x, y)
        >>> bool(torch.allclose(points[:, 0], points[:, 1], atol=1e-6))
        True
    """
    again = Reconstructed(space).of_fitted() if space.fitted else Reconstructed(space)
    return InSpace(again, Mixup(alpha, per), n_classes=n_classes, seed=seed)
