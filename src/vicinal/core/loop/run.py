"""Run a task: epochs of steps, evaluation, checkpoints, resumption.

Every draw has an address (seed, epoch, step), so a training that goes on from any step sees the same numbers as one that was
never stopped, and there is no state of randomness to keep.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.core.checks import InputError, check_number
from vicinal.core.extras import require
from vicinal.core.files import write_whole
from vicinal.core.loop.checkpoint import Checkpoint, check_fits, check_same, load_optimizer, read_checkpoint, score_of
from vicinal.core.loop.report import DivergedError, LoopProgress, LoopResult
from vicinal.core.loop.settings import Descent, Hardware
from vicinal.core.loop.task import Batch, Task, steps_of
from vicinal.core.randomness import generator_at, seed_at

__all__ = ["run_loop"]

LAST, BEST, METRICS = "last.safetensors", "best.safetensors", "metrics.jsonl"

AGREE = 20
"""Steps after which several processes agree again on whether to write: their clocks differ, and to agree takes time."""


def run_loop(
    task: Task,
    *,
    epochs: int,
    batch_size: int = 128,
    descent: Descent | None = None,
    hardware: Hardware | None = None,
    accumulate: int = 1,
    seed: int = 0,
    keep: str | None = None,
    folder: str | Path | None = None,
    checkpoint_minutes: float = 5.0,
    about: Mapping[str, Any] | None = None,
    tensorboard: bool = False,
    tell: Callable[[LoopProgress], None] | None = None,
) -> LoopResult:
    """Train a task's module in place.

    Args:
        task: the module, and the loss of its rows.
        epochs: passes over the rows.
        batch_size: rows in a step, over all processes.
        descent: optimiser and schedule; default Adam at 1e-3.
        hardware: device, processes, precision.
        accumulate: parts a process computes one after another for a step, where a batch does not fit into memory.
        seed: of the order of rows and of all that a step draws.
        keep: a score of `task.evaluate`, the higher the better ('-loss': the lower): the weights of its best epoch are kept
            instead of the last ones.
        folder: for `last.safetensors`, `best.safetensors` and `metrics.jsonl`; a training found there goes on.
        checkpoint_minutes: how often to write a checkpoint within an epoch; one is written after every epoch too.
        about: plain JSON to find in the checkpoints.
        tensorboard: also log to `folder`/tensorboard.
        tell: called with a `LoopProgress` now and then, in the first process.

    Raises:
        InputError: the folder holds another training, the disk is full, or processes can't be started.
        DivergedError: the loss or a weight became NaN or infinite; the last checkpoint is from before.
        ImportError: lightning-fabric is not installed; the message holds the pip command.

    Examples:
        See `Task`; with checkpoints, one that was stopped goes on where it was::

            run_loop(task, epochs=100, folder="runs/mine", tell=lambda p: print(p.step, p.loss))
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("accumulate", accumulate)):
        check_number(name, value, 1, whole=True)
    if tensorboard and folder is None:
        raise InputError("`tensorboard` needs a `folder` to log to, got none; give one.")
    with torch.random.fork_rng():
        run = _Run(task, epochs, batch_size, descent or Descent(), hardware or Hardware(), accumulate, seed, keep)
        run.open(None if folder is None else Path(folder), dict(about or {}), tensorboard, checkpoint_minutes * 60)
        return run.go(tell or (lambda progress: None))


class _Run:
    def __init__(
        self,
        task: Task,
        epochs: int,
        batch_size: int,
        descent: Descent,
        hardware: Hardware,
        accumulate: int,
        seed: int,
        keep: str | None,
    ) -> None:
        self.task, self.epochs, self.descent, self.seed, self.keep = task, epochs, descent, seed, keep
        self.batch_size, self.parts = batch_size, accumulate
        self.fabric = hardware.start()
        self.steps = steps_of(task, batch_size, self.parts, self.fabric.world_size)
        module = task.module
        if hardware.channels_last:
            module.to(memory_format=torch.channels_last)
        if self.fabric.world_size > 1 and self.fabric.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        called = torch.compile(module) if hardware.compile else module
        self.called = self.fabric.setup_module(called)
        self.optimizer = self.fabric.setup_optimizers(descent.make(module.parameters()))
        self.module, self.hardware = module, hardware
        self.best_weights: dict[str, Tensor] | None = None

    def open(self, folder: Path | None, about: dict[str, Any], tensorboard: bool, every: float) -> None:
        """Look for a training to go on with."""
        self.folder, self.every = folder, every
        identity = {
            "task": dict(self.task.identity()),
            "descent": asdict(self.descent),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "keep": self.keep,
            "precision": self.hardware.precision,
        }
        words = {f"task.{name}": text for name, text in self.task.words().items()}
        self.state = Checkpoint(weights={}, identity=json.loads(json.dumps(identity)), words=words, about=about)
        self.logger: Any = None
        if folder is None:
            return
        if tensorboard:
            loggers = require("lightning_fabric.loggers", "tensorboard")
            self.logger = loggers.TensorBoardLogger(folder, name="", version="tensorboard")
        if self.fabric.is_global_zero:
            for draft in folder.glob(".*.tmp"):  # of a process that died while it wrote
                draft.unlink(missing_ok=True)
        path = folder / LAST
        if path.exists():
            self._go_on_from(read_checkpoint(path), path)
            self.state.words, self.state.about = words, about

    def _go_on_from(self, found: Checkpoint, path: Path) -> None:
        check_same(found, self.state, path.parent)
        check_fits(self.module, found.weights, path)
        self.module.load_state_dict(found.weights)
        load_optimizer(self.optimizer, found.optimizer)
        if scaler := getattr(self.fabric._precision, "scaler", None):
            scaler.load_state_dict(dict(found.scaler))
        self.state = found

    def go(self, tell: Callable[[LoopProgress], None]) -> LoopResult:
        state, resumed = self.state, self.state.epoch * self.steps + self.state.step
        before, started, written = state.seconds, time.perf_counter(), time.perf_counter()
        self.told = -1.0

        def report(force: bool = False) -> None:
            state.seconds = before + time.perf_counter() - started
            done, steps = state.epoch * self.steps + state.step, self.steps * self.epochs
            if self.fabric.is_global_zero and (force or time.perf_counter() - self.told > 0.2):
                self.told = time.perf_counter()
                spent = time.perf_counter() - started
                left = spent / (done - resumed) * (steps - done) if done > resumed else None
                scores = state.history[-1] if state.history else {}
                # Of other processes' rows nothing is known here; a guess is theirs do as well.
                running = float(self.sum) * self.fabric.world_size / state.sums[1] if state.step else scores["loss"]
                if not math.isfinite(running) and self.fabric.world_size == 1:
                    self._mean()  # says so at once, and not at the end of a long epoch
                tell(LoopProgress(state.epoch, self.epochs, done, steps, running, scores, state.seconds, left, resumed))

        if resumed:
            self.sum = torch.tensor(state.sums[0])
            report()
        while state.epoch < self.epochs:
            self.sum = torch.tensor(state.sums[0], device=self.fabric.device, dtype=torch.float32)
            order = torch.randperm(
                self.task.rows, generator=generator_at(seed=self.seed, epoch=state.epoch, purpose="order")
            )
            self.called.train()
            while state.step < self.steps:
                self._step(order[state.step * self.batch_size :][: self.batch_size])
                state.step += 1
                # The sum stays on the device: to look at it waits for an accelerator.
                state.sums = (0.0, state.sums[1] + 1)
                report()
                if self.folder is not None and self._due(time.perf_counter() - written > self.every):
                    state.sums = (self._mean() * state.sums[1] / self.fabric.world_size, state.sums[1])
                    self._write()
                    written = time.perf_counter()
            self._close_epoch(before + time.perf_counter() - started)
            written = time.perf_counter()
            report(force=True)
        self.called.eval()
        best_epoch = self.epochs
        if self.keep is not None:
            best_epoch = 1 + max(range(len(state.history)), key=lambda e: score_of(state.history[e], str(self.keep)))
            self.module.load_state_dict(self._best())
        return LoopResult(tuple(state.history), state.seconds, str(self.fabric.device), resumed, best_epoch)

    def _due(self, due: bool) -> bool:
        """Return whether a checkpoint is due, the same in every process."""
        if self.fabric.world_size == 1:
            return due
        return self.state.step % AGREE == 0 and bool(self.fabric.broadcast(due))

    def _step(self, index: Tensor) -> None:
        state, fabric = self.state, self.fabric
        at = {"seed": self.seed, "epoch": state.epoch, "step": state.step}
        rate = self.descent.rate(state.epoch + state.step / self.steps, self.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Dropout and the like draw from torch's own state, which has the address too.
        torch.manual_seed(seed_at(**at, rank=fabric.global_rank, purpose="torch"))
        total = self.parts * fabric.world_size
        edges = [len(index) * i // total for i in range(total + 1)]
        own = range(fabric.global_rank * self.parts, (fabric.global_rank + 1) * self.parts)
        for number in own:
            part = slice(edges[number], edges[number + 1])
            batch = Batch(index, part, generator_at(**at, purpose="step"), fabric.device)
            last = number == own[-1]
            with fabric.no_backward_sync(self.called, enabled=not last):
                loss = self.task.loss(self.called, batch)
                # Processes' gradients are averaged.
                share = (part.stop - part.start) / len(index)
                fabric.backward(loss * (share * fabric.world_size))
            self.sum += loss.detach().float() * share
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _mean(self) -> float:
        """Return the running epoch's mean loss over all processes; raises where it, or a weight, is no finite number."""
        total = self.sum
        if self.fabric.world_size > 1:
            total = self.fabric.all_reduce(total.clone(), reduce_op="sum")
        mean = float(total) / max(1, self.state.sums[1])
        wrong = None if abs(mean) < float("inf") else f"the loss is {mean}"
        # The last step's gradient may have spoilt the weights while its loss was still finite.
        if wrong is None and not all(bool(part.isfinite().all()) for part in self.module.state_dict().values()):
            wrong = "a weight is NaN or infinite"
        if wrong is None:
            return mean
        kept = self.folder is not None and (self.folder / LAST).exists()
        raise DivergedError(
            f"{wrong} in epoch {self.state.epoch + 1} (learning rate {self.optimizer.param_groups[0]['lr']:g});"
            f" {f'{self.folder}/{LAST} is from before' if kept else 'nothing was saved'}. Lower the learning rate, or train"
            " with precision '32-true'."
        )

    def _close_epoch(self, seconds: float) -> None:
        state = self.state
        loss = self._mean()
        if self.fabric.world_size > 1:
            for buffer in self.module.buffers():  # batch norm's are of a process's own rows
                torch.distributed.broadcast(buffer, 0)
        self.called.eval()
        with torch.no_grad():
            scores = {name: float(value) for name, value in self.task.evaluate(self.called).items()}
        if self.fabric.world_size > 1:
            # All must keep the same epoch, whatever rounding says.
            scores = self.fabric.broadcast(scores)
        rate = self.optimizer.param_groups[0]["lr"]
        line = {"epoch": state.epoch + 1, "loss": loss, "learning_rate": rate, "seconds": round(seconds, 3), **scores}
        state.history.append(line)
        state.epoch, state.step, state.sums, state.seconds = state.epoch + 1, 0, (0.0, 0), seconds
        if self.logger is not None and self.fabric.is_global_zero:
            self.logger.log_metrics({k: v for k, v in line.items() if k != "epoch"}, state.epoch)
            self.logger.finalize("success")
        if self.keep is not None and (state.best is None or score_of(line, self.keep) > state.best):
            state.best = score_of(line, self.keep)
            self.best_weights = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
            if self.folder is not None and self.fabric.is_global_zero:
                replace(state, weights=self.best_weights).write(self.folder / BEST)
        if self.folder is not None:
            self._write()

    def _write(self) -> None:
        if not self.fabric.is_global_zero or self.folder is None:
            return
        scaler = getattr(self.fabric._precision, "scaler", None)
        state = replace(
            self.state,
            weights=dict(self.module.state_dict()),
            optimizer=self.optimizer.state_dict(),
            scaler={} if scaler is None else scaler.state_dict(),
        )
        # Before the checkpoint: an epoch that is not trained again must have its line.
        lines = "".join(json.dumps(line) + "\n" for line in state.history)
        write_whole(self.folder / METRICS, lines.encode())
        state.write(self.folder / LAST)

    def _best(self) -> Mapping[str, Tensor]:
        if self.best_weights is None:  # the best epoch was before this run began
            self.best_weights = dict(read_checkpoint(Path(str(self.folder)) / BEST).weights)
        return self.best_weights
