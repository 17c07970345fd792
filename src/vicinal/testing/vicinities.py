"""The contract of a vicinity: what somebody's training loop and data loader rely on."""

import pickle
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from sklearn.base import clone
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax
from torch.utils.data import DataLoader

from vicinal.core import InputError, MixedBatch
from vicinal.testing.components import (
    FLOATS,
    assert_close,
    assert_raises,
    assert_simplex,
    check_component,
    label_rows,
    table,
)
from vicinal.vicinity import BaseVicinity, Filter, Vicinity
from vicinal.vicinity.base import Codes

__all__ = ["check_vicinity"]

Part = TypeVar("Part", bound=BaseVicinity)
ROWS, CLASSES, SHAPE = 24, 3, (1, 4, 4)


def check_vicinity(vicinity: BaseVicinity, compiles: bool = True, workers: bool = True) -> None:
    """Check all that a vicinity promises.

    - Points come in the shape and dtype of `x`, for any float dtype, images and flat rows, one row and no row.
    - Labels (B,) and (B, K) mean the same. Points and labels come from the same pairs. The input is not changed.
    - Label rows are on the simplex; under a filter, rows taken out are zero and torch's `cross_entropy` is the mean
      over the rows kept, and 0 with a gradient of 0 where none is.
    - `seed` fixes the draws, and without one `torch.manual_seed` does; a call never repeats the one before.
    - Batches drawn at once are each mixed within itself; padding weighs 0 and mixes with nobody.
    - `mix(x, y)` compiles into one graph; it can be pickled; `collate` draws fresh numbers in each worker and epoch.
    - It is a component (`check_component`), and refuses wrong input in words.

    Args:
        vicinity: not fitted; it is cloned, never changed.
        compiles: whether to compile it, which takes a few seconds.
        workers: whether to start workers of a `DataLoader`, which takes a second.

    Raises:
        AssertionError: the vicinity breaks the contract; the message says how.

    Examples:
        >>> import vicinal as vc
        >>> check_vicinity(vc.Mixup(alpha=0.4), compiles=False, workers=False)
    """
    for check in (_check_shapes, _check_pairs, _check_seeds, _check_loss, _check_lots, _check_pickle, _check_errors):
        check(vicinity)
    x, y = _images()
    check_component(vicinity, lambda part: part.fit(x, y), lambda part: torch.cat(_both(_seeded(part, 3)(x, y))))
    if compiles:
        _check_compiles(vicinity)
    if workers:
        _check_workers(vicinity)


def _images(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    x, y = table(ROWS, 16, CLASSES)
    return x.reshape(ROWS, *SHAPE).to(dtype), y


def _seeded(vicinity: Part, seed: int | None) -> Part:
    """Return a copy, fitted as the original is, that draws from this seed from the start."""
    copy: Part = pickle.loads(pickle.dumps(vicinity))
    copy.seed = seed
    return copy


def _fitted(vicinity: Part, seed: int | None = None) -> Part:
    made: Part = clone(vicinity).fit(*_images())
    return _seeded(made, seed)


def _both(mixed: tuple[Tensor, Tensor]) -> list[Tensor]:
    return [part.double().flatten() for part in mixed]


def _same(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], rule: str, tolerance: float = 0.0) -> None:
    assert_close(a[0], b[0], f"{rule} (points)", tolerance)
    assert_close(a[1], b[1], f"{rule} (labels)", tolerance)


def _is_random(vicinity: BaseVicinity) -> bool:
    x, y = _images()
    return any(not torch.equal(_fitted(vicinity, i)(x, y)[0], _fitted(vicinity, i + 1)(x, y)[0]) for i in range(4))


def _check_shapes(vicinity: BaseVicinity) -> None:
    name = type(vicinity).__name__
    for dtype in FLOATS:
        x, y = _images(dtype)
        for b in (ROWS, 7, 1, 0):
            seen = x.clone()
            points, labels = _fitted(vicinity)(x[:b], y[:b])
            assert points.shape == (b, *SHAPE), f"{name}: points must keep the shape of `x`, got {tuple(points.shape)}."
            assert labels.shape == (b, CLASSES), f"{name}: labels must be (B, K), got {tuple(labels.shape)}."
            assert points.dtype == labels.dtype == dtype, (
                f"{name}: {dtype} came back as {points.dtype}, {labels.dtype}."
            )
            assert bool(torch.isfinite(points).all()), f"{name}: points of {dtype} must be finite."
            assert bool(torch.isfinite(labels).all()), f"{name}: labels of {dtype} must be finite."
            assert torch.equal(x, seen), f"{name}: must leave the given batch as it is."
    x, y = _images(torch.float32)
    once = _fitted(vicinity, 5)(x, y)
    _same(_fitted(vicinity, 5)(x, label_rows(y, CLASSES)), once, f"{name}: labels (B,) and (B, K) must mean the same")
    _same(_fitted(vicinity, 5)(x.numpy(), y.numpy()), once, f"{name}: arrays must mean the same as tensors")
    _same(_fitted(vicinity, 5)(x, y.int()), once, f"{name}: classes of any whole-number dtype must mean the same")


def _check_pairs(vicinity: BaseVicinity) -> None:
    name = type(vicinity).__name__
    x, y = _images()
    for seed in range(5):
        fitted = _fitted(vicinity, seed)
        batch, codes = fitted.draw(x, y), _members(fitted.encode(x))
        assert any(torch.equal(batch.x_a, own) for own in codes), (
            f"{name}: the first endpoints must be the batch as it came, or its codes."
        )
        assert torch.equal(batch.y_a, label_rows(y, CLASSES)), f"{name}: the first endpoints must keep their labels."
        match = (batch.x_b[:, None] == batch.x_a[None]).flatten(2).all(2)
        assert bool((match.sum(1) == 1).all()), f"{name}: the second endpoints must be rows of the batch."
        partner = match.long().argmax(1)
        rule = f"{name}: the second endpoints' points and labels must come from the same rows"
        assert torch.equal(batch.y_b, label_rows(y, CLASSES)[partner]), rule
        assert bool(((batch.lam >= 0) & (batch.lam <= 1)).all()), f"{name}: lam must lie in [0, 1]."
        assert bool(((batch.weight == 0) | (batch.weight == 1)).all()), f"{name}: weights must be 0 or 1."
        assert_simplex(_fitted(vicinity, seed).label(batch), name)


def _members(codes: Codes) -> list[Tensor]:
    """Return what each vicinity of a choice mixes."""
    return [codes] if isinstance(codes, Tensor) else [own for part in codes for own in _members(part)]


def _check_seeds(vicinity: BaseVicinity) -> None:
    name = type(vicinity).__name__
    x, y = _images()
    random = _is_random(vicinity)
    _same(_fitted(vicinity, 1)(x, y), _fitted(vicinity, 1)(x, y), f"{name}: the same seed must draw the same")
    with torch.random.fork_rng(devices=[]):
        free = _fitted(vicinity)
        torch.manual_seed(7)
        once = free(x, y)
        torch.manual_seed(7)
        _same(free(x, y), once, f"{name}: without `seed`, `torch.manual_seed` must fix the draws")
        state = torch.random.get_rng_state()
        _fitted(vicinity, 1)(x, y)
        assert torch.equal(torch.random.get_rng_state(), state), (
            f"{name}: with `seed`, torch's own state must stay as it is."
        )
    if random:
        seeded = _fitted(vicinity, 2)
        draws = [seeded(x, y)[0] for _ in range(6)]
        assert any(not torch.equal(draws[0], other) for other in draws[1:]), (
            f"{name}: calls must not repeat each other."
        )


def _check_loss(vicinity: BaseVicinity) -> None:
    name = type(vicinity).__name__
    x, y = _images()
    logits = torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    for seed in range(5):
        batch = _fitted(vicinity, seed).draw(x, y)
        rows = _fitted(vicinity, seed).label(batch)
        labels = _fitted(vicinity, seed)(x, y)[1]
        kept = batch.weight > 0
        assert bool((labels[~kept] == 0).all()), f"{name}: labels of rows that were taken out must be zero."
        expected = -(rows * log_softmax(logits, 1)).sum(1)[kept].sum() / kept.sum().clamp(min=1)
        rule = f"{name}: `cross_entropy` must be the mean over the rows kept"
        assert_close(cross_entropy(logits, labels), expected, rule, 1e-9)
    if isinstance(vicinity, Vicinity):
        for keep in (_KeepSome(0), _KeepSome(5), _KeepSome(ROWS)):
            filtered = clone(vicinity).set_params(filter=keep)
            points, labels = _fitted(filtered, 0)(x, y)
            guess = logits.clone().requires_grad_()
            loss = cross_entropy(guess, labels)
            torch.autograd.backward(loss)
            rows = _fitted(filtered, 0).label(_fitted(filtered, 0).draw(x, y))
            expected = -(rows * log_softmax(logits, 1)).sum(1)[: keep.first].sum() / max(1, keep.first)
            rule = f"{name}: with {keep.first} rows kept, `cross_entropy` must be their mean, and 0 for none"
            assert_close(loss, expected, rule, 1e-9)
            assert guess.grad is not None
            assert bool((guess.grad[keep.first :] == 0).all()), f"{name}: rows taken out must have a gradient of 0."
            assert points.shape == x.shape, f"{name}: a filter must not change the points' shape."


class _KeepSome(Filter):
    def __init__(self, first: int) -> None:
        self.first = first

    def keep(self, batch: MixedBatch) -> Tensor:
        return (torch.arange(batch.lam.shape[-1], device=batch.lam.device) < self.first).expand(batch.lam.shape)


def _check_lots(vicinity: BaseVicinity) -> None:
    name = type(vicinity).__name__
    x, y = _images()
    fitted = _fitted(vicinity)
    x, rows = x.reshape(3, 8, *SHAPE), label_rows(y, CLASSES).reshape(3, 8, CLASSES)
    valid = torch.tensor([[True] * 8, [True] * 5 + [False] * 3, [False] * 7 + [True]])
    codes = fitted.encode(x)
    if isinstance(codes, tuple):
        rule = f"{name}: must refuse several batches at once, whose codes are of different spaces"
        assert_raises(InputError, lambda: fitted.draw_rows(codes, rows), rule)
        return
    for some in (None, valid):
        for seed in range(4):
            batch = fitted.draw_rows(codes, rows, some, torch.Generator().manual_seed(seed))
            again = fitted.draw_rows(codes, rows, some, torch.Generator().manual_seed(seed))
            assert torch.equal(fitted.decode(batch), fitted.decode(again)), f"{name}: a generator must fix the draws."
            assert fitted.decode(batch).shape == x.shape, f"{name}: batches drawn at once must keep their shape."
            assert batch.batch_shape == (3, 8), f"{name}: lam must be (..., B), got {batch.batch_shape}."
            assert_simplex(fitted.label(batch), f"{name}, several batches at once")
            for lot in range(3):
                match = (batch.x_b[lot][:, None] == codes[lot][None]).flatten(2).all(2)
                assert bool(match.any(1).all()), f"{name}: partners must come from the same batch."
                partner = match.long().argmax(1)
                assert torch.equal(batch.y_b[lot], rows[lot][partner]), f"{name}: points and labels must be of one row."
                if some is not None:
                    real = some[lot]
                    assert bool(real[partner[real]].all()), f"{name}: padding must be nobody's partner."
                    assert bool((batch.weight[lot][~real] == 0).all()), f"{name}: padding must weigh 0."
    whole = fitted.label(batch)
    if type(batch) is MixedBatch:
        parts = {field: getattr(batch, field) for field in ("x", "x_a", "x_b", "y_a", "y_b", "lam", "weight")}
        loop = torch.stack(
            [fitted.label(replace(batch, **{f: part[i] for f, part in parts.items()})) for i in range(3)]
        )
        assert_close(whole, loop, f"{name}: batches labelled at once must equal a loop over them", 1e-9)


def _check_pickle(vicinity: BaseVicinity) -> None:
    name = type(vicinity).__name__
    x, y = _images()
    original = _fitted(vicinity, 3)
    original(x, y)
    copy = pickle.loads(pickle.dumps(original))
    _same(copy(x, y), _fitted(vicinity, 3)(x, y), f"{name}: a pickled copy must be fitted and start its seed anew")


def _check_errors(vicinity: BaseVicinity) -> None:
    name = type(vicinity).__name__
    x, y = _images()
    fitted = _fitted(vicinity)
    assert_raises(InputError, lambda: fitted((x * 9).to(torch.uint8), y), f"{name}: must refuse whole-number points")
    assert_raises(InputError, lambda: fitted(x, y[1:]), f"{name}: must refuse points and labels of other lengths")
    assert_raises(InputError, lambda: fitted(x, y + 1), f"{name}: must refuse a class beyond those of `fit`")
    assert_raises(InputError, lambda: fitted(x, y - 1), f"{name}: must refuse negative classes")
    assert_raises(InputError, lambda: fitted(x, y + 0.5), f"{name}: must refuse classes that are not whole")
    assert_raises(InputError, lambda: fitted(x, torch.ones(ROWS, 2)), f"{name}: must refuse label rows of another K")
    assert_raises(InputError, lambda: fitted(x, -label_rows(y, CLASSES)), f"{name}: must refuse negative label rows")
    free = clone(vicinity)
    if free.n_classes is None:
        assert_raises(InputError, lambda: free(x, y), f"{name}: must ask for K where it was not fitted")


def _check_compiles(vicinity: BaseVicinity) -> None:
    name, random = type(vicinity).__name__, _is_random(vicinity)
    torch.compiler.reset()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fitted = _fitted(vicinity, 3)
        compiled = torch.compile(fitted.__call__, fullgraph=True, backend="aot_eager")
        x, y = _images(torch.float32)
        points, labels = compiled(x, y)
        assert points.shape == x.shape, f"{name}: compiled, points must keep their shape."
        assert labels.shape == (ROWS, CLASSES), f"{name}: compiled, labels must be (B, K)."
        assert bool(torch.isfinite(points).all()), f"{name}: compiled, points must be finite."
        assert bool((labels >= 0).all()), f"{name}: compiled, labels must not be negative."
        total = labels.sum(1)
        kept = total > 0
        expected = ROWS / kept.sum().clamp(min=1) * kept
        assert_close(total, expected.to(total), f"{name}: compiled, labels must sum as they do in a loop", 1e-4)
        others = [compiled(x, y)[0] for _ in range(6)]
        repeats = all(torch.equal(points, other) for other in others)
        assert repeats != random, f"{name}: compiled, calls must not repeat each other."
    torch.compiler.reset()


def _check_workers(vicinity: BaseVicinity) -> None:
    """Load the same eight rows again and again, so that batches differ only in what was drawn."""
    name = type(vicinity).__name__
    x, y = _images()
    random = _is_random(vicinity)
    samples = [(x[i % 8], int(y[i % 8])) for i in range(32)]
    with torch.random.fork_rng(devices=[]):
        for seed in (None, 0):
            epochs = []
            for _ in range(2):
                torch.manual_seed(11)
                collate = _fitted(vicinity, seed).collate
                loader: DataLoader[Any] = DataLoader(cast(Any, samples), 8, collate_fn=collate, num_workers=2)
                epochs.append([list(loader) for _ in range(2)])
            for first, again in zip(epochs[0], epochs[1], strict=True):
                for one, other in zip(first, again, strict=True):
                    _same(one, other, f"{name}: `torch.manual_seed` must fix what the workers draw")
            points = [batch[0] for epoch in epochs[0] for batch in epoch]
            assert len(points) == 8, f"{name}: two epochs of four batches gave {len(points)}."
            changed = [p for p in points if not torch.equal(p, x[:8])]  # some vicinities leave a batch as it is
            twins = [(i, j) for i in range(len(changed)) for j in range(i) if torch.equal(changed[i], changed[j])]
            assert not (random and twins), (
                f"{name}: workers and epochs must draw fresh numbers, but batches came twice."
            )
            assert bool(changed) == random, f"{name}: workers must draw as the process itself does."
