"""Every replica of a stack equals the same network trained alone by torch's own modules, autograd and optimisers."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

import vicinal as vc
from vicinal.core import generator_at
from vicinal.densities import KDE, KNN, Gaussian
from vicinal.mixing import DifferentClass
from vicinal.networks import MLP
from vicinal.spaces import PCA
from vicinal.training import (
    AdaMixup,
    Group,
    Latent,
    ManifoldMixup,
    Optimizer,
    Setting,
    fit_latent,
    fit_stack,
)
from vicinal.training.batches import Source
from vicinal.vicinity import InSpace, MixupR, VarMixup


def group_of(n: int, k: int, address: dict[str, int], weight: bool = False, d: int = 3) -> Group:
    rng = np.random.default_rng(address["trial"])
    y = torch.tensor(np.arange(n) % k)
    x = torch.tensor(rng.normal(size=(n, d)), dtype=torch.float64) + y[:, None]
    w = torch.tensor(rng.integers(1, 4, n).astype(float)) if weight else None
    return Group(x, y, k, x[: n // 3] + 0.1, y[: n // 3], w, address=address)


def train_alone(
    group: Group,
    setting: Setting,
    hidden: tuple[int, ...],
    optimizer: Optimizer,
    batch_size: int,
    epochs: int,
    network: MLP | None = None,
) -> MLP:
    """The plain loop: one network, one batch after another, autograd and torch.optim."""
    fresh = MLP(group.x.shape[1], group.n_classes, hidden, generator_at(**group.address, purpose="init"))
    network = (network or fresh).double()
    kind = {
        "adam": lambda p: torch.optim.Adam(p, setting.learning_rate, weight_decay=setting.weight_decay),
        "sgd": lambda p: torch.optim.SGD(
            p, setting.learning_rate, momentum=optimizer.momentum, weight_decay=setting.weight_decay
        ),
    }
    descent = kind[optimizer.name](network.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(descent, list(optimizer.milestones), optimizer.decay)
    vicinity = setting.vicinity
    inner = vicinity.vicinity if isinstance(vicinity, InSpace) else vicinity
    source = Source(group, vicinity, {"own": inner.labeler or vc.labeling.LinearLabels()}, batch_size)
    seen = 0
    for block in source.blocks(epochs):
        for x, y, weight in zip(block.x, block.targets["own"], block.weight, strict=True):
            if seen >= (setting.epochs or epochs) * source.batches:
                return network
            loss = (torch.nn.functional.cross_entropy(network(x), y, reduction="none") * weight).sum()
            descent.zero_grad()
            loss.backward()
            descent.step()
            seen += 1
            if seen % source.batches == 0:
                schedule.step()
    return network


VICINITIES = {
    "vanilla": vc.Vanilla(),
    "mixup": vc.Mixup(0.4, per="sample"),
    "cutmix": vc.CutMix(),
    "genlabel": vc.GenLabel(Gaussian(), gamma=0.6),
    "genlabel-kde": vc.GenLabel(KDE(), gamma=1.0),
    "genlabel-knn": vc.GenLabel(KNN(), gamma=0.2, top2=True),
    "excluding": vc.MixupExcludingIntrusion(),
    "logistic": vc.LogisticMixup(),
    "different": vc.Vicinity(pairing=DifferentClass()),
    "varmixup": VarMixup(PCA(2), per="sample"),
}


@pytest.mark.parametrize("hidden", [(), (7,), (6, 5)], ids=str)
@pytest.mark.parametrize(
    ("optimizer", "k"), list(product([Optimizer(), Optimizer("sgd", 0.9, (2,), 0.1)], [2, 3])), ids=str
)
def test_every_replica_equals_training_it_alone(hidden, optimizer, k):
    groups = [group_of(n, k, {"trial": t}, weight=t == 1) for t, n in enumerate((20, 33))]
    settings = [
        Setting(vicinity, rate, decay) for vicinity in VICINITIES.values() for rate, decay in ((0.03, 0.0), (0.3, 0.01))
    ]
    settings[3] = Setting(settings[3].vicinity, 0.03, 0.0, epochs=2)
    together = fit_stack(groups, settings, hidden=hidden, optimizer=optimizer, batch_size=16, epochs=3)
    for (g, group), (r, setting) in product(enumerate(groups), enumerate(settings)):
        alone = train_alone(group, setting, hidden, optimizer, 16, 3)
        stacked = together.network(g, r)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(stacked.state_dict()[name], value, rtol=1e-7, atol=1e-9, msg=f"{g} {r} {name}")


KINDS = {
    **{name: {"vicinity": vicinity} for name, vicinity in VICINITIES.items()},
    "manifold": {"vicinity": vc.Vanilla(), "objective": ManifoldMixup()},
    "adamixup": {"vicinity": vc.Vanilla(), "objective": AdaMixup((5,), (4,))},
    "latent": {"vicinity": vc.GenLabel(Gaussian()), "latent": Latent()},
    "latent-kept": {"vicinity": vc.GenLabel(KNN()), "latent": Latent(vc.Mixup(), 0.5, keep_head=True)},
}


@pytest.mark.parametrize("hidden", [(), (7, 4)], ids=str)
def test_company_changes_nothing(hidden, monkeypatch):
    """Neither the other groups and settings, nor how many replicas fit into a cache, nor when the others end."""
    groups = [group_of(n, 3, {"trial": t}) for t, n in enumerate((20, 26))]
    kinds = {name: kind for name, kind in KINDS.items() if hidden or "latent" not in kind}
    settings = [Setting(**kind, learning_rate=rate) for kind in kinds.values() for rate in (0.05, 0.01)]
    settings[4] = replace(settings[4], epochs=5)
    common = {"hidden": hidden, "batch_size": 8, "epochs": 6}
    together = fit_stack(groups, settings, **common)
    monkeypatch.setattr("vicinal.training.runner.CACHE", 1)
    for r, setting in enumerate(settings):
        alone = fit_stack(groups[1:], [replace(setting, epochs=4)], **common)
        cut = fit_stack(
            groups, [replace(other, epochs=4 if i == r else 1) for i, other in enumerate(settings)], **common
        )
        for a, b in zip(alone.network(0, 0).parameters(), cut.network(1, r).parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
        last = fit_stack(groups[1:], [setting], **common)
        for a, b in zip(last.network(0, 0).parameters(), together.network(1, r).parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_a_replica_that_diverges_has_no_score_and_leaves_the_others_alone():
    groups = [replace(group_of(30, 3, {"trial": 0}), x=group_of(30, 3, {"trial": 0}).x * 1e20)]
    settings = [Setting(vc.Vanilla(), rate) for rate in (1e30, 1e-45)]
    groups = [replace(group, x=group.x.float(), x_eval=group.x_eval.float()) for group in groups]
    fit = fit_stack(groups, settings, hidden=(4,), optimizer=Optimizer("sgd"), epochs=3, checkpoints=[3])
    assert np.isnan(fit.log_loss[0, 0]).all()
    assert np.isnan(fit.accuracy[0, 0]).all()
    assert np.isfinite(fit.log_loss[0, 1]).all()


def test_a_rotation_trains_as_mixup_does():
    """A full-rank PCA is no more than other coordinates: also for normal densities, which turn with them."""
    groups = [group_of(n, 3, {"trial": t}) for t, n in enumerate((20, 33))]
    pairs = [
        (vc.Mixup(0.4), VarMixup(PCA(3), 0.4)),
        (vc.Mixup(0.4, per="sample"), MixupR(PCA(3), 0.4, per="sample")),
        (vc.GenLabel(Gaussian(), gamma=0.6), VarMixup(PCA(3), density=Gaussian(), gamma=0.6)),
        (vc.OneOf(vc.Mixup(), vc.Vanilla()), InSpace(PCA(3), vc.OneOf(vc.Mixup(), vc.Vanilla()))),
    ]
    settings = [Setting(vicinity, 0.03) for pair in pairs for vicinity in pair]
    fit = fit_stack(groups, settings, hidden=(6,), batch_size=16, epochs=5)
    for g, r in product(range(2), range(len(pairs))):
        plain, turned = fit.network(g, 2 * r), fit.network(g, 2 * r + 1)
        for a, b in zip(plain.parameters(), turned.parameters(), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-8, msg=str(pairs[r][1]))


def test_spaces_and_noise_are_told_apart():
    """Settings that differ only in a trained space, or in the decoder's noise, share no batches."""
    group = group_of(40, 3, {"trial": 0})
    first, second = PCA(1).fit(group.x), PCA(1).fit(group.x.square())
    vicinities = [
        VarMixup(first),
        VarMixup(second),
        MixupR(first),
        MixupR(second),
        VarMixup(first, sample=True),
        InSpace(first, vc.OneOf(vc.Mixup(), vc.GenLabel()), sample=True),
    ]
    together = fit_stack([group], [Setting(vicinity) for vicinity in vicinities], batch_size=8, epochs=3)
    weights = [together.network(0, r).layers[0].weight for r in range(len(vicinities))]
    for r, vicinity in enumerate(vicinities):
        alone = fit_stack([group], [Setting(vicinity)], batch_size=8, epochs=3).network(0, 0).layers[0].weight
        torch.testing.assert_close(weights[r], alone, rtol=1e-9, atol=1e-11)
    for a, b in ((0, 1), (2, 3), (0, 4)):
        assert not torch.allclose(weights[a], weights[b])


def test_epochs_of_others_change_nothing():
    """What stops early equals what stops early beside a longer one, and tells all of its progress."""
    group = group_of(40, 3, {"trial": 0})
    short, long = Setting(vc.GenLabel(), 0.05, epochs=7), Setting(vc.Mixup(), 0.05)
    told = []
    alone = fit_stack([group], [short], batch_size=8, epochs=30, report=told.append)
    assert told[-1].done == told[-1].total
    beside = fit_stack([group], [short, long], batch_size=8, epochs=30)
    for a, b in zip(alone.network(0, 0).parameters(), beside.network(0, 0).parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)
    assert not torch.equal(alone.network(0, 0).layers[0].weight, beside.network(0, 1).layers[0].weight)


def test_evaluation_equals_scikit_learns():
    from sklearn.metrics import accuracy_score, log_loss

    groups = [group_of(n, 3, {"trial": t}) for t, n in enumerate((20, 26))]
    fit = fit_stack(groups, [Setting(vc.Mixup(), 0.05), Setting(vc.Mixup(), 0.01)], epochs=5, checkpoints=[2, 5])
    assert fit.log_loss.shape == (2, 2, 2)
    for g, r in product(range(2), range(2)):
        p = fit.probabilities(g, r, groups[g].x_eval).numpy()
        assert fit.log_loss[g, r, 1] == pytest.approx(log_loss(groups[g].y_eval, p.astype(float)), rel=1e-5)
        assert fit.accuracy[g, r, 1] == accuracy_score(groups[g].y_eval, p.argmax(1))


def test_keep_best_keeps_the_best_checkpoint():
    groups = [group_of(30, 3, {"trial": 0})]
    settings = [Setting(vc.Vanilla(), rate) for rate in (1.0, 0.01)]
    fit = fit_stack(groups, settings, epochs=30, checkpoints=range(1, 31), keep_best="log_loss")
    for r in range(2):
        best = fit.log_loss[0, r].min()
        p = fit.probabilities(0, r, groups[0].x_eval)
        kept = torch.nn.functional.nll_loss(p.log(), groups[0].y_eval)
        assert float(kept) == pytest.approx(best, rel=1e-4)


def test_a_batch_that_the_filter_empties_costs_nothing():
    x = torch.tensor([[-1.0], [0.0], [1.0]])
    group = Group(x, torch.tensor([0, 1, 0]), 2, x, torch.tensor([0, 1, 0]), address={"trial": 0})
    fit = fit_stack([group], [Setting(vc.MixupExcludingIntrusion(), 0.1)], batch_size=1, epochs=20, checkpoints=[20])
    assert np.isfinite(fit.log_loss).all()


def test_weight_two_is_a_row_twice():
    """Systematic resampling: over many epochs a row comes in proportion to its weight, never more than one off."""
    group = group_of(10, 2, {"trial": 0}, weight=True)
    source = Source(group, vc.Vanilla(), {"own": vc.labeling.LinearLabels()}, 10)
    rows = torch.cat([b.x for b in source.blocks(500)]).flatten(0, 1)
    counts = torch.stack([(rows == row).all(1).sum() for row in group.x]).double() / 500
    expected = group.weight / group.weight.sum() * 10
    torch.testing.assert_close(counts, expected, rtol=0.05, atol=0.02)


def test_latent_settings_equal_training_in_two_steps():
    """Warm-ups are shared and heads stacked; alone, each is one plain loop after another."""
    groups = [group_of(n, 3, {"trial": t}) for t, n in enumerate((20, 33))]
    settings = [
        Setting(vc.GenLabel(density, gamma), rate, 0.01, latent=latent)
        for latent in (Latent(), Latent(vc.Mixup(), 0.5, keep_head=True))
        for density, gamma in ((Gaussian(), 0.6), (KNN(), 1.0))
        for rate in (0.03, 0.1)
    ]
    settings[1] = replace(settings[1], epochs=7)
    optimizer = Optimizer("sgd", milestones=(4, 8))
    together = fit_stack(
        groups, settings, hidden=(6, 5), optimizer=optimizer, batch_size=16, epochs=10, checkpoints=[2, 10]
    )
    assert np.isnan(together.log_loss[:, :, 0]).all()
    for (g, group), (r, setting) in product(enumerate(groups), enumerate(settings)):
        first = 5 if setting.latent.keep_head else 2
        warmup = Setting(setting.latent.vicinity or vc.Vanilla(), setting.learning_rate, 0.01)
        network = train_alone(group, warmup, (6, 5), optimizer, 16, first)
        head = MLP(5, 3, (), generator_at(**group.address, purpose="head"))
        if setting.latent.keep_head:
            head.layers[0].load_state_dict(network.layers[-1].state_dict())
        inner = replace(group, encode=lambda x, network=network: network.features(x).detach())
        passed = [m for m in optimizer.milestones if m <= first]
        rate = setting.learning_rate * optimizer.decay ** len(passed)
        rest = replace(setting, learning_rate=rate, epochs=(setting.epochs or 10) - first)
        late = Optimizer("sgd", milestones=tuple(m - first for m in optimizer.milestones if m not in passed))
        network.layers[-1] = train_alone(inner, rest, (), late, 16, 10 - first, head).layers[0]
        for a, b in zip(together.network(g, r).parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=1e-7, atol=1e-9, msg=f"{g} {r}")
        if setting.epochs is None:
            loss = torch.nn.functional.cross_entropy(network(group.x_eval), group.y_eval).detach()
            assert together.log_loss[g, r, 1] == pytest.approx(float(loss), rel=1e-6)


def test_latent_fine_tunes_only_the_head_and_improves_its_fit():
    group = group_of(90, 3, {"trial": 0})
    fit = fit_latent(
        [group],
        Setting(vc.Mixup(), 0.01),
        [Setting(vc.GenLabel(Gaussian(), gamma=g), 0.01) for g in (0.0, 1.0)],
        hidden=(16, 8),
        warmup_epochs=60,
        epochs=60,
        checkpoints=[60],
    )
    before, after = fit.warmup.network(0, 0), fit.network(0, 1)
    for i in range(2):
        assert torch.equal(before.layers[i].weight, after.layers[i].weight)
    assert not torch.equal(before.layers[2].weight, after.layers[2].weight)
    p = torch.softmax(after(group.x_eval), 1)
    assert float(torch.nn.functional.nll_loss(p.log(), group.y_eval)) == pytest.approx(
        fit.head.log_loss[0, 1, 0], rel=1e-4
    )
    with pytest.raises(vc.core.InputError, match="hidden"):
        fit_latent([group], Setting(vc.Mixup()), [Setting(vc.Mixup())], hidden=())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": []}, "must not be empty"),
        ({"epochs": 0}, "`epochs` must lie in"),
        ({"settings": [Setting(vc.Vanilla(), -1.0)]}, "`learning_rate` must lie in"),
        ({"keep_best": "loss"}, "`keep_best` must be one of"),
        ({"settings": [Setting(vc.Vanilla(), latent=Latent())]}, "latent labels need features: give `hidden`"),
        ({"settings": [Setting(vc.Vanilla(), latent=Latent(share=2.0))]}, "`share` must lie in"),
        (
            {"settings": [Setting(vc.Vanilla(), latent=Latent(), objective=AdaMixup())], "hidden": (4,)},
            "leave out its `objective`",
        ),
        ({"settings": [Setting(vc.Vanilla(), objective=AdaMixup(activation="tanh"))]}, "`activation` must be one of"),
        ({"settings": [Setting(vc.Vanilla(), objective=ManifoldMixup(0.0))]}, "`alpha` must lie in"),
        (
            {"settings": [Setting(vc.OneOf(vc.Mixup(), VarMixup(PCA(2))))]},
            "a choice among spaces draws one batch at a time, so it can't train in a stack",
        ),
        ({"settings": [Setting(VarMixup(PCA(2)), latent=Latent())], "hidden": (4,)}, "`latent` must mix the rows them"),
    ],
)
def test_errors(arguments, message):
    given = {"groups": [group_of(9, 3, {"trial": 0})], "settings": [Setting(vc.Vanilla())], **arguments}
    with pytest.raises(vc.core.InputError, match=message):
        fit_stack(**given)
