"""Vicinities against loops, closed forms and plain torch code."""

import math
from typing import cast

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, kstest
from torch import Tensor
from torchvision.transforms import v2

import vicinal as vc
from vicinal.core import InputError, MixedBatch
from vicinal.densities import Gaussian
from vicinal.labeling import LogisticLabels
from vicinal.mixing import Beta, Fixed, LinearMixer, Pairing
from vicinal.vicinity import BaseVicinity, Choice, ManifoldIntrusion, intrusions


def blobs(n: int = 60, d: int = 2, k: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % k
    return torch.randn(n, d, generator=generator) + 3 * torch.randn(k, d, generator=generator)[y], y


class RollOne(Pairing):
    """torchvision's pairing: the row above."""

    def draw(self, x: Tensor, y: Tensor, valid: Tensor | None, generator: torch.Generator | None) -> Tensor:
        return torch.arange(y.shape[-2]).roll(1).expand(y.shape[:-1])


def test_mixup_is_torchvisions_for_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4
    theirs = v2.MixUp(num_classes=4)
    monkeypatch.setattr(theirs._dist, "sample", lambda shape: torch.tensor(0.37))
    expected_x, expected_y = theirs(x, y)
    mixed_x, mixed_y = vc.Vicinity(pairing=RollOne(), ratio=Fixed(0.37), n_classes=4)(x, y)
    torch.testing.assert_close(mixed_x, expected_x)
    torch.testing.assert_close(mixed_y, expected_y)


def test_lam_of_mixup_is_beta() -> None:
    """Recovered from the points of a batch, not from the ratio."""
    x, y = torch.tensor([[0.0], [1.0]], dtype=torch.float64), torch.tensor([0, 1])
    mix = vc.Vicinity(pairing=RollOne(), ratio=Beta(0.5), n_classes=2, seed=0)
    lam = [float(mix(x, y)[0][1, 0]) for _ in range(2000)]
    assert kstest(lam, "beta", args=(0.5, 0.5)).pvalue > 1e-3


def test_genlabel_is_algorithm_1() -> None:
    """Line by line in numpy, for the pairs and the lam that were drawn."""
    x, y = blobs()
    mix = vc.GenLabel(gamma=0.3, seed=1).fit(x, y)
    batch = mix.draw(x, y)
    again = vc.GenLabel(gamma=0.3, seed=1).fit(x, y)
    points, labels = again(x, y)
    density = Gaussian().fit(x, y)
    for i in range(len(x)):
        lam = float(batch.lam[i])
        mixed = lam * batch.x_a[i] + (1 - lam) * batch.x_b[i]
        torch.testing.assert_close(points[i], mixed)
        p = np.exp(density.log_prob(mixed[None]).numpy()[0])
        line = lam * batch.y_a[i].numpy() + (1 - lam) * batch.y_b[i].numpy()
        np.testing.assert_allclose(labels[i].numpy(), 0.3 * p / p.sum() + 0.7 * line, atol=1e-4)


def test_intrusion_against_a_loop() -> None:
    """Definition 1: the nearest training row has neither endpoint's label."""
    x, y = blobs(40, 2, 5)
    batch = vc.Mixup(per="sample", n_classes=5, seed=0).draw(x.repeat(5, 1), y.repeat(5))
    found = []
    for point, a, b in zip(batch.x.tolist(), batch.y_a.argmax(1).tolist(), batch.y_b.argmax(1).tolist(), strict=True):
        nearest = min(range(40), key=lambda j: math.dist(point, x[j].tolist()))
        found.append(int(y[nearest]) not in (a, b))
    assert 0.05 < np.mean(found) < 0.95
    assert intrusions(batch, x, y).tolist() == found
    assert ManifoldIntrusion().fit(x, y).keep(batch).tolist() == [not f for f in found]
    assert vc.intrusion_rate(batch, x, y) == pytest.approx(np.mean(found))
    weight = (torch.arange(200) % 3 > 0).float()
    some = MixedBatch(batch.x, batch.x_a, batch.x_b, batch.y_a, batch.y_b, batch.lam, weight)
    assert vc.intrusion_rate(some, x, y) == pytest.approx(np.mean(np.array(found)[weight.bool().numpy()]))


@pytest.mark.parametrize(("k", "d"), [(2, 1), (2, 3), (3, 2), (6, 8)])
@pytest.mark.parametrize("kind", ["normal", "whole numbers", "one wide column", "huge"])
def test_intrusion_by_bounds_is_intrusion_row_by_row(k: int, d: int, kind: str) -> None:
    """Also where many rows tie, where a column makes single precision blind to the others, and where squares overflow."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(80, d, generator=generator), torch.randint(k, (80,), generator=generator)
    if kind == "whole numbers":
        x = x.round()
    elif kind == "one wide column":
        x = torch.cat([x, 1e5 * x[:, :1]], 1)
    elif kind == "huge":
        x = x * 1e25
    batch = vc.Mixup(per="sample", n_classes=k, seed=0).draw(x.repeat(10, 1), y.repeat(10))
    rule = ManifoldIntrusion().fit(x, y)
    expected = rule._keep(batch.x, batch.y_a.argmax(1), batch.y_b.argmax(1))
    assert torch.equal(rule.keep(batch), expected)
    assert 0.02 < float(expected.float().mean()) < 0.995


def test_intrusion_of_classes_without_rows() -> None:
    """Where the filter knows no row of an endpoint's class, or the batch not all of the filter's classes."""
    x, y = torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([0, 3, 4])
    batch = vc.Vicinity(pairing=RollOne(), ratio=Fixed(1.0), n_classes=4).draw(x[:2] + 0.1, torch.tensor([2, 3]))
    assert ManifoldIntrusion().fit(x, y).keep(batch).tolist() == [False, True]
    beyond = vc.Vicinity(pairing=RollOne(), ratio=Fixed(1.0), n_classes=2).draw(x[1:] + 0.1, torch.tensor([0, 1]))
    assert ManifoldIntrusion().fit(x, y).keep(beyond).tolist() == [False, False]


def test_rows_of_weight_zero_do_not_intrude() -> None:
    x, y = torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([0, 1, 0])
    batch = vc.Vicinity(pairing=RollOne(), ratio=Fixed(0.5), n_classes=2).draw(x[[0, 2]], y[[0, 2]])
    assert ManifoldIntrusion().fit(x, y).keep(batch).tolist() == [False, False]
    assert ManifoldIntrusion().fit(x, y, sample_weight=[1, 0, 1]).keep(batch).tolist() == [True, True]


def test_excluding_intrusion_trains_on_the_rows_kept() -> None:
    x, y = blobs(40, 2, 5)
    mix = vc.MixupExcludingIntrusion(per="sample", seed=2).fit(x, y)
    batch = mix.draw(x, y)
    kept = (~intrusions(batch, x, y)).float()
    assert torch.equal(batch.weight, kept)
    points, labels = vc.MixupExcludingIntrusion(per="sample", seed=2).fit(x, y)(x, y)
    torch.testing.assert_close(labels.sum(1), kept * 40 / kept.sum())
    torch.testing.assert_close(points, batch.x)


def test_a_batch_without_any_row_left() -> None:
    """Every point between the outer rows falls on the middle one: loss 0, gradient 0, no NaN."""
    x, y = torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([0, 1, 0])
    mix = vc.Vicinity(pairing=RollOne(), ratio=Fixed(0.5), filter=ManifoldIntrusion()).fit(x, y)
    points, labels = mix(x[[0, 2]], y[[0, 2]])
    assert labels.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    network = torch.nn.Linear(1, 2)
    loss = torch.nn.functional.cross_entropy(network(points), labels)
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(cast(Tensor, network.weight.grad).abs().max()) == 0


@pytest.mark.parametrize("at_once", [False, True])
def test_proportions_of_one_of(at_once: bool) -> None:
    """One part in four is plain training; every batch is labelled by the vicinity that drew it."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    halves = vc.Vicinity(pairing=RollOne(), ratio=Fixed(0.25), labeler=LogisticLabels(0.01))
    mix = vc.OneOf(vc.Vanilla(), halves, probabilities=[1, 3], n_classes=2, seed=0)
    n = 2000
    if at_once:
        rows = torch.eye(2).expand(n, 2, 2)
        batch = mix.draw_rows(x.expand(n, 2, 1), rows, None, torch.Generator().manual_seed(0))
        points, labels = batch.x[:, 0, 0], mix.label(batch)[:, 0]
    else:
        drawn = [mix(x, y) for _ in range(n)]
        points, labels = torch.stack([p[0, 0] for p, _ in drawn]), torch.stack([r[0] for _, r in drawn])
    plain = points == 0
    assert binomtest(int(plain.sum()), n, 0.25).pvalue > 1e-3
    torch.testing.assert_close(points[~plain], torch.full((int((~plain).sum()),), 0.75))
    assert bool((labels[plain] == torch.tensor([1.0, 0.0])).all())
    torch.testing.assert_close(labels[~plain], torch.tensor([[0.0, 1.0]]).expand(int((~plain).sum()), 2))


@pytest.mark.parametrize("at_once", [False, True])
def test_one_of_in_one_of(at_once: bool) -> None:
    """Each leaf has a lam of its own and labels of its own; the label must follow the leaf."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    steep, line = LogisticLabels(0.01), None
    leaves = [
        vc.Vicinity(pairing=RollOne(), ratio=Fixed(lam), labeler=labeler)
        for lam, labeler in ((0.9, line), (0.8, steep), (0.7, line), (0.6, steep))
    ]
    expected = {0.9: 0.9, 0.8: 1.0, 0.7: 0.7, 0.6: 1.0}
    inner = vc.OneOf(leaves[1], leaves[2])
    mix = vc.OneOf(leaves[0], inner, leaves[3], probabilities=[1, 2, 1], n_classes=2, seed=0)
    if at_once:
        rows, n = torch.eye(2).expand(400, 2, 2), 400
        batch = mix.draw_rows(x.expand(n, 2, 1), rows, None, torch.Generator().manual_seed(0))
        pairs = list(zip(batch.lam[:, 0].tolist(), mix.label(batch)[:, 0, 0].tolist(), strict=True))
    else:
        drawn = [mix.draw(x, y) for _ in range(400)]
        pairs = [(float(batch.lam[0]), float(mix.label(batch)[0, 0])) for batch in drawn]
    seen = {round(lam, 3) for lam, _ in pairs}
    assert seen == set(expected)
    for lam, label in pairs:
        assert label == pytest.approx(expected[round(lam, 3)], abs=1e-4)


def test_mixing_keys() -> None:
    """Settings that share a key draw the same batches; the labels' settings are not in it."""
    x, y = blobs()
    same: list[BaseVicinity] = [vc.Mixup(0.4), vc.GenLabel(alpha=0.4, gamma=0.2), vc.LogisticMixup(alpha=0.4)]
    assert len({mix.mixing_key() for mix in same}) == 1
    points = [mix.fit(x, y).set_params(seed=3)(x, y)[0] for mix in same]
    assert torch.equal(points[0], points[1])
    assert torch.equal(points[0], points[2])
    others: list[BaseVicinity] = [
        vc.Mixup(0.5),
        vc.Mixup(0.4, per="sample"),
        vc.CutMix(0.4),
        vc.MixupExcludingIntrusion(0.4),
        vc.OneOf(vc.Mixup(0.4), vc.Vanilla()),
    ]
    assert len({mix.mixing_key() for mix in [*same, *others]}) == 1 + len(others)


def test_fitting_passes_the_weights_on() -> None:
    x, y = blobs()
    weight = torch.arange(60) % 3
    weighted = vc.GenLabel(seed=0).fit(x, y, sample_weight=weight)
    repeated = vc.GenLabel(seed=0).fit(x.repeat_interleave(weight, 0), y.repeat_interleave(weight))
    torch.testing.assert_close(weighted(x, y)[1], repeated(x, y)[1], atol=1e-5, rtol=0)


def test_soft_label_rows_are_mixed() -> None:
    rows = torch.tensor([[0.7, 0.3], [0.2, 0.8]])
    _, labels = vc.Vicinity(pairing=RollOne(), ratio=Fixed(0.25))(torch.zeros(2, 1), rows)
    torch.testing.assert_close(labels, 0.25 * rows + 0.75 * rows.roll(1, 0))


def test_seed_survives_a_call_of_set_params() -> None:
    x, y = blobs()
    mix = vc.Mixup(n_classes=4, seed=1)
    first = mix(x, y)[0]
    mix(x, y)
    mix.set_params(seed=2)(x, y)
    assert torch.equal(mix.set_params(seed=1)(x, y)[0], first)


def test_gradients_reach_the_points() -> None:
    """d/dx of the mean of lam x_a + (1 - lam) x_b over a permutation is 1 / B for every row."""
    x, y = blobs()
    x = x.requires_grad_()
    torch.autograd.backward(vc.Mixup(n_classes=4, seed=0)(x, y)[0].mean())
    torch.testing.assert_close(x.grad, torch.full_like(x, 1 / x.numel()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (vc.Mixup(), "the number of classes is not known; call `fit"),
        (vc.Mixup(n_classes=2), r"`y` must lie in 0..1, got 0..3"),
        (lambda x, y: vc.Mixup(n_classes=4)(x, y - 1), r"`y` must lie in 0..3, got -1..2"),
        (lambda x, y: vc.Mixup(n_classes=4)(x, y + 0.5), "`y` of shape .B,. must hold whole class indices"),
        (lambda x, y: vc.Mixup(n_classes=4)(x.to(torch.uint8), y), "`x` must be floating.*`x.float.. / 255`"),
        (lambda x, y: vc.Mixup(n_classes=4)(x, y[1:]), r"`x` must be \(B, ...\).*got \(60, 2\) and \(59,\)"),
        (lambda x, y: vc.Mixup(n_classes=4)(x[:, 0], y), r"`x` must be \(B, ...\)"),
        (lambda x, y: vc.Mixup(n_classes=4)(x, torch.ones(60, 3)), "`y` must have 4 columns, one per class, got 3"),
        (lambda x, y: vc.Mixup()(x, -torch.ones(60, 3)), "`y` of shape .B, K. must hold floating label rows"),
        (lambda x, y: vc.Mixup()(x, torch.ones(60, 3, dtype=torch.int64)), "must hold floating label rows, none neg"),
        (lambda x, y: vc.GenLabel()(x, torch.eye(4)[y]), "the labels' density is not fitted; call `fit"),
        (lambda x, y: vc.MixupExcludingIntrusion()(x, torch.eye(4)[y]), "the filter's training rows are not known"),
        (lambda x, y: vc.OneOf(vc.Mixup(), probabilities=[1, 2]).fit(x, y), r"one per vicinity \(1\), got 2"),
        (lambda x, y: vc.OneOf(vc.Mixup(), probabilities=[0]).fit(x, y), "`probabilities` must not all be 0"),
        (lambda x, y: vc.OneOf(vc.Mixup(), probabilities=[-1]).fit(x, y), r"`probabilities` must lie in \[0, inf\)"),
        (lambda x, y: Choice([]).fit(x, y), "`probabilities` must be one per vicinity"),
        (
            lambda x, y: vc.OneOf(vc.Mixup(), n_classes=4).label(vc.Mixup(n_classes=4).draw(x, y)),
            "this batch was not drawn by a `OneOf`",
        ),
    ],
)
def test_messages(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=message):
        call(*blobs())


def test_the_mixer_is_plain_interpolation() -> None:
    x, y = blobs()
    batch = vc.Mixup(per="sample", n_classes=4, seed=0).draw(x, y)
    expected = LinearMixer().mix(batch.x_a, batch.x_b, batch.lam, None)[0]
    assert torch.equal(batch.x, expected)
