"""`vicinal vae train | show`: the space that VarMixup mixes in."""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vicinal.cli.image_options import (
    BatchSize,
    Count,
    Data,
    Device,
    Epochs,
    Images,
    Precision,
    Processes,
    Quiet,
    Rate,
    Seed,
    Size,
)
from vicinal.cli.image_parts import (
    check_folder,
    make_judge,
    measure_quality,
    not_first,
    read_problem,
    read_space,
)
from vicinal.cli.image_progress import epochs_text, say, watching

__all__ = ["vae_app"]

vae_app = typer.Typer(
    name="vae",
    help="Train the space that VarMixup mixes in, and look at it.",
    short_help="Train and show VarMixup's space.",
    no_args_is_help=True,
)


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
    """Train an MMD-VAE, and say how good its images are; killed and run again, it goes on where it was."""
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
    problem, train = read_problem(data, images, size, train_images, seed)
    path = out or Path("spaces") / f"{problem.name}{'-adv' if epsilon else ''}-vae.safetensors"
    if path.suffix != ".safetensors":
        raise InputError(f"--out must be a file that ends in .safetensors, got {str(path)!r}.")
    if path.exists():
        raise InputError(
            f"{path} is there already; look at it by `vicinal vae show {path} --data {data}`, give another --out, or delete it to"
            " train anew."
        )
    check_folder(path.parent)
    hardware = Hardware(device=device, processes=processes, precision=precision)
    space = MMDVAE(
        latent=shape, width=width, gamma=gamma, divergence=divergence, epsilon=epsilon / 255, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, device=device, precision=precision, seed=seed,
    )  # fmt: skip
    say(
        console,
        f"MMD-VAE on {len(train)} images of {problem.name}, {epochs_text(epochs)} on {hardware.found()}, to {path}",
    )
    begun = path.with_suffix(".training")  # what is needed to go on, and goes when all is done
    judge = make_judge(train, hardware, console, begun)
    with watching(console) as tell:
        space.fit(train.x, name=train.name, folder=begun, processes=processes, tell=lambda p: tell("space", p))
    if not_first():
        return
    save(space, path)
    shutil.rmtree(begun, ignore_errors=True)
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
    problem, train = read_problem(data, images, size, train_images, 0)
    space = read_space(file, problem)
    _show(space, make_judge(train, None, console), problem, to or file.with_suffix(".png"))


def _show(space: Any, judge: Any, problem: Any, path: Path) -> None:
    from vicinal.core.files import write_whole  # noqa: PLC0415
    from vicinal.study.images import space_picture  # noqa: PLC0415

    quality = measure_quality(space, problem, judge)
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
