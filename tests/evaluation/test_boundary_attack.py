"""The boundary attack: many networks as one batch, stopping early, and rows that it can't start from."""

import numpy as np
import pytest
import torch
from linear_network import BOX, margin, problem
from torch import nn

from vicinal.core import InputError
from vicinal.evaluation.attacks import BoundaryAttack
from vicinal.networks import MLP


def trained(seed: int, hidden: tuple[int, ...] = (16,)) -> tuple[MLP, torch.Tensor, torch.Tensor]:
    """A network that knows two moons, roughly, and some of its rows."""
    generator = torch.Generator().manual_seed(seed)
    angle, y = torch.rand(60, generator=generator) * torch.pi, torch.arange(60) % 2
    x = torch.stack([angle.cos() + y, (1 - 2 * y) * angle.sin() + y / 2], 1) / 4 + 0.4
    network = MLP(2, 2, hidden, generator)
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network, x[: 20 + 5 * seed], y[: 20 + 5 * seed]


@pytest.mark.parametrize("kind", ["perceptrons", "any modules"])
def test_many_networks_at_once_go_the_ways_that_each_goes_alone(kind):
    networks, x, y = zip(*(trained(seed) for seed in range(3)), strict=True)
    if kind == "any modules":
        networks = [nn.Sequential(network) for network in networks]
    bounds = [(-1.0, 2.0), (torch.zeros(2), torch.tensor([1.0, 0.9])), (0.0, 1.0)]
    radius = [0.05, 0.1, 0.02]
    attack = BoundaryAttack(radius=0.05, bounds=(0.0, 1.0), steps=300)
    together = attack.run(networks, x, y, radius=radius, bounds=bounds)
    for i, result in enumerate(together):
        alone = BoundaryAttack(radius=radius[i], bounds=bounds[i], steps=300)(networks[i], x[i], y[i])
        assert torch.equal(alone.success, result.success)
        torch.testing.assert_close(alone.adversarial, result.adversarial, atol=1e-3, rtol=0)
    assert 0.1 < sum(result.robust_accuracy for result in together) / 3 < 0.9


def test_stopping_early_changes_no_success():
    network, x, y = trained(4)
    early, whole = (
        BoundaryAttack(radius=0.05, bounds=(0.0, 1.0), steps=600, early_stop=stop)(network, x, y)
        for stop in (True, False)
    )
    assert torch.equal(early.success, whole.success)
    assert 0 < int(early.success.sum()) < len(x)
    hit = early.success & early.clean_correct
    assert float(whole.distance[hit].mean()) < 0.9 * float(early.distance[hit].mean())
    assert torch.equal(early.distance[~hit], whole.distance[~hit])


def test_without_early_stop_the_distance_is_the_margin():
    network, x, y = problem(2, rows=15)
    result = BoundaryAttack(radius=0.1, bounds=BOX, steps=3000, early_stop=False)(network, x, y)
    exact = margin(network, x, y, "l2")
    assert bool((result.distance >= exact * (1 - 1e-5)).all())
    assert float((result.distance / exact.clamp_min(1e-9))[exact > 0].median()) < 1.005


def test_a_row_without_a_start_fails_no_other_and_a_pool_starts_it():
    # Class 1 is a corner of ten dimensions, where noise does not get; from there it gets out.
    network = MLP.from_parameters([torch.cat([torch.zeros(1, 10), torch.ones(1, 10)]), torch.tensor([0.0, -9.99])])
    x, y = torch.tensor([0.9, 1.0, 0.9])[:, None].expand(3, 10), torch.tensor([0, 1, 0])
    settings = {"radius": 0.4, "bounds": (0.0, 1.0), "steps": 50, "directions": 5}
    without = BoundaryAttack(**settings)(network, x, y)
    assert without.no_start.tolist() == [True, False, True]
    assert without.success.tolist() == [False, True, False]
    result = BoundaryAttack(pool=np.stack([np.ones(10), np.zeros(10)]), **settings)(network, x, y)
    assert not result.no_start.any()
    assert result.robust_accuracy == 0


def test_a_network_without_a_start_fails_no_other():
    constant = MLP.from_parameters([torch.zeros(2, 3), torch.tensor([1.0, 0.0])])
    network, x, y = problem(2)
    attack = BoundaryAttack(radius=0.3, bounds=BOX, steps=200, directions=10)
    mixed = attack.run([constant, network], [x[:4], x], [torch.zeros(4, dtype=torch.int64), y])
    assert mixed[0].no_start.all()
    assert torch.equal(mixed[1].success, attack(network, x, y).success)


def test_networks_of_other_shapes_are_run_apart():
    a, b = problem(2), problem(3)
    with pytest.raises(InputError, match="share features, dtype and number of classes"):
        BoundaryAttack(radius=0.1, bounds=BOX, directions=5).run([a[0], b[0]], [a[1], b[1]], [a[2], b[2]])


def test_perceptrons_of_other_widths_run_together():
    a, b = trained(0, (8,)), trained(1, (4, 4))
    results = BoundaryAttack(radius=0.05, bounds=(0.0, 1.0), steps=100).run(*zip(a, b, strict=True))
    assert [len(result.success) for result in results] == [20, 25]
