"""Seeds are a function of named axes, the same everywhere and for ever."""

import hashlib

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from vicinal.core import draw_uniform, generator_at, seed_at


def test_known_seeds() -> None:
    """Hard-coded: a change here changes every published number."""
    assert seed_at() == 68639833004390057
    assert seed_at(dataset="iris", trial=0, fold=1, purpose="order") == 8363656570324289432


def test_a_seed_is_the_hash_of_sorted_json() -> None:
    digest = hashlib.blake2b(b'{"fold":1,"trial":0}', digest_size=8).digest()
    assert seed_at(trial=0, fold=1) == int.from_bytes(digest, "big") // 2


@given(st.dictionaries(st.sampled_from(["trial", "fold", "purpose", "lr"]), st.integers() | st.text() | st.none()))
def test_order_of_axes_and_numpys_types_do_not_matter(axes: dict[str, int | str | None]) -> None:
    seed = seed_at(**axes)
    assert seed == seed_at(**dict(reversed(axes.items())))
    assert 0 <= seed < 2**63


def test_numpy_numbers_are_numbers() -> None:
    assert seed_at(trial=np.int64(3), lr=np.float64(0.1)) == seed_at(trial=3, lr=0.1)


def test_neighbouring_addresses_do_not_collide() -> None:
    seeds = {seed_at(trial=trial, fold=fold) for trial in range(100) for fold in range(100)}
    assert len(seeds) == 10_000


def test_generators_share_nothing_with_torchs_state() -> None:
    state = torch.random.get_rng_state()
    torch.rand(3, generator=generator_at(trial=1))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_uniform_numbers_are_uniform() -> None:
    drawn = draw_uniform((5000,), torch.empty(0), generator_at(purpose="test"))
    assert kstest(drawn.numpy(), "uniform").pvalue > 1e-3
    torch.manual_seed(0)
    assert kstest(draw_uniform((5000,), torch.empty(0), None).numpy(), "uniform").pvalue > 1e-3
