"""What a study of images found, in plain sentences that claim no more than the trials do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vicinal.study.analysis._image_metrics import FEWEST, goal
from vicinal.study.analysis._image_names import method_name, prose_name

__all__ = ["image_headline"]


@dataclass(frozen=True)
class Phrase:
    """How sentences speak of a metric.

    Attributes:
        said: what a method does, with its number in braces. form: of the number.
        more, less: what a method clearly does against another. topic: what there is no difference in.
        words: for more and less, where the number was said already.
    """

    said: str
    form: str
    more: str
    less: str
    topic: str
    words: tuple[str, str] = ("clearly higher", "clearly lower")

    def number(self, value: float) -> str:
        """Return the number as it is said."""
        return f"{100 * value:.1f} %" if self.form == "percent" else format(value, self.form)


MORE_FEWER = ("clearly more", "clearly fewer")
PHRASES = {
    "corruption_accuracy": Phrase(
        "keeps {} of corrupted images right",
        "percent",
        "keeps clearly more corrupted images right",
        "keeps clearly fewer corrupted images right",
        "accuracy on corrupted images",
        MORE_FEWER,
    ),
    "accuracy": Phrase(
        "gets {} of clean images right",
        "percent",
        "gets clearly more clean images right",
        "gets clearly fewer clean images right",
        "accuracy on clean images",
        MORE_FEWER,
    ),
    "ece": Phrase(
        "has a calibration error (ECE) of {} on clean images",
        ".3f",
        "has a clearly higher calibration error",
        "has a clearly lower calibration error",
        "calibration error on clean images",
    ),
    "fid": Phrase("draws images at a Fréchet distance of {} from the training images", ".1f", "", "", "distance"),
    "train_seconds": Phrase("takes {} seconds a training", ".0f", "", "", "seconds"),
}


def image_headline(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what came out: one claim about the study's main comparison, and the sentences that support or limit it."""
    if not summary["status"]["done"]:
        return {"claim": "Nothing is done yet, so there is nothing to compare.", "sentences": []}
    main = summary["main"]
    if main is None:
        return {"claim": "There are too few results to compare methods.", "sentences": []}
    phrase, metric = _phrase(main["metric"]), main["metric"]
    told = [data for data in summary["datasets"] if _mean(data, metric, main["method"]) is not None]
    if not told:
        return {"claim": f"{method_name(main['method'])} has no result yet.", "sentences": []}
    several = len(told) > 1
    paragraphs = [_paragraph(summary, data, metric, phrase) for data in told]
    claim = _over(summary, told, metric, phrase) if several and summary["subject"] else ""
    if claim:
        sentences = [f"{data['name']}: {' '.join(texts)}" for data, texts in zip(told, paragraphs, strict=True)]
    else:  # one data set, or nothing that is judged: the first one's numbers are the claim
        first, *rest = paragraphs[0]
        claim = f"{told[0]['name']}: {first}" if several else first
        sentences = [" ".join(rest)] if several else rest
        sentences += [
            f"{data['name']}: {' '.join(texts)}" for data, texts in zip(told[1:], paragraphs[1:], strict=True)
        ]
    most = max(_score(data, metric, main["method"])["trials"] for data in told)
    if most < FEWEST and main["baseline"] and goal(metric):
        sentences.append(
            f"With {_trials(most)} no verdict is given: differences may be chance. {FEWEST} trials or more would tell."
        )
    if summary["subject"] is None and goal(metric) and len(summary["methods"]) > 1:
        sentences.append(f"{method_name(main['method'])} was picked for its mean, so that its lead may be luck.")
    sentences += [*_published(summary["published"]), *_spaces(summary)]
    return {"claim": claim, "sentences": [text for text in sentences if text]}


def _paragraph(summary: Mapping[str, Any], data: Mapping[str, Any], metric: str, phrase: Phrase) -> list[str]:
    """Return what is found on one data set: the numbers first, then what they cost and how they stand."""
    texts = [f"{_numbers(summary, data, metric, phrase)}."]
    if metric not in ("accuracy", "train_seconds"):
        texts.append(_clean(summary, data))
    if goal(metric):
        texts.append(_best(data, metric, phrase, summary["main"]["method"]))
    return [text for text in (*texts, _theirs(summary, data, metric, phrase), _cost(summary, data)) if text]


def _phrase(metric: str) -> Phrase:
    if metric.startswith("linearity_"):
        error, ball = "local linear error", f"at ε = {metric.removeprefix('linearity_')}/255"
        return Phrase(
            f"has a {error} of {{}} nats {ball}",
            ".3f",
            f"has a clearly higher {error}",
            f"has a clearly lower {error}",
            error,
        )
    return PHRASES[metric]


def _numbers(summary: Mapping[str, Any], data: Mapping[str, Any], metric: str, phrase: Phrase) -> str:
    """Return 'A keeps 83.4 % of corrupted images right, Mixup 74.7 % (3 trials): clearly more than Mixup'."""
    method, others = summary["main"]["method"], _others(summary, data, metric)
    parts = [f"{method_name(method)} {phrase.said.format(phrase.number(_mean(data, metric, method)))}"]
    parts += [f"{prose_name(name)} {phrase.number(_mean(data, metric, name))}" for name in others]
    text = f"{', '.join(parts)} ({_trials(_score(data, metric, method)['trials'])})"
    found = _verdicts(summary, data, metric, phrase)
    return f"{text}: {found}" if found else text


def _verdicts(summary: Mapping[str, Any], data: Mapping[str, Any], metric: str, phrase: Phrase) -> str:
    """Return 'clearly more than Mixup, no clear difference from plain training'; empty without verdicts."""
    groups: dict[str, list[str]] = {}
    for name in _others(summary, data, metric):
        row = _row(summary, data["id"], metric, name)
        if row and row["verdict"] == "no clear difference":
            groups.setdefault("no clear difference from", []).append(prose_name(name))
        elif row and row["verdict"]:
            groups.setdefault(f"{phrase.words[row['difference'] < 0]} than", []).append(prose_name(name))
    return ", ".join(f"{words} {_listing(names)}" for words, names in groups.items())


def _over(summary: Mapping[str, Any], told: Sequence[Mapping[str, Any]], metric: str, phrase: Phrase) -> str:
    """Return the main comparison over several data sets, each in the group of its verdict; empty if none has any."""
    main = summary["main"]
    subject, baseline = method_name(main["method"]), prose_name(main["baseline"] or "")
    groups: dict[str, list[str]] = {}
    for data in told:
        row = _row(summary, data["id"], metric, main["baseline"])
        verdict = row["verdict"] if row else None
        kind = (
            verdict
            if verdict in (None, "no clear difference")
            else ("less" if row and row["difference"] < 0 else "more")
        )
        groups.setdefault(str(kind), []).append(data["name"])
    every = len(groups) == 1 and len(told) > 1
    if "None" in groups and every:
        return ""
    clear = [
        f"{words} than {baseline} on {_all(groups[kind], every)}"
        for kind, words in (("more", phrase.more), ("less", phrase.less))
        if kind in groups
    ]
    if clear:
        text = f"{subject} {' and '.join(clear)}"
        text += (
            f"; no clear difference on {_listing(groups['no clear difference'])}"
            if "no clear difference" in groups
            else ""
        )
    else:
        where = _all(groups["no clear difference"], every)
        text = f"No clear difference between {subject} and {baseline} in {phrase.topic} on {where}"
    return text + (f"; {_listing(groups['None'])} cannot be judged yet." if "None" in groups else ".")


def _clean(summary: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return what the method does on clean images, which robustness may cost."""
    method, phrase = summary["main"]["method"], PHRASES["accuracy"]
    if (mean := _mean(data, "accuracy", method)) is None:
        return ""
    parts = [f"{method_name(method)} gets {phrase.number(mean)} right"]
    parts += [
        f"{prose_name(name)} {phrase.number(_mean(data, 'accuracy', name))}"
        for name in _others(summary, data, "accuracy")
    ]
    verdicts = _verdicts(summary, data, "accuracy", phrase)
    return f"On clean images {', '.join(parts)}{f': {verdicts}' if verdicts else ''}."


def _best(data: Mapping[str, Any], metric: str, phrase: Phrase, method: str) -> str:
    """Return who is best where it is not the method that the headline is about."""
    means = {name: score["mean"] for name, score in data["scores"][metric].items()}
    pick = max if goal(metric) == "higher" else min
    best = pick(means, key=lambda name: means[name])
    if best == method or phrase.number(means[best]) == phrase.number(means[method]):
        return ""
    return f"Best mean in {phrase.topic}: {method_name(best)}, {phrase.number(means[best])}."


def _theirs(summary: Mapping[str, Any], data: Mapping[str, Any], metric: str, phrase: Phrase) -> str:
    """Return the published main comparison beside which ours stands."""
    values = {
        row["method"]: row["published"]
        for row in summary["published"]
        if (row["dataset"], row["metric"]) == (data["id"], metric)
    }
    ours, theirs = (values.get(summary["main"][key]) for key in ("method", "baseline"))
    if ours is None or theirs is None:
        return ""
    numbers = f"{phrase.number(ours)} against {phrase.number(theirs)} of {prose_name(summary['main']['baseline'])}"
    return f"Published: {numbers}."


def _published(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    judged = [row["within"] for row in rows if row["within"] is not None]
    if not judged:
        return []
    near, far = sum(judged), len(judged) - sum(judged)
    rest = f" and {far} {'does' if far == 1 else 'do'} not" if far else ""
    lies = "lies" if near == 1 else "lie"
    return [f"Of {len(judged)} published scores, {near} {lies} within two standard deviations of ours{rest}."]


def _cost(summary: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    main = summary["main"]["method"]
    row = next((r for r in summary["cost"] if (r["dataset"], r["method"]) == (data["id"], main)), None)
    if main == "erm" or row is None or row["ratio"] is None:
        return ""
    text = f"{method_name(main)} takes {row['ratio']:.1f} times as long as plain training"
    with_space = row["ratio_with_space"]
    return text + (
        f", {with_space:.1f} times with the training of its space." if row["space_seconds"] and with_space else "."
    )


def _spaces(summary: Mapping[str, Any]) -> list[str]:
    """Return a warning of spaces that lose what a classifier needs; equal ones are told once."""
    poor = [row for row in summary["spaces"] if row["poor"]]
    names = {data["id"]: data["name"] for data in summary["datasets"]}
    groups: dict[tuple[str, ...], list[str]] = {}
    for dataset in dict.fromkeys(row["dataset"] for row in poor):
        methods = tuple(row["method"] for row in poor if row["dataset"] == dataset)
        groups.setdefault(methods, []).append(dataset)
    found = []
    for methods, datasets in groups.items():
        worst = max(row["drop"] for row in poor if row["method"] in methods and row["dataset"] in datasets)
        found.append(
            f"Much is lost on the way into the space of {_listing([method_name(name) for name in methods])} and back: on"
            f" {_listing([names[name] for name in datasets])}, a classifier of the images gets up to {100 * worst:.0f} points"
            " fewer of their reconstructions right, which limits what can be learned there."
        )
    return found


def _others(summary: Mapping[str, Any], data: Mapping[str, Any], metric: str) -> list[str]:
    """Return what the method is told beside: mixup and plain training, or what else there is to compare with."""
    method, baseline = summary["main"]["method"], summary["main"]["baseline"]
    wanted = dict.fromkeys([baseline, *(name for name in summary["baselines"] if name in ("mixup", "erm"))])
    return [str(name) for name in wanted if name and name != method and _mean(data, metric, name) is not None]


def _row(summary: Mapping[str, Any], dataset: str, metric: str, baseline: Any) -> Mapping[str, Any] | None:
    if summary["subject"] is None:  # what was picked for being best is not tested
        return None
    wanted = (dataset, metric, summary["main"]["method"], baseline)
    rows: Iterable[Mapping[str, Any]] = summary["differences"]
    return next((r for r in rows if (r["dataset"], r["metric"], r["method"], r["baseline"]) == wanted), None)


def _score(data: Mapping[str, Any], metric: str, method: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = data["scores"].get(metric, {}).get(method) or {}
    return found


def _mean(data: Mapping[str, Any], metric: str, method: str) -> Any:
    return _score(data, metric, method).get("mean")


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


def _all(names: list[str], every: bool) -> str:
    return f"{'both' if len(names) == 2 else f'all {len(names)}'} data sets" if every else _listing(names)


def _listing(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
