"""The attack of adversarial training: closed forms, foolbox, a brute force over corners, and what it must leave alone."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from vicinal.core import InputError
from vicinal.training.single import attack_mode, pgd, soft_cross_entropy

SMALL = {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 10}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def conv_net(dropout: float = 0.0) -> nn.Sequential:
    """Four classes; batch norm with running statistics away from their start."""

    def make():
        network = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(6, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(72, 4),
        )
        network(torch.rand(16, 3, 8, 8))
        return network

    return seeded(make)


def images(rows: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(rows, 3, 8, 8, generator=generator(1)), torch.arange(rows) % 4


def linear(d: int, k: int = 2, seed: int = 0) -> nn.Linear:
    return seeded(lambda: nn.Linear(d, k))


def test_two_classes_of_a_linear_network_have_a_closed_form():
    network = linear(5)
    x, y = 0.2 + 0.6 * torch.rand(20, 5, generator=generator()), torch.arange(20) % 2
    side = (2 * y - 1)[:, None] * (network.weight[1] - network.weight[0]).sign()
    exact = (x - 0.1 * side).clamp(x - 0.1, x + 0.1)
    for random_start in (True, False):
        found = pgd(
            network, x, y, epsilon=0.1, step_size=0.03, steps=8, generator=generator(), random_start=random_start
        )
        torch.testing.assert_close(found, exact, rtol=0, atol=1e-7)


def test_bounds_cut_the_ball():
    network = linear(3)
    x, y = torch.tensor([[0.0, 1.0, 0.5]] * 2), torch.tensor([0, 1])
    side = (2 * y - 1)[:, None] * (network.weight[1] - network.weight[0]).sign()
    found = pgd(network, x, y, epsilon=0.1, step_size=0.03, steps=8, generator=generator())
    torch.testing.assert_close(found, (x - 0.1 * side).clamp(0, 1), rtol=0, atol=1e-7)


def test_many_classes_of_a_linear_network_against_every_corner():
    network = linear(3, 4)
    x, y = 0.3 + 0.4 * torch.rand(12, 3, generator=generator()), torch.arange(12) % 4
    losses = torch.stack(
        [
            cross_entropy(network(x + 0.2 * torch.tensor(corner)), y, reduction="none")
            for corner in itertools.product((-1.0, 1.0), repeat=3)
        ]
    )
    found = pgd(network, x, y, epsilon=0.2, step_size=0.05, steps=20, generator=generator())
    reached = cross_entropy(network(found), y, reduction="none")
    # The loss is convex, so its maximum is at a corner; ascent may end at another corner than the highest.
    assert bool((reached <= losses.amax(0) + 1e-6).all())
    assert float((reached >= losses.amax(0) - 1e-5).double().mean()) > 0.7


@pytest.mark.parametrize("steps", [1, 3, 10])
@pytest.mark.parametrize(("epsilon", "step_size"), [(8 / 255, 2 / 255), (0.1, 0.07)])
def test_the_same_points_as_foolbox(steps, epsilon, step_size):
    foolbox = pytest.importorskip("foolbox")
    network, (x, y) = conv_net().eval(), images()
    attack = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=step_size, steps=steps, random_start=False)
    theirs, *_ = attack(foolbox.PyTorchModel(network, bounds=(0, 1)), x, y, epsilons=epsilon)
    options = {"epsilon": epsilon, "step_size": step_size, "steps": steps, "generator": generator()}
    torch.testing.assert_close(pgd(network, x, y, random_start=False, **options), theirs, rtol=0, atol=1e-6)
    as_start = pgd(network, x, one_hot(y, 4).float(), start=x, **options)
    torch.testing.assert_close(as_start, theirs, rtol=0, atol=1e-6)


@given(
    epsilon=st.floats(0, 1.5),
    step_size=st.floats(0, 2),
    steps=st.integers(0, 3),
    low=st.sampled_from([0.0, -0.3, 1e-3]),
    high=st.sampled_from([1.0, 0.7, 2.0]),
    seed=st.integers(0, 1000),
    started=st.booleans(),
)
def test_no_point_is_ever_outside_not_by_one_ulp(epsilon, step_size, steps, low, high, seed, started):
    network, draws = linear(7), generator(seed)
    x = (low + (high - low) * torch.rand(5, 7, generator=draws)).clamp(low, high)
    start = 3 * torch.randn(5, 7, generator=draws) if started else None
    found = pgd(
        network,
        x,
        torch.arange(5) % 2,
        epsilon=epsilon,
        step_size=step_size,
        steps=steps,
        generator=draws,
        start=start,
        bounds=(low, high),
    )
    assert found.dtype == torch.float32
    assert bool((found <= x + epsilon).all())
    assert bool((found >= x - epsilon).all())
    assert bool((found <= torch.tensor(high)).all())
    assert bool((found >= torch.tensor(low)).all())


def test_no_steps_give_the_start():
    network, (x, y) = conv_net(), images()
    options = {"epsilon": 0.1, "step_size": 0.1, "steps": 0}
    assert torch.equal(pgd(network, x, y, generator=generator(), random_start=False, **options), x)
    uniform = 2 * torch.rand(x.shape, generator=generator()) - 1
    drawn = pgd(network, x, y, generator=generator(), **options)
    torch.testing.assert_close(drawn, (x + 0.1 * uniform).clamp(0, 1))
    assert torch.equal(pgd(network, x, y, generator=generator(), start=x + 5, **options), (x + 0.1).clamp(max=1))


def test_the_start_is_uniform_in_the_ball():
    x = torch.full((4000, 1), 0.5)
    found = pgd(linear(1), x, x, epsilon=0.25, step_size=0.1, steps=0, generator=generator())
    share = ((found[:, 0] - 0.25) / 0.5).sort().values
    assert float((share - torch.linspace(0, 1, 4000)).abs().max()) < 0.03


def test_radius_zero_changes_nothing():
    network, (x, y) = conv_net(), images()
    assert torch.equal(pgd(network, x, y, epsilon=0, step_size=0.1, steps=3, generator=generator()), x)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_network_comes_back_as_it_was(mode, fails):
    network, (x, y) = conv_net(), images()
    network[1].eval()
    network[3].eval()
    modes = [module.training for module in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    buffers = [id(buffer) for buffer in network.buffers()]
    seen = []

    def loss(logits, y):
        seen.append([module.training for module in network.modules()])
        if fails and len(seen) == 2:
            raise RuntimeError("out of order")
        return soft_cross_entropy(logits, one_hot(y, 4))

    if fails:
        with pytest.raises(RuntimeError, match="out of order"):
            pgd(network, x, y, **SMALL, generator=generator(), loss=loss, mode=mode)
    else:
        pgd(network, x, y, **SMALL, generator=generator(), loss=loss, mode=mode)
    assert seen[0] == (modes if mode == "train" else [False] * len(modes))
    assert [module.training for module in network.modules()] == modes
    assert [id(buffer) for buffer in network.buffers()] == buffers
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_mode_train_searches_with_the_statistics_of_the_batch():
    network, (x, y) = conv_net(), images()
    options = {**SMALL, "steps": 1, "random_start": False, "generator": generator()}
    x.requires_grad_()
    for mode in ("eval", "train"):
        network.train(mode == "train")
        (gradient,) = torch.autograd.grad(cross_entropy(network(x), y), x)
        network.train()
        expected = (x + 2 / 255 * gradient.sign()).clamp(0, 1)
        found = pgd(network, x, y, mode=mode, **options)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert not found.requires_grad
    assert x.grad is None


def test_a_graph_from_before_the_search_can_still_be_descended():
    network, (x, y) = conv_net(), images()
    loss = cross_entropy(network(x), y)
    pgd(network, x, y, **SMALL, generator=generator(), mode="train")
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_dropout_is_off_in_eval_mode():
    network, (x, y) = conv_net(dropout=0.5), images()
    state = torch.get_rng_state()
    first, again = (pgd(network, x, y, **SMALL, generator=generator(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(state, torch.get_rng_state()), "torch's own randomness is not touched"
    assert not torch.equal(first, pgd(network, x, y, **SMALL, generator=generator(4)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_finds_nearly_what_single_precision_finds(dtype):
    network, (x, y) = conv_net(), images()
    single = pgd(network, x, y, **SMALL, generator=generator())
    with torch.autocast("cpu", dtype):
        half = pgd(network, x, y, **SMALL, generator=generator())
    assert half.dtype == torch.float32
    assert bool((half <= x + 8 / 255).all())
    assert float((half - single).abs().gt(1e-6).double().mean()) < 0.1
    loss = {
        name: float(cross_entropy(network.eval()(p), y).detach())
        for name, p in {"x": x, "half": half, "single": single}.items()
    }
    assert loss["half"] > loss["x"] + 0.95 * (loss["single"] - loss["x"])


def test_float16_sees_the_gradient_of_a_confident_row():
    network, x, y = linear(4), torch.full((1, 4), 0.5), torch.tensor([0])
    network.bias.data.sub_(network(x)[0].detach()).add_(torch.tensor([20.0, 0.0]))  # 1 - p = 2e-9, 0 in float16
    options = {"epsilon": 0.1, "step_size": 0.1, "steps": 1, "random_start": False, "generator": generator()}
    with torch.autocast("cpu", torch.float16):
        found = pgd(network, x, y, **options)
    # In single precision the confident class's own gradient, p - 1, is 0: only the other's weights are left.
    torch.testing.assert_close(found, x + 0.1 * network.weight.data[1].sign(), rtol=0, atol=1e-7)
    assert torch.equal(found, pgd(network, x, y, **options))


def test_rows_that_share_statistics_are_weighted_alike():
    def make():
        return nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 2))

    network = seeded(make).eval()
    x, y = torch.rand(8, 3, generator=generator()), torch.arange(8) % 2
    copy = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(20 * network(copy), y, reduction="sum"), copy)
    found = pgd(
        network,
        x,
        y,
        epsilon=0.1,
        step_size=0.01,
        steps=1,
        generator=generator(),
        random_start=False,
        loss=lambda logits, y: cross_entropy(20 * logits, y, reduction="sum"),
    )
    torch.testing.assert_close(found, (x + 0.01 * gradient.sign()).clamp(0, 1))


def test_it_works_under_no_grad_and_in_double_precision():
    network, (x, y) = conv_net(), images()
    with torch.no_grad():
        assert torch.equal(
            pgd(network, x, y, **SMALL, generator=generator()), pgd(network, x, y, **SMALL, generator=generator())
        )
    found = pgd(network.double(), x.double(), y, **SMALL, generator=generator())
    assert found.dtype == torch.float64
    half = pgd(network.float(), x.half(), y, **SMALL, generator=generator(), random_start=False)
    assert half.dtype == torch.float32
    assert torch.equal(half, pgd(network, x.half().float(), y, **SMALL, generator=generator(), random_start=False))


def test_what_is_not_a_number_does_not_move_a_point():
    x = torch.rand(2, 3, generator=generator())
    found = pgd(linear(3), x, x, **SMALL, generator=generator(), random_start=False, loss=lambda z, _: z * torch.nan)
    assert torch.equal(found, x)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epsilon": -1.0}, r"`epsilon` must lie in \[0, inf\), got -1.0"),
        ({"epsilon": float("inf")}, r"`epsilon` must lie in \[0, inf\), got inf"),
        ({"step_size": -0.1}, r"`step_size` must lie in \[0, inf\), got -0.1"),
        ({"steps": -1}, r"`steps` must lie in \[0, inf\), got -1"),
        ({"mode": "test"}, r"`mode` must be one of 'eval', 'train', got 'test'"),
        ({"loss": "hinge"}, r"`loss` must be one of 'cross_entropy', got 'hinge'"),
        ({"bounds": (1.0, 0.0)}, r"`bounds` must be two numbers, the lower first, got \(1.0, 0.0\)"),
        ({"bounds": (0.0, 0.5)}, r"`x` must lie within `bounds` \(0.0, 0.5\), got \S+\.\.0.99\d+; give pixels"),
        ({"start": torch.zeros(2)}, r"`start` must have the shape of `x`, \(6, 3, 8, 8\), got \(2,\)"),
        ({"x": torch.zeros(6, 3, 8, 8, dtype=torch.uint8)}, r"`x` must be floating, got torch.uint8; convert it"),
        ({"x": torch.full((6, 3, 8, 8), torch.nan)}, r"`x` must lie within `bounds` \(0.0, 1.0\), got nan..nan"),
    ],
)
def test_mistakes_are_told(given, message):
    x, y = images()
    options = {"x": x, "y": y, **SMALL, "generator": generator(), **given}
    with pytest.raises(InputError, match=message):
        pgd(conv_net(), **options)


def test_a_mode_that_is_none_is_told():
    with (
        pytest.raises(InputError, match="`mode` must be one of 'eval', 'train', got 'fast'"),
        attack_mode(nn.ReLU(), "fast"),
    ):
        pass


def test_whole_steps_are_asked_for():
    x, y = images()
    with pytest.raises(TypeError, match=r"`steps` must be an integer, got 2\.5"):
        pgd(conv_net(), x, y, epsilon=0.1, step_size=0.1, steps=2.5, generator=generator())
