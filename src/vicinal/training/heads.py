"""Algorithm 2 for many settings at once: one warm-up for all that share it, then every setting's last layer on its features."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from vicinal.core import generator_at
from vicinal.networks import MLP
from vicinal.training.problem import Group, Latent, Setting
from vicinal.training.result import Fit
from vicinal.training.runner import Regime
from vicinal.training.stacks import Plan, Tell, run_stacks
from vicinal.vicinity import Vanilla

__all__ = ["encoded", "last_layer", "run_heads", "under_head"]


def encoded(group: Group, network: MLP) -> Group:
    """Return the group as the last layer sees it: rows are mixed where they are, and seen as the network's features."""

    def encode(x: Tensor) -> Tensor:
        with torch.no_grad():
            return network.features(x)

    return replace(group, encode=encode, x_eval=None if group.x_eval is None else encode(group.x_eval))


def last_layer(network: MLP, generator: torch.Generator | None = None) -> MLP:
    """Return the last layer as a network of its own: a copy, or fresh weights from a generator."""
    last = network.layers[-1]
    head = MLP(last.in_features, last.out_features, generator=generator)  # type: ignore[arg-type]
    if generator is None:
        head.layers[0].load_state_dict(last.state_dict())
    return head


def under_head(network: MLP, head: MLP) -> MLP:
    """Return a network with the first one's features under another last layer."""
    return MLP.from_parameters([*list(network.parameters())[:-2], *head.parameters()])


def run_heads(
    groups: Sequence[Group], plan: Plan, regime: Regime, initial: Sequence[MLP] | None, result: Fit, tell: Tell
) -> None:
    """Train every group under its latent settings, and put what comes of it into `result`."""
    kinds: dict[str, tuple[Latent, list[dict[int, Setting]]]] = {}
    for g, row in enumerate(plan):
        for r, setting in row.items():
            assert setting.latent is not None  # noqa: S101 - for the type checker
            kinds.setdefault(setting.latent.key(), (setting.latent, [{} for _ in groups]))[1][g][r] = setting
    for latent, part in kinds.values():
        _run_kind(groups, latent, part, regime, initial, result, tell)


def _run_kind(
    groups: Sequence[Group],
    latent: Latent,
    plan: list[dict[int, Setting]],
    regime: Regime,
    initial: Sequence[MLP] | None,
    result: Fit,
    tell: Tell,
) -> None:
    first, rest = latent.split(regime.epochs)
    # Settings of a group that share learning rate and weight decay share their warm-up.
    users: list[dict[tuple[float, float], list[int]]] = [defaultdict(list) for _ in groups]
    for g, row in enumerate(plan):
        for r, setting in row.items():
            users[g][setting.learning_rate, setting.weight_decay].append(r)
    vicinity = latent.vicinity or Vanilla()
    warmups = [{slot: Setting(vicinity, *key) for slot, key in enumerate(own)} for own in users]
    replicas, warmed = sum(map(len, plan)), sum(map(len, users))
    warm = Fit.empty(groups, max(map(len, users)), (), predictions=False)
    told: Callable[[float, float], None] = lambda steps, loss: tell(steps * replicas / warmed, loss)  # noqa: E731
    run_stacks(groups, warmups, replace(regime, epochs=first, keep_best=None), initial, warm, told)

    members = [(g, slot, own) for g, row in enumerate(users) for slot, own in enumerate(row.values())]
    networks = [warm.network(g, slot) for g, slot, _ in members]
    inner = [encoded(groups[g], network) for (g, _, _), network in zip(members, networks, strict=True)]
    fresh = [None if latent.keep_head else generator_at(**groups[g].address, purpose="head") for g, _, _ in members]
    heads = [last_layer(network, generator).to(groups[0].x) for network, generator in zip(networks, fresh, strict=True)]
    settings = [{r: _rest(plan[g][r], first) for r in own} for g, _, own in members]
    optimizer = replace(regime.optimizer, milestones=tuple(m - first for m in regime.optimizer.milestones))
    late = [c for c, epoch in enumerate(result.checkpoints) if epoch > first]
    points = tuple(result.checkpoints[c] - first for c in late)
    head = Fit.empty(inner, result.seconds.shape[1], points, predictions=bool(result.predictions))
    run_stacks(inner, settings, replace(regime, hidden=(), optimizer=optimizer, epochs=rest), heads, head, tell)

    for i, (g, slot, own) in enumerate(members):
        for r in own:
            result.log_loss[g, r, late], result.accuracy[g, r, late] = head.log_loss[i, r], head.accuracy[i, r]
            result.train_loss[g, r] = head.train_loss[i, r]
            result.seconds[g, r] = head.seconds[i, r] + warm.seconds[g, slot] / len(own)
            result._networks[g, r] = partial(_whole, networks[i], head, i, r)
            if result.predictions:
                result.predictions[g][r, late] = head.predictions[i][r]


def _rest(setting: Setting, first: int) -> Setting:
    return replace(setting, latent=None, epochs=None if setting.epochs is None else max(1, setting.epochs - first))


def _whole(network: MLP, head: Fit, group: int, setting: int) -> MLP:
    return under_head(network, head.network(group, setting))
