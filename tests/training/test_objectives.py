"""Objectives against plain loops of torch's own modules, autograd and optimisers, and what they do to the points."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import vicinal as vc
from vicinal.core import generator_at
from vicinal.networks import MLP
from vicinal.training import AdaMixup, Fit, Group, ManifoldMixup, Objective, Optimizer, Perceptrons, Setting, fit_stack
from vicinal.training.batches import Source
from vicinal.training.runner import Bunch, Regime, Runner


def group_of(n: int, k: int, address: dict[str, int], weight: bool = False) -> Group:
    rng = np.random.default_rng(address["trial"])
    y = torch.tensor(np.arange(n) % k)
    x = torch.tensor(rng.normal(size=(n, 3))) + y[:, None]
    return Group(x, y, k, weight=torch.tensor(rng.integers(1, 4, n).astype(float)) if weight else None, address=address)


def soft(logits, y, weight):
    return (cross_entropy(logits, y, reduction="none") * weight).sum()


def modules_of(network: MLP, activation: bool = True) -> nn.Sequential:
    layers = list(network.double().layers)
    parts = [part for layer in layers[:-1] for part in (layer, nn.ReLU() if activation else nn.Identity())]
    return nn.Sequential(*parts, layers[-1])


def manifold_loss(objective, modules, x, y, weight, draws):
    (network,) = modules
    partner, lam, layers = draws["partner"], draws["lam"], (len(network) + 1) // 2
    for i in range(layers):
        if i == int(draws["layer"] * layers):
            x = lam * x + (1 - lam) * x[partner]
        x = network[2 * i : 2 * i + 2](x)
    return soft(x, lam * y + (1 - lam) * y[partner], weight)


def adamixup_loss(objective, modules, x, y, weight, draws):
    """All seven terms, each where it stands in the formula; x3 is one more order of the rows that count."""
    classifier, policy, discriminator = modules
    x2, y2 = x[draws["partner"]], y[draws["partner"]]
    kept = torch.nonzero(weight)[:, 0]
    order = torch.arange(len(x))
    order[kept] = kept.flip(0)
    region = torch.softmax(policy(torch.cat([x, x2], 1)), 1)
    lam = (region[:, 0] + draws["e"] * region[:, 1])[:, None]
    mixed = lam * x + (1 - lam) * x2
    real, not_real = (torch.full((len(x),), kind) for kind in (0, 1))
    return (
        soft(classifier(mixed), lam * y + (1 - lam) * y2, weight)
        + soft(classifier(x), y, weight)
        + soft(classifier(x2), y2, weight)
        + soft(discriminator(mixed), not_real, weight)
        + sum(soft(discriminator(rows), real, weight) for rows in (x, x2, x[order]))
    )


def train_alone(group, setting, hidden, optimizer, batch_size, epochs, loss_of):
    """The plain loop: one batch after another."""
    objective = setting.objective
    start = MLP(3, group.n_classes, hidden, generator_at(**group.address, purpose="init"))
    own = objective.networks(3, generator_at(**group.address, purpose="objective-init"))
    relu = getattr(objective, "activation", "relu") == "relu"
    modules = [modules_of(start), *(modules_of(network, relu) for network in own)]
    parameters = [p for module in modules for p in module.parameters()]
    if optimizer.name == "adam":
        descent = torch.optim.Adam(parameters, setting.learning_rate, weight_decay=setting.weight_decay)
    else:
        descent = torch.optim.SGD(parameters, setting.learning_rate, 0.9, weight_decay=setting.weight_decay)
    source = Source(group, setting.vicinity, {"own": vc.labeling.LinearLabels()}, batch_size, objective)
    for block in source.blocks(epochs):
        for m in range(len(block.x)):
            draws = {name: value[m] for name, value in block.draws.items()}
            loss = loss_of(objective, modules, block.x[m], block.targets["own"][m], block.weight[m], draws)
            descent.zero_grad()
            loss.backward()
            descent.step()
    return modules[0]


CASES = {
    "manifold": (ManifoldMixup(0.7), (6, 5), manifold_loss, vc.Vanilla()),
    "manifold, linear": (ManifoldMixup(), (), manifold_loss, vc.Vanilla()),
    "manifold, filtered": (ManifoldMixup(), (4,), manifold_loss, vc.MixupExcludingIntrusion()),
    "adamixup": (AdaMixup((5, 4), (6,)), (7,), adamixup_loss, vc.Vanilla()),
    "adamixup, linear": (AdaMixup((5,), (6, 3)), (), adamixup_loss, vc.Vanilla()),
    "adamixup, filtered": (AdaMixup((5,), (6,)), (), adamixup_loss, vc.MixupExcludingIntrusion()),
    "adamixup, as published": (AdaMixup((5, 4), (), "none"), (), adamixup_loss, vc.Vanilla()),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("optimizer", [Optimizer(), Optimizer("sgd", 0.9)], ids=lambda o: o.name)
def test_every_replica_equals_training_it_alone(case, optimizer):
    objective, hidden, loss_of, vicinity = CASES[case]
    groups = [group_of(n, k := 3, {"trial": t}, weight=t == 1) for t, n in enumerate((20, 33, 29))]
    settings = [Setting(vicinity, rate, decay, objective=objective) for rate, decay in ((0.03, 0.0), (0.1, 0.01))]
    together = fit_stack(groups, settings, hidden=hidden, optimizer=optimizer, batch_size=16, epochs=4)
    for g, group in enumerate(groups):
        for r, setting in enumerate(settings):
            alone = train_alone(group, setting, hidden, optimizer, 16, 4, loss_of)
            stacked = together.network(g, r)
            for a, b in zip(stacked.parameters(), alone.parameters(), strict=True):
                torch.testing.assert_close(a, b.detach(), rtol=1e-7, atol=1e-9, msg=f"{g} {r} {k}")


@pytest.mark.parametrize("activation", [True, False])
def test_perceptrons_are_their_modules_and_differentiate_like_them(activation):
    generator = torch.Generator().manual_seed(0)
    networks = [MLP(3, 2, (5, 4), generator).double() for _ in range(4)]
    parameters = [
        torch.stack([p.detach() if p.ndim == 2 else p.detach()[:, None] for p in parts]).requires_grad_()
        for parts in zip(*[network.parameters() for network in networks], strict=True)
    ]
    stacked = Perceptrons(parameters, 2)
    x = torch.randn(2, 2, 3, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    whole = stacked(x, activation)
    parts = stacked(stacked(x, activation, stop=1), activation, start=1)
    torch.testing.assert_close(whole, parts)
    for i, network in enumerate(networks):
        alone = modules_of(network, activation)(x[i // 2, i % 2].T).T
        torch.testing.assert_close(whole[i // 2, i % 2], alone)
    assert torch.autograd.gradcheck(lambda x, *p: Perceptrons(p, 2)(x, activation, stop=2), (x, *parameters))


@pytest.mark.parametrize("objective", [AdaMixup((5, 4), (6,)), AdaMixup((5,), (), "none")], ids=["relu", "none"])
def test_gradients_by_hand_are_those_of_the_loss(objective):
    generator = torch.Generator().manual_seed(0)
    s, r, b, k = 2, 3, 8, 3
    families = [MLP(4, k, (5,), generator), *objective.networks(4, generator)]
    networks = [
        Perceptrons(
            [
                torch.randn(s * r, *(p.shape if p.ndim == 2 else (len(p), 1)), generator=generator, dtype=torch.float64)
                for p in f.parameters()
            ],
            s,
        )
        for f in families
    ]
    x = torch.randn(s, 4, b, generator=generator, dtype=torch.float64)
    y = torch.softmax(torch.randn(s, r, k, b, generator=generator, dtype=torch.float64), 2)
    weight = torch.tensor([[1.0] * b, [1.0] * (b - 2) + [0.0] * 2], dtype=torch.float64)
    weight = weight / weight.sum(1, keepdim=True)
    draws = objective.draw(weight, generator)
    by_hand = objective.gradients(networks, x, y, weight, draws)
    automatic = Objective.gradients(objective, networks, x, y, weight, draws)
    for a, b in zip(by_hand, automatic, strict=True):
        torch.testing.assert_close(a, b)


def four_in_a_row(n: int, trial: int) -> Group:
    """Classes 0, 1, 0, 1 at -3, -1, 1, 3: mixing equal classes two apart lands on the other one."""
    rng = np.random.default_rng(trial)
    place = np.arange(n) % 4
    x = torch.tensor(2.0 * place[:, None] - 3 + 0.1 * rng.normal(size=(n, 1)), dtype=torch.float32)
    return Group(x, torch.tensor(place % 2), 2, address={"trial": trial})


def learn(group: Group, objective: AdaMixup) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Train; return pairs of rows (x1, x2) and the share of x1 that the policy gives them."""
    setting = Setting(vc.Vanilla(), 0.003, objective=objective)
    regime = Regime((32,), Optimizer(), 64, 100)
    runner = Runner([group], [{0: setting}], Bunch([0], [[0]]), regime, None)
    for _ in runner.run(Fit.empty([group], 1, (), predictions=False)):
        pass
    generator = torch.Generator().manual_seed(1)
    x = group.x.repeat(10, 1)
    pairs = torch.cat([x, x[torch.randperm(len(x), generator=generator)]], 1)
    region = torch.softmax(runner.tiles[0].stack.perceptrons[1](pairs.T[None, None]), 2)[0, 0]
    lam = region[0] + torch.rand(len(x), generator=generator) * region[1]
    return *pairs.split(1, 1), lam[:, None]


def test_adamixups_policy_mixes_without_intrusion():
    """Of two rows two places apart, the other class lies in the middle: AdaMixup stays away from it, and mixup does not."""
    group = four_in_a_row(200, 0)
    a, b, lam = learn(group, AdaMixup())
    place = {"a": ((a + 3) / 2).round(), "b": ((b + 3) / 2).round()}
    far = (place["a"] - place["b"]).abs() == 2

    def intruding(share):
        landed = ((share * a + (1 - share) * b + 3) / 2).round()
        return ((landed % 2 != place["a"] % 2) & (landed % 2 != place["b"] % 2)).double().mean()

    assert intruding(torch.rand(a.shape, generator=torch.Generator().manual_seed(2))) > 0.08
    assert intruding(lam) < 0.01
    # It does not do so by leaving rows as they are, as it does where the discriminator is linear, as published.
    mixed = ((lam > 0.1) & (lam < 0.9)).double()
    assert mixed[far].mean() > 0.5
    _, _, lam = learn(group, AdaMixup(discriminator=()))
    assert ((lam > 0.1) & (lam < 0.9)).double()[far].mean() < 0.05


def test_manifold_mixup_mixes_every_layer_equally_often():
    draws = ManifoldMixup(2.0).draw(torch.ones(6000, 4), torch.Generator().manual_seed(0))
    shares = torch.bincount((draws["layer"] * 3).long()) / 6000
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.02, rtol=0)
    assert float(draws["lam"].var()) == pytest.approx(1 / 20, rel=0.05)  # of Beta(2, 2)
    assert bool((draws["partner"].sort(1).values == torch.arange(4)).all())


def test_rows_that_do_not_count_are_nobodys_partners():
    weight = torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0]]).repeat(50, 1)
    for objective in (ManifoldMixup(), AdaMixup()):
        partner = objective.draw(weight, torch.Generator().manual_seed(0))["partner"]
        assert bool((partner[:, [1, 4]] == torch.tensor([1, 4])).all())
        assert set(partner[:, [0, 2, 3]].flatten().tolist()) == {0, 2, 3}
