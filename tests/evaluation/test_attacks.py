"""Attacks against closed forms on linear networks, and the frame against searches that lie."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from linear_network import BOX, margin, problem
from torch import nn

from vicinal.core import InputError
from vicinal.evaluation.attacks import PGD, Attack, AutoAttack, BoundaryAttack, Finding
from vicinal.networks import MLP

ATTACKS = {
    "boundary": lambda **given: BoundaryAttack(**{"steps": 400, **given}),
    "pgd l2": PGD,
    "pgd linf": lambda **given: PGD(norm="linf", **given),
    "auto l2": AutoAttack,
    "auto linf": lambda **given: AutoAttack(norm="linf", queries=30, **given),
}
every_attack = pytest.mark.parametrize("make", ATTACKS.values(), ids=ATTACKS)


@every_attack
@pytest.mark.parametrize("k", [2, 3, 4])
def test_a_linear_network_falls_exactly_where_its_margin_is_within_the_radius(make, k):
    network, x, y = problem(k)
    boundary = make is ATTACKS["boundary"]
    attack = make(radius=0.3, bounds=BOX, **({"steps": 1000} if boundary else {}))
    exact = margin(network, x, y, attack.norm)
    result = attack(network, x, y)
    assert 5 < int((exact > 0.31).sum()) < 35
    assert not bool(result.success[exact > 0.3 * (1 + 1e-5)].any()), "a success that can't be"
    # With more than two classes, a walk may end at a class that is not the nearest. AutoAttack looks at each.
    share = 1.0 if isinstance(attack, AutoAttack) else (0.95 if boundary else 1.0) if k == 2 else 0.6
    assert float(result.success[exact < 0.3 * (1 - 1e-3)].double().mean()) >= share
    assert result.clean_accuracy == pytest.approx(0.8)


@every_attack
def test_what_a_result_says_is_true(make):
    network, x, y = problem(3, seed=1)
    attack = make(radius=0.3, bounds=(-1.0, 1.0))
    result = attack(network, x, y)
    length = torch.linalg.vector_norm((result.adversarial - x).double(), 2 if attack.norm == "l2" else torch.inf, dim=1)
    wrong = network(result.adversarial).argmax(1) != y
    found = result.distance.isfinite()
    assert torch.equal(wrong, found)
    torch.testing.assert_close(result.distance[found], length[found])
    assert bool((length[~found] == 0).all())
    assert torch.equal(result.success, wrong & (result.distance <= 0.3 * (1 + 1e-6)))
    assert float(result.adversarial.abs().max()) <= 1
    assert torch.equal(result.adversarial[::5], x[::5])
    assert bool((result.distance[::5] == 0).all())
    assert bool(result.success[::5].all())
    assert torch.equal(result.clean_correct, network(x).argmax(1) == y)
    assert not bool(result.no_start.any())


@every_attack
def test_bounds_of_each_feature_hold_and_a_constant_one_survives(make):
    # The second feature can't move, and the third moves little: what is left of the margin is up to the first.
    weight, low, high = torch.tensor([1.0, 5.0, 1.0]), torch.tensor([0.0, 2.0, -0.1]), torch.tensor([3.0, 2.0, 0.1])
    network = MLP.from_parameters([torch.stack([torch.zeros(3), weight]), torch.tensor([0.0, -11.5])])
    x = torch.rand(30, 3, generator=torch.Generator().manual_seed(0)) * (high - low) + low
    y = network(x).argmax(1)
    attack = make(radius=0.4, bounds=(low.numpy(), high.numpy()))
    gap = 11.5 - x @ weight
    first, _, third = torch.where(gap[:, None] > 0, high - x, x - low).T  # the way up to the bounds, where it goes up
    third = third.clamp_max(0.4 / 2**0.5 if attack.norm == "l2" else 0.4)
    most = third + first.minimum((0.4**2 - third**2).sqrt() if attack.norm == "l2" else torch.tensor(0.4))
    result = attack(network, x, y)
    assert 3 < int((most > gap.abs()).sum()) < 27
    assert not bool(result.success[most < 0.999 * gap.abs()].any())
    assert bool(result.success[most > 1.03 * gap.abs()].all())
    assert bool(((result.adversarial >= low) & (result.adversarial <= high)).all())


@every_attack
def test_units_do_not_matter(make):
    network, x, y = problem(3)
    layer = network.layers[0]
    other = MLP.from_parameters([layer.weight / 1000, layer.bias])
    plain = make(radius=0.3, bounds=BOX)(network, x, y)
    large = make(radius=300.0, bounds=(-5000.0, 5000.0))(other, 1000 * x, y)
    exact = margin(network, x, y, make(radius=0.3, bounds=BOX).norm)
    clear = (exact - 0.3).abs() > 0.003
    assert torch.equal(plain.success[clear], large.success[clear])


@every_attack
def test_radius_0_changes_nothing(make):
    network, x, y = problem(3)
    result = make(radius=0.0, bounds=BOX)(network, x, y)
    assert torch.equal(result.adversarial, x)
    assert result.robust_accuracy == result.clean_accuracy == pytest.approx(0.8)


@every_attack
def test_a_constant_network_is_robust_and_says_why(make):
    network = MLP.from_parameters([torch.zeros(3, 2), torch.tensor([0.0, 1.0, 0.0])])
    kind = {"directions": 20} if make is ATTACKS["boundary"] else {}
    result = make(radius=0.5, bounds=(0.0, 1.0), **kind)(network, torch.rand(4, 2), torch.tensor([1, 1, 1, 0]))
    assert result.robust_accuracy == result.clean_accuracy == 0.75
    assert result.distance.tolist() == [torch.inf] * 3 + [0]
    assert result.no_start.tolist() == [bool(kind)] * 3 + [False]


@every_attack
def test_one_row_and_rows_that_are_all_misclassified(make):
    network, x, y = problem(2)
    exact = margin(network, x, y, make(radius=1.0, bounds=BOX).norm)
    near = int(torch.where(exact > 0, exact, torch.inf).argmin())
    attack = make(radius=2 * float(exact[near]), bounds=BOX)
    assert attack(network, x[near : near + 1], y[near : near + 1]).success.tolist() == [True]
    assert attack(network, x[:1], y[:1]).robust_accuracy == 0


@every_attack
def test_the_seed_decides_and_the_callers_state_stays(make):
    network, x, y = problem(3)
    network.train().requires_grad_(True)
    torch.manual_seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    trace = sys.gettrace()
    attack = make(radius=0.3, bounds=BOX, seed=1)
    first = attack(network, x, y)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]
    assert sys.gettrace() is trace
    assert network.training
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    torch.manual_seed(6)
    again = attack(network, x, y)
    assert torch.equal(first.adversarial, again.adversarial)
    other = make(radius=0.3, bounds=BOX, seed=2)(network, x, y)
    assert not torch.equal(first.adversarial, other.adversarial)


@every_attack
def test_mistakes_are_named(make):
    network, x, y = problem(2)
    attack = make(radius=0.3, bounds=BOX)
    with pytest.raises(InputError, match=r"`radius` must lie in \[0"):
        make(radius=-0.1, bounds=BOX)
    with pytest.raises(InputError, match="`seed` must lie in"):
        make(radius=0.1, bounds=BOX, seed=-1)
    with pytest.raises(InputError, match="`bounds` must be a pair"):
        make(radius=0.1, bounds=1.0)
    with pytest.raises(InputError, match="low <= high"):
        make(radius=0.1, bounds=(1.0, 0.0))
    with pytest.raises(InputError, match="same shape on both sides"):
        make(radius=0.1, bounds=(np.zeros(2), np.ones(3)))
    with pytest.raises(InputError, match=r"fit a row of shape \(3,\), got \[\(2,\), \(\)\]"):
        make(radius=0.1, bounds=(np.zeros(2), 1.0))(network, x, y)
    with pytest.raises(InputError, match="NaN or infinite values"):
        attack(network, x * torch.nan, y)
    with pytest.raises(InputError, match="1 rows outside, the first at index 7"):
        attack(network, x.index_fill(0, torch.tensor([7]), 9.0), y)
    with pytest.raises(InputError, match=r"`model` must take `x`, here of shape \(40, 2\)"):
        attack(network, x[:, :2], y)
    with pytest.raises(InputError, match="`y` must have as many rows"):
        attack(network, x, y[1:])
    with pytest.raises(InputError, match=r"`y` must lie in 0..1"):
        attack(network, x, y + 1)
    with pytest.raises(InputError, match="two or more classes"):
        attack(nn.Linear(3, 1), x, y)
    with pytest.raises(InputError, match="finite logits"):
        attack(nn.Sequential(network, nn.Threshold(1e9, torch.nan)), x, y)
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module"):
        attack(lambda x: x, x, y)
    with pytest.raises(InputError, match="`y` must hold one entry for each of the 2 networks, got 1"):
        attack.run([network, network], [x, x], [y])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PGD(radius=1.0, bounds=BOX, norm="l1"), "`norm` must be one of 'l2', 'linf'"),
        (lambda: PGD(radius=1.0, bounds=BOX, steps=0), "`steps` must lie in"),
        (lambda: PGD(radius=1.0, bounds=BOX, restarts=0), "`restarts` must lie in"),
        (lambda: PGD(radius=1.0, bounds=BOX, step_size=0.0), "`step_size` must lie in"),
        (lambda: AutoAttack(radius=1.0, bounds=BOX, queries=0), "`queries` must lie in"),
        (lambda: BoundaryAttack(radius=1.0, bounds=BOX, steps=0), "`steps` must lie in"),
        (lambda: BoundaryAttack(radius=1.0, bounds=BOX, directions=0), "`directions` must lie in"),
    ],
)
def test_settings_outside_their_range_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("library", ["foolbox", "pyautoattack"])
def test_a_missing_library_names_its_pip_command(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    network, x, y = problem(2)
    kind = AutoAttack if library == "pyautoattack" else PGD
    with pytest.raises(ImportError, match=r"pip install 'vicinal\[attacks\]'"):
        kind(radius=0.1, bounds=BOX)(network, x, y)


def test_neither_library_is_imported_before_an_attack_runs():
    code = "import sys, vicinal.evaluation.attacks; print('foolbox' in sys.modules or 'pyautoattack' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- The frame: no search is believed ---------------------------------------------------------------------------------


class Liar(Attack):
    """Claims one point for all rows."""

    claim = 0.0

    def _search(self, targets):
        return [Finding(torch.full_like(target.u, self.claim)) for target in targets]


@pytest.mark.parametrize("claim", [-7.0, 0.0, 1.0, 7.0, torch.nan, torch.inf])
def test_claims_are_drawn_back_to_the_radius_and_the_bounds(claim):
    network = MLP.from_parameters([torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5])])
    attack = Liar(radius=0.2, bounds=(0.0, 1.0))
    object.__setattr__(attack, "claim", claim)
    result = attack(network, torch.tensor([[0.1], [0.4], [0.6], [0.9]]), torch.tensor([0, 0, 1, 1]))
    up, down = claim >= 1, claim <= 0
    assert result.success.tolist() == [False, up, down, False]
    # Within the radius the point is at 0.2; beyond it, at the bound; NaN is nothing.
    expected = [
        0.9 if up else torch.inf,
        0.2 if up else torch.inf,
        0.2 if down else torch.inf,
        0.9 if down else torch.inf,
    ]
    assert result.distance.tolist() == pytest.approx(expected)


# --- AutoAttack and PGD -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_parts_that_are_not_defined_are_left_out(k, norm):
    network, x, y = problem(k, rows=6)
    result = AutoAttack(radius=0.1, bounds=BOX, norm=norm, queries=5)(network, x, y)
    expected = {2: {"apgd-t", "apgd-dlr"}, 3: {"apgd-t"}, 4: set()}[k] | ({"square"} if norm == "l2" else set())
    assert set(result.left_out) == expected
    assert all("needs" in reason for reason in result.left_out.values())


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_images_keep_their_shape(norm):
    linear, x, y = problem(2, d=50, rows=10)
    x, y = x.reshape(10, 2, 5, 5), linear(x).argmax(1)
    network = nn.Sequential(nn.Flatten(), linear)
    exact = margin(linear, x.flatten(1), y, norm)
    radius = float(exact.median()) * 1.001
    result = AutoAttack(radius=radius, bounds=BOX, norm=norm, queries=20)(network, x, y)
    assert result.adversarial.shape == x.shape
    assert "square" not in result.left_out
    assert torch.equal(result.success, exact <= radius)


def test_arrays_in_double_precision_meet_networks_in_single():
    network, x, y = problem(2)
    attack = PGD(radius=0.3, bounds=(float(x.min()), float(x.max())))
    given = attack(network, x.double().numpy(), y.numpy())
    assert torch.equal(given.success, attack(network, x, y).success)


def test_restarts_and_settings_reach_the_library():
    # A single start at the row itself stays there, as the gradient of a flat piece is 0; a random one leaves it.
    network = MLP.from_parameters(
        [torch.tensor([[8.0]]), torch.tensor([-4.0]), torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.4])]
    )
    x, y = torch.full((20, 1), 0.4), torch.zeros(20, dtype=torch.int64)
    still = PGD(radius=0.2, bounds=(0.0, 1.0), random_start=False)(network, x, y)
    assert not still.success.any()
    shares = [
        PGD(radius=0.2, bounds=(0.0, 1.0), restarts=n)(network, x, y).success.double().mean().item() for n in (1, 4)
    ]
    assert 0 < shares[0] < shares[1]
    stuck = PGD(radius=0.2, bounds=BOX, steps=1, step_size=1e-6, random_start=False)
    line, rows, classes = problem(2)
    assert stuck(line, rows, classes).robust_accuracy == pytest.approx(0.8)
