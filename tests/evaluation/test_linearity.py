"""The local linearity error against closed forms and a grid over the ball."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from vicinal.core import InputError
from vicinal.evaluation import local_linearity
from vicinal.networks import MLP, make_network


class LinearLoss(nn.Module):
    """Log-probabilities (-l, log(1 - exp(-l))) with l = a x + b: the cross entropy of class 0 is l, which is linear in x."""

    def forward(self, x):
        loss = x @ torch.tensor([0.5, 0.25, 0.125]).to(x) + 2
        return torch.stack([-loss, torch.log1p(-torch.exp(-loss))], dim=1)


def logistic(rows: int = 50) -> tuple[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logistic regression in double precision, and the weight and margin of each row."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, generator=generator, dtype=torch.float64)
    network = MLP.from_parameters(
        [torch.stack([torch.zeros(5).double(), weight]), torch.tensor([0.0, 0.3], dtype=torch.float64)]
    )
    x = 2 * torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    y = torch.arange(rows) % 2
    return network, x, y, weight, (2 * y - 1) * (x @ weight + 0.3)


def logistic_gap(margin: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """How far log(1 + exp(-m)) is from its tangent at m when m changes."""
    return functional.softplus(-(margin + change)) - functional.softplus(-margin) + torch.sigmoid(-margin) * change


def test_a_linear_loss_has_no_error():
    x = torch.rand(20, 3, dtype=torch.float64)
    assert float(local_linearity(LinearLoss(), x, torch.zeros(20), 0.5, restarts=2).max()) < 1e-14
    assert float(local_linearity(LinearLoss(), x, torch.ones(20), 0.5).min()) > 1e-3


@pytest.mark.parametrize("epsilon", [0.01, 0.3, 2.0])
def test_logistic_regression_has_a_closed_form(epsilon):
    network, x, y, weight, margin = logistic()
    # The gap is convex in the change of the margin, which is at most eps |w|_1: the maximum is at an end.
    most = epsilon * weight.abs().sum()
    exact = torch.maximum(logistic_gap(margin, most), logistic_gap(margin, -most))
    found = local_linearity(network, x, y, epsilon, restarts=2)
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-13)
    one_side = local_linearity(network, x, y, epsilon, restarts=1)
    assert bool((one_side <= found + 1e-13).all())
    ends = torch.stack([logistic_gap(margin, most), logistic_gap(margin, -most)])
    assert float((one_side - ends).abs().amin(0).max()) < 1e-9


def test_small_balls_have_the_second_derivatives_value():
    network, x, y, weight, margin = logistic()
    epsilon = 1e-4
    curvature = torch.sigmoid(margin) * torch.sigmoid(-margin)
    expected = curvature * (epsilon * weight.abs().sum()) ** 2 / 2
    torch.testing.assert_close(local_linearity(network, x, y, epsilon, restarts=2), expected, rtol=1e-3, atol=1e-15)


def grid_gap(network: nn.Module, x: torch.Tensor, y: torch.Tensor, epsilon: float, side: int) -> torch.Tensor:
    """The largest gap over a grid of the square around each row, written anew."""
    steps = torch.linspace(-epsilon, epsilon, side, dtype=x.dtype)
    deltas = torch.cartesian_prod(steps, steps)
    best = []
    for row, label in zip(x, y, strict=True):
        base = functional.cross_entropy(network(row), label)
        slope = torch.func.grad(lambda point, label=label: functional.cross_entropy(network(point), label))(row)
        losses = functional.cross_entropy(network(row + deltas), label.expand(len(deltas)), reduction="none")
        best.append((losses - base - deltas @ slope).abs().max())
    return torch.stack(best)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("activation", "share"), [(nn.Tanh(), 1.0), (nn.ReLU(), 0.95)], ids=["tanh", "relu"])
def test_ascent_finds_what_a_grid_finds(activation, share, epsilon):
    generator = torch.Generator().manual_seed(3)
    first, second, third = MLP(2, 3, hidden=(16, 16), generator=generator).double().layers
    network = nn.Sequential(first, activation, second, activation, third)
    for parameter in network.parameters():
        parameter.data *= 3
    x = torch.randn(25, 2, generator=generator, dtype=torch.float64)
    y = torch.arange(25) % 3
    with torch.no_grad():
        coarse, fine = (grid_gap(network, x, y, epsilon, side) for side in (41, 201))
    assert float(coarse.min()) > 1e-4
    found = local_linearity(network, x, y, epsilon, restarts=40)
    assert float((found >= 0.97 * coarse).double().mean()) >= share
    # Nothing beyond the ball, whose corners and edges are on the grid, but for what lies between the points of the fine one.
    assert bool((found <= 1.005 * fine).all())
    ten = local_linearity(network, x, y, epsilon, restarts=10)
    assert bool((ten <= found).all())
    assert float((ten >= 0.97 * coarse).double().mean()) >= 0.9


def test_radius_0_gives_0_and_more_search_finds_no_less():
    network = make_network("small-resnet", 4, channels=1, size=8)
    x, y = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4
    assert local_linearity(network, x, y, 0.0, steps=2).tolist() == [0.0] * 6
    one, three = (local_linearity(network, x, y, 0.05, steps=4, restarts=n) for n in (1, 3))
    assert bool((three >= one).all())
    assert bool((local_linearity(network, x, y, 0.05, steps=8, step_size=0.02) > 0).all())


def test_a_larger_ball_holds_a_larger_error():
    network, x, y, *_ = logistic()
    found = torch.stack([local_linearity(network, x, y, eps, restarts=2) for eps in (0.0, 0.1, 0.2, 0.4, 0.8)])
    assert bool((found.diff(dim=0) >= -1e-12).all())
    images = make_network("small-resnet", 4, channels=1, size=8)
    pixels = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = torch.stack(
        [local_linearity(images, pixels, torch.arange(6) % 4, eps, steps=10).mean() for eps in (0.01, 0.03, 0.1)]
    )
    assert bool((found.diff() > 0).all())


def test_batches_do_not_matter_and_the_network_stays_as_it_was():
    network = make_network("small-resnet", 4, channels=1, size=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = torch.rand(7, 1, 8, 8), torch.arange(7) % 4
    whole = local_linearity(network, x, y, 0.05, steps=3)
    torch.testing.assert_close(local_linearity(network, x, y, 0.05, steps=3, batch_size=2), whole, rtol=1e-2, atol=1e-5)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert not x.requires_grad
    assert whole.dtype == torch.float64
    with torch.no_grad():
        torch.testing.assert_close(local_linearity(network, x, y, 0.05, steps=3, device="cpu"), whole)
    state = torch.get_rng_state()
    local_linearity(network, x, y, 0.05, steps=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_clipped_points_stay_in_the_unit_interval():
    seen = []

    class Watched(nn.Module):
        def forward(self, x):
            seen.append(x.detach())
            return torch.stack([x.square().sum(1), torch.zeros(len(x))], dim=1)

    x = torch.tensor([[0.0, 1.0], [0.5, 0.95]])
    plain = local_linearity(Watched(), x, torch.ones(2), 0.1, restarts=2)
    assert max(float(p.max()) for p in seen) > 1.05
    assert max(float((p - x).abs().max()) for p in seen) <= 0.1 + 1e-6
    seen.clear()
    clipped = local_linearity(Watched(), x, torch.ones(2), 0.1, restarts=2, clip=True)
    assert min(float(p.min()) for p in seen) == 0
    assert max(float(p.max()) for p in seen) == 1
    assert bool((clipped < plain).all())


def test_values_in_single_precision_are_those_of_double():
    network, x, y, weight, margin = logistic()
    most = 0.3 * weight.abs().sum()
    exact = torch.maximum(logistic_gap(margin, most), logistic_gap(margin, -most))
    found = local_linearity(network.float(), x, y, 0.3, restarts=2)
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=2e-6)


NET = MLP(2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: local_linearity(NET, x, y, -0.1), r"`epsilon` must lie in \[0, inf\), got -0.1"),
        (lambda x, y: local_linearity(NET, x, y, 0.1, steps=0), r"`steps` must lie in \[1, inf\), got 0"),
        (lambda x, y: local_linearity(NET, x, y, 0.1, restarts=0), r"`restarts` must lie in \[1, inf\), got 0"),
        (lambda x, y: local_linearity(NET, x, y, 0.1, batch_size=0), r"`batch_size` must lie in \[1, inf\), got 0"),
        (lambda x, y: local_linearity(NET, x, y, 0.1, seed=-1), r"`seed` must lie in \[0, inf\), got -1"),
        (lambda x, y: local_linearity(NET, x, y, 0.1, step_size=0), r"`step_size` must lie in \(0, inf\), got 0"),
        (
            lambda x, y: local_linearity(NET, 3 * x, y, 0.1, clip=True),
            r"`x` must lie in \[0, 1\] with `clip`, got 3 to 3",
        ),
        (lambda x, y: local_linearity(NET, x * math.nan, y, 0.1), "`x` must be finite"),
        (lambda x, y: local_linearity(NET, x, y[:1], 0.1), "`y` must have as many rows as `x`, got 1 and 2"),
        (lambda x, y: local_linearity(NET, x, y + 1, 0.1), "`y` must lie in 0..1, got 2"),
        (
            lambda x, y: local_linearity(nn.Unflatten(1, (2, 1)), x, y, 0.1),
            r"logits of shape \(B, K\), got \(2, 2, 1\)",
        ),
        (lambda x, y: local_linearity(Logarithm(), x - 1, y, 0.1), "`network` must give finite logits, got NaN"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call(torch.ones(2, 2), torch.tensor([0, 1]))
    assert "\n" not in str(caught.value)


class Logarithm(nn.Module):
    def forward(self, x):
        return x.log()


def test_bytes_are_not_taken_for_pixels_in_the_unit_interval():
    pixels = torch.zeros(2, 2, dtype=torch.uint8)
    for x in (pixels, pixels.numpy()):
        with pytest.raises(TypeError, match=r"`x` must hold floating numbers, .* give pixels as x / 255"):
            local_linearity(NET, x, torch.tensor([0, 1]), 0.1)
