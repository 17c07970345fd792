"""Objectives of one network that mix: manifold mixup by halves of a network, AdaMixup against the stack's own loss."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

import vicinal as vc
from vicinal.core import InputError, generator_at, load, save
from vicinal.networks import MLP
from vicinal.training import objectives as stacked
from vicinal.training.perceptrons import Perceptrons
from vicinal.training.single import ERM, AdaMixup, ManifoldMixup, Pairs, draw_pairs, soft_cross_entropy

NONE = nn.ModuleDict()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


class Blocks(nn.Module):
    """A network with the names of a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU())
        self.head = nn.Linear(5, 4)
        self.unused = nn.Linear(5, 4)

    def forward(self, x):
        return self.head(self.layer2(self.layer1(x)).mean((2, 3)))


class Normalized(nn.Module):
    """A network that normalises its pixels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network((x - 0.5) / 0.25)


def images(rows: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(rows, 3, 8, 8, generator=generator(1)), one_hot(torch.arange(rows) % 4, 4).float()


def test_soft_cross_entropy_is_its_formula():
    logits = 5 * torch.randn(7, 3, generator=generator())
    y = torch.softmax(torch.randn(7, 3, generator=generator(1)), 1)
    expected = -(y.double() * logits.double().log_softmax(1)).sum(1)
    torch.testing.assert_close(soft_cross_entropy(logits, y).double(), expected)
    torch.testing.assert_close(soft_cross_entropy(logits.double(), y), expected, rtol=1e-6, atol=0)
    classes = torch.arange(7) % 3
    torch.testing.assert_close(
        soft_cross_entropy(logits, one_hot(classes, 3)), cross_entropy(logits, classes, reduction="none")
    )


def test_soft_cross_entropy_stays_in_single_precision():
    half = torch.tensor([[12.0, 0.0]], dtype=torch.bfloat16)
    y = torch.tensor([[0.999, 0.001]])
    with torch.autocast("cpu", torch.bfloat16):
        inside = soft_cross_entropy(half, y)
    for found in (inside, soft_cross_entropy(half, y)):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, torch.log1p(torch.tensor([-12.0]).exp()) + 0.012)


@pytest.mark.parametrize("y", [torch.tensor([0, 1]), torch.eye(3)[:2]])
def test_soft_cross_entropy_asks_for_label_rows(y):
    with pytest.raises(InputError, match=r"`logits` and `y` must both be \(B, K\), got \(2, 2\) and \(2,( 3)?\); give"):
        soft_cross_entropy(torch.zeros(2, 2), y)


def test_erm_on_a_vicinity_is_its_usual_loop():
    x, y = images()
    network = seeded(Blocks)
    points, labels = vc.Mixup(alpha=1.0, n_classes=4, seed=0)(x, y)
    found = ERM().loss(network, points, labels, generator(), NONE)
    torch.testing.assert_close(found, cross_entropy(network(points), labels))


def test_pairs_are_those_of_mixup():
    x, y = images()
    for alpha in (1.0, 0.2):
        batch = vc.Mixup(alpha=alpha, n_classes=4).draw_rows(x, y, generator=generator(5))
        pairs = draw_pairs(x, y, alpha, generator(5))
        assert torch.equal(pairs.mix(x), batch.x)
        assert torch.equal(pairs.lam, batch.lam)


def test_pairs_mix_half_precision_in_single():
    pairs = Pairs(torch.tensor([1, 0]), torch.tensor([0.7531, 0.7531]))
    values = torch.tensor([[1.0], [-3.0]], dtype=torch.bfloat16)
    assert torch.equal(pairs.mix(values), pairs.mix(values.float()).bfloat16())


def test_manifold_mixup_at_the_input_is_mixup():
    x, y = images()
    found = ManifoldMixup(2.0, layers=("input",)).loss(seeded(Blocks), x, y, generator(3), NONE)
    mixup = vc.Mixup(alpha=2.0, n_classes=4)
    batch = mixup.draw_rows(x, y, generator=generator(3))
    assert torch.equal(found, ERM().loss(seeded(Blocks), batch.x, mixup.label(batch), generator(), NONE))


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer1.0"])
def test_manifold_mixup_at_a_layer_is_two_halves_of_the_network(layer):
    x, y = images()
    found = ManifoldMixup(2.0, layers=(layer,)).loss(seeded(Blocks), x, y, generator(3), NONE)
    network, draws = seeded(Blocks), generator(3)
    partner, lam = torch.randperm(8, generator=draws), float(draw_pairs(x, y, 2.0, generator(3)).lam[0])
    stages = [*network.layer1, *network.layer2]
    stop = {"layer1.0": 1, "layer1": 3, "layer2": 5}[layer]
    h = nn.Sequential(*stages[:stop])(x)
    h = lam * h + (1 - lam) * h[partner]
    logits = network.head(nn.Sequential(*stages[stop:])(h).mean((2, 3)))
    torch.testing.assert_close(found, cross_entropy(logits, lam * y + (1 - lam) * y[partner]))


def test_every_layer_is_drawn_as_often():
    x, y = torch.zeros(2, 3, 8, 8), torch.eye(4)[:2]
    network, counts = seeded(Blocks), Counter()
    objective, draws = ManifoldMixup(), generator()
    for name in ("layer1", "layer2"):
        module = getattr(network, name)
        module.register_forward_hook(
            lambda module, *_, name=name: counts.update([name] * (len(module._forward_hooks) - 1))
        )
    for _ in range(600):
        objective.loss(network, x, y, draws, NONE)
    assert all(160 < n < 240 for n in (counts["layer1"], counts["layer2"], 600 - counts.total())), counts


@pytest.mark.parametrize("name", ["layer1", "network.layer1"])
def test_names_are_found_in_a_wrapped_network(name):
    x, y = images()
    plain = nn.Sequential(seeded(Blocks))
    found = ManifoldMixup(layers=(name,)).loss(Normalized(seeded(Blocks)), x, y, generator(), NONE)
    expected = ManifoldMixup(layers=("layer1",)).loss(plain, (x - 0.5) / 0.25, y, generator(), NONE)
    torch.testing.assert_close(found, expected)


def test_compiled_networks_mix_too():
    x, y = images()
    compiled = torch.compile(Normalized(seeded(Blocks)), backend="eager")
    before = compiled(x)
    found = ManifoldMixup(layers=("layer1",)).loss(compiled, x, y, generator(), NONE)
    expected = ManifoldMixup(layers=("layer1",)).loss(Normalized(seeded(Blocks)), x, y, generator(), NONE)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(compiled(x), before)


def test_names_are_found_below_the_module_of_a_distributed_run():
    class Parallel(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x):
            return self.module(x)

    x, y = images()
    found, expected = (
        ManifoldMixup(layers=("layer1",)).loss(network, x, y, generator(), NONE)
        for network in (Parallel(seeded(Blocks)), seeded(Blocks))
    )
    assert torch.equal(found, expected)


def test_one_module_under_two_names_is_one_module():
    network = seeded(Blocks)
    network.again = nn.ModuleDict({"layer1": network.layer1})
    x, y = images()
    ManifoldMixup(layers=("layer1", "again.layer1", "2")).loss(network, x, y, generator(), NONE)
    both = nn.ModuleDict({"a": nn.ModuleDict({"same": network}), "b": nn.ModuleDict({"same": network})})
    both.forward = network.forward
    ManifoldMixup(layers=("same.layer1",)).loss(both, x, y, generator(), NONE)


class Twice(Blocks):
    def forward(self, x):
        self.layer1(x)
        return super().forward(x)


class Tuples(Blocks):
    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()

    def forward(self, x):
        self.pair(x)
        return super().forward(x)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Turned(Blocks):
    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Flatten(0)

    def forward(self, x):
        self.turn(x)
        return super().forward(x)


@pytest.mark.parametrize(
    ("make", "layers", "message"),
    [
        (Blocks, (), r"`layers` must hold one name or more, as in \('input', 'layer1'\), got \(\)"),
        (Blocks, "layer1", r"`layers` must hold one name or more, as in \('input', 'layer1'\), got 'layer1'"),
        (
            Blocks,
            ("input", "layer3"),
            r"`layers` must be 'input' or modules of the network \('layer1', .*\), got 'layer3'",
        ),
        (
            Blocks,
            ("unused",),
            r"'unused' must be called once in a forward, got no call; name a module that the network uses",
        ),
        (Blocks, ("0",), r"'0' must name one module, got 'layer1.0', 'layer2.0'; write out one of them"),
        (Twice, ("layer1",), r"'layer1' must be called once in a forward, got a second call; name a module"),
        (Tuples, ("pair",), r"'pair' must give one tensor, got tuple; name a module around or inside it"),
        (Turned, ("turn",), r"'turn' must give a row for each of the 8 points, got shape \(1536,\); name a module"),
    ],
)
def test_layers_that_do_not_fit_are_told_and_no_hook_stays(make, layers, message):
    x, y = images()
    network = seeded(make)
    with pytest.raises(InputError, match=message):
        ManifoldMixup(layers=layers).loss(network, x, y, generator(), NONE)
    assert not any(module._forward_hooks for module in network.modules())


def test_many_candidates_are_cut_short():
    network = nn.Sequential(*(nn.ReLU() for _ in range(30)))
    with pytest.raises(InputError, match=r"\('0', '1', .*'19' and 10 more\), got 'layer1'\."):
        ManifoldMixup().loss(network, *images(), generator(), NONE)


def test_no_hook_stays_after_an_error_of_the_network():
    network = seeded(Blocks)
    x, y = images()
    with pytest.raises(RuntimeError, match="channels"):
        ManifoldMixup(layers=("layer1",)).loss(network, x[:, :2], y, generator(), NONE)
    assert not any(module._forward_hooks for module in network.modules())


def test_alpha_is_checked():
    with pytest.raises(InputError, match=r"`alpha` must lie in \(0, inf\), got 0"):
        ManifoldMixup(alpha=0).loss(seeded(Blocks), *images(), generator(), NONE)


def as_stack(network: MLP) -> Perceptrons:
    parameters = [p for layer in network.layers for p in (layer.weight[None], layer.bias[None, :, None])]
    return Perceptrons(parameters, streams=1)


@pytest.mark.parametrize("objective", [AdaMixup(), AdaMixup((100, 100), ())])
def test_adamixup_of_rows_is_the_stacks(objective):
    x, y = torch.randn(10, 3, generator=generator(1)), torch.eye(2)[torch.arange(10) % 2]
    network, extras = MLP(3, 2, (8,), generator(2)), objective.extras((3,), 2, seed=0)
    own = [network, extras["policy"], extras["discriminator"]]
    parameters = [p for part in own for p in part.parameters()]
    found = objective.loss(network, x, y, generator(), extras)

    draws = generator()
    partner, e = torch.randperm(10, generator=draws), torch.rand(10, 1, generator=draws)[:, 0]
    theirs = stacked.AdaMixup(objective.policy, objective.discriminator).loss(
        [as_stack(part) for part in own],
        x.T[None],
        y.T[None, None],
        torch.full((1, 10), 0.1),
        {"partner": partner[None], "e": e[None]},
    )
    torch.testing.assert_close(found, theirs[0, 0])
    gradients = zip(torch.autograd.grad(found, parameters), torch.autograd.grad(theirs.sum(), parameters), strict=True)
    for ours_in, theirs_in in gradients:
        torch.testing.assert_close(ours_in, theirs_in, rtol=1e-4, atol=1e-6)


def test_adamixup_of_images_is_its_formula():
    x, y = images()
    objective = AdaMixup((4,), (5,))
    extras = objective.extras((3, 8, 8), 4, seed=0)
    network = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)))
    found = objective.loss(network, x, y, generator(), extras)

    def convolved(part, x):
        layer = part.convolutions[0]
        h = torch.relu(nn.functional.conv2d(2 * x - 1, layer.weight, layer.bias, stride=2, padding=1))
        assert h.shape[2:] == (4, 4)
        return h.mean((2, 3)) @ part.last.weight.T + part.last.bias

    draws = generator()
    partner, e = torch.randperm(8, generator=draws), torch.rand(8, generator=draws)
    region = torch.softmax(convolved(extras["policy"], torch.cat([x, x[partner]], 1)), 1)
    lam = (region[:, 0] + e * region[:, 1])[:, None]
    mixed = lam[..., None, None] * x + (1 - lam[..., None, None]) * x[partner]
    real, not_real = (torch.full((8,), kind) for kind in (0, 1))
    expected = (
        cross_entropy(network(mixed), lam * y + (1 - lam) * y[partner])
        + cross_entropy(network(x), y)
        + cross_entropy(network(x[partner]), y[partner])
        + cross_entropy(convolved(extras["discriminator"], mixed), not_real)
        + 3 * cross_entropy(convolved(extras["discriminator"], x), real)
    )
    torch.testing.assert_close(found, expected)


def test_adamixup_networks_come_from_the_seed():
    first, again, other = (AdaMixup().extras((3, 8, 8), 4, seed) for seed in (0, 0, 1))
    pairs = [zip(first.parameters(), extras.parameters(), strict=True) for extras in (again, other)]
    assert [all(torch.equal(a, b) for a, b in pair) for pair in pairs] == [True, False]
    conv = first["discriminator"].convolutions[0]
    assert float(conv.weight.detach().abs().max()) <= 27**-0.5
    assert float(conv.weight.detach().std()) == pytest.approx(27**-0.5 / 3**0.5, rel=0.1)
    assert first["discriminator"].last.in_features == 64


def test_adamixup_learns_what_a_mixed_point_looks_like():
    x = torch.cat([torch.zeros(32, 2), torch.ones(32, 2)]) + 0.05 * torch.randn(64, 2, generator=generator())
    y = torch.eye(2)[torch.arange(64) // 32]
    objective, network = AdaMixup(), MLP(2, 2, (16,), generator())
    extras = objective.extras((2,), 2, seed=0)
    descent, draws = torch.optim.Adam([*network.parameters(), *extras.parameters()], 1e-2), generator()
    for _ in range(200):
        descent.zero_grad()
        objective.loss(network, x, y, draws, extras).backward()
        descent.step()
    places = torch.tensor([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    judged = torch.softmax(extras["discriminator"](places).detach(), 1)[:, 1]
    assert float(judged[1]) > 0.7
    assert float(judged[[0, 2]].max()) < 0.5
    assert bool((network(x).argmax(1) == y.argmax(1)).all())


@pytest.mark.parametrize("shape", [(3, 8), ()])
def test_adamixup_asks_for_images_or_rows(shape):
    with pytest.raises(InputError, match=r"`shape` must be \(C, H, W\) or \(D,\), got \((3, 8)?\); flatten the points"):
        AdaMixup().extras(shape, 2, seed=0)


def test_adamixup_asks_for_its_networks():
    with pytest.raises(InputError, match=r"`extras` must hold 'policy' and 'discriminator', got \[\]; make them by"):
        AdaMixup().loss(seeded(Blocks), *images(), generator(), NONE)


OBJECTIVES = {"ERM": ERM(), "ManifoldMixup": ManifoldMixup(), "AdaMixup": AdaMixup()}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_they_are_components_that_the_generator_decides(objective, tmp_path):
    save(objective, tmp_path / "objective.safetensors")
    again = load(tmp_path / "objective.safetensors")
    network, extras = seeded(Blocks), objective.extras((3, 8, 8), 4, seed=0)
    x, y = images()
    losses = [part.loss(network, x, y, generator(), extras) for part in (objective, again)]
    assert losses[0].shape == ()
    assert torch.equal(*losses)
    losses[0].backward()
    if not isinstance(objective, ERM):
        other = objective.loss(network, x, y, generator_at(seed=7), extras)
        assert not torch.equal(losses[0], other)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_under_autocast(objective):
    network, extras = seeded(Blocks), objective.extras((3, 8, 8), 4, seed=0)
    for seed in range(4):
        single = objective.loss(network, *images(), generator(seed), extras)
        with torch.autocast("cpu", torch.bfloat16):
            half = objective.loss(network, *images(), generator(seed), extras)
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, single, rtol=0.02, atol=0)
