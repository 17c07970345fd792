"""`vicinal study list | run | status | report | export | merge | seal`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vicinal.cli.entries import read_entries
from vicinal.cli.image_options import Images, Inception
from vicinal.cli.study_progress import counted, reading, running

__all__ = ["study_app"]

study_app = typer.Typer(
    name="study",
    help="Run the studies of the papers, or your own: resumable, on one machine or a cluster.",
    short_help="Run the papers' studies, or your own.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(help="The study's folder.")]
FORMATS = ("csv", "markdown", "latex", "records")


@study_app.command("list")
def list_command() -> None:
    """List the suites that come along."""
    from vicinal.cli.terminal import two_columns  # noqa: PLC0415
    from vicinal.study.suite import list_suites  # noqa: PLC0415

    two_columns(list_suites())


@study_app.command("run")
def run_command(
    suite: Annotated[str, typer.Argument(help="A suite (`vicinal study list`), a .toml file, or a folder of tables.")],
    tables: Annotated[
        Path | None, typer.Option(help="A folder of tables with an index, in place of OpenML for the ids it holds.")
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Ask OpenML for what --tables does not hold.")] = False,
    out: Annotated[Path | None, typer.Option(help="The study's folder.", show_default="studies/SUITE")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine.", show_default="cores; for images GPUs")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A dask scheduler that runs already, such as tcp://host:8786.")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="Names with commas between.", show_default="the suite's")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Random splits; of images, seeds.", show_default="the suite's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything.")] = 0,
    protocol: Annotated[str | None, typer.Option(help="tuned or paper.", show_default="the suite's")] = None,
    network: Annotated[
        str | None,
        typer.Option(help="linear or mlp; of images, see `vicinal methods --images`.", show_default="the suite's"),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Of mixup's Beta(alpha, alpha).", show_default="1")] = None,
    scale: Annotated[
        bool | None, typer.Option("--scale/--no-scale", help="Standardise the features.", show_default="the protocol's")
    ] = None,
    attack_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the suite's attack.", show_default="the suite's")
    ] = None,
    images: Images = None,
    entries: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="ENTRY=VALUE", help="Of a suite of images: an entry of its protocol, such as epochs=5."
        ),
    ] = None,
    inception: Inception = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress.")] = False,
) -> None:
    """Run a suite, or go on with it, and write its report."""
    from vicinal.core.checks import InputError  # noqa: PLC0415 - torch is slow to import
    from vicinal.study.runner import connect, run_plan  # noqa: PLC0415
    from vicinal.study.store import Store  # noqa: PLC0415
    from vicinal.study.suite import read_suite  # noqa: PLC0415

    if scheduler and workers:
        raise InputError("--workers starts processes on this machine; with --scheduler, leave it out.")
    chosen = read_suite(suite).with_attack_steps(attack_steps)
    store = Store(out or Path("studies") / chosen.name.replace("/", "-"))
    console = Console(stderr=True, quiet=quiet, highlight=False)
    shared: dict[str, Any] = {
        "methods": methods,
        "trials": trials,
        "seed": seed,
        "command": shlex.join(["vicinal", *sys.argv[1:]]),
    }
    of_tables = {
        "--tables": tables, "--fetch": fetch or None, "--protocol": protocol, "--alpha": alpha, "--scale": scale,
        "--attack-steps": attack_steps,
    }  # fmt: skip
    of_images = {"--images": images, "--set": entries, "--inception": inception or None}
    _check_kind(chosen, of_tables, of_images)
    options = read_entries([*(entries or []), *([f'network="{network}"'] if network else [])])
    if inception:
        _fetch_features({**chosen.images, **options}, scheduler)
    with reading(console) as tell_read:
        if chosen.kind == "images":
            from vicinal.study.images import make_image_plan, run_image_unit  # noqa: PLC0415

            plan = make_image_plan(
                chosen, store.folder.resolve() / "work", images=images, options=options, tell=tell_read, **shared
            )
            work: Any = run_image_unit
        else:
            from vicinal.study.catalogue import Catalogue  # noqa: PLC0415
            from vicinal.study.plan import make_plan  # noqa: PLC0415
            from vicinal.study.suite import folder_of  # noqa: PLC0415
            from vicinal.study.work import run_unit as work  # noqa: PLC0415

            plan = make_plan(
                chosen, Catalogue(folder_of(suite) if tables is None else tables, fetch or None), protocol=protocol,
                network=network, options={"alpha": alpha, "scale": scale}, tell=tell_read, **shared,
            )  # fmt: skip
    _say_missing(plan.manifest["missing"], console)
    if chosen.kind == "images" and not scheduler:
        _corrupt(plan, store, retry_failed, console)
    with connect(scheduler) if scheduler else _local(workers, chosen.kind) as client, running(console) as tell:
        tally = run_plan(plan, store, client, retry_failed=retry_failed, work=work, tell=tell)
    _say(tally, store.folder, Console(highlight=False))
    _report(store, store.folder / "report.html")


@study_app.command("status")
def status_command(folder: Folder) -> None:
    """Say what is done, what failed and what is left."""
    from vicinal.cli.terminal import two_columns  # noqa: PLC0415
    from vicinal.study.store import Store  # noqa: PLC0415
    from vicinal.study.tally import manifest_of, tally_of  # noqa: PLC0415

    store = Store(folder, read_only=True)
    tally, methods = tally_of(store)
    console = Console(highlight=False)
    console.print(f"{manifest_of(store)['title']}", markup=False)
    two_columns({name: counted(c["done"], c["failed"], c["left"]) for name, c in methods.items()})
    _say_missing(manifest_of(store)["missing"], console)
    _say(tally, folder, console)
    _say_problems(store, console)


@study_app.command("report")
def report_command(
    folder: Folder,
    to: Annotated[
        Path | None, typer.Option(help="Where the page goes.", show_default="report.html in the folder")
    ] = None,
) -> None:
    """Write the report of what is there."""
    from vicinal.study.store import Store  # noqa: PLC0415

    _report(Store(folder, read_only=True), to or folder / "report.html")


@study_app.command("export", short_help="Write its tables or records as files.")
def export_command(
    folder: Folder,
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "csv",
    to: Annotated[
        Path | None, typer.Option(help="A folder for the files.", show_default="tables in the study's folder")
    ] = None,
) -> None:
    """Write the study's tables as CSV, Markdown or LaTeX, or its records as one Parquet file."""
    from vicinal.core.checks import check_in  # noqa: PLC0415
    from vicinal.study import export  # noqa: PLC0415
    from vicinal.study.store import Store  # noqa: PLC0415
    from vicinal.study.store.disk import explained  # noqa: PLC0415
    from vicinal.study.tally import manifest_of, summary_of  # noqa: PLC0415

    check_in("--format", form, FORMATS)
    store = Store(folder, read_only=True)
    manifest_of(store)
    place = to or folder / "tables"
    with explained(place):
        place.mkdir(parents=True, exist_ok=True)
        if form == "records":
            store.frame(kind=None).to_parquet(place / "records.parquet")
    if form == "records":
        written = [place / "records.parquet"]
    elif form == "csv":
        written = export.export_csv(summary_of(store), place)
    else:
        name, write = {"markdown": ("study.md", export.export_markdown), "latex": ("study.tex", export.export_latex)}[
            form
        ]
        written = [write(summary_of(store), place / name)]
    _say_problems(store, Console(stderr=True, highlight=False))
    for path in written:
        typer.echo(path)


@study_app.command("merge", short_help="Add the records of other folders.")
def merge_command(
    into: Annotated[Path, typer.Argument(help="The folder that takes the records.")],
    others: Annotated[list[Path], typer.Argument(help="Folders whose records are added.")],
) -> None:
    """Add the records of other folders of the same study, and what these plan; nothing is overwritten."""
    from vicinal.study.store import Store  # noqa: PLC0415

    store = Store(into)
    report = store.merge([Store(other, read_only=True) for other in others])
    typer.echo(f"{report.added} records added, {report.same} were there already, {len(report.conflicts)} conflict.")
    for problem in (*report.conflicts, *report.problems):
        typer.echo(str(problem), err=True)


@study_app.command("seal", short_help="Put its records into one file.")
def seal_command(folder: Folder) -> None:
    """Put a study's records into one Parquet file, each whole; everything reads it as before."""
    from vicinal.core.checks import InputError  # noqa: PLC0415
    from vicinal.study.store import Store  # noqa: PLC0415

    if not folder.is_dir():
        raise InputError(f"no study at {folder}; give the folder of one.")
    typer.echo(f"{Store(folder).seal()} records in {folder / 'records.parquet'}.")


def _report(store: Any, path: Path) -> None:
    from vicinal.study.report import write_study_report  # noqa: PLC0415
    from vicinal.study.tally import summary_of  # noqa: PLC0415

    summary = summary_of(store)
    _say_problems(store, Console(stderr=True, highlight=False))
    typer.echo(f"report: {write_study_report(summary, path)}")


def _check_kind(suite: Any, of_tables: dict[str, Any], of_images: dict[str, Any]) -> None:
    """Raise where an option was given that is for the other kind of suites."""
    from vicinal.core.checks import InputError  # noqa: PLC0415

    words = {
        "images": (of_tables, "tables", "give entries of its protocol by --set, such as --set alpha=0.4"),
        "tables": (of_images, "images", "tables have --protocol, --network, --alpha and --scale"),
    }
    strange, other, way_out = words[suite.kind]
    if given := [name for name, value in strange.items() if value is not None]:
        raise InputError(f"{given[0]} is for suites of {other}, and {suite.name} is one of {suite.kind}; {way_out}.")


def _fetch_features(protocol: dict[str, Any], scheduler: str | None) -> None:
    from vicinal.cli.image_parts import fetch_features  # noqa: PLC0415
    from vicinal.core import InputError  # noqa: PLC0415
    from vicinal.study.images import read_image_protocol  # noqa: PLC0415

    if scheduler:
        raise InputError(
            "--inception fetches to this machine, and the workers of --scheduler may be on others; leave it out, and run on each:"
            ' python -c "from vicinal.evaluation import fetch_inception; fetch_inception()".'
        )
    fetch_features(True, read_image_protocol(protocol))


def _corrupt(plan: Any, store: Any, retry_failed: bool, console: Console) -> None:
    """Corrupt the test images of what is to do, by all cores: a worker does it alone, while the others wait for it."""
    from vicinal.cli.image_progress import counting  # noqa: PLC0415
    from vicinal.study.images import corrupt_ahead  # noqa: PLC0415

    store.extend_manifest(plan.manifest)  # or says now that the folder holds another study
    for unit in {unit.dataset: unit for unit in plan.left(store.index(), retry_failed)}.values():
        with counting(console, f"corrupting the test images of {unit.dataset}") as tell:
            corrupt_ahead(unit, tell)


def _local(workers: int | None, kind: str) -> Any:
    import torch  # noqa: PLC0415 - slow to import
    from dask.system import CPU_COUNT  # noqa: PLC0415

    from vicinal.study.runner import local_cluster  # noqa: PLC0415

    # A training of images fills a GPU, and as many as there are processors would not fit into its memory.
    usual = torch.cuda.device_count() if kind == "images" else 0
    return local_cluster(workers or usual or CPU_COUNT)


def _say(tally: Any, folder: Path, console: Console) -> None:
    console.print(
        f"{counted(tally.done, tally.failed, tally.left)} of {tally.planned} records in {folder}", markup=False
    )
    if tally.failed:
        console.print("the report says why records failed; --retry-failed tries them again", markup=False)


def _say_missing(missing: list[dict[str, str]], console: Console) -> None:
    reasons: dict[str, list[str]] = {}
    for entry in missing:
        reasons.setdefault(entry["why"], []).append(entry["id"])
    for why, names in reasons.items():
        console.print(f"{len(names)} missing, {why}: {', '.join(names)}", markup=False, soft_wrap=True)


def _say_problems(store: Any, console: Console) -> None:
    for problem in store.problems:
        console.print(str(problem), markup=False, soft_wrap=True)
