"""Train every setting on every group, many at once.

Which replicas run together changes nothing: each equals the same replica trained alone.
"""

from collections.abc import Callable, Sequence

from vicinal.core import InputError, check_in, check_number
from vicinal.networks import MLP
from vicinal.training.batches import count_batches
from vicinal.training.heads import run_heads
from vicinal.training.optimizer import Optimizer
from vicinal.training.problem import Group, Setting
from vicinal.training.progress import Progress
from vicinal.training.result import Fit
from vicinal.training.runner import Regime
from vicinal.training.stacks import run_stacks

__all__ = ["Report", "fit_stack"]

Report = Callable[[Progress], None]


def fit_stack(
    groups: Sequence[Group],
    settings: Sequence[Setting] | Sequence[Sequence[Setting]],
    *,
    hidden: Sequence[int] = (),
    optimizer: Optimizer | None = None,
    batch_size: int = 128,
    epochs: int = 100,
    checkpoints: Sequence[int] = (),
    keep_best: str | None = None,
    keep_predictions: bool = False,
    initial: Sequence[MLP] | None = None,
    report: Report | None = None,
) -> Fit:
    """Train every group under every one of its settings.

    Args:
        groups: G of them, with equally many features and classes.
        settings: R settings for all groups, or R for each.
        hidden: widths of hidden layers; () is logistic regression.
        optimizer: default Adam.
        batch_size: rows in a batch.
        epochs: passes over each group's rows.
        checkpoints: epochs after which to evaluate on the groups' evaluation rows.
        keep_best: 'accuracy' or 'log_loss' keeps each replica's weights of its best checkpoint (GenLabel, section E.2)
            instead of those of its last epoch.
        keep_predictions: keep the evaluation rows' class probabilities at every checkpoint, in single precision.
        initial: networks to start from, one per group; default fresh ones, seeded by the groups' addresses.
        report: called now and then with a `Progress`.

    Returns:
        A `Fit`. The same numbers whichever groups and settings run together, up to rounding.

    Raises:
        InputError: no groups, settings or epochs, an unknown word, or latent labels without a hidden layer.

    Examples:
        >>> import torch, vicinal as vc
        >>> x, y = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> group = Group(x, y, n_classes=2, x_eval=x, y_eval=y, address={"seed": 0})
        >>> settings = [Setting(vicinity, 0.1) for vicinity in (vc.Vanilla(), vc.Mixup(), vc.GenLabel())]
        >>> fit_stack([group], settings, epochs=50, checkpoints=[50]).accuracy[0, :, 0].tolist()
        [1.0, 1.0, 1.0]
    """
    if not groups or not settings:
        raise InputError("`groups` and `settings` must not be empty.")
    check_number("epochs", epochs, 1, whole=True)
    check_number("batch_size", batch_size, 1, whole=True)
    check_in("keep_best", keep_best, (None, "accuracy", "log_loss"))
    shared = [setting for setting in settings if isinstance(setting, Setting)]
    own = [list(row) for row in settings if not isinstance(row, Setting)]
    plan = [shared] * len(groups) if shared else own
    if len(plan) != len(groups) or len({len(row) for row in plan}) != 1:
        raise InputError("`settings` must be one list for all groups, or one list per group, all of the same length.")
    for setting in (s for row in plan for s in row):
        _check(setting, hidden)
    regime = Regime(hidden, optimizer or Optimizer(), batch_size, epochs, keep_best)
    points = tuple(sorted(c for c in set(checkpoints) if 0 < c <= epochs))
    result = Fit.empty(groups, len(plan[0]), points, predictions=keep_predictions)
    total = sum(count_batches(group, batch_size) for group in groups) * epochs * len(plan[0])
    done = 0.0

    def tell(steps: float, loss: float) -> None:
        nonlocal done
        done = min(done + steps, total)
        if report is not None:
            report(Progress(round(done), total, loss))

    for latent, run in ((False, run_stacks), (True, run_heads)):
        part = [{r: s for r, s in enumerate(row) if (s.latent is not None) == latent} for row in plan]
        if any(part):
            run(groups, part, regime, initial, result, tell)
    return result


def _check(setting: Setting, hidden: Sequence[int]) -> None:
    check_number("learning_rate", setting.learning_rate, 0, open_low=True)
    check_number("weight_decay", setting.weight_decay, 0)
    if setting.latent is not None:
        check_number("share", setting.latent.share, 0, 1)
        if not hidden:
            raise InputError("latent labels need features: give `hidden` at least one layer, such as (128, 128).")
        if setting.objective is not None:
            raise InputError(
                "a setting with `latent` trains its last layer by cross entropy; leave out its `objective`."
            )
