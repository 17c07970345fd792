"""Mixing against torchvision, formulas and loops."""

import math
from collections import Counter

import pytest
import torch
from scipy.special import betainc
from scipy.stats import chisquare
from torchvision.transforms import v2

from vicinal.core import InputError
from vicinal.mixing import Beta, CutMixer, DifferentClass, Fixed, LinearMixer, Nearest, NoisyMixer, Permutation


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("lam", [0.0, 0.21, 0.5, 0.97, 1.0])
def test_linear_mixing_is_torchvisions(lam: float) -> None:
    """The same images, the same lam, and the partner one row up."""
    x, y = torch.randn(6, 3, 5, 4, generator=seeded(0)), torch.arange(6) % 3
    theirs = v2.MixUp(num_classes=3)
    params = {"labels": None, "lam": lam, "batch_size": 6}
    ours, share = LinearMixer().mix(x, x.roll(1, 0), Fixed(lam).draw((6,), x, None), None)
    torch.testing.assert_close(ours, theirs.transform(x, params))
    assert share.tolist() == pytest.approx([lam] * 6)
    rows = torch.nn.functional.one_hot(y, 3).float()
    mixed_rows, _ = LinearMixer().mix(rows, rows.roll(1, 0), share, None)
    torch.testing.assert_close(mixed_rows, theirs._mixup_label(y, lam=lam))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (1, 9), (32, 32)])
def test_boxes_are_torchvisions(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lam and centres, row by row: the same boxes and the same corrected lam."""
    b = 40
    x_a, x_b = torch.zeros(b, 2, height, width), torch.ones(b, 2, height, width)
    lam = torch.rand(b, generator=seeded(3))
    ours, kept = CutMixer().mix(x_a, x_b, lam, seeded(1))
    centres = torch.rand((2, b), generator=seeded(1))
    theirs = v2.CutMix(num_classes=2)
    for i in range(b):
        # torchvision draws the column first.
        draws = [int(centres[1, i] * width), int(centres[0, i] * height)]
        monkeypatch.setattr(torch, "randint", lambda *args, draws=draws, **options: torch.tensor([draws.pop(0)]))
        monkeypatch.setattr(theirs._dist, "sample", lambda shape, share=float(lam[i]): torch.tensor(share))
        params = theirs.make_params([x_a[i : i + 1]])
        x1, y1, x2, y2 = params["box"]
        expected = torch.zeros(height, width)
        expected[y1:y2, x1:x2] = 1
        assert torch.equal(ours[i, 0], expected)
        assert torch.equal(ours[i, 1], expected)
        assert float(kept[i]) == pytest.approx(params["lam_adjusted"], abs=1e-6)


def test_box_centres_are_uniform() -> None:
    """Small boxes: every pixel is a centre as often as any other."""
    x_a, x_b = torch.zeros(4000, 1, 5, 5), torch.ones(4000, 1, 5, 5)
    x, _ = CutMixer().mix(x_a, x_b, torch.full((4000,), 1 - 0.41**2), seeded(0))
    corner = [int(image.flatten().nonzero()[-1, 0]) for image in x if float(image.sum()) == 4]
    counts = Counter(corner)
    assert len(counts) == 16
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("columns", [2, 4, 7])
def test_columns_of_tables(columns: int) -> None:
    """round((1 - lam) D) columns of the second row, every column as often as any other."""
    n = 3000
    lam = torch.rand(n, generator=seeded(5))
    x, kept = CutMixer().mix(torch.zeros(n, columns), torch.ones(n, columns), lam, seeded(0))
    expected = ((1 - lam) * columns).round()
    assert torch.equal(x.sum(1), expected)
    torch.testing.assert_close(kept, 1 - expected / columns)
    assert chisquare(x.sum(0).numpy()).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [1e-3, 0.01, 0.05])
@pytest.mark.parametrize("per", ["batch", "sample"])
def test_small_alpha_underflows_nowhere(alpha: float, per: str) -> None:
    """Nearly all mass lies at the ends, beyond a double's distance from 1: count it between cuts instead."""
    n = 20_000
    lam = Beta(alpha, per).draw((n, 1), torch.empty(0, dtype=torch.float64), seeded(1))[:, 0]
    assert bool(torch.isfinite(lam).all())
    for cut in (1e-12, 1e-3, 0.4, 0.5, 0.6, 1 - 1e-3, 1 - 1e-12):
        p = float(betainc(alpha, alpha, cut))
        found = float((lam <= cut).double().mean())
        assert found == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n)), cut


def test_one_lam_per_batch_or_per_row() -> None:
    like = torch.empty(0)
    for alpha in (1.0, 0.4):
        batch = Beta(alpha).draw((50, 6), like, seeded(0))
        assert bool((batch == batch[:, :1]).all())
        assert len(batch[:, 0].unique()) == 50
        rows = Beta(alpha, per="sample").draw((50, 6), like, seeded(0))
        assert len(rows.unique()) == 300


def test_all_permutations_come_equally_often() -> None:
    x, y = torch.zeros(2400, 3, 1), torch.ones(2400, 3, 1)
    counts = Counter(tuple(row.tolist()) for row in Permutation().draw(x, y, None, seeded(0)))
    assert len(counts) == 6
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_permutation_of_the_valid_rows() -> None:
    """Real rows are permuted among themselves, wherever they are; padding keeps itself."""
    valid = torch.rand(300, 6, generator=seeded(2)) < 0.6
    partner = Permutation().draw(torch.zeros(300, 6, 1), torch.ones(300, 6, 1), valid, seeded(0))
    for own, real in zip(partner, valid, strict=True):
        places = real.nonzero()[:, 0].tolist()
        assert sorted(own[real].tolist()) == places
        assert own[~real].tolist() == (~real).nonzero()[:, 0].tolist()


def test_partners_of_other_classes_come_equally_often() -> None:
    y = torch.eye(3)[[0, 0, 1, 2, 2]].expand(3000, 5, 3)
    partner = DifferentClass().draw(torch.zeros(3000, 5, 1), y, None, seeded(0))
    counts = Counter(partner[:, 0].tolist())
    assert set(counts) == {2, 3, 4}
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("k", [1, 3])
def test_nearest_partners_against_a_loop(k: int, offset: float) -> None:
    """Among the k nearest others, equally often; also far from the origin, in single precision."""
    # Multiples of 1/64: exact in single precision at the offset too.
    x = (torch.randn(12, 2, generator=seeded(0)) * 64).round() / 64 + offset
    seen: list[Counter[int]] = [Counter() for _ in range(12)]
    drawn = Nearest(k).draw(x.expand(900, 12, 2), torch.eye(12).expand(900, 12, 12), None, seeded(1))
    for row in drawn.tolist():
        for i, j in enumerate(row):
            seen[i][j] += 1
    for i in range(12):
        ranked = sorted((math.dist(x[i].tolist(), x[j].tolist()), j) for j in range(12) if j != i)
        assert set(seen[i]) == {j for _, j in ranked[:k]}
        if k > 1:
            assert chisquare(list(seen[i].values())).pvalue > 1e-5


def test_nearest_of_the_valid_rows() -> None:
    x = torch.tensor([[0.0], [0.1], [5.0], [9.0]])
    valid = torch.tensor([True, False, True, False])
    assert Nearest(1).draw(x, torch.eye(4), valid, seeded(0))[[0, 2]].tolist() == [2, 0]
    alone = torch.tensor([True, False, False, False])
    assert int(Nearest(2).draw(x, torch.eye(4), alone, seeded(0))[0]) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Beta(0.0).draw((2,), torch.empty(0), None), InputError, r"`alpha` must lie in \(0, inf\), got 0.0"),
        (lambda: Beta("1").draw((2,), torch.empty(0), None), TypeError, "`alpha` must be a number, got '1'"),
        (
            lambda: Beta(1.0, "row").draw((2,), torch.empty(0), None),
            InputError,
            "`per` must be one of 'batch', 'sample'",
        ),
        (lambda: Fixed(1.3).draw((2,), torch.empty(0), None), InputError, r"`lam` must lie in \[0, 1\], got 1.3"),
        (
            lambda: Nearest(0).draw(torch.zeros(2, 1), torch.eye(2), None, None),
            InputError,
            r"`k` must lie in \[1, inf\)",
        ),
        (lambda: Nearest(1.5).draw(torch.zeros(2, 1), torch.eye(2), None, None), TypeError, "`k` must be an integer"),
    ],
)
def test_messages(call: object, error: type[Exception], message: str) -> None:
    assert callable(call)
    with pytest.raises(error, match=message):
        call()


def test_noise_is_added_to_what_the_inner_mixer_made() -> None:
    x_a, x_b, lam = torch.rand(6, 1, 8, 8), torch.rand(6, 1, 8, 8), torch.full((6,), 0.4)
    generator = torch.Generator().manual_seed(3)
    inner, kept = CutMixer().mix(x_a, x_b, lam, generator)
    expected = inner + 0.2 * torch.randn(x_a.shape, generator=generator)
    x, share = NoisyMixer(0.2, CutMixer()).mix(x_a, x_b, lam, torch.Generator().manual_seed(3))
    assert torch.equal(x, expected)
    assert torch.equal(share, kept)
    cut, _ = NoisyMixer(0.2, CutMixer(), bounds=(0.0, 1.0)).mix(x_a, x_b, lam, torch.Generator().manual_seed(3))
    assert torch.equal(cut, expected.clamp(0, 1))
    with pytest.raises(ValueError, match="`std` must lie in"):
        NoisyMixer(-1.0).mix(x_a, x_b, lam, None)
