r"""A study's summary as files for other programs: tidy CSV tables, and a document in Markdown or LaTeX.

CSV holds what a study found, numbers as they are in the summary (accuracies as fractions), one row a fact. The documents hold
what a paper prints: scores by data set, counts beside the published ones, and mean ranks; of a study of images scores by
method, accuracy by corruption, and differences. Percentages have two decimals, the best are bold. The LaTeX file compiles
as it stands, and each table can be copied out of it: it needs `booktabs`, `longtable` and `graphicx`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vicinal.core.checks import InputError
from vicinal.study.report._files import write_text
from vicinal.study.report._image_printed import printed_image_tables
from vicinal.study.report._printed import Table, printed_tables
from vicinal.study.report._text import clean

__all__ = ["export_csv", "export_latex", "export_markdown", "tidy_tables"]

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
        "−": "$-$",
        "–": "--",
        "[": "{[}",  # at the start of a row it would be an argument of the row before
        "*": "{*}",
    }
)
MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#~"})


def tidy_tables(summary: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Return a summary's parts as tidy tables: one row a fact, columns by name.

    Args:
        summary: from `vicinal.study.analysis.analyse` or `analyse_images`.

    Returns:
        Tables by name: scores, datasets, published, counts, differences, ranks, nemenyi, cost, failures, missing; of a
        study of images scores, datasets, published, corruptions, differences, spaces, cost, failures, missing. Empty ones
        are left out.

    Examples:
        >>> summary = {"cost": [{"method": "mixup", "records": 2, "seconds": 3.5, "ratio": 1.1}]}
        >>> tidy_tables(summary)["cost"]["seconds"].tolist()
        [3.5]
    """
    summary = clean(dict(summary))
    rows = _image_rows(summary) if summary.get("kind") == "images" else _table_rows(summary)
    return {name: pd.DataFrame(found) for name, found in rows.items() if found}


def export_csv(summary: Mapping[str, Any], folder: str | os.PathLike[str]) -> list[Path]:
    """Write the tidy tables of a summary as CSV files, `scores.csv` and so on.

    Args:
        summary: from `vicinal.study.analysis.analyse` or `analyse_images`.
        folder: where the files go; made if it is not there.

    Returns:
        The paths of the files.

    Raises:
        InputError: the folder can't be made, or a file not be written.

    Examples:
        >>> import tempfile
        >>> summary = {"cost": [{"method": "mixup", "records": 2, "seconds": 3.5, "ratio": 1.1}]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in export_csv(summary, folder)]
        ['cost.csv']
    """
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"`folder` must be a folder that can be made, got '{target}' ({error.strerror or error});"
            " choose another folder."
        ) from error
    return [
        write_text(table.to_csv(index=False, lineterminator="\n"), target / f"{name}.csv")
        for name, table in tidy_tables(summary).items()
    ]


def export_markdown(summary: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    r"""Write scores, counts and ranks of a summary as a Markdown document.

    Args:
        summary: from `vicinal.study.analysis.analyse` or `analyse_images`.
        path: where to write, usually ending in `.md`; its folder must exist.

    Returns:
        The path of the document.

    Raises:
        InputError: nothing can be written there.

    Examples:
        >>> import tempfile
        >>> summary = {"title": "Two methods", "metrics": [], "subsets": [], "datasets": [], "methods": []}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_markdown(summary, f"{folder}/study.md").read_text()
        '# Two methods\n'
    """
    summary = clean(dict(summary))
    parts = [f"# {_markdown(summary.get('title') or 'Study')}"]
    parts += [_markdown(summary[key]) for key in ("question", "citation") if summary.get(key)]
    for table in _printed(summary):
        lines = [[_markdown(text) for text in table.header], ["---"] + ["---:"] * (len(table.header) - 1)]
        lines += [[f"**{_markdown(text)}**" if bold else _markdown(text) for text, bold in row] for row in table.rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"**{_markdown(table.caption)}**\n\n{body}")
    return write_text("\n\n".join(parts) + "\n", Path(path))


def export_latex(summary: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    r"""Write scores, counts and ranks of a summary as a LaTeX document with captions and labels.

    Args:
        summary: from `vicinal.study.analysis.analyse` or `analyse_images`.
        path: where to write, usually ending in `.tex`; its folder must exist.

    Returns:
        The path of the document.

    Raises:
        InputError: nothing can be written there.

    Examples:
        >>> import tempfile
        >>> summary = {"title": "50 % of A & B", "metrics": [], "subsets": [], "datasets": [], "methods": []}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     print(export_latex(summary, f"{folder}/study.tex").read_text().splitlines()[5])
        \section*{50 \% of A \& B}
    """
    summary = clean(dict(summary))
    parts = [
        r"\documentclass[a4paper]{article}",
        r"\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{textcomp}",
        r"\usepackage[landscape,margin=15mm]{geometry}",
        r"\usepackage{booktabs,longtable,graphicx}",
        r"\begin{document}\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\section*{{{_latex(summary.get('title') or 'Study')}}}",
    ]
    parts += [_latex(summary[key]) + "\n" for key in ("question", "citation") if summary.get(key)]
    for table in _printed(summary):
        first, *others = map(_latex, table.header)
        header = [first, *(rf"\rotatebox{{40}}{{{text}}}" for text in others)]
        cells = [[rf"\textbf{{{_latex(text)}}}" if bold else _latex(text) for text, bold in row] for row in table.rows]
        parts.append(
            pd.DataFrame(cells, columns=header).to_latex(
                index=False,
                escape=False,
                longtable=True,
                caption=_latex(table.caption),
                label=f"tab:{table.label}",
                column_format="l" + "r" * len(others),
            )
        )
    return write_text("\n".join([*parts, r"\end{document}", ""]), Path(path))


def _table_rows(summary: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    datasets, ranks, status = summary.get("datasets") or [], summary.get("ranks") or [], summary.get("status") or {}
    return {
        "scores": _score_rows(datasets),
        "datasets": [
            {k: v for k, v in data.items() if k not in ("scores", "subsets")} | {"subsets": " ".join(data["subsets"])}
            for data in datasets
        ],
        "published": summary.get("published") or [],
        "counts": [
            {k: v for k, v in row.items() if k != "published"}
            | {f"published_{k}": v for k, v in (row["published"] or {}).items()}
            for row in summary.get("counts") or []
        ],
        "differences": summary.get("differences") or [],
        "ranks": [
            {**_axes(view), "method": name, "mean_rank": rank}
            for view in ranks
            for name, rank in view["methods"].items()
        ],
        "nemenyi": [
            {**_axes(view), "method": a, "other": b, "p": p}
            for view in ranks
            for a, others in (view["nemenyi"] or {}).items()
            for b, p in others.items()
            if a != b
        ],
        "cost": summary.get("cost") or [],
        "failures": status.get("failures") or [],
        "missing": status.get("missing") or [],
    }


def _image_rows(summary: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    status = summary["status"]
    return {
        "scores": _score_rows(summary["datasets"]),
        "datasets": [{k: v for k, v in data.items() if k != "scores"} for data in summary["datasets"]],
        "published": summary["published"],
        "corruptions": [
            {"dataset": table["dataset"], "method": name, "corruption": corruption, "accuracy": accuracy}
            | {"reference": table["reference"], "difference": table["difference"][name].get(corruption)}
            for table in summary["corruptions"]["tables"]
            for name, cells in table["accuracy"].items()
            for corruption, accuracy in cells.items()
        ],
        "differences": summary["differences"],
        "spaces": summary["spaces"],
        "cost": summary["cost"],
        "failures": status["failures"],
        "missing": status["missing"],
    }


def _score_rows(datasets: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        {"dataset": data["id"], "metric": metric, "method": name, **score}
        for data in datasets
        for metric, by_method in data["scores"].items()
        for name, score in by_method.items()
    ]


def _printed(summary: Mapping[str, Any]) -> list[Table]:
    return printed_image_tables(summary) if summary.get("kind") == "images" else printed_tables(summary)


def _axes(view: Mapping[str, Any]) -> dict[str, Any]:
    return {key: view[key] for key in ("metric", "subset", "datasets", "families")}


def _markdown(text: Any) -> str:
    return str(text).translate(MARKDOWN)


def _latex(text: Any) -> str:
    # What pdflatex's fonts lack becomes a question mark, so that the document compiles whatever a table is called.
    return "".join(c if ord(c) < 256 or ord(c) in LATEX else "?" for c in str(text)).translate(LATEX)
