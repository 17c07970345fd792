"""AutoAttack: an ensemble of attacks without settings, less what is not defined for few classes or for rows."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, final

from torch import Tensor, nn

from vicinal.core import check_number, require
from vicinal.evaluation.attacks.base import Attack, Finding, seeded
from vicinal.evaluation.attacks.target import Target

__all__ = ["AutoAttack"]


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class AutoAttack(Attack):
    """Auto-PGD, FAB and Square one after another, each on the rows that withstood the last, by pyautoattack.

    What runs depends on the number of classes K and on the norm; `AttackResult.left_out` names the rest:

    | part | what it is | needs |
    |---|---|---|
    | apgd-ce | PGD on the cross entropy with adaptive steps | |
    | apgd-t | the same on the targeted DLR loss (difference of logits ratio) | K >= 4 |
    | apgd-dlr | the same on the DLR loss, in place of apgd-t | K = 3 |
    | fab-t | the shortest way to the boundary with each of the nearest 9 classes | |
    | square | random search, which sees no gradients | images of 5 x 5 and more, or 'linf' |

    Args:
        radius: largest allowed distance from a row, in units of x.
        bounds: lowest and highest value of the features: two numbers, or two arrays with one value for each feature.
        norm: 'l2' or 'linf'.
        queries: of Square.
        seed: of all draws.

    Reference: F. Croce, M. Hein. Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks. ICML 2020.

    Examples:
        >>> import torch
        >>> from vicinal.networks import MLP
        >>> line = MLP.from_parameters([torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5])])   # class 1 above x = 0.5
        >>> result = AutoAttack(radius=0.2, bounds=(0.0, 1.0))(line, torch.tensor([[0.1], [0.4]]), torch.tensor([0, 0]))
        >>> result.success.tolist(), list(result.left_out)
        ([False, True], ['apgd-t', 'apgd-dlr', 'square'])
    """

    queries: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("queries", self.queries, 1, whole=True)

    def _search(self, targets: Sequence[Target]) -> list[Finding]:
        library = require("pyautoattack", "attacks")
        findings = []
        for target in targets:
            parts, left_out = self._parts(target)
            u = target.u
            model = _AsImages(target.network(), tuple(u.shape[1:])).eval()
            attack = library.AutoAttack(
                model,
                attacks=parts,
                device=u.device,
                eps=target.radius,
                norm={"l2": "L2", "linf": "Linf"}[self.norm],
                seed=self.seed,
                version="custom",
            )
            attack.logger.addFilter(_is_news)
            # What the standard version sets, with no more target classes than there are.
            attack.apgd.n_restarts = attack.fab.n_restarts = 1
            attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, target.n_classes - 1)
            attack.square.n_queries = self.queries
            trace = sys.gettrace()
            try:
                with seeded(self.seed):
                    found, _ = attack.run_standard_evaluation(model.images(u), target.y)
            finally:
                sys.settrace(trace)  # the library takes a debugger's or a coverage tool's away
            findings.append(Finding(model.rows(found), left_out=left_out))
        return findings

    def _parts(self, target: Target) -> tuple[list[str], dict[str, str]]:
        """Return the attacks that run, in order, and the reasons of those that do not."""
        k, shape = target.n_classes, target.x.shape[1:]
        left_out = {}
        if k < 4:
            left_out["apgd-t"] = f"its targeted loss needs at least 4 classes, here are {k}"
        if k < 3:
            left_out["apgd-dlr"] = f"its loss needs at least 3 classes, here are {k}"
        if self.norm == "l2" and (len(shape) != 3 or min(shape[1:]) < 5):
            left_out["square"] = "with the l2 norm it needs images (C, H, W) of at least 5 x 5"
        loss = "apgd-t" if k >= 4 else "apgd-dlr"
        return [part for part in ("apgd-ce", loss, "fab-t", "square") if part not in left_out], left_out


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message of the library is none of a loss that few classes rule out, which `left_out` names."""
    return "it is not possible to use" not in record.getMessage()


class _AsImages(nn.Module):
    """A network of rows as one of images (C, H, W), which the library's parts take."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def images(self, u: Tensor) -> Tensor:
        if len(self.shape) == 3:
            return u
        # One more pixel, which the network does not see: Square's windows never begin at the last one.
        return nn.functional.pad(u.flatten(1), (0, 1))[:, None, None]

    def rows(self, images: Tensor) -> Tensor:
        return images if len(self.shape) == 3 else images[:, 0, 0, :-1].reshape(-1, *self.shape)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.network(self.rows(images)))
