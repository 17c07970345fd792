"""The autoencoder: sizes, bounds, and what it is at first."""

import pytest
import torch

from vicinal.networks import ConvolutionalAutoencoder


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "latent"),
    [
        ((28, 28), (16, 7, 7)),
        ((28, 28), (4, 14, 14)),
        ((30, 30), (5, 8, 8)),  # a quarter, rounded up
        ((9, 11), (2, 5, 6)),
        ((9, 11), (2, 3, 3)),
        ((9, 11), (2, 2, 2)),  # an eighth
        ((9, 11), (7,)),
        ((1, 1), (3,)),
        ((32, 20), (6, 2, 2)),  # a sixteenth
    ],
)
def test_sizes(channels: int, size: tuple[int, int], latent: tuple[int, ...]) -> None:
    network = ConvolutionalAutoencoder((channels, *size), latent, width=4, blocks=2)
    x = torch.rand(3, channels, *size, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(3, *latent, generator=torch.Generator().manual_seed(1))
    mean, log_variance, z, pixels = network(x, noise)
    assert mean.shape == log_variance.shape == z.shape == (3, *latent)
    assert pixels.shape == x.shape
    torch.testing.assert_close(z, mean + (log_variance / 2).exp() * noise)
    assert torch.equal(network.eval().decode(z), network.decode(z))


def test_pixels_and_variances_are_bounded() -> None:
    network = ConvolutionalAutoencoder((1, 8, 8), (2, 4, 4), width=4).eval()
    for value in (-1e6, 1e6):
        pixels = network.decode(torch.full((1, 2, 4, 4), value))
        assert bool(((pixels >= 0) & (pixels <= 1)).all())
    _, log_variance = network.encode(torch.full((1, 1, 8, 8), 1e9))
    assert bool(((log_variance >= -12) & (log_variance <= 4)).all())


def test_every_weight_learns() -> None:
    """None is left out of the way from image to image, once the residual blocks' last convolutions are not 0."""
    for latent in ((2, 2, 2), (5,)):
        network = ConvolutionalAutoencoder((1, 8, 8), latent, width=4)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        x = torch.rand(4, 1, 8, 8)
        torch.autograd.backward((network(x, torch.randn(4, *latent))[3] - x).square().sum())
        assert all(p.grad is not None and bool((p.grad != 0).any()) for p in network.parameters())


def test_padding_repeats_the_edge() -> None:
    """A 7 x 7 image is the 8 x 8 one whose last row and column are doubled."""
    small, large = (ConvolutionalAutoencoder((1, n, n), (2, 4, 4), width=4).eval() for n in (7, 8))
    large.load_state_dict(small.state_dict())
    x = torch.rand(2, 1, 7, 7)
    wide = torch.cat([x, x[:, :, -1:]], 2)
    wide = torch.cat([wide, wide[..., -1:]], 3)
    assert torch.equal(small.encode(x)[0], large.encode(wide)[0])


@pytest.mark.parametrize("latent", [(2, 3, 4), (2, 3), (0,), (2, 4, 4, 4), (2.5, 4, 4), ()])
def test_messages(latent: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`latent` must be .* among \[\(4, 4\), \(2, 2\), \(1, 1\)\] .*, got \("):
        ConvolutionalAutoencoder((1, 8, 8), latent)
