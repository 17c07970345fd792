"""The comparison: what it tests on, what it chooses, what it leaves when interrupted."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score

from vicinal.core import InputError
from vicinal.data import SYNTHETIC
from vicinal.study.compare import compare
from vicinal.study.families import method_families
from vicinal.study.methods import DEFAULT_METHODS, METHODS, read_methods
from vicinal.study.protocol import Protocol, read_protocol
from vicinal.study.report import render
from vicinal.study.robustness import robust_accuracies
from vicinal.study.summary import summarize
from vicinal.study.trials import read_problem
from vicinal.training import Optimizer, make_group


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
    assert list(iris.outcomes) == [name for name in DEFAULT_METHODS if not METHODS[name].hidden]
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


@pytest.mark.parametrize("hidden", [(), (8, 6)], ids=str)
def test_every_method_gives_the_same_alone_and_in_company(hidden):
    problem, protocol = read_problem("iris"), quick(hidden=hidden, max_epochs=10, folds=2, learning_rates=(0.1, 0.03))
    names = [name for name, method in METHODS.items() if hidden or not method.hidden]
    together = compare(problem, read_methods(names), protocol, trials=1)
    for family in method_families(together.methods, protocol):
        alone = compare(problem, family, protocol, trials=1)
        for method in family:
            a, b = (result.outcomes[method.name] for result in (together, alone))
            assert a.selected == b.selected, method.name
            np.testing.assert_allclose(a.probabilities[0], b.probabilities[0], atol=1e-5, err_msg=method.name)
            assert a.seconds > 0
            _check_network(together, method.name, a)


def _check_network(result, name, outcome):
    """The network that is kept is the one that was tested."""
    (network,) = outcome.networks
    if name == "generative-classifier":
        assert network is None
        return
    trial = result.trials[0]
    group = make_group(
        trial.x, trial.y, 3, {}, scale=result.protocol.scale, held_out=(trial.x_test, trial.y_test, None)
    )
    p = torch.softmax(network(group.x_eval).double(), 1).numpy()
    np.testing.assert_array_equal(p, outcome.probabilities[0])


def test_twice_the_same_to_the_last_bit():
    problem, protocol = read_problem("iris"), quick(hidden=(8,), max_epochs=5)
    methods = read_methods("mixup,genlabel,adamixup,manifold-mixup,genlabel-latent-knn")
    a, b = (compare(problem, methods, protocol, trials=2) for _ in range(2))
    for name in a.outcomes:
        np.testing.assert_array_equal(a.outcomes[name].probabilities, b.outcomes[name].probabilities)


def test_families_share_candidates_and_keep_their_order():
    names = (
        "generative-classifier,genlabel-kde,mixup,cutmix-genlabel,genlabel,genlabel-latent-gaussian,genlabel-gaussian"
    )
    families = method_families(read_methods(names), read_protocol("paper", "mlp"))
    assert [[method.name for method in family] for family in families] == [
        ["generative-classifier"],
        ["genlabel-kde", "mixup", "genlabel", "genlabel-gaussian"],  # mixup is GenLabel with gamma 0
        ["cutmix-genlabel"],
        ["genlabel-latent-gaussian"],
    ]
    # Two are joined by a third that comes later.
    families = method_families(read_methods("genlabel-gaussian,genlabel-kde,genlabel"), read_protocol("paper"))
    assert [len(family) for family in families] == [3]


def test_every_mixing_method_mixes_by_the_protocols_alpha():
    protocol = read_protocol("paper", "mlp", alpha=2.0)
    for name in METHODS.keys() - {"vanilla", "adamixup", "generative-classifier"}:
        for candidate in METHODS[name].candidates(protocol):
            of = candidate.objective or candidate.vicinity.ratio
            assert of.alpha == 2.0, name


def test_latent_genlabel_gains_on_mixup_where_features_are_quickly_learned():
    protocol = quick(hidden=(16, 16), learning_rates=(0.03, 0.01), max_epochs=60, points=8)
    names = ["mixup", "genlabel-latent-gaussian", "genlabel-latent-knn"]
    result = compare(read_problem("wine"), read_methods(names), protocol, trials=2)
    loss, *latent = (np.mean(result.outcomes[name].scores["log_loss"]) for name in names)
    assert max(latent) < 0.8 * loss
    for name in names:
        assert np.mean(result.outcomes[name].scores["accuracy"]) > 0.95
        assert min(s["epochs"] for s in result.outcomes[name].selected) > (12 if name != "mixup" else 0)


def test_methods_by_default_are_those_of_the_network():
    linear, mlp = ([m.name for m in read_methods(None, network)] for network in ("linear", "mlp"))
    assert [name for name in mlp if name not in linear] == ["manifold-mixup"]
    assert [m.name for m in read_methods(None)] == linear


def test_a_network_that_diverged_knows_nothing_and_says_so():
    frame = pd.DataFrame({"a": np.linspace(-1e18, 1e18, 60), "target": list("xyz") * 20})
    protocol = quick(hidden=(4,), scale=False, learning_rates=(1e9,), optimizer=Optimizer("sgd"))
    result = compare(read_problem(frame), read_methods("vanilla"), protocol, trials=1)
    (p,) = result.outcomes["vanilla"].probabilities
    np.testing.assert_allclose(p, 1 / 3)
    assert result.outcomes["vanilla"].selected[0]["diverged"] is True
    (network,) = result.outcomes["vanilla"].networks
    np.testing.assert_allclose(torch.softmax(network(torch.ones(1, 1)), 1).detach(), 1 / 3)
    # Nothing moves a network that says the same everywhere.
    robust = robust_accuracies(result, {"name": "boundary", "steps": 5, "radius": 0.1})
    assert robust == {"vanilla": result.outcomes["vanilla"].scores["accuracy"]}


def test_robust_accuracy_falls_with_the_radius_of_the_attack():
    result = compare(read_problem("iris"), read_methods("vanilla,mixup"), quick(hidden=(8,)), trials=2)
    found = [robust_accuracies(result, {"name": "boundary", "steps": 200, "radius": r}) for r in (1e-6, 0.1, 2.0)]
    for name, outcome in result.outcomes.items():
        nothing, some, all_ = (np.array(by_method[name]) for by_method in found)
        np.testing.assert_allclose(nothing, outcome.scores["accuracy"], atol=0.03)
        assert (some <= nothing).all()
        np.testing.assert_allclose(all_, 0.0)
    generative = compare(read_problem("iris"), read_methods("generative-classifier"), quick(), trials=1)
    with pytest.raises(InputError, match="trains no network"):
        robust_accuracies(generative, {"name": "boundary", "steps": 5, "radius": 0.1})


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
    assert (paper.optimizer.name, paper.scale, paper.folds, paper.scoring) == ("adam", True, 6, "accuracy")
    assert read_protocol("paper", scale=False).scale is False
    mlp = read_protocol("paper", "mlp")
    assert mlp.hidden == (128, 128)
    assert (mlp.optimizer.name, mlp.optimizer.momentum, mlp.optimizer.milestones) == ("sgd", 0.9, ())
    assert (mlp.learning_rates, mlp.epochs(105), mlp.batch_size, mlp.weight_decay) == (
        paper.learning_rates,
        100,
        128,
        1e-4,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_methods("mixip"), "did you mean 'mixup'"),
        (lambda: read_methods(","), "names none"),
        (lambda: read_protocol("paper", "cnn"), "`network` must be one of 'linear', 'mlp'"),
        (lambda: read_protocol("fast"), "`protocol` must be one of"),
        (lambda: read_protocol("paper", alpha=0.0), "`alpha` must lie in"),
        (lambda: read_methods("mixup,manifold-mixup", "linear"), "manifold-mixup needs hidden layers.*--network mlp"),
        (
            lambda: compare(read_problem("iris"), read_methods("genlabel-latent-knn"), quick(), trials=1),
            "genlabel-latent-knn needs hidden layers",
        ),
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
