"""The documents are true: their code runs, their links lead somewhere, every public name is documented."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import vicinal
from vicinal.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "core.loop",
    "data",
    "data.images",
    "densities",
    "spaces",
    "mixing",
    "labeling",
    "vicinity",
    "training",
    "training.single",
    "estimators",
    "evaluation",
    "networks",
    "testing",
    "evaluation.attacks",
    "study.images",
    "study.suite",
    "study.plan",
    "study.runner",
    "study.record",
    "study.store",
    "study.tally",
    "study.analysis",
    "study.export",
    "study.report",
)
CONSOLES = ("README.md", "docs/studies.md", "docs/images.md")


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/images.md"])
def test_python_blocks_run(document, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "document"}
    for block in blocks(document, "python"):
        exec(compile(block, document, "exec"), names)
    assert "False" not in capsys.readouterr().out


def test_console_lines_name_real_commands_and_options():
    from typer.main import get_command

    command = get_command(app)
    lines = [
        line[2:].split("#")[0].split()
        for name in CONSOLES
        for block in blocks(name, "console")
        for line in block.splitlines()
    ]
    makefile = (ROOT / "Makefile").read_text()
    for program, *words in lines:
        if program == "make":
            assert re.search(rf"^{words[0]}:", makefile, flags=re.MULTILINE)
        elif program == "vicinal":
            found = command.commands[words[0]]
            found = found.commands[words[1]] if words[0] in ("study", "vae") else found
            options = {name for p in found.params for name in (*p.opts, *p.secondary_opts)}
            assert {w for w in words if w.startswith("--")} <= options


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "docs/reference.md", "docs/studies.md", "docs/images.md"]
)
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / document).read_text()):
        assert (ROOT / document).parent.joinpath(target).exists(), target


def public() -> list[tuple[str, str, object]]:
    modules = {"vicinal": vicinal, **{f"vicinal.{room}": importlib.import_module(f"vicinal.{room}") for room in ROOMS}}
    return [(path, name, getattr(module, name)) for path, module in modules.items() for name in module.__all__]


def test_every_module_says_what_is_public():
    for info in pkgutil.walk_packages(vicinal.__path__, "vicinal."):
        if not info.name.rsplit(".", 1)[-1].startswith("_"):
            assert hasattr(importlib.import_module(info.name), "__all__"), info.name


@pytest.mark.parametrize(("path", "name", "value"), public(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_public_name_is_in_the_reference(path, name, value):
    if inspect.ismodule(value):
        return
    reference = (ROOT / "docs" / "reference.md").read_text()
    assert f"`{name}`" in reference, f"{path}.{name} is not in docs/reference.md"
    assert not callable(value) or inspect.getdoc(value), f"{path}.{name} has no docstring"


def test_the_reference_lists_what_there_is():
    module = None
    for line in (ROOT / "docs" / "reference.md").read_text().splitlines():
        if found := re.match(r"## `(vicinal[\w.]*)`", line):
            module = importlib.import_module(found[1])
        elif found := re.match(r"\| `(\w+)` \| (.*?) *\|$", line):
            assert hasattr(module, found[1]), line
            assert len(found[2]) > 10, line
            assert "Built-in" not in found[2], line


ABSTRACT = {"Attack", "BaseVicinity", "Density", "Filter", "Labeler", "Mixer", "Pairing", "Ratio"}
RECORDS = {
    *("MixedBatch", "Fit", "LatentFit", "Group", "Setting", "Progress", "Optimizer", "PairedDifference", "Table"),
    *("Batch", "Checkpoint", "LoopOptions", "LoopProgress", "LoopResult", "DivergedError"),
    *("Evaluated", "ImageMethod", "ImageUnit", "Quality", "Trained"),
    *("Finding", "Target", "Suite", "Plan", "Unit", "Record", "NewerSchemaError", "Entry", "MergeReport", "Tally"),
}


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [p for p in public() if callable(p[2]) and p[1] not in ABSTRACT | RECORDS],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_every_public_callable_has_an_example(path, name, value):
    texts = [inspect.getdoc(value) or ""]
    if inspect.isclass(value):
        texts += [inspect.getdoc(member) or "" for _, member in inspect.getmembers(value, inspect.isfunction)]
    assert any(">>>" in text or "::" in text for text in texts), f"{path}.{name} has no example"


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        p
        for p in public()
        if callable(p[2]) and p[1] not in ("Record", "NewerSchemaError", "DivergedError", "LoopOptions")
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_documented_defaults_are_the_signatures(path, name, value):
    """'default X' in an argument's text, where X is a literal, is what the signature says."""
    text = inspect.getdoc(value) or ""
    for argument, parameter in inspect.signature(value).parameters.items():
        found = re.search(rf"^ +{argument}: (.*?)(?=^ +\w+: |^\S|\Z)", text, flags=re.MULTILINE | re.DOTALL)
        if not found or parameter.default is inspect.Parameter.empty:
            continue
        for stated in re.findall(r"[Dd]efault(?:s to)? (\d[\d.]*\d|\d|'[^']+'|True|False|None)", found.group(1)):
            assert eval(stated) == parameter.default, f"{path}.{name}: {argument}"


def test_the_version_is_the_same_everywhere():
    assert f"version: {vicinal.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_extras_and_python_are_as_the_readme_says():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "Python 3.11 to 3.13" in (ROOT / "README.md").read_text()
