"""A study's tables as a paper prints them: cells of text, for the exports to set in Markdown or LaTeX."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vicinal.study.report._study_words import tables
from vicinal.study.report._text import BY_KEY, DASH, finite, shown

__all__ = ["Cell", "Table", "printed_tables"]

COLUMNS = 9
"""Methods that fit on a page beside each other, published scores aside; more go to a table of their own."""

Cell = tuple[str, bool]
"""A text and whether it is bold."""


@dataclass(frozen=True)
class Table:
    """A caption, a label for references, the header's texts and rows of cells; the first column names the row."""

    caption: str
    label: str
    header: list[str]
    rows: list[list[Cell]]


def printed_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Return the scores by data set, the counts of each subset, the mean ranks, and published facts of the data sets."""
    metrics = [key for key in summary["metrics"] if key in BY_KEY]
    found = [table for metric in metrics for table in _score_tables(summary, metric)]
    found += [t for metric in metrics for subset in summary["subsets"] if (t := _counts(summary, metric, subset))]
    found += [table for metric in metrics if (table := _ranks(summary, metric))]
    return found + [table for table in [_facts(summary)] if table.rows]


def _score_tables(summary: Mapping[str, Any], metric: str) -> list[Table]:
    names, tables = summary["methods"], []
    published = {(p["dataset"], p["method"]): p["published"] for p in summary["published"] if p["metric"] == metric}
    caption = (
        f"{BY_KEY[metric].name}{' (%)' if BY_KEY[metric].percent else ''} by data set, mean ± standard deviation over"
    )
    caption += " trials" + ("; published values in brackets" if published else "")
    width = COLUMNS - 3 if published else COLUMNS
    for start in range(0, len(names), width):
        part, rows = names[start : start + width], []
        for data in summary["datasets"]:
            scores = data["scores"].get(metric) or {}
            best = _best([score["mean"] for score in scores.values()], metric)
            row = [(str(data["id"]), False)]
            for name in part:
                mean, std = ((scores.get(name) or {}).get(key) for key in ("mean", "std"))
                text = _number(mean, metric) + (f" ± {_number(std, metric)}" if finite(std) else "")
                text += f" [{_number(published[key], metric)}]" if (key := (data["id"], name)) in published else ""
                row.append((text, finite(mean) and _number(mean, metric) == best))
            rows.append(row)
        number = f"-{1 + start // width}" if len(names) > width else ""
        tables.append(Table(f"{caption}.", f"scores-{metric}{number}".replace("_", "-"), ["Data set", *part], rows))
    return tables if summary["datasets"] else []


def _counts(summary: Mapping[str, Any], metric: str, subset: Mapping[str, Any]) -> Table | None:
    found = [row for row in summary["counts"] if (row["metric"], row["subset"]) == (metric, subset["key"])]
    keys = {"ahead": "ahead", "on_par": "on par", "behind": "behind"}
    published = any(row["published"] for row in found)
    rows = []
    for row in found:
        line = [str(row["baseline"])]
        for key in keys:
            share = f" ({100 * row[key] / row['datasets']:.2f} %)" if row["datasets"] else ""
            line.append(f"{row[key]}{share}")
        if published:
            line += [f"{100 * row['published'][key]:.2f} %" if row["published"] else DASH for key in keys]
        line += [str(row["clearly_ahead"]), str(row["clearly_behind"])]
        rows.append([(text, False) for text in line])
    caption = (
        f"On how many of {tables(subset['datasets'], subset['families'])} ({subset['name']})"
        f" {summary['subject']} is ahead of, on par with and behind each baseline in {BY_KEY[metric].word}; clearly:"
        " the 95 % interval over trials excludes zero."
    )
    header = [str(summary["subject"]) + " against", *(text.capitalize() for text in keys.values())]
    header += [f"Published: {text}" for text in keys.values()] if published else []
    header += ["Clearly ahead", "Clearly behind"]
    return Table(caption, f"counts-{metric}-{subset['key']}".replace("_", "-"), header, rows) if rows else None


def _ranks(summary: Mapping[str, Any], metric: str) -> Table | None:
    views = {view["subset"]: view for view in summary["ranks"] if view["metric"] == metric and view["methods"]}
    names = [subset for subset in summary["subsets"] if subset["key"] in views]
    methods = sorted({m for view in views.values() for m in view["methods"]}, key=summary["methods"].index)
    rows: list[list[Cell]] = [
        [(name, False)]
        + [
            (f"{rank:.2f}" if finite(rank) else DASH, rank == min(views[s["key"]]["methods"].values()))
            for s in names
            for rank in [views[s["key"]]["methods"].get(name)]
        ]
        for name in methods
    ]
    details = "; ".join(
        f"{s['name']}: {tables(views[s['key']]['datasets'], views[s['key']]['families'])}"
        + (f", critical difference {cd:.2f}" if finite(cd := views[s["key"]]["critical_difference"]) else "")
        for s in names
    )
    caption = (
        f"Mean ranks by {BY_KEY[metric].word} over families of data sets on which all methods are done ({details})."
    )
    header = ["Method", *(s["name"].capitalize() for s in names)]
    return Table(caption, f"ranks-{metric}".replace("_", "-"), header, rows) if rows else None


def _facts(summary: Mapping[str, Any]) -> Table:
    """What was published of the data sets themselves, such as how well a density fits, beside ours."""
    told = {(row["dataset"], row["metric"]): row for row in summary.get("published") or [] if row["method"] is None}
    names = list(dict.fromkeys(metric for _, metric in told))
    rows: list[list[Cell]] = []
    for dataset in dict.fromkeys(dataset for dataset, _ in told):
        cells = [told.get((dataset, name), {}) for name in names]
        texts = [f"{_percent(cell.get('ours'))} [{_percent(cell.get('published'))}]" for cell in cells]
        rows.append([(str(dataset), False), *((text, False) for text in texts)])
    caption = "Facts of the data sets in percent; published values in brackets."
    return Table(caption, "facts", ["Data set", *(name.replace("_", " ").capitalize() for name in names)], rows)


def _percent(value: Any) -> str:
    return f"{100 * value:.2f}" if finite(value) else DASH


def _best(means: Sequence[Any], metric: str) -> str | None:
    known = [mean for mean in means if finite(mean)]
    pick: Callable[[Sequence[float]], float] = max if BY_KEY[metric].higher else min
    return _number(pick(known), metric) if len(known) > 1 else None


def _number(value: Any, metric: str) -> str:
    percent = finite(value) and BY_KEY[metric].percent
    return f"{100 * value:.2f}" if percent else shown(value)
