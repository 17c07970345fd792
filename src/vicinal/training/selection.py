"""Choosing a setting by cross-validation."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from vicinal.labeling import LinearLabels
from vicinal.mixing import NoMixer
from vicinal.training.problem import Group
from vicinal.vicinity import BaseVicinity, Vicinity

__all__ = ["checkpoint_epochs", "choose", "make_group", "plainness", "split_folds"]


def split_folds(y: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (training rows, held-out rows) of stratified, shuffled folds.

    Fewer folds where no class has `folds` rows; a class with fewer rows than folds is missing from some.

    Examples:
        >>> [len(held_out) for _, held_out in split_folds(np.array([0, 0, 0, 1, 1, 1]), folds=3, seed=0)]
        [2, 2, 2]
    """
    most = int(np.bincount(y).max())
    if most < 2:
        # Every class has a single row: there is nothing to stratify.
        yield from KFold(min(folds, len(y)), shuffle=True, random_state=seed % 2**32).split(y[:, None])
        return
    with warnings.catch_warnings():
        # scikit-learn warns of rare classes; a fold without a class is trained without it, which is what is left to do.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        splitter = StratifiedKFold(max(2, min(folds, most)), shuffle=True, random_state=seed % 2**32)
        yield from splitter.split(y[:, None], y)


def make_group(
    x: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    address: Mapping[str, int | str],
    *,
    scale: bool,
    weight: np.ndarray | None = None,
    held_out: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None,
    device: torch.device | str = "cpu",
) -> Group:
    """Return a group of training rows, each feature standardised by them if asked.

    Args:
        x: (N, D).
        y: (N,) class indices.
        n_classes: K.
        address: seeds the group's draws.
        scale: whether to standardise.
        weight: (N,) frequencies.
        held_out: x, y and weights of the rows to evaluate on.
        device: where the tensors live.

    Examples:
        >>> group = make_group(np.array([[1.0], [3.0]]), np.array([0, 1]), 2, {"seed": 0}, scale=True)
        >>> group.x.tolist()
        [[-1.0], [1.0]]
    """
    scaler = StandardScaler(with_mean=scale, with_std=scale).fit(x, sample_weight=weight)

    def tensor(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=dtype, device=device)

    group = Group(
        tensor(scaler.transform(x), torch.float32),
        tensor(y, torch.int64),
        n_classes,
        weight=None if weight is None else tensor(weight, torch.float64),
        address=address,
    )
    if held_out is None:
        return group
    x_eval, y_eval, weight_eval = held_out
    return replace(
        group,
        x_eval=tensor(scaler.transform(x_eval), torch.float32),
        y_eval=tensor(y_eval, torch.int64),
        weight_eval=None if weight_eval is None else tensor(weight_eval, torch.float64),
    )


def checkpoint_epochs(epochs: int, number: int = 16) -> tuple[int, ...]:
    """Return about `number` epochs between the first tenth and the last, in geometric steps.

    Examples:
        >>> checkpoint_epochs(100, 3)
        (10, 32, 100)
    """
    points = np.geomspace(max(1, epochs / 10), epochs, number)
    return tuple(sorted({round(float(p)) for p in points}))


def choose(scores: np.ndarray, plainness: Sequence[float], near_ties: bool = True) -> tuple[int, int]:
    """Choose a setting and a checkpoint; near-ties go to the plainer setting.

    The best mean over folds leads. A candidate ties with the leader if its mean is no more than one standard error of their
    paired difference over folds worse. Among those, the plainest wins; among equally plain ones, the best mean.

    Args:
        scores: (F, R, C) by fold, setting and checkpoint, lower is better; NaN for checkpoints not reached.
        plainness: (R,) smaller is plainer.
        near_ties: False to break only exact ties.

    Returns:
        (setting, checkpoint) indices.

    Examples:
        >>> scores = np.array([[[0.30], [0.29]], [[0.30], [0.33]], [[0.30], [0.27]]])    # 3 folds, 2 settings
        >>> choose(scores, plainness=[0, 1])                    # the second leads by less than its standard error
        (0, 0)
        >>> choose(scores, plainness=[0, 1], near_ties=False)
        (1, 0)
    """
    folds, _, checkpoints = scores.shape
    mean = np.round(scores.mean(0), 10)  # equal scores of other folds have equal means
    mean = np.where(np.isnan(mean), np.inf, mean)
    leader = np.unravel_index(int(mean.argmin()), mean.shape)
    if near_ties and folds > 1:
        difference = scores - scores[:, leader[0], leader[1]][:, None, None]
        error = difference.std(0, ddof=1) / np.sqrt(folds)
        tied = mean <= mean[leader] + np.where(np.isnan(error), 0, error)
    else:
        tied = mean <= mean[leader]
    order = np.lexsort((mean.ravel(), np.repeat(np.asarray(plainness, dtype=float), checkpoints), ~tied.ravel()))
    r, c = np.unravel_index(int(order[0]), mean.shape)
    return int(r), int(c)


def plainness(vicinity: BaseVicinity) -> int:
    """Rank how much a vicinity does: 0 nothing, 1 mixes, 2 also filters or labels otherwise than by the line, 3 chooses.

    Examples:
        >>> import vicinal as vc
        >>> [plainness(v) for v in (vc.Vanilla(), vc.Mixup(), vc.GenLabel(), vc.OneOf(vc.Mixup(), vc.CutMix()))]
        [0, 1, 2, 3]
    """
    if not isinstance(vicinity, Vicinity):
        return 3
    if isinstance(vicinity.mixer, NoMixer) and vicinity.labeler is None:
        return 0
    return 1 if vicinity.filter is None and isinstance(vicinity.labeler, LinearLabels | None) else 2
