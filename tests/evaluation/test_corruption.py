"""Corruption scores against sums by hand, and the network left as it was."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from vicinal.core import InputError
from vicinal.evaluation import (
    CorruptedImages,
    CorruptionScores,
    corruption_accuracy,
    expected_calibration_error,
    predict,
)
from vicinal.networks import make_network


@dataclass(frozen=True)
class Noisy:
    """Images and uniform noise of a width that grows with severity; one corruption adds it, the other takes it away."""

    y: torch.Tensor
    corruptions: tuple[str, ...] = ("brighter", "darker")
    severities: tuple[int, ...] = (1, 3, 5)

    def batch(self, corruption: str, severity: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(severity)
        noise = 20 * severity * torch.rand(len(self.y), 1, 12, 12, generator=generator)
        base = 100 + 10 * self.y.reshape(-1, 1, 1, 1)
        return (base + (noise if corruption == "brighter" else -noise)).to(torch.uint8)


def benchmark(rows: int = 37) -> CorruptedImages:
    return Noisy(torch.arange(rows) % 3)


def scores(table: dict[str, dict[int, float]]) -> CorruptionScores:
    return CorruptionScores(table, {name: dict.fromkeys(row, 0.0) for name, row in table.items()})


@pytest.mark.parametrize("batch_size", [1, 10, 1000])
def test_every_cell_is_what_a_loop_over_images_gives(batch_size):
    network, corrupted = make_network("small-resnet", 3, channels=1, size=12), benchmark()
    found = corruption_accuracy(network, corrupted, batch_size=batch_size)
    network.eval()
    for corruption in corrupted.corruptions:
        for severity in corrupted.severities:
            x = corrupted.batch(corruption, severity).double() / 255
            with torch.no_grad():
                p = torch.cat([network(row[None].float()).double().softmax(1) for row in x]).numpy()
            right = sum(int(row.argmax() == label) for row, label in zip(p, corrupted.y, strict=True))
            assert found.accuracy[corruption][severity] == pytest.approx(right / len(p))
            ece = expected_calibration_error(p, corrupted.y.numpy())
            assert found.calibration[corruption][severity] == pytest.approx(ece, abs=1e-6)
    cells = [value for row in found.accuracy.values() for value in row.values()]
    assert len(cells) == 6
    assert found.mean == pytest.approx(np.mean(cells))
    assert found.ece == pytest.approx(np.mean([v for row in found.calibration.values() for v in row.values()]))


def test_means_by_hand():
    table = scores({"noise": {1: 0.9, 5: 0.5}, "blur": {1: 0.8, 5: 0.2}})
    assert table.mean == pytest.approx(0.6)
    assert table.per_corruption() == pytest.approx({"noise": 0.7, "blur": 0.5})
    assert table.per_severity() == pytest.approx({1: 0.85, 5: 0.35})


def test_mean_corruption_error_by_hand():
    ours = scores({"noise": {1: 0.9, 5: 0.5}, "blur": {1: 0.8, 5: 0.2}})
    theirs = scores({"blur": {1: 0.5, 5: 0.0}, "noise": {5: 0.1, 1: 0.7}})
    # noise: (0.1 + 0.5) / (0.3 + 0.9); blur: (0.2 + 0.8) / (0.5 + 1.0)
    assert ours.mce(theirs) == pytest.approx((0.6 / 1.2 + 1.0 / 1.5) / 2)
    assert ours.mce(ours) == pytest.approx(1)
    # The ratio of sums, not the mean of ratios, which would be (1/3 + 5/9) / 2 for noise.
    assert ours.mce(theirs) != pytest.approx(((1 / 3 + 5 / 9) / 2 + (0.4 + 0.8) / 2) / 2)


def test_predict_is_the_softmax_of_pixels_in_the_unit_interval():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    pixels = torch.randint(0, 256, (9, 3, 2, 2), dtype=torch.uint8)
    p = predict(network, pixels, batch_size=4)
    with torch.no_grad():
        z = network(pixels.float() / 255).double().numpy()
    expected = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p, expected, rtol=1e-6)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    np.testing.assert_array_equal(predict(network, pixels.float() / 255, batch_size=4), p)
    np.testing.assert_allclose(predict(network.double(), pixels), expected, rtol=1e-6)


def test_the_network_stays_as_it_was():
    network = make_network("small-resnet", 3, channels=1, size=12)
    network.layer1.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    corruption_accuracy(network, benchmark(5), device="cpu")
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    with pytest.raises(InputError):
        predict(nn.Sequential(network, nn.Unflatten(1, (3, 1))), torch.zeros(2, 1, 12, 12))
    assert [module.training for module in network.modules()] == modes


def test_another_device_gets_a_copy():
    class Asked(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.seen = []

        def forward(self, x):
            self.seen.append(x.device.type)
            return x.flatten(1)

    network = Asked()
    with pytest.raises(RuntimeError, match="meta"):  # where tensors have no numbers to check: it got there
        predict(network, torch.zeros(2, 3), device="meta")
    assert network.weight.device.type == "cpu"
    assert network.seen == []


class Broken(Noisy):
    def batch(self, corruption, severity):
        return super().batch(corruption, severity)[:-1]


class Floating(Noisy):
    def batch(self, corruption, severity):
        return super().batch(corruption, severity) / 255


FLAT = nn.Flatten()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: corruption_accuracy(FLAT, Noisy(torch.arange(3), corruptions=())),
            InputError,
            "`corrupted` must name at least one corruption and one severity",
        ),
        (
            lambda: corruption_accuracy(FLAT, Broken(torch.arange(3))),
            InputError,
            r"`corrupted` must give 3 images in uint8, .* got torch.uint8 and \(2, 1, 12, 12\) for 'brighter'",
        ),
        (lambda: corruption_accuracy(FLAT, Floating(torch.arange(3))), InputError, "in uint8, .* got torch.float32"),
        (
            lambda: corruption_accuracy(FLAT, Noisy(torch.tensor([0, 144]))),
            InputError,
            "`y` must lie in 0..143, got 0..144",
        ),
        (
            lambda: corruption_accuracy(FLAT, benchmark(), batch_size=0),
            InputError,
            r"`batch_size` must lie in \[1, inf\), got 0",
        ),
        (
            lambda: corruption_accuracy(FLAT, benchmark(), device="abacus"),
            InputError,
            "`device` must be one that torch",
        ),
        (
            lambda: predict(nn.Identity(), torch.zeros(2, 3, 2, 2)),
            InputError,
            r"logits of shape \(B, K\), got \(2, 3, 2, 2\)",
        ),
        (
            lambda: predict(FLAT, torch.full((2, 3), torch.nan)),
            InputError,
            "`network` must give finite logits, got NaN",
        ),
        (lambda: predict(FLAT, torch.zeros(0, 3)), InputError, r"`x` must have at least one row, .* got \(0, 3\)"),
        (lambda: predict(FLAT, torch.zeros(2, 3, dtype=torch.int64)), TypeError, "`x` must hold pixels in uint8"),
        (
            lambda: scores({"noise": {1: 0.5}}).mce(scores({"noise": {2: 0.5}})),
            InputError,
            r"`reference` must be scored on the same .* got noise \[2\] for noise \[1\]; score both",
        ),
        (
            lambda: scores({"noise": {1: 0.5}}).mce(scores({"noise": {1: 1.0}})),
            InputError,
            "`reference` must make errors on each corruption, got none on 'noise'",
        ),
    ],
)
def test_a_mistake_is_named_with_the_way_out(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
