"""Latent GenLabel: densities of a trained network's features label the mixed points (GenLabel, Algorithm 2).

1. warm up: train the network by any vicinity; 2. freeze its features phi; 3. fit densities to phi(x), mix rows in the input
space, label phi(x_mix), and fine-tune the last layer on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vicinal.core import InputError
from vicinal.networks import MLP
from vicinal.training.fit import Report, fit_stack
from vicinal.training.heads import encoded, last_layer, under_head
from vicinal.training.optimizer import Optimizer
from vicinal.training.problem import Group, Setting
from vicinal.training.result import Fit

__all__ = ["LatentFit", "fit_latent"]


@dataclass
class LatentFit:
    """What came of a latent fit.

    Attributes:
        warmup: the fit of the whole networks, one setting.
        head: the fit of their last layers, R settings.
    """

    warmup: Fit
    head: Fit

    def network(self, group: int, setting: int) -> MLP:
        """Return the whole network: the warm-up's features under the fine-tuned last layer."""
        return under_head(self.warmup.network(group, 0), self.head.network(group, setting))


def fit_latent(
    groups: Sequence[Group],
    warmup: Setting,
    settings: Sequence[Setting],
    *,
    hidden: Sequence[int],
    warmup_epochs: int = 100,
    optimizer: Optimizer | None = None,
    batch_size: int = 128,
    epochs: int = 100,
    checkpoints: Sequence[int] = (),
    report: Report | None = None,
) -> LatentFit:
    """Train every group by Algorithm 2.

    Args:
        groups: G groups of rows.
        warmup: how the whole network is trained first; the paper: plain training or mixup.
        settings: R settings of the fine-tuning; their labelers see the frozen features.
        hidden: widths of the hidden layers, at least one; the last is the features' dimension.
        warmup_epochs: epochs of the warm-up.
        optimizer: of both stages; default Adam.
        batch_size: rows in a batch.
        epochs: epochs of the fine-tuning.
        checkpoints: epochs of the fine-tuning after which to evaluate.
        report: called now and then with a `Progress`.

    Raises:
        InputError: no hidden layer, so that there are no features but the rows themselves.

    Examples:
        >>> import torch, vicinal as vc
        >>> x, y = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> group = Group(x, y, n_classes=2, address={"seed": 0})
        >>> fit = fit_latent([group], Setting(vc.Mixup(), 0.1), [Setting(vc.GenLabel(), 0.1)], hidden=(4,))
        >>> fit.network(0, 0)(x).argmax(1).tolist()
        [0, 0, 1, 1]
    """
    if not hidden:
        raise InputError("latent GenLabel needs features: give `hidden` at least one layer, such as (128, 128).")
    first = fit_stack(
        groups, [warmup], hidden=hidden, optimizer=optimizer, batch_size=batch_size, epochs=warmup_epochs, report=report
    )
    networks = [first.network(g, 0) for g in range(len(groups))]
    second = fit_stack(
        [encoded(group, network) for group, network in zip(groups, networks, strict=True)],
        settings,
        optimizer=optimizer,
        batch_size=batch_size,
        epochs=epochs,
        checkpoints=checkpoints,
        initial=[last_layer(network) for network in networks],
        report=report,
    )
    return LatentFit(first, second)
