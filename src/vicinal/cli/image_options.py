"""Options that the commands for images share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BatchSize",
    "Corrupted",
    "Corruptions",
    "Count",
    "Data",
    "Device",
    "Entries",
    "Epochs",
    "Images",
    "Inception",
    "Precision",
    "Processes",
    "Quiet",
    "Rate",
    "Seed",
    "Size",
    "TestEntries",
    "Tested",
]

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
TestEntries = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="ENTRY=VALUE",
        help="An entry of the protocol that is about testing, such as linearity=[] for none; a wrong one lists all.",
    ),
]
Inception = Annotated[
    bool,
    typer.Option(
        "--inception", help="Fetch Inception v3's weights (91 MB) first: FID and KID are in its features then."
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
