"""The MMD-VAE: its loss by hand, its adversarial points, and what training it gives."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.base import clone
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import vicinal as vc
from vicinal.core import InputError, generator_at
from vicinal.core.loop import Batch, DivergedError, LoopProgress
from vicinal.networks import ConvolutionalAutoencoder
from vicinal.spaces import MMDVAE
from vicinal.spaces.mmd_vae import VAETask

SMALL: dict[str, Any] = {"latent": (3, 4, 4), "width": 8, "device": "cpu"}


def bumps(n: int = 64, size: int = 8) -> Tensor:
    """A smooth bump somewhere: two numbers tell all of an image."""
    centre = 1 + (size - 3) * torch.rand(n, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    grid = torch.arange(size)
    squared = (grid[:, None] - centre[:, 0]).square() + (grid[None, :] - centre[:, 1]).square()
    return torch.exp(-squared / 4)[:, None]


def task_of(space: MMDVAE, x: Tensor) -> VAETask:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = ConvolutionalAutoencoder((1, 8, 8), (3, 4, 4), 8, 1)
        for parameter in module.parameters():  # the last convolutions start at 0
            torch.nn.init.normal_(parameter, std=0.3)
    return VAETask(space, module, x)


def batch_of(index: Tensor, part: slice | None = None) -> Batch:
    return Batch(index, part or slice(None), generator_at(purpose="test"), torch.device("cpu"))


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """Gretton et al.'s unbiased estimate, from distances between all pairs, for the mean of three kernels."""

    def kernel(u: Tensor, v: Tensor) -> Tensor:
        squared = torch.cdist(u, v, compute_mode="donot_use_mm_for_euclid_dist").square() / u.shape[1]
        return sum(torch.exp(-squared / (2 * h)) for h in (0.5, 1.0, 2.0)) / 3

    n, m = len(a), len(b)
    within = (kernel(a, a).sum() - n) / (n * (n - 1)) + (kernel(b, b).sum() - m) / (m * (m - 1))
    return within - 2 * kernel(a, b).mean()


@pytest.mark.parametrize("divergence", ["mmd", "kl"])
@pytest.mark.parametrize("part", [slice(0, 20), slice(5, 12)])
def test_the_loss_is_the_papers(divergence: str, part: slice) -> None:
    """Eq. 7 and Eq. 6 up to sign and the Gaussian's constant, at the same draws, from the network's own parts."""
    x, index = bumps(), torch.randperm(64, generator=torch.Generator().manual_seed(1))[:20]
    space = MMDVAE(divergence=divergence, gamma=3.0, variance=0.04, **SMALL)
    task = task_of(space, x)
    found = task.loss(task.module, batch_of(index, part))
    generator = generator_at(purpose="test")
    noise, prior = (torch.randn(20, 3, 4, 4, generator=generator)[part] for _ in range(2))
    own = x[index][part]
    mean, log_variance = task.module.encoder(own).chunk(2, 1)
    posterior = Normal(mean, (log_variance.clamp(-12, 4) / 2).exp())
    z = posterior.mean + posterior.stddev * noise
    pixels = torch.sigmoid(task.module.decoder(z))
    likelihood = Normal(pixels, 0.2).log_prob(own) - Normal(own, 0.2).log_prob(own)
    if divergence == "mmd":
        distance = mmd(z.flatten(1), prior.flatten(1))
    else:
        distance = kl_divergence(posterior, Normal(0.0, 1.0)).flatten(1).sum(1).mean()
    expected = 3.0 * distance - likelihood.flatten(1).sum(1).mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("epsilon", [0.03, 0.5])
def test_adversarial_points(epsilon: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eq. 10: in the ball and among images exactly, of a larger loss than the start; the search leaves no trace."""
    x, index = bumps(), torch.arange(24)
    space = MMDVAE(epsilon=epsilon, attack_steps=3, **SMALL)
    task, seen = task_of(space, x), []
    search = task._worst
    before = {name: value.clone() for name, value in task.module.named_buffers()}

    def watched(own: Tensor, noise: Tensor, prior: Tensor, start: Tensor) -> Tensor:
        worst = search(own, noise, prior, start)
        seen.append((own, noise, prior, start, worst))
        assert all(torch.equal(value, before[name]) for name, value in task.module.named_buffers())
        assert task.module.training
        assert all(parameter.grad is None for parameter in task.module.parameters())
        return worst

    monkeypatch.setattr(task, "_worst", watched)
    loss = task.loss(task.module, batch_of(index))
    ((own, noise, prior, start, worst),) = seen
    assert torch.equal(own, x[index])
    assert not worst.requires_grad
    assert float(worst.min()) >= 0
    assert float(worst.max()) <= 1
    low, high = (own - epsilon).clamp(min=0), (own + epsilon).clamp(max=1)
    assert bool(((worst >= low) & (worst <= high)).all())
    assert float((worst - own).abs().max()) == pytest.approx(epsilon, abs=1e-6)
    task.module.eval()
    begun = torch.lerp(low, high, start)
    with torch.no_grad():
        values = [float(task._value(task.module, points, noise, prior)) for points in (own, begun, worst)]
    assert values[2] > values[1]
    assert values[2] > values[0]
    task.module.load_state_dict({**task.module.state_dict(), **before})
    task.module.train()
    torch.testing.assert_close(loss, task._value(task.module, worst, noise, prior))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"epsilon": 0.05, "attack_steps": 1}, {"latent": (8,)}], ids=str)
def test_it_learns(options: dict[str, Any]) -> None:
    """Better than the mean image, whose error is the pixels' variance; and the history says so."""
    x, losses = bumps(192), []
    space = MMDVAE(**{**SMALL, "epochs": 15, "batch_size": 24, "learning_rate": 0.01, "gamma": 1.0, **options})
    space.fit(x, tell=lambda progress: losses.append(dict(progress.scores)))
    fresh = bumps(400)[192:]
    variance = float((fresh - x.mean(0)).square().flatten(1).sum(1).mean())
    assert space.reconstruction_error(fresh) < 0.5 * variance
    errors = [scores["error"] for scores in losses if scores]
    assert errors[-1] < 0.5 * errors[0]
    assert errors[-1] == pytest.approx(space.reconstruction_error(x), rel=1e-3)


def test_bytes_are_pixels() -> None:
    x = (255 * bumps(32)).to(torch.uint8)
    first, second = (MMDVAE(epochs=1, **SMALL).fit(part) for part in (x, x.float() / 255))
    assert torch.equal(first.encode(x.float() / 255), second.encode(x.float() / 255))
    assert first.residual_ == second.residual_


def test_seeds() -> None:
    x = bumps(32)
    first, again, other = (MMDVAE(epochs=1, seed=seed, **SMALL).fit(x) for seed in (3, 3, 4))
    for name, value in first.weights_.items():
        assert torch.equal(again.weights_[name], value)
    assert not torch.equal(first.encode(x), other.encode(x))
    assert first.key() == again.key()


def test_a_last_batch_of_one_image_is_left_out() -> None:
    """One image has no discrepancy; it would end the training as NaN."""
    space = MMDVAE(epochs=1, batch_size=16, **SMALL).fit(bumps(33))
    assert all(bool(value.isfinite().all()) for value in space.weights_.values())


def test_it_goes_on_from_its_folder(tmp_path: Path) -> None:
    x, options = bumps(40), {"epochs": 3, "batch_size": 10, **SMALL}

    class PowerCutError(Exception):
        pass

    def die(progress: LoopProgress) -> None:
        if progress.epoch == 2:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        MMDVAE(**options).fit(x, folder=tmp_path, tell=die)
    told: list[LoopProgress] = []
    space = MMDVAE(**options).fit(x, folder=tmp_path, tell=told.append, name="bumps")
    assert min(progress.epoch for progress in told) == 2
    whole = MMDVAE(**options).fit(x)
    assert torch.equal(space.encode(x), whole.encode(x))
    assert space.key() == whole.key()
    assert (space.trained_on_, space.shape_, space.code_shape_) == ("bumps", (1, 8, 8), (3, 4, 4))
    again = space.fit(x, folder=tmp_path)  # a fitted one, from what is finished
    assert torch.equal(again.encode(x), whole.encode(x))
    said = r"other images \(40 of bumps, 1 x 8 x 8, here 30 of unnamed images, 1 x 8 x 8\)"
    with pytest.raises(InputError, match=said):
        MMDVAE(**options).fit(1 - x[:30], folder=tmp_path)
    with pytest.raises(InputError, match=r"another `task.space.gamma` \(10.0, here 1\)"):
        MMDVAE(gamma=1, **options).fit(x, folder=tmp_path)


def test_loading_draws_nothing(tmp_path: Path) -> None:
    """A space that was loaded is no other than the one that was trained, in torch's own randomness either."""
    x = bumps(32)
    vc.save(MMDVAE(epochs=1, **SMALL).fit(x), tmp_path / "space")
    state = torch.random.get_rng_state()
    space = vc.load(tmp_path / "space")
    space.encode(x)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert clone(space) is space


@pytest.mark.parametrize(
    ("options", "x", "message"),
    [
        ({}, bumps()[:, 0], r"`x` must be at least 2 images \(N, C, H, W\), got \(64, 8, 8\); add the channels' axis"),
        ({}, bumps(1), "`x` must be at least 2 images"),
        ({}, 255 * bumps(), r"`x` must hold pixels in \[0, 1\], got .* to 255; rescale"),
        ({}, bumps() - 0.5, r"`x` must hold pixels in \[0, 1\], got -0.5"),
        ({}, bumps().long(), "`x` must hold floating pixels in .* or bytes, got torch.int64"),
        ({"divergence": "wasserstein"}, bumps(), "`divergence` must be one of 'mmd', 'kl'"),
        ({"gamma": -1}, bumps(), r"`gamma` must lie in \[0"),
        ({"variance": 0}, bumps(), r"`variance` must lie in \(0"),
        ({"epsilon": 2}, bumps(), r"`epsilon` must lie in \[0, 1\]"),
        ({"attack_steps": 0}, bumps(), r"`attack_steps` must lie in \[1"),
        ({"width": 0}, bumps(), r"`width` must lie in \[1"),
        ({"blocks": -1}, bumps(), r"`blocks` must lie in \[0"),
        ({"bandwidths": ()}, bumps(), "`bandwidths` must hold one number or more"),
        ({"bandwidths": (1.0, 0)}, bumps(), r"`bandwidths` must lie in \(0"),
        (
            {"latent": (3, 5, 5)},
            bumps(),
            r"`latent` must be \(channels, rows, columns\).*\(4, 4\).* or \(D,\) for a flat",
        ),
        ({"latent": (3, 4)}, bumps(), "`latent` must be"),
        ({"latent": (0, 4, 4)}, bumps(), "`latent` must be .* got .0, 4, 4"),
        ({"latent": ()}, bumps(), "`latent` must be"),
        ({"batch_size": 1}, bumps(), r"`batch_size` must be at least 2 \(2 for each part"),
    ],
)
def test_messages(options: dict[str, Any], x: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MMDVAE(**{"epochs": 1, **SMALL, **options}).fit(x)


def test_a_training_that_diverges_leaves_no_space(tmp_path: Path) -> None:
    x = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    space = MMDVAE(latent=(4, 4, 4), width=8, epochs=2, batch_size=8, learning_rate=1e30, device="cpu")
    with pytest.raises(DivergedError, match="Lower the learning rate"):
        space.fit(x, folder=tmp_path)
    assert not space.fitted
