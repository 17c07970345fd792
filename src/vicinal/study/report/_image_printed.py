"""An image study's tables as a paper prints them: scores by method, accuracy by corruption, differences from the baselines."""

from collections.abc import Mapping
from typing import Any

from vicinal.study.report._image_tables import main_tables, value, value_gap
from vicinal.study.report._image_terms import metrics_of
from vicinal.study.report._printed import Cell, Table
from vicinal.study.report._text import DASH, Metric, finite

__all__ = ["printed_image_tables"]

SHARE = Metric("accuracy", "", "", True, "")


def printed_image_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Return the scores (the VarMixup paper's Table 1), the accuracies by corruption, and the subject's differences."""
    metrics = metrics_of(summary)
    found = [_scores(part, summary, number) for number, part in enumerate(main_tables(summary, metrics))]
    found += [_by_corruption(table, summary, number) for number, table in enumerate(summary["corruptions"]["tables"])]
    return [table for table in [*found, _differences(summary, metrics)] if table.rows]


def _name(summary: Mapping[str, Any], method: Any) -> str:
    return str(summary["names"].get(method, method))


def _dataset(summary: Mapping[str, Any], dataset: str) -> str:
    return str(next((data["name"] for data in summary["datasets"] if data["id"] == dataset), dataset))


def _scores(part: Mapping[str, Any], summary: Mapping[str, Any], number: int) -> Table:
    header = ["Method"]
    for data, own, priced, _ in part["groups"]:
        heads = [metric.name for metric in own] + (["Time"] if priced else [])
        header += [f"{data['name']}: {head}" for head in heads]
    rows: list[list[Cell]] = []
    for name, cells in part["rows"]:
        row: list[Cell] = [(_name(summary, name), False)]
        for cell in cells:
            if "ratio" in cell:
                row.append((f"{cell['ratio']}{' (' + cell['with_space'] + ')' if cell['with_space'] else ''}", False))
                continue
            text = cell["mean"] + (f" ± {cell['std']}" if cell["std"] != DASH else "")
            row.append((text + (f" [{cell['published']}]" if cell["published"] else ""), bool(cell["best"])))
        rows.append(row)
    caption = (
        "Accuracy on corrupted and on clean test images (%) and expected calibration error, mean ± standard deviation"
    )
    caption += " over trials"
    caption += "; published values in brackets" if part["published"] else ""
    caption += (
        "; time of a training in units of plain training's, in brackets with its space's" if part["priced"] else ""
    )
    return Table(f"{caption}.", f"scores-{number + 1}", header, rows)


def _by_corruption(table: Mapping[str, Any], summary: Mapping[str, Any], number: int) -> Table:
    """A row a corruption and a column a method, for there are more corruptions than fit beside each other."""
    methods = list(table["accuracy"])
    rows: list[list[Cell]] = []
    for group, names in summary["corruptions"]["groups"].items():
        for name in names:
            texts = [value(table["accuracy"][method].get(name), SHARE) for method in methods]
            known = [text for text in texts if text != DASH]
            best = max(known, key=float) if len(known) > 1 else None
            label = f"{group}: {name.replace('_', ' ')}"
            rows.append([(label, False), *((text, text == best and text != DASH) for text in texts)])
    caption = f"Accuracy by corruption (%) on {_dataset(summary, table['dataset'])}, mean over trials and severities."
    header = ["Corruption", *(_name(summary, method) for method in methods)]
    return Table(caption, f"corruptions-{number + 1}", header, rows)


def _differences(summary: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Table:
    subject = summary["subject"]
    rows: list[list[Cell]] = []
    for row in summary["differences"]:
        metric = metrics[row["metric"]]
        if row["method"] != subject:
            continue
        low, high = (value_gap(row[end], metric) for end in ("low", "high"))
        verdict = row["verdict"] or "too few trials"
        texts = [
            _dataset(summary, row["dataset"]),
            metric.name + (" (points)" if metric.percent else ""),
            _name(summary, row["baseline"]),
            value_gap(row["difference"], metric),
            f"{low} to {high}" if finite(row["low"]) else DASH,
            str(row["trials"]),
            verdict,
        ]
        rows.append([(text, place == 6 and verdict in ("better", "worse")) for place, text in enumerate(texts)])
    caption = f"Differences of {_name(summary, subject)} from each baseline, paired over trials, with 95 % t intervals."
    header = ["Data set", "Metric", "Against", "Difference", "95 % interval", "Trials", "Verdict"]
    return Table(caption, "differences", header, rows)
