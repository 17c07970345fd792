"""`vicinal compare`, `vicinal methods`, `vicinal tables`; `vicinal study` is in its own file."""

import errno
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import vicinal
from vicinal.cli.images import evaluate_command, train_command
from vicinal.cli.study import study_app
from vicinal.cli.vae import vae_app
from vicinal.core import InputError

__all__ = ["app", "main"]

# What the command line's own parser raises; typer has it from click or brings its own copy.
USAGE_ERRORS: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

INTERRUPTED = 130
"""The status of a command that Ctrl-C ended."""

INTERRUPTIONS = {
    "compare": "interrupted before the first trial was done; nothing was written.",
    "evaluate": "interrupted; no report was written.",
    "study": "interrupted; every record that is done is kept, and the same command goes on.",
    "train": "interrupted; the epochs that are done are kept, and the same command goes on.",
    "vae train": "interrupted; the epochs that are done are kept, and the same command goes on.",
    "vae show": "interrupted; no picture was written.",
}
"""What is left of a command that Ctrl-C ended."""

NOTHING = "interrupted; nothing was written."

app = typer.Typer(
    name="vicinal",
    help="Mixup, done right: vicinal training guided by generative models.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(study_app)
app.add_typer(vae_app)
app.command("train", short_help="Train a classifier of images, and test it.")(train_command)
app.command("evaluate", short_help="Test trained classifiers, side by side.")(evaluate_command)


def main() -> None:
    """Run the command; a user's mistake ends it with status 2 and one line."""
    try:
        if (status := app(sys.argv[1:] or ["--help"], prog_name="vicinal", standalone_mode=False)) == INTERRUPTED:
            raise KeyboardInterrupt  # typer has made a status of it
        sys.exit(status)
    except (InputError, ImportError) as error:
        _complain(str(error))
        sys.exit(2)
    except USAGE_ERRORS as error:
        command = error.ctx.command_path if getattr(error, "ctx", None) is not None else "vicinal"
        _complain(f"{error.format_message().rstrip('.')}; `{command} --help` shows what there is.")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        _complain(INTERRUPTIONS.get(" ".join(sys.argv[1:3]), INTERRUPTIONS.get("".join(sys.argv[1:2]), NOTHING)))
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has closed it, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise  # not of a file: a fault, whose place must be seen
        where = f"{os.fsdecode(error.filename)!r}" if isinstance(error.filename, str | bytes) else "a file"
        _complain(f"can't use {where} ({error.strerror}); free some space, or give another folder or file.")
        sys.exit(2)


def _complain(message: str) -> None:
    from vicinal.cli.terminal import plain  # noqa: PLC0415 - rich is slow to import

    print(f"vicinal: {plain(message, longest=1000)}", file=sys.stderr)  # noqa: T201 - the command's own output


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vicinal {vicinal.__version__}")
        raise typer.Exit


@app.callback()
def _vicinal(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command("compare", short_help="Train several classifiers of a table.")
def compare_command(
    source: Annotated[
        str,
        typer.Argument(
            help="A bundled table (`vicinal tables`), a file (csv, tsv, parquet, feather, arff), or openml:ID."
        ),
    ],
    target: Annotated[str | None, typer.Option(help="The column that holds the class.")] = None,
    methods: Annotated[
        str | None, typer.Option(help="Names with commas between; default all (`vicinal methods`).")
    ] = None,
    network: Annotated[str | None, typer.Option(help="linear or mlp.", show_default="linear")] = None,
    protocol: Annotated[
        str, typer.Option(help="tuned: as a practitioner would; paper: as the GenLabel paper did.")
    ] = "tuned",
    trials: Annotated[int, typer.Option(min=1, help="Random splits into training and test rows.")] = 5,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Folds of the cross-validation.", show_default="the protocol's")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="The best epoch by held-out score, or the last.", show_default="the protocol's")
    ] = None,
    scale: Annotated[
        bool | None, typer.Option("--scale/--no-scale", help="Standardise the features.", show_default="the protocol's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of splits, weights and pairs.")] = 0,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON; - for the terminal.")
    ] = None,
    report: Annotated[
        str, typer.Option(metavar="FILE", help="Where the HTML report goes; 'none' for nowhere.")
    ] = "report.html",
    device: Annotated[
        str | None, typer.Option(help="Where to train, such as cpu or cuda.", show_default="chosen")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor table.")] = False,
) -> None:
    """Train plain, mixup and GenLabel classifiers on a table and show which is best, and why."""
    from vicinal.cli.terminal import progress_bar, results_table  # noqa: PLC0415 - torch and rich are slow to import
    from vicinal.study.compare import compare  # noqa: PLC0415
    from vicinal.study.methods import read_methods  # noqa: PLC0415
    from vicinal.study.protocol import read_protocol  # noqa: PLC0415
    from vicinal.study.report import write_report  # noqa: PLC0415
    from vicinal.study.report._files import write_text  # noqa: PLC0415
    from vicinal.study.summary import summarize  # noqa: PLC0415
    from vicinal.study.trials import read_problem  # noqa: PLC0415

    problem = read_problem(source, target)
    plan = read_protocol(protocol, network, problem.name if problem.synthetic else None, folds, keep, scale)
    chosen = read_methods(methods, plan.network)
    for path in (json_file, report):
        _check_writable(path)
    # What a person reads goes to stderr where stdout carries JSON.
    console = Console(stderr=json_file == "-", quiet=quiet, highlight=False)
    with progress_bar(problem.name, Console(stderr=True, quiet=quiet)) as tell:
        result = compare(problem, chosen, plan, trials=trials, seed=seed, device=device, report=tell)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)
        summary = summarize(result, sys.argv[1:])
    results_table(summary, console)
    if json_file == "-":
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    elif json_file is not None:
        write_text(json.dumps(summary, indent=2) + "\n", Path(json_file))
    if report != "none":
        console.print(f"\nreport: {write_report(summary, report)}", markup=False, soft_wrap=True)


@app.command("methods")
def methods_command(
    images: Annotated[
        bool, typer.Option("--images", help="Of images, and the networks; else those of tables.")
    ] = False,
) -> None:
    """List the methods of tables, or of images."""
    from vicinal.cli.terminal import two_columns  # noqa: PLC0415
    from vicinal.study.methods import METHODS  # noqa: PLC0415

    if images:
        from vicinal.networks import NETWORKS  # noqa: PLC0415
        from vicinal.study.images import IMAGE_METHODS  # noqa: PLC0415

        two_columns({m.name: f"{m.summary} ({m.reference})" for m in IMAGE_METHODS.values()})
        typer.echo("\nNetworks:")
        two_columns(dict(NETWORKS))
        return
    words = {
        m.name: f"{m.summary} ({m.reference})"
        + "; needs hidden layers" * m.hidden
        + "; runs where it is named" * (not m.default)
        for m in METHODS.values()
    }
    two_columns(words)


@app.command("tables")
def tables_command() -> None:
    """List the tables that come along."""
    from vicinal.cli.terminal import two_columns  # noqa: PLC0415
    from vicinal.data import SYNTHETIC, bundled_tables  # noqa: PLC0415

    synthetic = {
        name: f"synthetic, {p.n_classes} classes, {p.n_features} features, {p.train_per_class} training rows a class"
        for name, p in SYNTHETIC.items()
    }
    two_columns({**bundled_tables(), **synthetic})


def _check_writable(path: str | None) -> None:
    """Say before a long run what would only fail at its end."""
    if path in (None, "-", "none"):
        return
    assert path is not None  # noqa: S101 - for the type checker
    parent = Path(path).resolve().parent
    if Path(path).is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"can't write {path}: give a file name in a folder that exists and can be written to.")
