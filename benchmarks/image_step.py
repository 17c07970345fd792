"""What a training step costs under each method, against plain training: images of 3 x 32 x 32, 128 a batch.

    python benchmarks/image_step.py [--network resnet-18] [--methods mixup,varmixup,manifold-mixup] [--rounds 7]
    python benchmarks/image_step.py --methods varmixup,at,trades --rounds 3 --batch 32          # and whole trainings

Steps of all methods take turns, so that a busy machine slows all alike; ratios are medians over rounds. Each step is the one of
`vicinal train`: rows taken, mixed (and decoded), loss, gradients, Adam. Codes are computed before, as a training does once.

Whole trainings are reckoned from the steps: the epochs of the paper, 50,000 images, and where a space is needed its training by
default settings and the encoding of all images. A smaller --batch is quicker where there is no accelerator.
"""

import argparse
import time
from statistics import median

import torch

from vicinal.core import generator_at
from vicinal.core.loop import Batch, Hardware
from vicinal.data.images import ImageSet
from vicinal.networks import ConvolutionalAutoencoder
from vicinal.spaces import MMDVAE
from vicinal.spaces.mmd_vae import VAETask
from vicinal.study.images import IMAGE_METHODS, ImageProtocol
from vicinal.training.single import Architecture, ClassifierTask, ready_for
from vicinal.training.single.task import Trainee

ROWS, IMAGES = 1024, 50_000


def main() -> None:
    """Print seconds a step and ratios to plain training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet-18")
    parser.add_argument(
        "--methods", default="mixup,mixup-r,cutmix,manifold-mixup,varmixup,mixup+varmixup,varmixup-sampled"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shape", default="3,32,32")
    parser.add_argument("--batch", type=int, default=128)
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
    space_task, optimizer = space_step(space, x, device)
    steps["the space's"] = (space_task, optimizer)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    encoding = []
    for number in range(asked.rounds + 1):
        index = torch.randperm(ROWS, generator=generator)[: asked.batch]
        for name, (task, optimizer) in steps.items():
            started = time.perf_counter()
            batch = Batch(index, slice(0, len(index)), generator_at(step=number), device)
            task.loss(task.module, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
            synchronize(device)
            seconds[name].append(time.perf_counter() - started)
        started = time.perf_counter()
        space.encode(images.pixels(index).to(device))
        synchronize(device)
        encoding.append(time.perf_counter() - started)
    print(f"{asked.network}, {shape}, batch {asked.batch}, {device}, {asked.rounds} rounds")
    step = {name: median(values[1:]) for name, values in seconds.items()}  # the first round warms up
    hours = {name: whole(name, step, median(encoding[1:]), asked.batch) for name in step if name in IMAGE_METHODS}
    for name, values in seconds.items():
        ratio = median(a / b for a, b in zip(values[1:], seconds["erm"][1:], strict=True))
        training = (
            f"   whole training {hours[name]:8.1f} h   x {hours[name] / hours['erm']:.2f}" if name in hours else ""
        )
        print(f"{name:24} {1e3 * step[name]:9.1f} ms   x {ratio:.3f}{training}")
    for name in ("at", "trades"):
        for other in hours.keys() - {"erm", "at", "trades", "iat"} if name in hours else ():
            print(f"{other} with its space: {hours[other] / hours[name]:.3f} of {name}'s whole training")


def space_step(space: MMDVAE, x: torch.Tensor, device: torch.device) -> tuple[VAETask, torch.optim.Optimizer]:
    """Return the task of a space's training, and its optimiser."""
    module = ConvolutionalAutoencoder(space.shape_, space.code_shape_, space.width, space.blocks)
    module.to(device, memory_format=torch.channels_last)
    return VAETask(space, module, x), torch.optim.Adam(module.parameters())


def whole(name: str, step: dict[str, float], encoding: float, batch: int) -> float:
    """Return hours of a whole training."""
    method = IMAGE_METHODS[name]
    an_epoch = IMAGES / batch
    total = method.epochs * an_epoch * step[name]
    if method.space is not None:
        total += an_epoch * (MMDVAE().epochs * step["the space's"] + encoding)
    return total / 3600


def synchronize(device: torch.device) -> None:
    """Wait for an accelerator."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
