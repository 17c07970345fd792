"""The comparison: what it tests on, what it chooses, what it leaves when interrupted."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from vicinal.core import InputError
from vicinal.data import SYNTHETIC
from vicinal.study.compare import compare
from vicinal.study.methods import METHODS, read_methods
from vicinal.study.protocol import Protocol, read_protocol
from vicinal.study.report import render
from vicinal.study.summary import summarize
from vicinal.study.trials import read_problem


def quick(**changes) -> Protocol:
    given = {
        "hidden": (),
        "learning_rates": (0.1,),
        "gammas": (0.5, 1.0),
        "max_epochs": 30,
        "points": 4,
        "folds": 3,
        "scale": True,
    }
    return Protocol("tuned", "linear", scoring="log_loss", **{**given, **changes})


@pytest.fixture(scope="module")
def iris():
    return compare(read_problem("iris"), read_methods(None), quick(), trials=2)


def test_every_method_is_scored_on_every_trial(iris):
    assert list(iris.outcomes) == list(METHODS)
    for outcome in iris.outcomes.values():
        assert {len(values) for values in outcome.scores.values()} == {2}
        assert len(outcome.selected) == 2
        assert outcome.seconds > 0


def test_scores_are_those_of_the_probabilities_on_untouched_rows(iris):
    for name, outcome in iris.outcomes.items():
        for t, trial in enumerate(iris.trials):
            p = outcome.probabilities[t]
            assert outcome.scores["accuracy"][t] == accuracy_score(trial.y_test, p.argmax(1)), name
            np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)


def test_trials_split_the_rows_and_repeat():
    problem = read_problem("wine")
    a, b, c = problem.trial(0, 0, 0.3), problem.trial(0, 0, 0.3), problem.trial(1, 0, 0.3)
    np.testing.assert_array_equal(a.x, b.x)
    assert not np.array_equal(a.x, c.x)
    rows = {tuple(row) for row in a.x}
    assert not rows & {tuple(row) for row in a.x_test}
    assert len(a.x) + len(a.x_test) == 178
    assert len(a.x_test) == 54  # 30 %, rounded up: the denominator of the paper's accuracies on wine


def test_splits_do_not_depend_on_the_methods():
    problem = read_problem("iris")
    few = compare(problem, read_methods("mixup"), quick(), trials=1)
    many = compare(problem, read_methods("vanilla,mixup,genlabel-kde"), quick(), trials=1)
    np.testing.assert_allclose(
        few.outcomes["mixup"].probabilities[0], many.outcomes["mixup"].probabilities[0], atol=1e-5
    )


def test_text_dates_and_gaps_are_encoded_by_training_rows_only(tmp_path):
    rng = np.random.default_rng(0)
    n = 90
    y = np.arange(n) % 3
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=n) + y,
            "gappy": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n) + 2 * y),
            "colour": np.array(["red", "green", "blue"])[(y + (rng.random(n) < 0.1)) % 3],
            "day": pd.date_range("2024-01-01", periods=n).astype(str),
            "species": np.array(["a", "b", "c"])[y],
        }
    )
    frame.to_csv(tmp_path / "flowers.csv", index=False)
    result = compare(
        read_problem(str(tmp_path / "flowers.csv"), "species"), read_methods("vanilla,genlabel"), quick(), trials=2
    )
    assert np.mean(result.outcomes["vanilla"].scores["accuracy"]) > 0.8
    assert json.loads(json.dumps(summarize(result)))["dataset"]["classes"] == 3


def test_genlabel_is_chosen_among_its_densities(iris):
    for t, selected in enumerate(iris.outcomes["genlabel"].selected):
        own = [iris.outcomes[f"genlabel-{d}"] for d in ("gaussian", "kde", "knn")]
        twin = next(o for o in own if o.selected[t]["density"] == selected["density"])
        assert twin.selected[t] == selected
        np.testing.assert_allclose(iris.outcomes["genlabel"].probabilities[t], twin.probabilities[t], atol=1e-5)


def test_summary_is_json_and_the_report_takes_it(iris):
    summary = json.loads(json.dumps(summarize(iris, ["compare", "iris"]), allow_nan=False))
    assert summary["schema"] == 1
    assert summary["dataset"]["name"] == "iris"
    assert (summary["dataset"]["rows"], summary["dataset"]["features"], summary["dataset"]["classes"]) == (150, 4, 3)
    for entry in summary["methods"].values():
        for metric in ("accuracy", "log_loss", "brier", "ece"):
            assert entry[metric]["mean"] == pytest.approx(np.mean(entry[metric]["trials"]))
    assert sum(b["count"] for b in summary["reliability"]["mixup"]) == 90
    assert summary["complete"] is True
    assert len(summary["projection"]["mixed"]) == len(summary["projection"]["intruder"])
    assert "iris" in render(summary)


@pytest.mark.parametrize("name", ["moon", "cube3d"])
def test_synthetic_problems_are_sampled_afresh(name):
    protocol = read_protocol("paper", None, name)
    problem = read_problem(name)
    trial = problem.trial(0, 0, protocol.test_size)
    assert len(trial.x) == SYNTHETIC[name].train_per_class * SYNTHETIC[name].n_classes
    assert len(trial.x_test) == SYNTHETIC[name].test_per_class * SYNTHETIC[name].n_classes
    assert not np.array_equal(trial.x, trial.fresh[0])
    assert protocol.hidden == ((64, 128) if name == "cube3d" else (64, 128, 128))


def test_an_interrupt_leaves_what_is_done(monkeypatch):
    from vicinal.study import compare as module

    # Trials one by one, as on a large table.
    monkeypatch.setattr(module, "PORTION", 0)
    seen = []

    def report(done: float, loss: float) -> None:
        seen.append(done)
        if done > 0.7:
            raise KeyboardInterrupt

    result = compare(
        read_problem("iris"), read_methods("vanilla,generative-classifier"), quick(), trials=3, report=report
    )
    assert len(result.trials) == 2
    assert {len(o.probabilities) for o in result.outcomes.values()} == {2}
    summary = summarize(result)
    assert summary["complete"] is False
    assert summary["missing"] == ["trial 3"]
    assert seen == sorted(seen)
    with pytest.raises(KeyboardInterrupt):
        compare(read_problem("iris"), read_methods("vanilla"), quick(), trials=1, report=report)


def test_paper_protocol_is_tables_11_and_12():
    paper = read_protocol("paper", "linear")
    assert paper.learning_rates == (0.1, 0.01, 0.001, 0.0001)
    assert paper.gammas == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert (paper.epochs(105), paper.batch_size, paper.weight_decay) == (100, 128, 1e-4)
    assert (paper.optimizer.name, paper.scale, paper.folds, paper.scoring) == ("adam", False, 6, "accuracy")
    assert read_protocol("paper", "mlp").hidden == (128, 128)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_methods("mixip"), "did you mean 'mixup'"),
        (lambda: read_methods(","), "names none"),
        (lambda: read_protocol("paper", "cnn"), "`network` must be one of 'linear', 'mlp'"),
        (lambda: read_protocol("fast"), "`protocol` must be one of"),
        (lambda: read_problem("moon", "x"), "has no target column"),
        (lambda: read_problem(pd.DataFrame({"a": [1.0, 2, 3], "target": ["x", "y", "x"]})), "at least 6"),
        (lambda: compare(read_problem("iris"), read_methods("vanilla"), quick(), trials=0), "`trials` must lie in"),
    ],
)
def test_errors(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: pd.DataFrame({"a": rng.normal(size=8), "target": list("xyxyxyxy")}),
        lambda rng: pd.DataFrame({"a": rng.normal(size=12), "target": list("xxxxxxxxxxyz")}),
        lambda rng: pd.DataFrame({"a": np.ones(30), "b": rng.normal(size=30), "target": list("xyz") * 10}),
        lambda rng: pd.DataFrame(rng.normal(size=(40, 300))).add_prefix("c").assign(target=list("xy") * 20),
        lambda rng: pd.DataFrame({"a": [1.0, 2.0] * 20, "b": [1.0, 2.0] * 20, "target": list("xy") * 20}),
        lambda rng: pd.DataFrame(
            {"a": rng.normal(size=60) * 1e-9, "b": rng.normal(size=60) * 1e9, "target": list("xy") * 30}
        ),
        lambda rng: pd.DataFrame({"a": rng.normal(size=80), "target": [f"c{i % 20}" for i in range(80)]}),
        lambda rng: pd.DataFrame(
            {"<script>alert(1)</script>": rng.normal(size=40), "target": ["\x1b[31mred", "../../etc"] * 20}
        ),
    ],
    ids=["eight rows", "alone", "constant", "wide", "copies", "scales", "many classes", "hostile"],
)
def test_awkward_tables_end_in_finite_numbers(make):
    frame = make(np.random.default_rng(0))
    for network in ((), (8,)):
        result = compare(read_problem(frame), read_methods(None), quick(hidden=network), trials=2)
        text = json.dumps(summarize(result), allow_nan=False)
        page = render(json.loads(text))
        assert "<script>alert" not in page
        assert "\x1b" not in page
