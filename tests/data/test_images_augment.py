import numpy as np
import pytest
import torch
from scipy import stats

from vicinal.core import InputError, draw_uniform
from vicinal.data.images import augment


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize(("pad", "flip"), [(4, True), (2, False), (0, True), (0, False)])
def test_it_is_a_loop_over_images(dtype, pad, flip):
    x = torch.randint(0, 256, (40, 3, 9, 7), generator=torch.Generator().manual_seed(0)).to(dtype)
    out = augment(x, torch.Generator().manual_seed(5), pad=pad, flip=flip)
    assert out.dtype == dtype
    down, right, mirrored = draw_uniform((3, 40), x, torch.Generator().manual_seed(5)).tolist()
    for b in range(40):
        image = np.pad(x[b].numpy(), ((0, 0), (pad, pad), (pad, pad)))
        i, j = int(down[b] * (2 * pad + 1)), int(right[b] * (2 * pad + 1))
        expected = image[:, i : i + 9, j : j + 7]
        if flip and mirrored[b] < 0.5:
            expected = expected[:, :, ::-1]
        assert np.array_equal(out[b].numpy(), expected)


def test_draws_are_uniform_and_each_images_own():
    n, pad = 6000, 2
    x = torch.zeros(n, 1, 9, 9)
    x[:, 0, 4, 3] = 1  # off the middle column, to tell mirrored images
    out = augment(x, torch.Generator().manual_seed(0), pad=pad)
    row, column = out.flatten(1).argmax(1) // 9, out.flatten(1).argmax(1) % 9
    moved = torch.bincount(4 - row + pad, minlength=5)
    assert stats.chisquare(moved).pvalue > 0.001
    # Columns: 3 - v unmirrored, 5 + v mirrored, with v in -2..2.
    expected = np.bincount(np.r_[3 - np.arange(-2, 3), 5 + np.arange(-2, 3)], minlength=9)
    seen = torch.bincount(column, minlength=9).numpy()
    assert seen[expected == 0].sum() == 0
    assert stats.chisquare(seen[expected > 0], expected[expected > 0] * n / 10).pvalue > 0.001


def test_no_shift_and_no_flip_change_nothing():
    x = torch.rand(4, 1, 6, 6)
    assert torch.equal(augment(x, None, pad=0, flip=False), x)
    assert augment(x[:0], None).shape == (0, 1, 6, 6)


def test_what_is_wrong_is_said():
    with pytest.raises(InputError, match=r"shape \(B, C, H, W\), got \(3, 4, 4\)"):
        augment(torch.rand(3, 4, 4), None)
    with pytest.raises(InputError, match=r"`pad` must lie in \[0, inf\), got -1"):
        augment(torch.rand(1, 3, 4, 4), None, pad=-1)
