"""What a training step costs under each method, against plain training: images of 3 x 32 x 32, 128 a batch.

    python benchmarks/image_step.py [--network resnet-18] [--methods mixup,varmixup,manifold-mixup] [--rounds 7]

Steps of all methods take turns, so that a busy machine slows all alike; ratios are medians over rounds. Each step is the one of
`vicinal train`: rows taken, mixed (and decoded), loss, gradients, Adam. Codes are computed before, as a training does once.
"""

import argparse
import time
from statistics import median

import torch

from vicinal.core import generator_at
from vicinal.core.loop import Batch, Hardware
from vicinal.data.images import ImageSet
from vicinal.study.images import IMAGE_METHODS, ImageProtocol
from vicinal.training.single import Architecture, ClassifierTask, ready_for
from vicinal.training.single.task import Trainee

ROWS = 1024


def main() -> None:
    """Print seconds a step and ratios to plain training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet-18")
    parser.add_argument(
        "--methods", default="mixup,mixup-r,cutmix,manifold-mixup,varmixup,mixup+varmixup,varmixup-sampled"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shape", default="3,32,32")
    asked = parser.parse_args()
    shape = tuple(int(part) for part in asked.shape.split(","))
    device = torch.device(Hardware().found())
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (ROWS, *shape), generator=generator, dtype=torch.uint8)
    images = ImageSet("random", x, torch.arange(ROWS) % 10, tuple("0123456789"))
    protocol = ImageProtocol(network=asked.network)
    # What a space has learnt does not matter for its speed.
    space = ImageProtocol(vae={"epochs": 1}).space("vae", 0).fit(images.take(slice(0, 256)).x)
    steps = {}
    for name in ["erm", *asked.methods.split(",")]:
        method = IMAGE_METHODS[name]
        objective = method.objective(protocol)
        trainee = Trainee(Architecture.of(asked.network, images).make(), objective.extras(shape, 10, 0))
        vicinity = ready_for(method.vicinity(protocol, space if method.space else None), images)
        task = ClassifierTask(trainee, images, vicinity, objective)
        task.module.to(device, memory_format=torch.channels_last)
        steps[name] = (task, protocol.descent().make(task.module.parameters()))
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(asked.rounds + 1):
        index = torch.randperm(ROWS, generator=generator)[: protocol.batch_size]
        for name, (task, optimizer) in steps.items():
            started = time.perf_counter()
            batch = Batch(index, slice(0, len(index)), generator_at(step=number), device)
            task.loss(task.module, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    print(f"{asked.network}, {shape}, batch {protocol.batch_size}, {device}, {asked.rounds} rounds")
    for name, values in seconds.items():
        ratio = median(a / b for a, b in zip(values, seconds["erm"], strict=True))
        print(f"{name:20} {1e3 * median(values):9.1f} ms   x {ratio:.3f}")


if __name__ == "__main__":
    main()
