"""Vicinities in a space against mixup itself, and against encoding, mixing and decoding by hand."""

import pickle
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, kstest, multivariate_normal
from sklearn.base import clone
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, default_collate
from torchvision.transforms import v2

import vicinal as vc
from vicinal.core import InputError
from vicinal.densities import Gaussian
from vicinal.mixing import Fixed, Pairing
from vicinal.spaces import PCA, Identity, Reconstructed, Space
from vicinal.vicinity import BaseVicinity, InSpace, MixupR, VarMixup


def blobs(n: int = 60, d: int = 5, k: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % k
    return torch.randn(n, d, generator=generator) + 2 * torch.randn(k, d, generator=generator)[y], y


class RollOne(Pairing):
    """torchvision's pairing: the row above."""

    def draw(self, x: Tensor, y: Tensor, valid: Tensor | None, generator: torch.Generator | None) -> Tensor:
        return torch.arange(y.shape[-2]).roll(1).expand(y.shape[:-1])


class Counting(Identity):
    """The space of the points, which counts what goes through."""

    encoded = decoded = 0

    def _encode(self, x: Tensor) -> Tensor:
        Counting.encoded += len(x)
        return x

    def _decode(self, z: Tensor) -> Tensor:
        Counting.decoded += len(z)
        return z


class Squared(Space):
    """Points are the squares of codes."""

    def _fit(self, x: Tensor) -> None:
        pass

    def _encode(self, x: Tensor) -> Tensor:
        return x.abs().sqrt()

    def _decode(self, z: Tensor) -> Tensor:
        return z.square()


# --- the space of the points


@pytest.mark.parametrize("per", ["batch", "sample"])
@pytest.mark.parametrize("make", [VarMixup, MixupR])
def test_in_the_space_of_the_points_it_is_mixup_to_the_bit(per: str, make: Any) -> None:
    x, y = blobs()
    space = Identity().fit(x)
    ours, mixup = make(space, 0.4, per, seed=2).fit(x, y), vc.Mixup(0.4, per, n_classes=3, seed=2)
    for _ in range(3):
        for found, expected in zip(ours(x, y), mixup(x, y), strict=True):
            assert torch.equal(found, expected)
    many, rows = x[:40].view(5, 8, 5), torch.eye(3)[y[:40]].view(5, 8, 3)
    codes = ours.encode(many)
    assert isinstance(codes, Tensor)
    found, expected = (
        mix.draw_rows(part, rows, None, torch.Generator().manual_seed(1))
        for mix, part in ((ours, codes), (mixup, many))
    )
    assert torch.equal(ours.decode(found), expected.x)
    assert torch.equal(ours.label(found), mixup.label(expected))
    state = torch.random.get_rng_state()
    batches = []
    for mix in (ours.set_params(seed=None), mixup.set_params(seed=None)):
        torch.manual_seed(0)
        batches.append(list(DataLoader(TensorDataset(x, y), 20, shuffle=True, collate_fn=mix.collate)))
    torch.random.set_rng_state(state)
    for (points, labels), (others, rows) in zip(*batches, strict=True):
        assert torch.equal(points, others)
        assert torch.equal(labels, rows)


# --- by hand


@pytest.mark.parametrize("space", [PCA(2), Squared()], ids=str)
def test_it_is_encoding_mixing_and_decoding(space: Space) -> None:
    """Eq. 8 and 9, row by row."""
    x, y = blobs()
    space.fit(x)
    mix = VarMixup(space, per="sample", n_classes=3, seed=0)
    batch = mix.draw(x, y)
    partner = (batch.x_b[:, None] == batch.x_a[None]).all(2).long().argmax(1)
    for i, j in enumerate(partner.tolist()):
        lam = batch.lam[i]
        z = lam * space.encode(x[i : i + 1]) + (1 - lam) * space.encode(x[j : j + 1])
        torch.testing.assert_close(mix.decode(batch)[i], space.decode(z)[0], rtol=1e-4, atol=1e-5)
        expected = lam * torch.eye(3)[y[i]] + (1 - lam) * torch.eye(3)[y[j]]
        torch.testing.assert_close(mix.label(batch)[i], expected)


def test_mixup_r_is_mixup_of_reconstructions() -> None:
    x, y = blobs()
    space = PCA(2).fit(x)
    reconstructed = space.decode(space.encode(x))
    points, labels = MixupR(space, per="sample", seed=4).fit(x, y)(x, y)
    expected, rows = vc.Mixup(per="sample", n_classes=3, seed=4)(reconstructed, y)
    assert torch.equal(points, expected)
    assert torch.equal(labels, rows)
    ready = MixupR(space, per="sample", n_classes=3, seed=4)
    assert not ready.learns()  # or images by the hundred thousand would be reconstructed to learn nothing
    assert torch.equal(ready(x, y)[0], points)
    assert ready.mixing_key() != MixupR(PCA(2).fit(x + x.square()), per="sample").mixing_key()
    curved = Squared().fit(x)
    mixed, _ = MixupR(curved, seed=4).fit(x, y)(x, y)
    codes, _ = VarMixup(curved, seed=4).fit(x, y)(x, y)
    assert not torch.allclose(mixed, codes)  # which differ where decoding is no straight line


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_posterior_labels_are_of_the_codes(covariance: str) -> None:
    """scipy's normal distributions at the mixed codes, fitted to the codes of the training rows."""
    x, y = blobs(300)
    space = PCA(2).fit(x)
    mix = VarMixup(space, density=Gaussian(covariance), gamma=0.7, seed=0).fit(x, y)
    batch = mix.draw(x, y)
    z = space.encode(x).double()
    log_prob = []
    for k in range(3):
        own = z[y == k]
        spread = torch.cov(own.T).numpy() * (1 if covariance == "full" else np.eye(2))
        log_prob.append(torch.as_tensor(multivariate_normal(own.mean(0).numpy(), spread).logpdf(batch.x.numpy())))
    posterior = torch.softmax(torch.stack(log_prob, 1), 1)
    lam = batch.lam[:, None].double()
    expected = 0.7 * posterior + 0.3 * (lam * batch.y_a + (1 - lam) * batch.y_b)
    torch.testing.assert_close(mix.label(batch).double(), expected, atol=1e-4, rtol=0)
    assert float((posterior - batch.y_a).abs().max()) > 0.5


# --- points drawn from the decoder's distribution


class Blurred(Identity):
    """Loses what a point has beyond a tenth, in the bounds of pixels."""

    bounds = (0.0, 1.0)

    def _encode(self, x: Tensor) -> Tensor:
        return (10 * x).round() / 10


def test_noise_is_as_large_as_the_residual() -> None:
    x, y = torch.rand(400, 12, generator=torch.Generator().manual_seed(0)), torch.arange(400) % 2
    space = Blurred().fit(x)
    assert space.residual_ == pytest.approx(0.1 / 12**0.5, rel=0.05)  # of a uniform rounding error
    drawn, mean = (VarMixup(space, per="sample", sample=sample, seed=1).fit(x, y) for sample in (True, False))
    for _ in range(3):  # the first draw is the same, as its noise is drawn last
        batch = drawn.draw(x, y)
        plain = space.decode(batch.x)
        points = drawn.decode(batch)
        assert torch.equal(drawn.label(batch), mean.label(batch))
        assert torch.equal(points, drawn.decode(batch))
        assert float(points.min()) >= 0
        assert float(points.max()) <= 1
        inside = (plain > 0.2) & (plain < 0.8)
        noise = ((points - plain)[inside] / space.residual_).numpy()
        assert kstest(noise, "norm").pvalue > 1e-3
    first, second = (VarMixup(space, per="sample", sample=s, seed=1).fit(x, y).draw(x, y) for s in (True, False))
    assert torch.equal(first.x, second.x)


# --- choices


def test_a_choice_draws_each_half_of_the_time_and_decodes_only_what_was_chosen() -> None:
    x, y = torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1])
    space = Counting().fit(x)
    half = vc.Vicinity(pairing=RollOne(), ratio=Fixed(0.25))
    curved = InSpace(Squared().fit(x), half)
    mix = vc.OneOf(half, InSpace(space, vc.Vicinity(ratio=Fixed(1.0))), curved, n_classes=2, seed=0)
    Counting.decoded, seen = 0, []
    for _ in range(600):
        points, labels = mix(x, y)
        seen.append(float(points[0, 0]))
        expected = {3.0: 0.25, 2.25: 0.25, 0.0: 1.0}[seen[-1]]  # a line; (3/4 of a root)^2; as it was
        assert float(labels[0, 0]) == expected
    for value in (3.0, 2.25, 0.0):
        assert binomtest(seen.count(value), 600, 1 / 3).pvalue > 1e-3
    assert Counting.decoded == 2 * seen.count(0.0)


def test_a_choice_inside_and_around_spaces() -> None:
    """Each leaf has a lam of its own; points and labels must be those of the leaf, whatever is around it."""
    x, y = torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1])
    curved = Squared().fit(x)
    first, second, third, fourth = (vc.Vicinity(pairing=RollOne(), ratio=Fixed(lam)) for lam in (0.9, 0.8, 0.7, 0.6))
    inside = InSpace(curved, vc.OneOf(first, second))
    mix: BaseVicinity = vc.OneOf(inside, vc.OneOf(third, InSpace(curved, fourth)), n_classes=2, seed=0)
    expected = {0.9: (2 * 0.1) ** 2, 0.8: (2 * 0.2) ** 2, 0.7: 4 * 0.3, 0.6: (2 * 0.4) ** 2}
    for made in (mix, clone(mix).fit(x, y)):
        seen = set()
        for _ in range(100):
            batch = made.draw(x, y)
            lam = round(float(batch.lam[0]), 3)
            assert float(made.decode(batch)[0, 0]) == pytest.approx(expected[lam], abs=1e-5)
            assert made.label(batch)[0].tolist() == pytest.approx([lam, 1 - lam], abs=1e-6)
            seen.add(lam)
        assert seen == set(expected)
    many = inside.draw_rows(inside.encode(x.expand(50, 2, 1)), torch.eye(2).expand(50, 2, 2), None, torch.Generator())
    points = inside.decode(many)[:, 0, 0]
    torch.testing.assert_close(points, (2 * (1 - many.lam[:, 0])).square())
    assert set(many.lam[:, 0].tolist()) == {torch.tensor(0.9).item(), torch.tensor(0.8).item()}


def test_a_choice_among_spaces_draws_one_batch_at_a_time() -> None:
    x, y = blobs()
    mix = vc.OneOf(vc.Mixup(), VarMixup(PCA(2))).fit(x, y)
    codes = mix.encode(x.view(3, 20, 5))
    with pytest.raises(InputError, match="a choice among spaces draws one batch at a time"):
        mix.draw_rows(codes, torch.eye(3)[y].view(3, 20, 3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: VarMixup(PCA(2), per="sample", sample=True, seed=0),
        lambda: vc.OneOf(vc.Mixup(per="sample"), VarMixup(PCA(2), density=Gaussian()), seed=0),
        lambda: InSpace(PCA(3), vc.OneOf(vc.CutMix(), vc.GenLabel()), sample=True, seed=0),
    ],
)
def test_parts_of_a_batch_are_those_of_the_whole(make: Any) -> None:
    """What several processes do: draw all, decode and label their own rows."""
    x, y = blobs()
    mix = make().fit(x, y)
    for _ in range(6):
        batch = mix.draw(x, y)
        parts = [batch.part(slice(start, stop)) for start, stop in ((0, 7), (7, 30), (30, 60))]
        torch.testing.assert_close(torch.cat([mix.decode(part) for part in parts]), mix.decode(batch))
        torch.testing.assert_close(torch.cat([mix.label(part) for part in parts]), mix.label(batch))
        assert [len(part.lam) for part in parts] == [7, 23, 30]


# --- fitting, keys, copies


def test_a_fitted_space_is_left_alone() -> None:
    x, y = blobs()
    space = PCA(2).fit(x + 7)
    directions = space.directions_.clone()
    for mix in (VarMixup(space), MixupR(space), vc.OneOf(vc.Mixup(), VarMixup(space))):
        fitted = clone(mix).fit(x, y)
        inner = fitted.vicinities_[1] if isinstance(fitted, vc.vicinity.Choice) else fitted
        assert (inner.space_.space_ if isinstance(inner.space_, Reconstructed) else inner.space_) is space
    assert torch.equal(space.directions_, directions)
    fresh = PCA(2)
    mix = VarMixup(fresh).fit(x, y)
    assert not fresh.fitted
    assert mix.space_.fitted
    assert VarMixup(space).learns() is False
    assert VarMixup(fresh).learns()
    assert VarMixup(space, density=Gaussian()).learns()


def test_mixing_keys_tell_spaces_apart() -> None:
    x, _ = blobs()
    spaces = [PCA(2).fit(x), PCA(2).fit(x + x.square()), PCA(2), PCA(3)]
    wrappers: list[Any] = [
        VarMixup,
        MixupR,
        partial(VarMixup, sample=True),
        partial(VarMixup, alpha=0.5),
        lambda space: vc.OneOf(vc.Mixup(), VarMixup(space)),
        lambda space: InSpace(Identity(), VarMixup(space)),
    ]
    keys = [wrap(space).mixing_key() for wrap in wrappers for space in spaces]
    assert len(set(keys)) == len(keys)
    assert VarMixup(spaces[0]).mixing_key() == VarMixup(clone(spaces[0]), density=Gaussian()).mixing_key()
    assert len({VarMixup(space).key() for space in spaces}) == 4


def test_pickled_and_saved(tmp_path: Any) -> None:
    x, y = blobs()
    mix = vc.OneOf(VarMixup(PCA(2).fit(x + 1), density=Gaussian(), sample=True), MixupR(PCA(3)), seed=1).fit(x, y)
    vc.save(mix, tmp_path / "mix")
    expected = [mix(x, y) for _ in range(4)]
    mix._stream = (None, None)
    for copy in (pickle.loads(pickle.dumps(mix)), vc.load(tmp_path / "mix")):
        for points, labels in expected:
            found = copy(x, y)
            assert torch.equal(found[0], points)
            assert torch.equal(found[1], labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (VarMixup(PCA(2), n_classes=3), r"this PCA is not fitted; call `fit\(x\)` first"),
        (VarMixup(PCA(2)), "the number of classes is not known; call `fit"),
        (lambda x, y: VarMixup(PCA(2)).fit(x, y)(x[:, :4], y), r"points must have the shape \(B, 5\) of this space"),
        (lambda x, y: VarMixup(PCA(2).fit(x[:, :4])).fit(x, y), r"points must have the shape \(B, 4\)"),
    ],
)
def test_messages(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(*blobs())


# --- in other people's loops


def loader_of(mix: BaseVicinity, persistent: bool) -> DataLoader[Any]:
    """The same eight rows in every batch, so that what differs was drawn."""
    x, y = blobs(8)
    dataset = TensorDataset(x.repeat(6, 1), y.repeat(6))
    return DataLoader(dataset, 8, collate_fn=mix.collate, num_workers=2, persistent_workers=persistent)


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("seed", [None, 3])
def test_workers_draw_anew_every_epoch(persistent: bool, seed: int | None) -> None:
    x, _ = blobs(8)
    mix = vc.OneOf(vc.Mixup(), VarMixup(PCA(4).fit(x)), n_classes=3, seed=seed)
    runs = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):
            torch.manual_seed(5)
            loader = loader_of(mix, persistent)
            runs.append([points for _ in range(2) for points, _ in loader])
    assert len(runs[0]) == 12
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    assert not any(torch.equal(a, b) for i, a in enumerate(runs[0]) for b in runs[0][:i])


@pytest.mark.parametrize("in_space", [False, True])
def test_torchvisions_training_recipe(in_space: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of its references/classification/train.py; at the same pairs and lam both train the same weights."""

    def trained(collate: Any) -> nn.Module:
        x, y = torch.rand(32, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 4
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
        criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=1e-4)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
        loader = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True, collate_fn=collate)
        for _ in range(3):
            for image, target in loader:
                loss = criterion(model(image), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            scheduler.step()
        return model

    theirs = v2.MixUp(num_classes=4, alpha=0.2)
    monkeypatch.setattr(theirs._dist, "sample", lambda shape: torch.tensor(0.37))

    def collate_fn(batch: Any) -> Any:
        return theirs(*default_collate(batch))

    space = Identity().fit(torch.zeros(1, 3, 6, 6))
    inner = vc.Vicinity(pairing=RollOne(), ratio=Fixed(0.37), n_classes=4)
    mix = InSpace(space, inner, n_classes=4) if in_space else inner
    expected, found = (trained(collate).state_dict() for collate in (collate_fn, mix.collate))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)
    batch = [(torch.rand(3, 6, 6), label % 4) for label in range(8)]
    for got, wanted in zip(mix.collate(batch), collate_fn(batch), strict=True):
        torch.testing.assert_close(got, wanted)
    trained(vc.Mixup(0.2, n_classes=4).collate)


@pytest.fixture(autouse=True)
def own_randomness() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield
