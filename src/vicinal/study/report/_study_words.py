"""What a study found, in plain sentences that claim no more than the counts and intervals do."""

from collections.abc import Mapping, Sequence
from typing import Any

from vicinal.study.report._text import BY_KEY, finite, listing, signed, thousands

__all__ = ["headline", "p_value", "subset_words", "tables"]


def headline(summary: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return what came out: one claim about the study's main comparison, and the sentences that support or limit it."""
    main, status = summary.get("main"), summary["status"]
    if not status.get("done"):
        return "Nothing is done yet, so there is nothing to compare.", []
    if not main:
        return _best(summary, summary["metrics"][0], "all") or "There are too few results to compare methods.", []
    subject, baseline, metric = summary["subject"], main["baseline"], BY_KEY[main["metric"]]
    row = _row(summary["counts"], **main)
    if not row or not row["datasets"]:
        return f"No data set has both {subject} and {baseline} yet.", []
    ahead, par, behind = (row[key] for key in ("ahead", "on_par", "behind"))
    where = next((s["name"] for s in summary["subsets"] if s["key"] == main["subset"]), "data sets")
    claim = f"{subject} is ahead of {baseline} on {ahead} of {thousands(row['datasets'])} data sets"
    claim += f", on par on {par} and behind on {behind}." if par else f" and behind on {behind}."
    sentences = [f"That is the mean {metric.word} over trials, on {where}. {_noise(row)}"]
    tested = _row(summary["differences"], **main)
    if tested:
        sentences.append(_difference(tested, metric, subject, baseline))
    theirs = row.get("published")
    if theirs:
        here = f"{_share(ahead, row['datasets'])} and {_share(behind, row['datasets'])}"
        sentences.append(
            f"Published: ahead on {100 * theirs['ahead']:.1f} % of the data sets and behind on"
            f" {100 * theirs['behind']:.1f} %; here {here}."
        )
    others = [
        r
        for r in summary["differences"]
        if (r["metric"], r["subset"]) == (main["metric"], main["subset"]) and r["baseline"] != baseline
    ]
    for verdict in ("better", "worse"):
        names = [r["baseline"] for r in others if r["verdict"] == verdict]
        if names:
            sentences.append(f"{subject} is also clearly {verdict} than {listing(names)} over the data sets.")
    rank = _best(summary, main["metric"], main["subset"])
    return claim, [*sentences, *([rank] if rank else []), *_published(summary["published"])]


def subset_words(subset: Mapping[str, Any]) -> str:
    """Return a subset's size and rule in a sentence."""
    text = tables(subset["datasets"], subset["families"])
    text += f": {subset['rule']}" if subset.get("rule") else ""
    if subset.get("unknown"):
        text += f" (not known of {subset['unknown']}, which are left out)"
    return f"{text}."


def tables(datasets: int, families: int) -> str:
    """Return a number of data sets and of families that they come in.

    Examples:
        >>> tables(52, 30), tables(1, 1)
        ('52 data sets in 30 families', '1 data set')
    """
    text = f"{thousands(datasets)} data set{'' if datasets == 1 else 's'}"
    if families == datasets:
        return text
    return f"{text} in {thousands(families)} famil{'y' if families == 1 else 'ies'}"


def p_value(p: Any) -> str:
    """Return a p value with three decimals, and the smallest as '< 0.001'."""
    if not finite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _row(rows: Sequence[Mapping[str, Any]], metric: str, subset: str, baseline: str) -> Mapping[str, Any] | None:
    wanted = (metric, subset, baseline)
    return next((row for row in rows if (row["metric"], row["subset"], row["baseline"]) == wanted), None)


def _noise(row: Mapping[str, Any]) -> str:
    ahead, behind = row["clearly_ahead"], row["clearly_behind"]
    if not ahead and not behind:
        return "On no single data set is the difference clear of the noise between trials."
    return f"Clear of the noise between trials: ahead on {ahead}, behind on {behind}; the rest could turn with other splits."


def _difference(row: Mapping[str, Any], metric: Any, subject: str, baseline: str) -> str:
    if not finite(row.get("mean")):
        return ""
    size = signed(row["mean"], metric)
    if not finite(row.get("low")):
        return f"The mean difference is {size}; from so few families of data sets, that may be chance."
    text = f"Over {tables(row['datasets'], row['families'])}, the mean difference is {size} (95 % interval"
    text += (
        f" {signed(row['low'], metric, unit=False)} to {signed(row['high'], metric, unit=False)}; Wilcoxon with Holm's"
    )
    text += f" correction, p {p_value(row['p_holm']) if row['p_holm'] < 0.001 else '= ' + p_value(row['p_holm'])}): "
    if row["verdict"] == "no clear difference":
        sided = row["p_holm"] < 0.05 or row["low"] > 0 or row["high"] < 0
        return text + ("the interval and the test disagree, so that may be chance." if sided else "that may be chance.")
    return text + f"over such data, {subject} is clearly {row['verdict']} than {baseline}."


def _best(summary: Mapping[str, Any], metric: str, subset: str) -> str:
    view = next((r for r in summary["ranks"] if (r["metric"], r["subset"]) == (metric, subset)), None)
    mean = (view or {}).get("methods") or {}
    if len(mean) < 2:
        return ""
    best = [name for name, rank in mean.items() if rank == min(mean.values())]
    if len(best) == len(mean):
        return ""
    return f"Best mean rank: {listing(best)} ({min(mean.values()):.2f} of {len(mean)})."


def _published(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    judged = [row for row in rows if finite(row.get("difference")) and finite(row.get("std"))]
    if not judged:
        return []
    far = sum(bool(row["differs"]) for row in judged)
    near = f"{len(judged) - far} {'lies' if len(judged) - far == 1 else 'lie'}"
    rest = f" and {far} {'does' if far == 1 else 'do'} not" if far else ""
    return [f"Of {len(judged)} published scores, {near} within two standard deviations of ours{rest}."]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
