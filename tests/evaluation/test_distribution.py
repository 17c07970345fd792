"""Distances of image sets against scipy's square root, closed forms and a double loop over pairs."""

import hashlib
import sys
from urllib.error import URLError

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn

from vicinal.core import InputError
from vicinal.evaluation import fetch_inception, has_inception, image_distance, penultimate
from vicinal.networks import MLP, LeNet5, Normalized, SmallResNet

pytest.importorskip("torchmetrics")


def images(rows: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """(N, 1, 2, 2) pixels; `nn.Flatten` makes 4 features of them."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.tensor([[0.3, 0.1, 0.0, 0.0], [0.0, 0.2, 0.1, 0.0], [0.0, 0.0, 0.2, 0.1], [0.1, 0.0, 0.0, 0.2]])
    return (torch.rand(rows, 4, generator=generator) @ mixing + shift).reshape(-1, 1, 2, 2)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy, pair by pair."""

    def k(u: np.ndarray, v: np.ndarray) -> float:
        return float((u @ v / len(u) + 1) ** 3)

    n, m = len(a), len(b)
    within_a = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_a + within_b - 2 * sum(k(u, v) for u in a for v in b) / (n * m)


def test_fid_and_kid_are_their_formulas():
    real, fake = images(40, 0), images(40, 1, shift=0.2)
    found = image_distance(real, fake, nn.Flatten(), kid_subset_size=40, kid_subsets=3, batch_size=7)
    a, b = (x.flatten(1).double().numpy() for x in (real, fake))
    assert found.fid == pytest.approx(frechet(a, b), rel=1e-6)
    # Each subset is the whole set, so all give one value.
    assert found.kid == pytest.approx(kernel_distance(a, b), rel=1e-9)
    assert found.kid_std == pytest.approx(0, abs=1e-12)
    assert found.features == "Flatten, 4 features"


def test_the_distance_of_shifted_sets_is_the_square_of_the_shift():
    real = images(50, 0)
    found = image_distance(real, real + 0.25, nn.Flatten(), kid_subset_size=10)
    assert found.fid == pytest.approx(4 * 0.25**2, rel=1e-5)
    assert found.kid > 0


def test_the_distance_of_scaled_sets_is_that_of_their_standard_deviations():
    # With the same mean and covariances S and s^2 S, the distance is (1 - s)^2 tr S.
    real = images(50, 0)
    mean = real.mean(0)
    found = image_distance(real, mean + 0.5 * (real - mean), nn.Flatten(), kid_subset_size=10)
    assert found.fid == pytest.approx(0.25 * float(np.trace(np.cov(real.flatten(1).double().numpy().T))), rel=1e-5)


def test_a_set_is_at_no_distance_from_itself():
    real = images(60, 0)
    found = image_distance(real, real.flip(0), nn.Flatten(), kid_subset_size=60, kid_subsets=1)
    assert 0 <= found.fid < 1e-7
    assert abs(found.kid) < 0.02  # unbiased: without the pairs of a row with itself it is not exactly 0
    others = [
        image_distance(real, images(60, s), nn.Flatten(), kid_subset_size=60, kid_subsets=1).kid for s in range(1, 9)
    ]
    assert min(others) < 0 < max(others)


def test_subsets_come_from_the_seed_and_torchs_state_stays():
    real, fake = images(30, 0), images(35, 1)
    state = torch.get_rng_state()
    a, b, c = (image_distance(real, fake, nn.Flatten(), kid_subset_size=10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert a == b
    assert a.kid != c.kid
    assert a.fid == c.fid
    assert a.kid_std > 0


def test_pixels_in_bytes_are_pixels_in_the_unit_interval():
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randint(0, 256, (20, 1, 2, 2), generator=generator).to(torch.uint8) for _ in range(2))
    a = image_distance(real, fake, nn.Flatten(), kid_subset_size=20)
    b = image_distance(real.float() / 255, fake.float() / 255, nn.Flatten(), kid_subset_size=20)
    assert (a.fid, a.kid) == (b.fid, b.kid)


def test_features_are_those_before_the_last_layer():
    x = torch.rand(5, 3, 16, 16)
    network = SmallResNet(4)
    features = penultimate(network)
    assert features.num_features == 64
    assert penultimate(Normalized(network, 0.5, 0.5)).label == features.label == "penultimate layer of SmallResNet"
    network.eval()
    torch.testing.assert_close(network.fc(features(x)), network(x))
    assert not network.fc._forward_pre_hooks
    lenet = LeNet5(4, channels=3, size=16)
    torch.testing.assert_close(lenet.fc(penultimate(lenet)(x)), lenet(x))
    line = nn.Linear(4, 2)
    torch.testing.assert_close(penultimate(line)(torch.ones(1, 4)), torch.ones(1, 4))
    features.train()
    found = image_distance(x, x.flip(3), features, kid_subset_size=5)
    assert found.features == "penultimate layer of SmallResNet, 64 features"
    assert network.training


@pytest.fixture
def inception(tmp_path, monkeypatch):
    """Random weights of Inception v3 where torch.hub would keep the real ones; returns the file and torch-fidelity's module."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with monkeypatch.context() as context, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        context.setattr(module, "load_state_dict_from_url", lambda *given, **named: {})
        context.setattr(nn.Module, "load_state_dict", lambda *given, **named: None)
        extractor = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    draft = tmp_path / "draft.pth"
    torch.save(extractor.state_dict(), draft)
    digits = hashlib.sha256(draft.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(module, "URL_INCEPTION_V3", f"https://example.org/weights-{digits}.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    path = tmp_path / "hub" / "checkpoints" / f"weights-{digits}.pth"
    path.parent.mkdir(parents=True)
    return draft, path, extractor


@pytest.mark.slow
def test_inception_is_torch_fidelitys(inception):
    from vicinal.evaluation.inception import Inception

    draft, path, extractor = inception
    draft.rename(path)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    ours = Inception(download=False)
    torch.testing.assert_close(ours(pixels.float() / 255), extractor(pixels)[0], rtol=0, atol=0)
    gray = pixels[:, :1]
    torch.testing.assert_close(ours(gray.float() / 255), extractor(gray.repeat(1, 3, 1, 1))[0], rtol=0, atol=0)
    path.write_bytes(b"torn")
    with pytest.raises(
        InputError, match=r"must have a SHA-256 that begins with .* delete the file, then fetch it again"
    ):
        Inception(download=False)


@pytest.mark.slow
def test_weights_are_fetched_only_when_asked_for(inception, monkeypatch):
    from vicinal.evaluation.inception import Inception

    draft, path, _ = inception
    asked = []

    def fetch(url, target, hash_prefix):
        asked.append((url, hash_prefix))
        draft.rename(target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(
        InputError, match=r"`network` must be given, as the weights .* give `penultimate\(classifier\)`, or"
    ):
        image_distance(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), kid_subset_size=2)
    assert asked == []
    assert not has_inception()
    assert fetch_inception() == path
    assert has_inception()
    Inception(download=True)
    assert asked == [(f"https://example.org/{path.name}", path.stem.removeprefix("weights-"))]


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("invalid hash value")], ids=str)
def test_weights_that_cannot_be_fetched(error, tmp_path, monkeypatch):
    def refuse(*given, **named):
        raise error

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    said = r"can't be fetched \(.*(no route|hash).*\); try again, or put https://.* at .*\.pth in another way"
    with pytest.raises(InputError, match=said):
        fetch_inception()


PAIR = torch.rand(4, 1, 2, 2)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: image_distance(PAIR, PAIR[:1], nn.Flatten()),
            InputError,
            r"`fake` must have at least two images, .* got \(1, 1, 2, 2\)",
        ),
        (lambda: image_distance(PAIR[0], PAIR, nn.Flatten()), InputError, "`real` must have at least two images"),
        (
            lambda: image_distance(PAIR.numpy(), PAIR, nn.Flatten()),
            TypeError,
            "`real` must be a tensor of images, .* got ndarray",
        ),
        (lambda: image_distance(PAIR.long(), PAIR, nn.Flatten()), TypeError, "uint8 or floating, got torch.int64"),
        (
            lambda: image_distance(PAIR + 3, PAIR, nn.Flatten()),
            InputError,
            r"`real` must hold pixels in \[0, 1\], got 3",
        ),
        (
            lambda: image_distance(PAIR, PAIR[..., :1], nn.Flatten()),
            InputError,
            r"`fake` must have images of shape \(1, 2, 2\) as",
        ),
        (
            lambda: image_distance(PAIR, PAIR, nn.Flatten()),
            InputError,
            "`kid_subset_size` must not exceed the 4 images .* got 1000; give a smaller one",
        ),
        (
            lambda: image_distance(PAIR, PAIR, nn.Flatten(), kid_subset_size=1),
            InputError,
            r"`kid_subset_size` must lie in \[2, inf\), got 1",
        ),
        (lambda: image_distance(PAIR, PAIR, nn.Flatten(), kid_subsets=0), InputError, "`kid_subsets` must lie in"),
        (lambda: image_distance(PAIR, PAIR, nn.Flatten(), batch_size=0), InputError, "`batch_size` must lie in"),
        (lambda: image_distance(PAIR, PAIR, nn.Flatten(), seed=-1), InputError, "`seed` must lie in"),
        (
            lambda: image_distance(PAIR, PAIR, nn.Identity(), kid_subset_size=4),
            InputError,
            r"features of shape \(B, D\), got \(4, 1, 2, 2\); see `penultimate`",
        ),
        (
            lambda: image_distance(
                PAIR,
                PAIR,
                nn.Sequential(nn.Flatten(), MLP.from_parameters([torch.full((2, 4), torch.inf), torch.zeros(2)])),
                kid_subset_size=4,
            ),
            InputError,
            "`network` must give finite features",
        ),
        (
            lambda: image_distance(torch.rand(2, 2, 4, 4), torch.rand(2, 2, 4, 4), kid_subset_size=2),
            InputError,
            "must have 1 or 3 channels for Inception v3, got 2 and 2; give a `network`",
        ),
        (
            lambda: penultimate(nn.Flatten()),
            InputError,
            "`network` must have an nn.Linear at its end, got Flatten without",
        ),
        (
            lambda: penultimate(Unused())(torch.rand(1, 4)),
            InputError,
            "`network` must use its last nn.Linear, 'layer', but",
        ),
    ],
)
def test_a_mistake_is_named_with_the_way_out(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_missing_library_names_its_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(ImportError, match=r"pip install 'vicinal\[images\]'"):
        image_distance(PAIR, PAIR, nn.Flatten(), kid_subset_size=4)
