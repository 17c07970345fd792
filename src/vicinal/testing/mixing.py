"""The contracts of pairings, ratios and mixers."""

from collections.abc import Callable
from typing import Any, cast

import torch
from scipy.stats import kstest
from torch import Tensor

from vicinal.mixing import Mixer, Pairing, Ratio
from vicinal.testing.components import FLOATS, ROUNDING, assert_close, check_component, label_rows, table

__all__ = ["check_mixer", "check_pairing", "check_ratio"]


def check_pairing(pairing: Pairing, allowed: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
    """Check all that a pairing promises.

    - Partners are int64 indices (..., B) into the same batch, for rows of any shape and dtype, no rows included.
    - Batches drawn at once are paired each within itself; a row that pads its batch is nobody's partner but its own.
    - Partners are as `allowed` says; a row without such a partner gets itself.
    - The same generator draws the same partners, and without one `torch.manual_seed` decides.

    Args:
        pairing: never changed.
        allowed: takes x (B, D) and label rows y (B, K) and returns (B, B) booleans: whether row j may be the partner of
            row i. Default: every row may.

    Raises:
        AssertionError: the pairing breaks the contract; the message says how.

    Examples:
        >>> from vicinal.mixing import DifferentClass
        >>> check_pairing(DifferentClass(), allowed=lambda x, y: y @ y.T == 0)
    """
    name = type(pairing).__name__
    for dtype in FLOATS:
        for lead, b in (((), 9), ((), 1), ((), 0), ((5,), 9), ((2, 3), 4), ((4,), 1)):
            x, rows = _batches(lead, b, dtype)
            seen = (x.clone(), rows.clone())
            for some in (None, _ragged(lead, b)):
                partner = pairing.draw(x, rows, some, _generator(0))
                what = f"{name}, {tuple(rows.shape[:-1])} rows of {dtype}"
                assert partner.shape == rows.shape[:-1], (
                    f"{what}: partners must be (..., B), got {tuple(partner.shape)}."
                )
                assert partner.dtype == torch.int64, f"{what}: partners must be int64 indices, got {partner.dtype}."
                _check_partners(what, partner, (x, rows, some), allowed)
                assert_close(
                    pairing.draw(x, rows, some, _generator(0)), partner, f"{what}: a seed must fix the draws", 0.0
                )
            assert torch.equal(x, seen[0]), f"{name}: must leave the points as they are."
            assert torch.equal(rows, seen[1]), f"{name}: must leave the label rows as they are."
    x, rows = _batches((), 8, torch.float32)
    flat, image = (pairing.draw(part, rows, None, _generator(0)) for part in (x, x.reshape(8, 1, 2, 2)))
    assert_close(image, flat, f"{name}: rows of any shape must pair as flat rows do", 0.0)
    _check_global(name, lambda: pairing.draw(x, rows, None, None))
    check_component(pairing, lambda _: None, lambda part: part.draw(x, rows, None, _generator(0)))


def _batches(lead: tuple[int, ...], b: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    n = torch.Size(lead).numel() * b
    x, y = table(n, 4, 3)
    y = y[torch.randperm(n, generator=_generator(5))]
    return x.to(dtype).reshape(*lead, b, 4), label_rows(y, 3, dtype).reshape(*lead, b, 3)


def _ragged(lead: tuple[int, ...], b: int) -> Tensor:
    """Return which rows are real, (..., B): in some batches none, in others some or all, not always the first ones."""
    n = torch.Size(lead).numel()
    keys = torch.rand(n, b, generator=_generator(6))
    return (keys < torch.linspace(0, 1, n)[:, None] if n > 1 else keys < 0.6).reshape(*lead, b)


def _check_partners(
    what: str,
    partner: Tensor,
    batch: tuple[Tensor, Tensor, Tensor | None],
    allowed: Callable[[Tensor, Tensor], Tensor] | None,
) -> None:
    """Check one batch after another against the table of who may mix with whom."""
    x, rows, valid = batch
    b = rows.shape[-2]
    if b == 0:
        return
    assert 0 <= int(partner.min()) <= int(partner.max()) < b, f"{what}: partners must lie in 0..{b - 1}."
    good = torch.ones(partner.shape, dtype=torch.bool) if valid is None else valid
    lots = zip(partner.reshape(-1, b), x.reshape(-1, b, 4), rows.reshape(-1, b, 3), good.reshape(-1, b), strict=True)
    for own, x_one, rows_one, valid_one in lots:
        may = torch.ones(b, b, dtype=torch.bool) if allowed is None else allowed(x_one, rows_one)
        may = may & valid_one
        itself = own == torch.arange(b)
        fine = may[torch.arange(b), own]
        assert bool((fine | itself)[~valid_one].all()), (
            f"{what}: a padding row may only pair with a real row or itself."
        )
        wrong = (~fine & ~(itself & ~may.any(1)) & valid_one).nonzero()
        assert len(wrong) == 0, f"{what}: row {int(wrong[0])} got partner {int(own[wrong[0]])}, which is not allowed."


def check_ratio(ratio: Ratio, cdf: Callable[[Tensor], Tensor] | None = None) -> None:
    """Check all that a ratio promises.

    - lam lies in [0, 1], in the shape asked for, in the dtype of `like`, for any float dtype.
    - The same generator draws the same lam, and without one `torch.manual_seed` decides.
    - Over many batches, the first row's lam follows `cdf` (Kolmogorov-Smirnov), and so does the last row's.

    Args:
        ratio: never changed.
        cdf: the distribution function that lam is said to have; None skips the last check.

    Raises:
        AssertionError: the ratio breaks the contract; the message says how.

    Examples:
        >>> from scipy.stats import beta
        >>> from vicinal.mixing import Beta
        >>> check_ratio(Beta(0.4), cdf=beta(0.4, 0.4).cdf)
    """
    name = type(ratio).__name__
    for dtype in FLOATS:
        for shape in ((7,), (1,), (0,), (3, 5), (2, 3, 4), (400, 3)):
            lam = ratio.draw(shape, torch.empty(0, dtype=dtype), _generator(0))
            assert lam.shape == shape, f"{name}: lam must be {shape}, got {tuple(lam.shape)}."
            assert lam.dtype == dtype, f"{name}: lam must come in the dtype of `like`, {dtype}, got {lam.dtype}."
            assert bool(((lam >= 0) & (lam <= 1)).all()), f"{name}: lam must lie in [0, 1]."
            again = ratio.draw(shape, torch.empty(0, dtype=dtype), _generator(0))
            assert_close(again, lam, f"{name}: a seed must fix the draws", 0.0)
    like = torch.empty(0, dtype=torch.float64)
    _check_global(name, lambda: ratio.draw((50, 2), like, None))
    check_component(ratio, lambda _: None, lambda part: part.draw((5, 2), like, _generator(0)))
    if cdf is not None:
        for generator in (_generator(1), None):
            torch.manual_seed(1)
            lam = ratio.draw((4000, 3), like, generator)
            for row in (0, 2):
                p = float(kstest(lam[:, row].numpy(), cast(Any, cdf)).pvalue)
                assert p > 1e-4, f"{name}: lam does not follow the distribution it is said to have (p = {p:.2g})."


def check_mixer(mixer: Mixer, between: bool = True) -> None:
    """Check all that a mixer promises.

    - Points keep the endpoints' shape and dtype, lam its own, in [0, 1]; all is finite, and the endpoints stay.
    - The same generator draws the same points, and without one `torch.manual_seed` decides.
    - Where `between`: every feature lies between the endpoints' own, equal endpoints give the same point back, and
      between a row of zeros and a row of ones the mean feature is 1 - lam: the lam that comes back is the share kept.

    Args:
        mixer: never changed.
        between: whether it mixes in the space of the points (and not, say, in a latent one).

    Raises:
        AssertionError: the mixer breaks the contract; the message says how.

    Examples:
        >>> from vicinal.mixing import CutMixer
        >>> check_mixer(CutMixer())
    """
    name = type(mixer).__name__
    for dtype in FLOATS:
        for features in ((12,), (1,), (3, 6, 5), (1, 4, 4)):
            for shape in ((11,), (1,), (0,), (3, 11), (2, 2, 3)):
                generator = _generator(4)
                x_a, x_b = (torch.randn(*shape, *features, generator=generator).to(dtype) for _ in range(2))
                lam = torch.rand(shape, generator=generator).to(dtype)
                if lam.numel() > 10:
                    lam.view(-1)[:3] = torch.tensor([0.0, 0.5, 1.0])
                _check_mix(f"{name}, endpoints {(*shape, *features)} of {dtype}", mixer, (x_a, x_b, lam), between)
    x_a, x_b, lam = torch.zeros(6, 3, 8, 8), torch.ones(6, 3, 8, 8), torch.full((6,), 0.4)
    _check_global(name, lambda: mixer.mix(x_a, x_b, lam, None)[0])
    check_component(mixer, lambda _: None, lambda part: part.mix(x_a, x_b, lam, _generator(0))[0])


def _check_mix(what: str, mixer: Mixer, ends: tuple[Tensor, Tensor, Tensor], between: bool) -> None:
    x_a, x_b, lam = ends
    given = (x_a.clone(), x_b.clone(), lam.clone())
    x, out = mixer.mix(x_a, x_b, lam, _generator(0))
    for part, before in zip((x_a, x_b, lam), given, strict=True):
        assert torch.equal(part, before), f"{what}: the endpoints and lam must stay as they are."
    assert x.shape == x_a.shape, f"{what}: points must have the endpoints' shape, got {tuple(x.shape)}."
    assert x.dtype == x_a.dtype, f"{what}: points must have the endpoints' dtype, got {x.dtype}."
    assert out.shape == lam.shape, f"{what}: lam must keep its shape, got {tuple(out.shape)}."
    assert out.dtype == lam.dtype, f"{what}: lam must keep its dtype, got {out.dtype}."
    assert bool(((out >= 0) & (out <= 1)).all()), f"{what}: lam must lie in [0, 1]."
    assert bool(torch.isfinite(x).all()), f"{what}: points must be finite."
    again = mixer.mix(x_a, x_b, lam, _generator(0))
    assert_close(again[0], x, f"{what}: a seed must fix the points", 0.0)
    assert_close(again[1], out, f"{what}: a seed must fix lam", 0.0)
    if not between:
        return
    rounding = ROUNDING[x.dtype]
    slack = rounding * torch.maximum(x_a.abs(), x_b.abs()) + rounding
    inside = (x >= torch.minimum(x_a, x_b) - slack) & (x <= torch.maximum(x_a, x_b) + slack)
    assert bool(inside.all()), f"{what}: every feature must lie between the endpoints'."
    assert_close(
        mixer.mix(x_a, x_a, lam, _generator(0))[0], x_a, f"{what}: equal endpoints must give themselves", rounding
    )
    blend, share = mixer.mix(torch.zeros_like(x_a), torch.ones_like(x_a), lam, _generator(0))
    mean = blend.double().flatten(lam.ndim).mean(-1)
    rule = f"{what}: lam must be the share of the first endpoint in the point"
    assert_close(mean, 1 - share.double(), rule, rounding)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_global(name: str, draw: Callable[[], Tensor]) -> None:
    """Check that without a generator `torch.manual_seed` decides."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = draw()
        torch.manual_seed(0)
        assert_close(draw(), first, f"{name}: without a generator, `torch.manual_seed` must fix the draws", 0.0)
