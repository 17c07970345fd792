"""The one loop: minimise a loss over batches, on any device, in any number of processes, and go on after a power cut.

    task (a module, and the loss of some rows) --run_loop--> trained module, history, checkpoints

VAEs and classifiers are tasks of this loop; `vicinal.training` has the other one, which trains many small networks at once.
"""

from vicinal.core.loop.checkpoint import Checkpoint, check_fits, read_checkpoint
from vicinal.core.loop.report import DivergedError, LoopOptions, LoopProgress, LoopResult
from vicinal.core.loop.run import run_loop
from vicinal.core.loop.settings import Descent, Hardware
from vicinal.core.loop.task import Batch, Task

__all__ = [
    "Batch",
    "Checkpoint",
    "Descent",
    "DivergedError",
    "Hardware",
    "LoopOptions",
    "LoopProgress",
    "LoopResult",
    "Task",
    "check_fits",
    "read_checkpoint",
    "run_loop",
]
