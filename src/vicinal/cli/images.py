"""`vicinal train`, `vicinal evaluate`, `vicinal vae train | show`: classifiers of images, and the spaces that they mix in."""

import os
import shlex
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

__all__ = ["evaluate_command", "train_command", "vae_app"]

vae_app = typer.Typer(
    name="vae",
    help="Train the space that VarMixup mixes in, and look at it.",
    short_help="Train and show VarMixup's space.",
    no_args_is_help=True,
)

DEFAULT_NETWORK = "resnet-18"

LINE_SECONDS = 60.0
"""How often progress is said where there is no terminal to draw a bar in."""

Data = Annotated[
    str, typer.Option("--data", help="cifar-10, cifar-100, fashion-mnist, mnist, tiny-imagenet, or a folder.")
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Where the data sets' files are, or are to be fetched to.",
        show_default="$VICINAL_DATA or ~/.cache/vicinal/images",
    ),
]
Size = Annotated[int | None, typer.Option(min=8, help="Bring all images to so many pixels a side.")]
Count = Annotated[
    int | None, typer.Option("--train-images", min=2, help="Train on so many, drawn at random.", show_default="all")
]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the images.")]
BatchSize = Annotated[int, typer.Option(min=2, help="Images a step, over all processes.")]
Rate = Annotated[float, typer.Option("--learning-rate", help="Of the optimiser.")]
Device = Annotated[str, typer.Option(help="auto, or torch's name for one: cpu, cuda, cuda:1, mps.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes that train together, each on a device of its own.")]
Precision = Annotated[str, typer.Option(help="32-true, 16-mixed or bf16-mixed.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything.")]
Entries = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="ENTRY=VALUE", help="Another entry of the protocol, such as alpha=0.5; a wrong one lists all."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress.")]
Corruptions = Annotated[
    bool, typer.Option("--corruptions/--no-corruptions", help="Corrupt the test images, and test on them.")
]
Corrupted = Annotated[
    Path | None, typer.Option("--corrupted", help="A published set instead, such as the folder of CIFAR-10-C.")
]
Tested = Annotated[
    int | None, typer.Option("--test-images", min=1, help="Corrupt so many of the test images.", show_default="all")
]


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
    problem, train = _read(data, images, size, protocol.train_images, seed)
    held = None
    if validation:
        if not 0 < round(validation * len(train)) < len(train):
            raise InputError(
                f"--validation must leave images to train on and to choose by, got {validation:g} of {len(train)} images; give a"
                " larger share, or take more images."
            )
        train, held = train.split(validation, seed)
    folder = out or Path("runs") / f"{problem.name}-{method}-{seed}"
    _check_folder(folder)
    found, quality = None if space is None else _space(space, problem), None
    published = None if corrupted is None else _published(corrupted, problem)
    hardware = Hardware(device=device, processes=processes, precision=precision, compile=compiled)
    length = f"{_epochs(protocol.epochs or chosen.epochs)} on {hardware.found()}"
    _say(console, f"{method} on {len(train)} images of {problem.name}, {protocol.network}, {length}, in {folder}")
    Architecture.of(protocol.network, train).make()  # or says what is wrong now, and not after hours
    judge = _judge(train, hardware, console, folder.parent / "judges")
    with _watching(console) as tell:
        if found is None and chosen.space is not None:
            found = space_for(
                chosen.space, train, protocol, seed, folder.parent / "spaces", hardware, lambda p: tell("space", p)
            )
        if found is not None:
            quality = _quality(found, problem, judge)
            _say(console, f"the space: {quality.text}")
            if quality.warning:
                console.print(f"warning: {quality.warning}", markup=False, soft_wrap=True, style="yellow")
        trained = train_method(
            chosen, train, protocol, space=found, seed=seed, folder=folder, validation=held, hardware=hardware,
            keep="accuracy" if validation else None, tensorboard=tensorboard, tell=lambda p: tell("classifier", p),
        )  # fmt: skip
    if _helps():
        return
    if trained.result.resumed:
        _say(console, f"went on from step {trained.result.resumed}")
    benchmark = published or _benchmark(problem, protocol, corruptions, images, console)
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
        tell=lambda what: _say(console, f"testing: {what}"),
    )
    seconds = trained.result.seconds, trained.space_seconds
    ours = Evaluated(problem.name, method, protocol.network, metrics, facts, *seconds)
    _report([ours], f"{method} on {problem.name}", folder / "report.html")


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
    report: Annotated[Path, typer.Option(help="Where the HTML report goes.")] = Path("report.html"),
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Evaluate trained classifiers on clean and corrupted images, side by side."""
    from vicinal.core import InputError  # noqa: PLC0415 - torch is slow to import
    from vicinal.core.loop import Hardware  # noqa: PLC0415
    from vicinal.study.images import ImageProtocol, evaluate_checkpoints  # noqa: PLC0415
    from vicinal.study.images.single import read_checkpoints  # noqa: PLC0415

    console = Console(stderr=True, quiet=quiet, highlight=False)
    if report.is_dir():
        raise InputError(f"--report must be a file, got the folder {str(report)!r}; add a name such as report.html.")
    _check_folder(report.parent)
    problem, _ = _read(data, images, size, None, seed)
    protocol = ImageProtocol(test_images=test_images, attacked_images=attacked_images)
    read_checkpoints(
        checkpoints, problem
    )  # or says what is wrong now, and not after the corruption of thousands of images
    if corrupted is not None:
        benchmark = _published(corrupted, problem)
    else:
        benchmark = _benchmark(problem, protocol, corruptions, images, console)
    found = evaluate_checkpoints(
        checkpoints, problem, benchmark, protocol, seed=seed, device=Hardware(device=device).found(),
        tell=lambda what: _say(console, what),
    )  # fmt: skip
    _report(found, f"Classifiers of {problem.name}", report)


@vae_app.command("train")
def vae_train_command(
    data: Data,
    images: Images = None,
    size: Size = None,
    train_images: Count = None,
    latent: Annotated[
        str | None,
        typer.Option(
            help="Shape of a code, such as 16,8,8 or 64.", show_default="16 channels at a quarter of the size"
        ),
    ] = None,
    width: Annotated[int, typer.Option(min=1, help="Channels at half the images' size.")] = 32,
    gamma: Annotated[float, typer.Option(min=0, help="Weight of the divergence.")] = 10.0,
    divergence: Annotated[str, typer.Option(help="mmd or kl.")] = "mmd",
    epsilon: Annotated[
        float, typer.Option(min=0, max=255, help="Above 0: adversarial training within so many of 255 grey levels.")
    ] = 0.0,
    epochs: Epochs = 30,
    batch_size: BatchSize = 128,
    learning_rate: Rate = 2e-3,
    out: Annotated[Path | None, typer.Option(help="The file.", show_default="spaces/DATA-vae.safetensors")] = None,
    device: Device = "auto",
    processes: Processes = 1,
    precision: Precision = "32-true",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train an MMD-VAE, and say how good its images are before anyone trains a classifier on them."""
    from vicinal.core import InputError, save  # noqa: PLC0415 - torch is slow to import
    from vicinal.core.loop import Hardware  # noqa: PLC0415
    from vicinal.spaces import MMDVAE  # noqa: PLC0415

    console = Console(stderr=True, quiet=quiet, highlight=False)
    try:
        shape = None if latent is None else [int(part) for part in latent.split(",")]
    except ValueError as error:
        raise InputError(
            f"--latent must be whole numbers with commas between, such as 16,8,8, got {latent!r}."
        ) from error
    problem, train = _read(data, images, size, train_images, seed)
    path = out or Path("spaces") / f"{problem.name}{'-adv' if epsilon else ''}-vae.safetensors"
    if path.suffix != ".safetensors":
        raise InputError(f"--out must be a file that ends in .safetensors, got {str(path)!r}.")
    _check_folder(path.parent)
    hardware = Hardware(device=device, processes=processes, precision=precision)
    space = MMDVAE(
        latent=shape, width=width, gamma=gamma, divergence=divergence, epsilon=epsilon / 255, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, device=device, precision=precision, seed=seed,
    )  # fmt: skip
    _say(
        console, f"MMD-VAE on {len(train)} images of {problem.name}, {_epochs(epochs)} on {hardware.found()}, to {path}"
    )
    judge = _judge(train, hardware, console)
    with _watching(console) as tell:
        space.fit(
            train.x, name=train.name, folder=path.with_suffix(""), processes=processes, tell=lambda p: tell("space", p)
        )
    if _helps():
        return
    save(space, path)
    _show(space, judge, problem, path.with_suffix(".png"))


@vae_app.command("show")
def vae_show_command(
    file: Annotated[Path, typer.Argument(help="A space that `vicinal vae train` left.")],
    data: Data,
    images: Images = None,
    size: Size = None,
    train_images: Count = None,
    to: Annotated[Path | None, typer.Option(help="The picture.", show_default="beside the file")] = None,
    quiet: Quiet = False,
) -> None:
    """Measure a trained space on images, of the data set that it was trained on or another, and draw a picture."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    problem, train = _read(data, images, size, train_images, 0)
    space = _space(file, problem)
    _show(space, _judge(train, None, console), problem, to or file.with_suffix(".png"))


def _show(space: Any, judge: Any, problem: Any, path: Path) -> None:
    from vicinal.core.files import write_whole  # noqa: PLC0415
    from vicinal.study.images import space_picture  # noqa: PLC0415

    quality = _quality(space, problem, judge)
    show = Console(highlight=False)
    rows = {
        "trained on": f"{space.trained_on_ or 'unnamed images'}, {space.seconds_:.1f} s",
        "code": f"{' x '.join(map(str, space.code_shape_))} for images of {' x '.join(map(str, space.shape_))}",
        "quality": quality.text,
    }
    for name, text in rows.items():
        show.print(f"{name + ':':12}{text}", markup=False, soft_wrap=True)
    if quality.warning:
        show.print(f"warning: {quality.warning}", markup=False, soft_wrap=True, style="yellow")
    write_whole(path, space_picture(space, problem.test))
    typer.echo(f"picture: {path}")


def _read(data: str, images: Path | None, size: int | None, count: int | None, seed: int) -> tuple[Any, Any]:
    from vicinal.data.images import read_images  # noqa: PLC0415

    problem = read_images(data, images, size=size)
    train = problem.train if count is None or count >= len(problem.train) else problem.train.first(count, seed)
    return problem, train


def _space(file: Path, problem: Any) -> Any:
    """Return a trained space of such images."""
    from vicinal.core import InputError, load  # noqa: PLC0415
    from vicinal.core.files import read_tensors  # noqa: PLC0415
    from vicinal.spaces import MMDVAE  # noqa: PLC0415

    read_tensors(file)  # says what is wrong with the file itself
    try:
        found = load(file)
    except InputError:
        found = None
    if not isinstance(found, MMDVAE):
        raise InputError(f"{file} holds no space of images; `vicinal vae train` makes one.")
    if tuple(found.shape_) != tuple(problem.shape):
        raise InputError(
            f"{file} is a space of images {_shape(found.shape_)}, but those of {problem.name} are {_shape(problem.shape)}"
            " (channels, height, width); train one on these, or give --size."
        )
    return found


def _shape(sizes: Any) -> str:
    return " x ".join(map(str, sizes))


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"


def _check_folder(folder: Path) -> None:
    """Say before hours of training what would only fail after them."""
    from vicinal.core import InputError  # noqa: PLC0415

    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"can't write in {folder}: {place} is a file; give another folder.")
    if not os.access(place, os.W_OK):
        raise InputError(f"can't write in {folder}: {place} is read-only; give a folder that can be written to.")


def _quality(space: Any, problem: Any, judge: Any) -> Any:
    from vicinal.study.images import quality_of  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the command says it in its own way
        return quality_of(space, problem.test, judge)


def _judge(train: Any, hardware: Any, console: Console, folder: Path | None = None) -> Any:
    """Return a plainly trained small classifier, whose features and judgement measure what others draw."""
    from vicinal.study.images import train_judge  # noqa: PLC0415

    with _watching(console) as tell:
        return train_judge(
            train, hardware=hardware, tell=lambda p: tell("small network, to judge by", p), folder=folder
        )


def _helps() -> bool:
    """Whether this is one of several processes that train, and not the first, which alone tests and reports."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _published(folder: Path, problem: Any) -> Any:
    """Return a published corrupted set, one of such images and classes."""
    from vicinal.core import InputError  # noqa: PLC0415
    from vicinal.data.images import read_corrupted  # noqa: PLC0415

    found = read_corrupted(folder, classes=problem.classes)
    shape = tuple(found.batch(found.corruptions[0], found.severities[0]).shape[1:])
    if shape != tuple(problem.shape):
        raise InputError(
            f"--corrupted must hold images of {_shape(problem.shape)} (channels, height, width), as the test images are, got"
            f" {_shape(shape)} in {folder}; give the set of these images, and leave out --size."
        )
    if int(found.y.max()) >= len(problem.classes):
        raise InputError(
            f"--corrupted must have labels in 0..{len(problem.classes) - 1}, the classes of {problem.name}, got"
            f" {int(found.y.max())} in {folder}; give the set of these images."
        )
    return found


def _benchmark(problem: Any, protocol: Any, wanted: bool, folder: Path | None, console: Console) -> Any:
    """Return the test images corrupted here, or the published set beside them; None if none are wanted."""
    from vicinal.study.images import corrupted_images  # noqa: PLC0415

    if not wanted:
        return None
    with _bar(console, "corrupting test images") as tell:
        return corrupted_images(problem, protocol, folder, workers=None, tell=tell)


def _report(found: Any, title: str, path: Path) -> None:
    from vicinal.cli.terminal import scores_table  # noqa: PLC0415
    from vicinal.study.images import summarize_images  # noqa: PLC0415
    from vicinal.study.report import write_study_report  # noqa: PLC0415

    methods = [one.method for one in found]
    rows, remarks = {}, []
    for one in found:
        name = one.method if methods.count(one.method) == 1 else f"{one.method} ({one.source})"
        rows[name] = {**one.metrics, "seconds": one.seconds, "space_seconds": one.space_seconds}
    for method in dict.fromkeys(name for name in methods if methods.count(name) > 1):
        sources = ", ".join(one.source for one in found if one.method == method)
        remarks.append(f"Taken for trials of {method}, so that the report shows their mean: {sources}.")
    scores_table(rows, Console(highlight=False))
    summary = summarize_images(found, title, shlex.join(["vicinal", *sys.argv[1:]]), remarks)
    for remark in remarks:
        typer.echo(remark)
    typer.echo(f"report: {write_study_report(summary, path)}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


@contextmanager
def _watching(console: Console) -> Iterator[Any]:
    """Show a bar with epochs, loss, scores and the time left for each stage of a training."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("done,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    seen = console.is_terminal
    with Progress(*columns, console=console, transient=True, refresh_per_second=4, disable=not seen) as progress:
        tasks: dict[str, Any] = {}
        said = time.monotonic()

        def tell(stage: str, p: Any) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=p.steps)
            scores = "".join(
                f", {name} {value:.3f}" for name, value in p.scores.items() if name in ("accuracy", "log_loss", "error")
            )
            text = f"{stage}: epoch {min(p.epoch + 1, p.epochs)} of {p.epochs}, loss {p.loss:.3f}{scores}"
            progress.update(tasks[stage], description=text, completed=p.step)
            nonlocal said
            if not seen and time.monotonic() - said > LINE_SECONDS:  # a file that somebody looks into now and then
                said = time.monotonic()
                left = "" if p.left is None else f", about {timedelta(seconds=round(p.left))} left"
                _say(console, f"{text}{left}")

        yield tell


@contextmanager
def _bar(console: Console, text: str) -> Iterator[Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
