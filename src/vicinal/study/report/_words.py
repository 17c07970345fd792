"""What the numbers say, in plain sentences that claim no more than the intervals do."""

from collections.abc import Mapping, Sequence
from typing import Any

from vicinal.study.report._text import BY_KEY, METRICS, finite, listing, shown, signed

__all__ = ["densities_sentence", "headline", "intrusion_sentence", "verdict", "verdicts"]


def verdict(comparison: Mapping[str, Any]) -> str:
    """Return 'better', 'worse', 'unclear' or, without an interval, 'unknown'.

    A difference counts as clear only if the summary says so and its interval excludes zero.
    """
    low, high = comparison.get("low"), comparison.get("high")
    if not (finite(low) and finite(high)):
        return "unknown"
    said = comparison.get("verdict")
    return str(said) if said in ("better", "worse") and (low > 0 or high < 0) else "unclear"


def verdicts(comparisons: Sequence[Mapping[str, Any]], method: str) -> dict[str, list[str]]:
    """Return the metrics' names of one method by verdict, leaving out verdicts that never came."""
    groups: dict[str, list[str]] = {}
    for comparison in comparisons:
        if comparison.get("method") == method and comparison.get("metric") in BY_KEY:
            groups.setdefault(verdict(comparison), []).append(BY_KEY[comparison["metric"]].word)
    return groups


def headline(summary: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return what came out: one short claim and the sentences that support or limit it."""
    methods, baseline = summary["methods"], summary.get("baseline")
    comparisons = [c for c in summary.get("comparisons") or [] if c.get("metric") in BY_KEY]
    leading = _leader(methods, baseline, comparisons)
    if not comparisons:
        caution = "Differences between the means below may be chance."
        return "No method was compared with a baseline.", [*leading, caution]
    kinds = {name: verdicts(comparisons, name) for name in methods}
    if all(set(kind) <= {"unknown"} for kind in kinds.values()):
        return "This run cannot tell the methods apart.", [
            *leading,
            "With a single trial there is no interval, so any difference may be chance; more trials would tell.",
        ]
    better = {name: kind["better"] for name, kind in kinds.items() if "better" in kind}
    worse = {name: kind["worse"] for name, kind in kinds.items() if "worse" in kind}
    confidence = _confidence(comparisons)
    accurate = [name for name, metrics in better.items() if "accuracy" in metrics]
    if accurate:
        claim = f"{_are(accurate)} clearly more accurate than {baseline}."
    elif better:
        claim = f"Nothing is clearly more accurate than {baseline}, but"
        claim += f" {_have(list(better))} clearly better probabilities."
    else:
        claim = f"Nothing is clearly better than {baseline}."
    sentences = list(leading)
    if better:
        sentences.append(f"Clearly better than {baseline}: {_with_metrics(better)}.")
    elif worse:
        sentences.append(f"No {confidence} interval lies wholly on the better side of zero.")
    else:
        sentences.append(f"Every {confidence} interval includes zero, so all differences may be chance.")
    if worse:
        sentences.append(f"Clearly worse: {_with_metrics(worse)}.")
    return claim, sentences


def densities_sentence(densities: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what the densities' fit means for GenLabel's labels."""
    good = [name for name, fit in densities.items() if fit.get("meets_criterion")]
    if not good:
        return (
            "No density gets past 95 % training accuracy, so none describes these classes well. GenLabel's labels can"
            " mislead here: prefer mixup's own labels (a small gamma), or try a more flexible density."
        )
    get = "get" if len(good) > 1 else "gets"
    text = f"{listing(good)} {get} past 95 % training accuracy: the classes have a shape that GenLabel can rely on"
    text += " when it labels mixed points."
    if len(good) < len(densities):
        text += " With the others its labels may mislead."
    return text


def intrusion_sentence(rate: Any, mixed: int) -> str:
    """Return the intrusion rate in words."""
    if not finite(rate):
        return "The intrusion rate was not measured."
    share = f"{100 * rate:.1f} %"
    if rate == 0:
        return "No mixed point lands among a third class, so intrusion is no reason to avoid mixup here."
    drawn = " among a third class, where mixup's label misleads."
    drawn += f" The picture shows {mixed} mixed points." if mixed else ""
    if rate > 0.4:
        return f"{share} of the mixed points are intruders: they land{drawn}"
    return f"About 1 mixed point in {round(1 / rate)} ({share}) is an intruder: it lands{drawn}"


def _leader(methods: Mapping[str, Any], baseline: Any, comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {name: (result.get("accuracy") or {}).get("mean") for name, result in methods.items()}
    means = {name: float(mean) for name, mean in found.items() if finite(mean)}
    if len(means) < 2:
        return []
    accuracy = BY_KEY["accuracy"]
    highest = shown(max(means.values()), accuracy)
    best = [name for name, mean in means.items() if shown(mean, accuracy) == highest]
    if baseline in best or baseline not in means:
        return [f"Highest mean accuracy: {listing(best)} ({highest})."]
    against = f"against {shown(means[baseline], accuracy)} for {baseline}"
    text = f"Highest mean accuracy: {listing(best)} ({highest}, {against})."
    of_best = [c for c in comparisons if c.get("method") in best and c["metric"] == "accuracy"]
    if len(best) == 1 and of_best and verdict(of_best[0]) != "unknown":
        low, high = (signed(of_best[0].get(end), accuracy, unit=False) for end in ("low", "high"))
        start = " The" if verdict(of_best[0]) == "better" else " That may be chance: the"
        text += f"{start} {_confidence(of_best)} interval of the difference is {low} to {high} points."
    return [text]


def _confidence(comparisons: Sequence[Mapping[str, Any]]) -> str:
    level = next((c["confidence"] for c in comparisons if finite(c.get("confidence"))), None)
    return "confidence" if level is None else f"{100 * level:g} %"


def _are(names: list[str]) -> str:
    return f"{listing(names)} {'is' if len(names) == 1 else 'are'}"


def _have(names: list[str]) -> str:
    return f"{listing(names, 3)} {'has' if len(names) == 1 else 'have'}"


def _with_metrics(groups: Mapping[str, list[str]]) -> str:
    """Join as 'a, b (log loss); c (ECE)': methods that share their metrics share the bracket."""
    shared: dict[str, list[str]] = {}
    for name, metrics in groups.items():
        shared.setdefault("all four measures" if len(metrics) == len(METRICS) else listing(metrics), []).append(name)
    return "; ".join(f"{listing(names)} ({metrics})" for metrics, names in shared.items())
