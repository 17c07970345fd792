"""`vicinal train` and `vicinal evaluate`: classifiers of images."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vicinal.cli.image_options import (
    BatchSize,
    Corrupted,
    Corruptions,
    Count,
    Data,
    Device,
    Entries,
    Images,
    Inception,
    Precision,
    Processes,
    Quiet,
    Rate,
    Seed,
    Size,
    Tested,
    TestEntries,
)
from vicinal.cli.image_parts import (
    check_folder,
    fetch_features,
    make_benchmark,
    make_judge,
    measure_quality,
    not_first,
    published_set,
    read_problem,
    read_space,
    write_evaluation,
)
from vicinal.cli.image_progress import epochs_text, say, watching

__all__ = ["evaluate_command", "train_command"]

DEFAULT_NETWORK = "resnet-18"


def train_command(
    method: Annotated[str, typer.Argument(help="A method: `vicinal methods --images` lists them.")],
    data: Data,
    images: Images = None,
    size: Size = None,
    train_images: Count = None,
    network: Annotated[
        str, typer.Option(help="See `vicinal methods --images`; torchvision:NAME and timm:NAME too.")
    ] = DEFAULT_NETWORK,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the images.", show_default="the paper's")
    ] = None,
    batch_size: BatchSize = 128,
    learning_rate: Rate = 1e-3,
    schedule: Annotated[str, typer.Option(help="constant, cosine or multistep.")] = "constant",
    augmented: Annotated[bool, typer.Option("--augment/--no-augment", help="Random crops and flips.")] = True,
    validation: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the training images to choose the epoch by.")
    ] = 0.0,
    space: Annotated[
        Path | None, typer.Option(help="A trained space (`vicinal vae train`).", show_default="trained first")
    ] = None,
    vae_epochs: Annotated[int | None, typer.Option(min=1, help="Of the space's training.", show_default="30")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/DATA-METHOD-SEED")] = None,
    device: Device = "auto",
    processes: Processes = 1,
    precision: Precision = "32-true",
    compiled: Annotated[bool, typer.Option("--compile", help="Run the network through torch.compile.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")] = False,
    seed: Seed = 0,
    entries: Entries = None,
    corruptions: Corruptions = True,
    corrupted: Corrupted = None,
    test_images: Tested = None,
    inception: Inception = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier of images, evaluate it and write a report; run again, it goes on where it was."""
    from vicinal.cli.entries import read_entries  # noqa: PLC0415 - torch is slow to import
    from vicinal.core import InputError  # noqa: PLC0415
    from vicinal.core.loop import Hardware  # noqa: PLC0415
    from vicinal.study.images import (  # noqa: PLC0415
        Evaluated,
        evaluate_training,
        read_image_methods,
        read_image_protocol,
        space_for,
        train_method,
    )
    from vicinal.training.single import Architecture  # noqa: PLC0415

    (chosen,) = read_image_methods([method])
    given = {
        "network": network, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "schedule": schedule,
        "augmented": augmented, "train_images": train_images, "test_images": test_images,
    }  # fmt: skip
    protocol = read_image_protocol({k: v for k, v in given.items() if v is not None})
    protocol = read_image_protocol(read_entries(entries), protocol)
    if vae_epochs:
        protocol = read_image_protocol({"vae": {**protocol.vae, "epochs": vae_epochs}}, protocol)
    console = Console(stderr=True, quiet=quiet, highlight=False)
    fetch_features(inception, protocol)
    problem, train = read_problem(data, images, size, protocol.train_images, seed)
    held = None
    if validation:
        if not 0 < round(validation * len(train)) < len(train):
            raise InputError(
                f"--validation must leave images to train on and to choose by, got {validation:g} of {len(train)} images; give a"
                " larger share, or take more images."
            )
        train, held = train.split(validation, seed)
    folder = out or Path("runs") / f"{problem.name}-{method}-{seed}"
    check_folder(folder)
    found, quality = None if space is None else read_space(space, problem), None
    published = None if corrupted is None else published_set(corrupted, problem)
    hardware = Hardware(device=device, processes=processes, precision=precision, compile=compiled)
    length = f"{epochs_text(protocol.epochs or chosen.epochs)} on {hardware.found()}"
    say(console, f"{method} on {len(train)} images of {problem.name}, {protocol.network}, {length}, in {folder}")
    Architecture.of(protocol.network, train).make()  # or says what is wrong now, and not after hours
    judge = make_judge(train, hardware, console, folder.parent / "judges")
    with watching(console) as tell:
        if found is None and chosen.space is not None:
            found = space_for(
                chosen.space, train, protocol, seed, folder.parent / "spaces", hardware, lambda p: tell("space", p)
            )
        if found is not None:
            quality = measure_quality(found, problem, judge)
            say(console, f"the space: {quality.text}")
            if quality.warning:
                console.print(f"warning: {quality.warning}", markup=False, soft_wrap=True, style="yellow")
        trained = train_method(
            chosen, train, protocol, space=found, seed=seed, folder=folder, validation=held, hardware=hardware,
            keep="accuracy" if validation else None, tensorboard=tensorboard, tell=lambda p: tell("classifier", p),
        )  # fmt: skip
    if not_first():
        return
    benchmark = published or make_benchmark(problem, protocol, corruptions, images, console)
    metrics, facts = evaluate_training(
        chosen,
        trained,
        train,
        problem,
        benchmark,
        protocol,
        judge,
        quality,
        seed,
        tell=lambda what: say(console, f"testing: {what}"),
    )
    seconds = trained.result.seconds, trained.space_seconds
    ours = Evaluated(problem.name, method, protocol.network, metrics, facts, *seconds)
    write_evaluation([ours], f"{method} on {problem.name}", folder / "report.html")


def evaluate_command(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Folders or files that `vicinal train` left; several are compared.")
    ],
    data: Data,
    images: Images = None,
    size: Size = None,
    corruptions: Corruptions = True,
    corrupted: Corrupted = None,
    test_images: Tested = None,
    attacked_images: Annotated[int, typer.Option(min=0, help="Attack so many with AutoAttack, radius 8/255.")] = 0,
    entries: TestEntries = None,
    report: Annotated[Path, typer.Option(help="Where the HTML report goes.")] = Path("report.html"),
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Evaluate trained classifiers on clean and corrupted images, side by side."""
    from vicinal.cli.entries import read_entries  # noqa: PLC0415 - torch is slow to import
    from vicinal.core import InputError  # noqa: PLC0415
    from vicinal.core.loop import Hardware  # noqa: PLC0415
    from vicinal.study.images import evaluate_checkpoints, read_image_protocol  # noqa: PLC0415
    from vicinal.study.images.protocol import TESTING  # noqa: PLC0415
    from vicinal.study.images.single import read_checkpoints  # noqa: PLC0415

    console = Console(stderr=True, quiet=quiet, highlight=False)
    if report.is_dir():
        raise InputError(f"--report must be a file, got the folder {str(report)!r}; add a name such as report.html.")
    check_folder(report.parent)
    options = {"test_images": test_images, "attacked_images": attacked_images}
    given = {name: value for name, value in options.items() if value is not None}
    protocol = read_image_protocol(given | read_entries(entries, TESTING))
    problem, _ = read_problem(data, images, size, None, seed)
    read_checkpoints(
        checkpoints, problem
    )  # or says what is wrong now, and not after the corruption of thousands of images
    if corrupted is not None:
        benchmark = published_set(corrupted, problem)
    else:
        benchmark = make_benchmark(problem, protocol, corruptions, images, console)
    found = evaluate_checkpoints(
        checkpoints, problem, benchmark, protocol, seed=seed, device=Hardware(device=device).found(),
        tell=lambda what: say(console, what),
    )  # fmt: skip
    write_evaluation(found, f"Classifiers of {problem.name}", report)
