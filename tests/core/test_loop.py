"""The loop against one written by hand in plain torch, and what it keeps, refuses and survives."""

import copy
import errno
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vicinal.core import InputError, seed_at
from vicinal.core.loop import (
    Batch,
    Checkpoint,
    Descent,
    DivergedError,
    Hardware,
    LoopProgress,
    Task,
    check_fits,
    read_checkpoint,
    run_loop,
)

CPU = Hardware(device="cpu")
N, BATCH = 46, 8


def data(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, 2, 6, 6, generator=generator), torch.randint(3, (N,), generator=generator)


def network(seed: int = 0, hidden: int = 5, plain: bool = False) -> nn.Sequential:
    """Convolution, batch norm and dropout; without the latter two, a row's loss does not depend on the others."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = [nn.ReLU()] if plain else [nn.BatchNorm2d(hidden), nn.ReLU(), nn.Dropout(0.3)]
        return nn.Sequential(nn.Conv2d(2, hidden, 3, padding=1), *head, nn.Flatten(), nn.Linear(36 * hidden, 3))


class Noisy(Task):
    """Cross entropy on noisy images; the noise is drawn for the whole batch."""

    def __init__(self, module: nn.Module, rows: int = N, name: str = "a", scores: Sequence[float] = ()) -> None:
        self.module, self.rows, self.name = module, rows, name
        self.x, self.y = data()
        self.scores, self.seen, self.steps = list(scores), [], 0

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        noise = 0.1 * torch.randn(len(batch.index), 2, 6, 6, generator=batch.generator)
        index = batch.index[batch.part]
        self.steps += 1
        return cross_entropy(module(self.x[index] + noise[batch.part]), self.y[index])

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        self.seen.append(copy.deepcopy(self.module.state_dict()))
        return {"accuracy": self.scores.pop(0)} if self.scores else {}

    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name, "rows": self.rows}


def by_hand(
    module: nn.Module, optimizer: torch.optim.Optimizer, descent: Descent, epochs: int, seed: int
) -> list[float]:
    """The same orders, draws and rates in a plain loop; returns the mean loss of every epoch."""
    (x, y), losses = data(), []
    steps = -(-N // BATCH)
    module.train()
    for epoch in range(epochs):
        order = torch.randperm(
            N, generator=torch.Generator().manual_seed(seed_at(seed=seed, epoch=epoch, purpose="order"))
        )
        total = 0.0
        for step, index in enumerate(order.split(BATCH)):
            address = {"seed": seed, "epoch": epoch, "step": step}
            for group in optimizer.param_groups:
                group["lr"] = descent.rate(epoch + step / steps, epochs)
            noise = torch.randn(
                len(index), 2, 6, 6, generator=torch.Generator().manual_seed(seed_at(**address, purpose="step"))
            )
            torch.manual_seed(seed_at(**address, rank=0, purpose="torch"))
            loss = cross_entropy(module(x[index] + 0.1 * noise), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
        losses.append(total / steps)
    return losses


def assert_same(module: nn.Module, expected: Mapping[str, Tensor] | nn.Module) -> None:
    other = expected.state_dict() if isinstance(expected, nn.Module) else expected
    assert set(other) == set(module.state_dict())
    for name, value in module.state_dict().items():
        assert torch.equal(value, other[name]), name


DESCENTS: dict[str, tuple[Descent, Callable[[nn.Module], torch.optim.Optimizer]]] = {
    "adam": (Descent(learning_rate=0.01), lambda m: torch.optim.Adam(m.parameters(), 0.01)),
    "adam, cosine, warmup": (
        Descent(learning_rate=0.01, schedule="cosine", warmup=1.5, weight_decay=0.01),
        lambda m: torch.optim.Adam(m.parameters(), 0.01, weight_decay=0.01),
    ),
    "adamw": (
        Descent(optimizer="adamw", weight_decay=0.1),
        lambda m: torch.optim.AdamW(m.parameters(), 1e-3, weight_decay=0.1),
    ),
    "sgd, multistep": (
        Descent(optimizer="sgd", learning_rate=0.1, weight_decay=1e-4, schedule="multistep", milestones=(1, 2)),
        lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9, weight_decay=1e-4),
    ),
    "sgd without momentum": (
        Descent(optimizer="sgd", learning_rate=0.1, momentum=0.0),
        lambda m: torch.optim.SGD(m.parameters(), 0.1),
    ),
}


@pytest.mark.parametrize("name", DESCENTS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_loop_is_the_plain_loop_bit_for_bit(name: str, channels_last: bool) -> None:
    descent, make = DESCENTS[name]
    ours, plain = network(), network()
    hardware = Hardware(device="cpu", channels_last=channels_last)
    result = run_loop(Noisy(ours), epochs=3, batch_size=BATCH, descent=descent, hardware=hardware, seed=5)
    if channels_last:
        plain.to(memory_format=torch.channels_last)
    losses = by_hand(plain, make(plain), descent, 3, 5)
    assert_same(ours, plain)
    assert [line["loss"] for line in result.history] == pytest.approx(losses, rel=1e-6)
    assert [line["epoch"] for line in result.history] == [1, 2, 3]
    assert (result.resumed, result.best_epoch, result.device) == (0, 3, "cpu")
    assert not ours.training


def test_rates_are_those_of_torchs_schedulers() -> None:
    """Where they are made for epochs: torch's at the beginning of each."""
    epochs = 12
    makers: dict[Descent, Callable[[torch.optim.Optimizer], Any]] = {
        Descent(schedule="cosine"): lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, epochs),
        Descent(schedule="multistep", milestones=(3, 7), decay=0.3): (
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 7], 0.3)
        ),
        Descent(schedule="constant"): lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0),
        Descent(warmup=4): lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: min(1.0, epoch / 4)),
    }
    for descent, make in makers.items():
        optimizer = descent.make([nn.Parameter(torch.zeros(1))])
        scheduler = make(optimizer)
        for epoch in range(epochs):
            assert descent.rate(epoch, epochs) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulation_is_one_pass(accumulate: int) -> None:
    """To rounding, where a row's loss does not depend on the others; the last batch has 6 rows."""
    whole, parts = network(plain=True), network(plain=True)
    descent = Descent(optimizer="sgd", learning_rate=0.1)
    task = Noisy(parts)
    first = run_loop(Noisy(whole), epochs=2, batch_size=BATCH, descent=descent, hardware=CPU)
    second = run_loop(task, epochs=2, batch_size=BATCH, descent=descent, hardware=CPU, accumulate=accumulate)
    assert task.steps == accumulate * 2 * 6
    for name, value in parts.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert second.history[-1]["loss"] == pytest.approx(first.history[-1]["loss"], rel=1e-5)


def test_rows_that_can_not_be_shared_out_are_left_out() -> None:
    """Of 17 rows in batches of 8, the last one is too few for two parts."""
    task = Noisy(network(plain=True), rows=17)
    run_loop(task, epochs=1, batch_size=8, hardware=CPU, accumulate=2)
    assert task.steps == 4
    task = Noisy(network(), rows=17)
    task.least = 2
    run_loop(task, epochs=1, batch_size=8, hardware=CPU)
    assert task.steps == 2


def test_torchs_own_randomness_stays(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    run_loop(Noisy(network()), epochs=2, batch_size=BATCH, hardware=CPU, folder=tmp_path, checkpoint_minutes=0)
    run_loop(Noisy(network()), epochs=2, batch_size=BATCH, hardware=CPU, folder=tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_another_seed_trains_another_network() -> None:
    first, second = network(), network()
    run_loop(Noisy(first), epochs=1, hardware=CPU, seed=0)
    run_loop(Noisy(second), epochs=1, hardware=CPU, seed=1)
    assert not torch.equal(first[0].weight, second[0].weight)


# --- what is told, and what is written


def test_what_is_told() -> None:
    told: list[LoopProgress] = []
    result = run_loop(Noisy(network(), scores=[0.5, 0.6]), epochs=2, batch_size=BATCH, hardware=CPU, tell=told.append)
    ends = [progress for progress in told if progress.step in (6, 12)][-2:]
    assert [(p.epoch, p.epochs, p.step, p.steps) for p in ends] == [(1, 2, 6, 12), (2, 2, 12, 12)]
    assert [p.loss for p in ends] == [line["loss"] for line in result.history]
    assert [p.scores["accuracy"] for p in ends] == [0.5, 0.6]
    assert ends[-1].left == 0
    assert told[0].step == 1
    assert 0 < told[0].loss < 10


def test_a_line_an_epoch_and_events(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run_loop(Noisy(network(), scores=[0.1, 0.2]), epochs=2, hardware=CPU, folder=tmp_path, tensorboard=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == list(result.history)
    assert set(lines[0]) == {"epoch", "loss", "learning_rate", "seconds", "accuracy"}
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, round(event.value, 6)) for event in events.Scalars("accuracy")] == [(1, 0.1), (2, 0.2)]


def test_a_checkpoint_says_what_it_is_of(tmp_path: Path) -> None:
    run_loop(Noisy(network()), epochs=2, hardware=CPU, folder=tmp_path / "deep" / "er", about={"network": "small"})
    found = read_checkpoint(tmp_path / "deep" / "er" / "last.safetensors")
    assert (found.epoch, found.step, found.about) == (2, 0, {"network": "small"})
    assert found.identity["descent"]["optimizer"] == "adam"
    assert found.seconds > 0


# --- going on


class PowerCutError(Exception):
    pass


class Interrupted(Noisy):
    """Dies at a step."""

    def __init__(self, module: nn.Module, at: int, **options: Any) -> None:
        super().__init__(module, **options)
        self.at = at

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        if self.steps == self.at:
            raise PowerCutError
        return super().loss(module, batch)


@pytest.mark.parametrize("name", DESCENTS)
@pytest.mark.parametrize("minutes", [0, 5.0], ids=["every step", "every epoch"])
def test_going_on_is_as_if_never_stopped(name: str, minutes: float, tmp_path: Path) -> None:
    """In one process; `test_loop_resume.py` kills real ones."""
    descent = DESCENTS[name][0]
    options: dict[str, Any] = {"epochs": 3, "batch_size": BATCH, "descent": descent, "hardware": CPU}
    whole = network()
    expected = run_loop(Noisy(whole), **options)
    for at in (3, 1, 9):  # the first dies in epoch 1; with checkpoints after epochs, the second begins anew
        with pytest.raises(PowerCutError):
            run_loop(Interrupted(network(), at), folder=tmp_path, checkpoint_minutes=minutes, **options)
    module = network(seed=1)
    result = run_loop(Noisy(module), folder=tmp_path, checkpoint_minutes=minutes, **options)
    assert result.resumed == (13 if minutes == 0 else 6)
    assert_same(module, whole)
    kept = [[line[key] for key in ("epoch", "loss", "learning_rate")] for line in result.history]
    assert kept == [[line[key] for key in ("epoch", "loss", "learning_rate")] for line in expected.history]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == list(result.history)
    again = network(seed=2)
    finished = run_loop(Noisy(again), folder=tmp_path, **options)
    assert finished.resumed == 18
    assert finished.history == result.history
    assert_same(again, whole)


def test_who_goes_on_says_so_before_the_first_step(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 3, "batch_size": BATCH, "hardware": CPU, "folder": tmp_path}
    with pytest.raises(PowerCutError):
        run_loop(Interrupted(network(), 8), checkpoint_minutes=0, **options)
    for expected in ((1, 8, 8), (3, 18, 18)):  # in the second epoch, and when all is done
        told: list[LoopProgress] = []
        run_loop(Noisy(network()), tell=told.append, **options)
        assert (told[0].epoch, told[0].step, told[0].resumed) == expected
        assert told[0].left is None
        assert 0 < told[0].loss < 10
    assert len(told) == 1


def test_what_a_dead_writer_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".last.safetensors.1234.tmp").write_bytes(b"half")
    run_loop(Noisy(network()), epochs=1, hardware=CPU, folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.safetensors", "metrics.jsonl"]


@pytest.mark.parametrize(("keep", "best"), [("accuracy", 2), ("-accuracy", 3), ("-loss", 4), ("loss", 1)])
@pytest.mark.parametrize("at", [None, 3 * 6 + 2])
def test_the_best_epoch_is_kept(keep: str, best: int, at: int | None, tmp_path: Path) -> None:
    """Also where it came before the training was stopped."""
    scores = [0.5, 0.9, 0.1, 0.9]  # the first of two equal ones
    options: dict[str, Any] = {"epochs": 4, "batch_size": BATCH, "hardware": CPU, "keep": keep, "folder": tmp_path}
    options["descent"] = Descent(learning_rate=0.01)
    module, before = network(), []
    if at is not None:
        stopped = Interrupted(network(), at, scores=scores)
        with pytest.raises(PowerCutError):
            run_loop(stopped, **options)
        before = stopped.seen
    task = Noisy(module, scores=scores[len(before) :])
    result = run_loop(task, **options)
    assert result.best_epoch == best
    assert_same(module, [*before, *task.seen][best - 1])
    kept = read_checkpoint(tmp_path / "best.safetensors")
    assert kept.epoch == best
    assert_same(module, kept.weights)


def test_a_score_that_is_no_number_is_never_the_best() -> None:
    module = network()
    task = Noisy(module, scores=[math.nan, 0.3, math.nan])
    assert run_loop(task, epochs=3, hardware=CPU, keep="accuracy").best_epoch == 2
    assert_same(module, task.seen[1])
    assert run_loop(Noisy(network(), scores=[math.nan] * 2), epochs=2, hardware=CPU, keep="-accuracy").best_epoch == 1


# --- refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": network(hidden=7)}, r"holds another network: `0.weight` is \(5, 2, 3, 3\) there, and here \(7,"),
        ({"module": nn.Sequential(*network(), nn.Linear(3, 3))}, "holds another network: `6.weight` is missing there"),
        ({"name": "b"}, r"holds a training with another `task.name` \('a', here 'b'\); choose another folder"),
        ({"rows": 40}, r"another `task.rows` \(46, here 40\)"),
        ({"descent": Descent(learning_rate=0.5)}, r"another `descent.learning_rate` \(0.001, here 0.5\)"),
        ({"descent": Descent(milestones=(1,), schedule="multistep")}, "another `descent.schedule`"),
        ({"epochs": 5}, r"another `epochs` \(2, here 5\)"),
        ({"batch_size": 9}, "another `batch_size`"),
        ({"seed": 3}, "another `seed`"),
        ({"keep": "loss"}, r"another `keep` \(None, here 'loss'\)"),
        ({"hardware": Hardware(device="cpu", precision="bf16-mixed")}, "another `precision`"),
    ],
    ids=str,
)
def test_another_training_in_the_folder(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": BATCH, "hardware": CPU, "folder": tmp_path}
    run_loop(Noisy(network()), **options)
    before = (tmp_path / "last.safetensors").read_bytes()
    task = Noisy(change.pop("module", network()), **{k: change.pop(k) for k in ("name", "rows") if k in change})
    with pytest.raises(InputError, match=message):
        run_loop(task, **{**options, **change})
    assert (tmp_path / "last.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"`epochs` must lie in \[1"),
        ({"batch_size": 0}, r"`batch_size` must lie in \[1"),
        ({"accumulate": 0}, r"`accumulate` must lie in \[1"),
        ({"accumulate": 9}, r"`batch_size` must be at least 9 \(1 for each part of a step: 9 accumulated in 1 proc"),
        ({"accumulate": 50, "batch_size": 50}, "`task.rows` must be at least 50.*got 46; take fewer parts"),
        ({"keep": "f1"}, r"`keep` must name a score of an epoch \(epoch, loss, .*\), got 'f1'"),
        ({"tensorboard": True}, "`tensorboard` needs a `folder`"),
        ({"hardware": Hardware(device="tpu9")}, "`device` must be one that torch can use here, got 'tpu9'"),
    ],
    ids=str,
)
def test_messages(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_loop(Noisy(network()), **{"epochs": 1, "batch_size": BATCH, "hardware": CPU, **options})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Descent(optimizer="lion"), "`optimizer` must be one of 'adam', 'adamw', 'sgd', got 'lion'"),
        (lambda: Descent(schedule="step"), "`schedule` must be one of"),
        (lambda: Descent(schedule="multistep"), r"`milestones` must name .* got \(\) for 'multistep'"),
        (lambda: Descent(milestones=(2,)), r"`milestones` must name .* got \(2,\) for 'constant'"),
        (lambda: Descent(learning_rate=0), r"`learning_rate` must lie in \(0"),
        (lambda: Descent(momentum=1.0), r"`momentum` must lie in \[0, 1\)"),
        (lambda: Hardware(precision="16"), "`precision` must be one of"),
        (lambda: Hardware(processes=0), r"`processes` must lie in \[1"),
    ],
)
def test_messages_of_settings(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_a_single_device_is_not_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicinal.core.loop.settings.check_device", lambda device: torch.device("cuda:0"))
    assert Hardware(device="cuda", processes=2).found() == "cuda"
    with pytest.raises(
        InputError, match="`device` must not be a single one for 2 processes, got 'cuda:1'; give 'cuda'"
    ):
        Hardware(device="cuda:1", processes=2).found()


@pytest.mark.parametrize("spoil", ["half", "a byte less", "zeros", "nothing", "text"])
def test_a_torn_checkpoint(spoil: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 1, "hardware": CPU, "folder": tmp_path}
    run_loop(Noisy(network()), **options)
    path = tmp_path / "last.safetensors"
    whole = path.read_bytes()
    torn = {"half": whole[: len(whole) // 2], "a byte less": whole[:-1], "zeros": bytes(len(whole)), "nothing": b""}
    path.write_bytes(torn.get(spoil, b"no such thing as a checkpoint"))
    with pytest.raises(InputError, match=r"last\.safetensors is not a safetensors file, or it is torn"):
        run_loop(Noisy(network()), **options)


def test_other_files_are_no_checkpoint(tmp_path: Path) -> None:
    import vicinal as vc

    vc.save(vc.Mixup(), tmp_path / "last.safetensors")
    with pytest.raises(InputError, match="is no checkpoint of a training"):
        run_loop(Noisy(network()), epochs=1, hardware=CPU, folder=tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_checkpoint(tmp_path / "none")


def test_a_newer_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicinal.core.loop.checkpoint.FORMAT", 2)
    Checkpoint(weights={"w": torch.ones(1)}).write(tmp_path / "a")
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"newer vicinal \(format 2\); upgrade with pip"):
        read_checkpoint(tmp_path / "a")


def test_check_fits_names_what_is_left_over() -> None:
    with pytest.raises(InputError, match=r"`bias` is \(1,\) there, and here missing"):
        check_fits(nn.Linear(1, 1, bias=False), nn.Linear(1, 1).state_dict(), "a.safetensors")


# --- faults


@pytest.mark.parametrize("minutes", [0, 5.0])
@pytest.mark.parametrize("after", [2, 3])
def test_a_full_disk(minutes: float, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older checkpoint stays, and with room again the training goes on as if nothing had been."""
    options: dict[str, Any] = {"epochs": 3, "batch_size": BATCH, "hardware": CPU}
    whole, module, synced = network(), network(), iter(range(100))
    run_loop(Noisy(whole), **options)

    def full(descriptor: int) -> None:
        if next(synced) >= after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("vicinal.core.files.os.fsync", full)
    with pytest.raises(
        InputError, match=r"can't be written \(No space left on device\); what was there before is intact"
    ):
        run_loop(Noisy(network()), folder=tmp_path, checkpoint_minutes=minutes, **options)
    monkeypatch.undo()
    found = read_checkpoint(tmp_path / "last.safetensors")
    assert (found.epoch, found.step) == ((0, 1) if minutes == 0 else (1, 0))
    assert not list(tmp_path.glob(".*"))
    run_loop(Noisy(module), folder=tmp_path, checkpoint_minutes=minutes, **options)
    assert_same(module, whole)


class Poisoned(Noisy):
    """From a step on, the loss is NaN; or it is finite, and its gradient NaN."""

    def __init__(self, module: nn.Module, at: int, how: str) -> None:
        super().__init__(module)
        self.at, self.how = at, how

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        loss = super().loss(module, batch)
        if self.steps <= self.at:
            return loss
        some = next(module.parameters())
        return (
            loss * {"nan": math.nan, "inf": math.inf}[self.how]
            if self.how != "gradient"
            else loss + (0 * some).sum().sqrt()
        )


@pytest.mark.parametrize("how", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("minutes", [0, 5.0])
@pytest.mark.parametrize("at", [6, 8, 11], ids=["first step", "middle", "last step"])
def test_divergence(how: str, minutes: float, at: int, tmp_path: Path) -> None:
    """No checkpoint is ever written from a diverged state."""
    task = Poisoned(network(), at, how)
    options: dict[str, Any] = {"epochs": 3, "batch_size": BATCH, "hardware": CPU, "keep": "-loss"}
    with pytest.raises(DivergedError, match=r"in epoch 2 \(learning rate 0.001\); .*last.safetensors is from before"):
        run_loop(task, folder=tmp_path, checkpoint_minutes=minutes, **options)
    found = read_checkpoint(tmp_path / "last.safetensors")
    assert found.epoch * 6 + found.step == (at if minutes == 0 else 6)
    for path in ("last.safetensors", "best.safetensors"):
        assert all(bool(value.isfinite().all()) for value in read_checkpoint(tmp_path / path).weights.values())
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    whole, module = network(), network()
    run_loop(Noisy(whole), **options)
    run_loop(Noisy(module), folder=tmp_path, checkpoint_minutes=minutes, **options)
    assert_same(module, whole)


def test_divergence_without_a_folder() -> None:
    with pytest.raises(DivergedError, match=r"the loss is nan in epoch 1 .*nothing was saved. Lower the learning rate"):
        run_loop(Poisoned(network(), 0, "nan"), epochs=1, hardware=CPU)


# --- hardware


def test_auto_finds_what_there_is() -> None:
    found = Hardware().found()
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert found == expected
    assert run_loop(Noisy(network()), epochs=1, hardware=Hardware()).device.startswith(expected)


def test_half_precision_runs_and_goes_on(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": BATCH}
    options["hardware"] = Hardware(device="cpu", precision="bf16-mixed")
    full, whole, module = network(), network(), network()
    run_loop(Noisy(full), **{**options, "hardware": CPU})
    run_loop(Noisy(whole), **options)
    assert not torch.equal(full[0].weight, whole[0].weight)
    assert whole[0].weight.dtype == torch.float32
    with pytest.raises(PowerCutError):
        run_loop(Interrupted(network(), 8), folder=tmp_path, checkpoint_minutes=0, **options)
    run_loop(Noisy(module), folder=tmp_path, **options)
    assert_same(module, whole)


@pytest.mark.slow
def test_a_compiled_module_trains_as_the_other(tmp_path: Path) -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception:
        pytest.skip("no C++ compiler")
    descent = Descent(optimizer="sgd", learning_rate=0.05)
    plain, compiled = network(plain=True), network(plain=True)
    run_loop(Noisy(plain), epochs=2, batch_size=23, descent=descent, hardware=CPU)
    hardware = Hardware(device="cpu", compile=True)
    run_loop(Noisy(compiled), epochs=2, batch_size=23, descent=descent, hardware=hardware, folder=tmp_path)
    for name, value in compiled.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-4, atol=1e-5)
    assert set(read_checkpoint(tmp_path / "last.safetensors").weights) == set(plain.state_dict())
