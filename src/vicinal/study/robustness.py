"""Robust accuracy of the networks that a comparison trained (GenLabel, Tables 5 and 7).

The radius is a share of the largest less the smallest value of all training features, and these two bound the attack (Table 12);
the bounds are widened where a test row lies beyond them.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from vicinal.core import InputError, check_in, seed_at
from vicinal.study.compare import Comparison
from vicinal.training import make_group

__all__ = ["robust_accuracies"]


def robust_accuracies(result: Comparison, attack: Mapping[str, Any]) -> dict[str, list[float]]:
    """Attack every network of a comparison on its test rows, all at once.

    Args:
        result: from `compare`.
        attack: 'name' ('boundary'), 'steps', and 'radius', a share of the range of the training values.

    Returns:
        By method, the share of test rows that the attack does not change within the radius, a number a trial.

    Raises:
        InputError: a method that trains no network; an unknown attack.
    """
    from vicinal.evaluation.attacks import BoundaryAttack  # noqa: PLC0415 - needs the extra 'attacks'

    check_in("attack", attack["name"], ("boundary",))
    networks: list[nn.Module] = []
    rows, labels, radii, bounds = [], [], [], []
    for name, outcome in result.outcomes.items():
        for trial, network in zip(result.trials, outcome.networks, strict=True):
            if network is None:
                raise InputError(f"{name} trains no network, so there is none to attack; leave it out.")
            group = make_group(
                trial.x, trial.y, len(result.problem.labels), {}, scale=result.protocol.scale,
                held_out=(trial.x_test, trial.y_test, None),
            )  # fmt: skip
            assert group.x_eval is not None  # noqa: S101 - for the type checker
            low, high = float(group.x.min()), float(group.x.max())
            networks.append(network)
            rows.append(group.x_eval)
            labels.append(group.y_eval)
            radii.append(attack["radius"] * (high - low))
            bounds.append((min(low, float(group.x_eval.min())), max(high, float(group.x_eval.max()))))
    seed = seed_at(dataset=result.problem.name, seed=result.seed, purpose="attack") % 2**31
    found = BoundaryAttack(radius=radii[0], bounds=bounds[0], steps=attack["steps"], seed=seed).run(
        networks, rows, labels, radius=radii, bounds=bounds
    )
    robust = iter(found)
    return {name: [next(robust).robust_accuracy for _ in result.trials] for name in result.outcomes}
