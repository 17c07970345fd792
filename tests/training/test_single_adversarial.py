"""Adversarial objectives: closed forms on linear networks, brute force over corners, published code, radius 0."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, one_hot, softmax

from vicinal.core import InputError, load, save
from vicinal.mixing import Beta
from vicinal.training.single import AT, ERM, IAT, TRADES, NetworkObjective, draw_pairs

NONE = nn.ModuleDict()
OBJECTIVES = {"AT": AT, "TRADES": TRADES, "IAT": IAT}
every_objective = pytest.mark.parametrize("make", OBJECTIVES.values(), ids=OBJECTIVES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def linear(d: int, k: int = 2) -> nn.Linear:
    return seeded(lambda: nn.Linear(d, k))


def conv_net(dropout: float = 0.0) -> nn.Sequential:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(dropout), nn.Flatten(), nn.Linear(216, 4)
        )
    )


def images(rows: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(rows, 3, 8, 8, generator=generator(1)), one_hot(torch.arange(rows) % 4, 4).float()


def rows_of(n: int = 20, d: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return 0.2 + 0.6 * torch.rand(n, d, generator=generator(2)), torch.eye(2)[torch.arange(n) % 2]


def worst(network: nn.Linear, x: torch.Tensor, y: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Where the cross entropy of two classes is largest: every feature goes against the label."""
    return x - epsilon * (y @ torch.tensor([-1.0, 1.0]))[:, None] * (network.weight[1] - network.weight[0]).sign()


def test_at_on_a_linear_network_is_known():
    network, (x, y) = linear(4), rows_of()
    found = AT(0.1, 0.03).loss(network, x, y, generator(), NONE)
    torch.testing.assert_close(found, cross_entropy(network(worst(network, x, y, 0.1)), y))
    # log(1 + exp(-(margin - epsilon |w_1 - w_0|_1))), the textbook's form of it
    margin = (network(x) @ torch.tensor([-1.0, 1.0])) * (y @ torch.tensor([-1.0, 1.0]))
    reach = 0.1 * (network.weight[1] - network.weight[0]).abs().sum()
    torch.testing.assert_close(found, nn.functional.softplus(reach - margin).mean())


def test_soft_labels_are_attacked_as_they_are():
    network, (x, _) = linear(4), rows_of()
    y = torch.tensor([[0.3, 0.7]]).expand(20, 2)
    corners = [x + 0.1 * torch.tensor(corner) for corner in itertools.product((-1.0, 1.0), repeat=4)]
    highest = torch.stack([cross_entropy(network(c), y, reduction="none") for c in corners]).amax(0)
    found = AT(0.1, 0.03).attack(network, x, y, generator())
    reached = cross_entropy(network(found), y, reduction="none")
    assert bool((reached <= highest + 1e-6).all())
    assert float((reached > highest - 1e-5).double().mean()) > 0.8


@pytest.mark.parametrize("beta", [0.0, 6.0])
def test_trades_on_a_linear_network_against_every_corner(beta):
    network, (x, y) = linear(3).requires_grad_(False), rows_of(d=3)
    natural = softmax(network(x), 1)
    corners = [x + 0.1 * torch.tensor(corner) for corner in itertools.product((-1.0, 1.0), repeat=3)]
    # The divergence grows with the change of the margin to either side, so its maximum is at one of two corners.
    divergence = torch.stack([kl_div(log_softmax(network(c), 1), natural, reduction="none").sum(1) for c in corners])
    highest = divergence.amax(0).mean()
    found = TRADES(beta, 0.1, 0.03).loss(network, x, y, generator(), NONE).detach()
    clean = cross_entropy(network(x), y)
    assert float(found) <= float(clean + beta * highest) + 1e-6
    # From its random start, ascent climbs to one of the two sides, both of which are nearly as high.
    sides = divergence.sort(0).values[-2:]
    assert float(found) >= float(clean + beta * sides.amin(0).mean()) - 1e-6 or beta == 0
    rows = kl_div(
        log_softmax(network(TRADES(beta, 0.1, 0.03).attack(network, x, y, generator())), 1), natural, reduction="none"
    ).sum(1)
    nearest = (rows - divergence).abs().amin(0)
    assert float(nearest.max()) < 1e-6, "not at a corner"


def published_trades(network, x, y, noise, epsilon, step_size, steps, beta):
    """What the published code computes, step by step."""
    network.eval()
    adversarial = x + 0.001 * noise
    for _ in range(steps):
        adversarial = adversarial.detach().requires_grad_()
        divergence = kl_div(log_softmax(network(adversarial), 1), softmax(network(x), 1), reduction="sum")
        (gradient,) = torch.autograd.grad(divergence, adversarial)
        adversarial = adversarial.detach() + step_size * gradient.sign()
        adversarial = torch.clamp(torch.min(torch.max(adversarial, x - epsilon), x + epsilon), 0, 1)
    network.train()
    robust = kl_div(log_softmax(network(adversarial), 1), softmax(network(x), 1), reduction="batchmean")
    return cross_entropy(network(x), y) + beta * robust


def test_trades_is_the_published_loss_with_its_gradient():
    network, (x, y) = conv_net(), images()
    network(x)
    noise = torch.randn(x.shape, generator=generator())
    theirs = published_trades(network, x, y, noise, 8 / 255, 2 / 255, 10, 6.0)
    gradients = torch.autograd.grad(theirs, list(network.parameters()))
    network = conv_net()
    network(x)
    ours = TRADES().loss(network, x, y, generator(), NONE)
    torch.testing.assert_close(ours, theirs)
    for ours_in, theirs_in in zip(torch.autograd.grad(ours, list(network.parameters())), gradients, strict=True):
        torch.testing.assert_close(ours_in, theirs_in, rtol=1e-4, atol=1e-6)


def test_iat_on_a_linear_network_is_known():
    network, (x, y) = linear(4), rows_of()
    found = IAT(1.0, 0.1, 0.03).loss(network, x, y, generator(), NONE)
    draws = generator()
    torch.rand(x.shape, generator=draws)  # the random start of the attack
    halves = []
    for points in (x, worst(network, x, y, 0.1)):
        partner = torch.randperm(20, generator=draws)
        lam = torch.rand(1, generator=draws)
        halves.append(
            cross_entropy(network(lam * points + (1 - lam) * points[partner]), lam * y + (1 - lam) * y[partner])
        )
    torch.testing.assert_close(found, (halves[0] + halves[1]) / 2)


def test_iat_draws_two_permutations_and_two_shares():
    x, y = rows_of()
    seen = []

    class Network(nn.Linear):
        def forward(self, x):
            seen.append(x.detach())
            return super().forward(x)

    IAT(1.0, 0.0, 0.0, steps=0).loss(Network(4, 2), x, y, generator(), NONE)
    clean, adversarial = seen
    assert not torch.allclose(clean, adversarial)


@every_objective
def test_radius_zero_is_plain_training(make):
    x, y = images()
    found = make(epsilon=0.0).loss(conv_net(), x, y, generator(), NONE)
    if make is IAT:
        draws, network = generator(), conv_net()
        torch.rand(x.shape, generator=draws)
        pairs = [draw_pairs(x, y, 1.0, draws) for _ in range(2)]
        losses = [ERM().loss(network, pair.mix(x), pair.mix(y), draws, NONE) for pair in pairs]
        expected = (losses[0] + losses[1]) / 2
    else:
        expected = ERM().loss(conv_net(), x, y, generator(), NONE)
    assert torch.equal(found, expected)


@every_objective
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_batch_norm_sees_only_what_is_trained_on(make, mode):
    x, y = images()
    network, objective = conv_net(), make(mode=mode)
    objective.loss(network, x, y, generator(), NONE).backward()
    assert network.training
    assert int(network[1].num_batches_tracked) == (1 if make is AT else 2)
    assert all(parameter.grad is not None for parameter in network.parameters())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.zero_grad()
    objective.attack(network, x, y, generator())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@every_objective
def test_the_generator_decides_everything(make):
    x, y = images()
    first, again, other = (make().loss(conv_net(), x, y, generator(seed), NONE) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_objective
def test_under_autocast(make):
    network, (x, y) = conv_net(), images()
    single = make().loss(network, x, y, generator(), NONE)
    with torch.autocast("cpu", torch.bfloat16):
        half = make().loss(network, x, y, generator(), NONE)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, single, rtol=0.03, atol=0)
    half.backward()
    # autocast keeps copies of the weights; the search must not leave any that block the gradient
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in network[0].parameters())


@every_objective
def test_the_loss_at_the_points_found_is_higher_than_at_the_data(make):
    network, (x, y) = conv_net().eval(), images()
    objective = make(epsilon=0.05, step_size=0.01)
    at_random = x + 0.05 * (2 * torch.randint(2, x.shape, generator=generator()) - 1)
    points = (x, objective.attack(network, x, y, generator()), at_random)
    natural, adversarial, noisy = (network(p).detach() for p in points)
    if make is TRADES:
        moved, shaken = (
            float(kl_div(log_softmax(logits, 1), softmax(natural, 1), reduction="batchmean"))
            for logits in (adversarial, noisy)
        )
        assert moved > 10 * shaken
    else:
        rises = [float(cross_entropy(logits, y) - cross_entropy(natural, y)) for logits in (adversarial, noisy)]
        assert rises[0] > 5 * abs(rises[1])


@every_objective
def test_they_are_components(make, tmp_path):
    save(make(steps=3), tmp_path / "objective.safetensors")
    again = load(tmp_path / "objective.safetensors")
    assert again.steps == 3
    assert again.key() == make(steps=3).key()
    x, y = images()
    losses = [part.loss(conv_net(), x, y, generator(), NONE) for part in (again, make(steps=3))]
    assert torch.equal(*losses)
    assert len(again.extras((3, 8, 8), 4, seed=0)) == 0
    assert isinstance(again, NetworkObjective)


@every_objective
def test_defaults_are_the_papers(make):
    given = make().get_params()
    assert given["epsilon"] == 8 / 255
    assert given["step_size"] == 2 / 255
    assert given.get("alpha", 1.0) == 1.0
    assert given.get("beta", 6.0) == 6.0


def test_pixels_that_were_normalised_are_refused():
    x, y = images()
    with pytest.raises(
        InputError, match=r"`x` must lie within `bounds` \(0.0, 1.0\), got -1.9\d*..1.9\d*; give pixels"
    ):
        AT().loss(conv_net(), 4 * x - 2, y, generator(), NONE)
    AT(bounds=(-2.0, 2.0)).loss(conv_net(), 4 * x - 2, y, generator(), NONE)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (AT(epsilon=-1), r"`epsilon` must lie in \[0, inf\), got -1"),
        (TRADES(beta=-1), r"`beta` must lie in \[0, inf\), got -1"),
        (IAT(alpha=0), r"`alpha` must lie in \(0, inf\), got 0"),
        (AT(mode="both"), r"`mode` must be one of 'eval', 'train', got 'both'"),
        (TRADES(mode="both"), r"`mode` must be one of 'eval', 'train', got 'both'"),
    ],
)
def test_mistakes_are_told(objective, message):
    x, y = images()
    with pytest.raises(InputError, match=message):
        objective.loss(conv_net(), x, y, generator(), NONE)


def test_iat_shares_are_beta():
    x, y = torch.zeros(2, 1), torch.eye(2)
    lams = torch.stack([draw_pairs(x, y, 0.4, generator(seed)).lam[0] for seed in range(400)])
    exact = torch.distributions.Beta(torch.tensor(0.4), torch.tensor(0.4)).variance
    assert float(lams.var()) == pytest.approx(float(exact), rel=0.1)
    assert float(Beta(0.4).draw((1,), x, generator()).item()) >= 0
