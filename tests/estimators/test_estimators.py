"""What the estimators promise beyond scikit-learn's checks."""

from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pytest
import safetensors.numpy
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine, make_moons
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import vicinal as vc
from vicinal.core import InputError
from vicinal.densities import KDE, Gaussian
from vicinal.estimators import (
    GenerativeClassifier,
    VicinalClassifier,
    VicinalClassifierCV,
    VicinalSampler,
    VicinalWrapper,
)
from vicinal.estimators.candidates import default_candidates
from vicinal.training import Setting, fit_stack, make_group, predict_ensemble

FITTED = {
    "classifier": VicinalClassifier(epochs=50, random_state=0),
    "mlp": VicinalClassifier(vc.Mixup(), hidden=(16,), epochs=20, random_state=0),
    "latent": VicinalClassifier(hidden=(16, 8), latent=True, epochs=20, random_state=0),
    "cv": VicinalClassifierCV([vc.Vanilla(), vc.GenLabel(KDE())], (0.1,), epochs=50, cv=3, random_state=0),
    "cv mlp": VicinalClassifierCV([vc.Vanilla(), vc.Mixup()], (0.01,), hidden=(8,), epochs=10, cv=2, random_state=0),
    "generative": GenerativeClassifier(KDE("silverman")),
}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True, as_frame=True)
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.mark.parametrize("name", FITTED)
def test_save_and_load_without_pickle(name, iris, tmp_path):
    X, y = iris
    model = clone(FITTED[name]).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    again = vc.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.get_params(deep=False).keys() == model.get_params(deep=False).keys()
    assert safetensors.numpy.load_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", FITTED)
def test_pandas_polars_and_arrays_are_the_same(name, iris):
    X, y = iris
    plain, frame, polar = (clone(FITTED[name]) for _ in range(3))
    expected = plain.fit(X.to_numpy(), y).predict_proba(X.to_numpy())
    np.testing.assert_array_equal(frame.fit(X, pd.Series(y)).predict_proba(X), expected)
    other = pl.from_pandas(X)
    np.testing.assert_array_equal(polar.fit(other, pl.Series(y).to_numpy()).predict_proba(other), expected)
    assert frame.feature_names_in_.tolist() == polar.feature_names_in_.tolist() == X.columns.tolist()
    assert frame.classes_.tolist() == ["setosa", "versicolor", "virginica"]


def test_columns_in_another_order_are_refused(iris):
    X, y = iris
    model = clone(FITTED["classifier"]).fit(X, y)
    with pytest.raises(ValueError, match="order"):
        model.predict(X[X.columns[::-1]])


def test_random_state_decides(iris):
    X, y = iris
    a, b, c = (VicinalClassifier(epochs=20, random_state=s).fit(X, y).predict_proba(X) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-4


def test_row_order_does_not_matter(iris):
    X, y = iris
    order = np.random.default_rng(0).permutation(len(X))
    a = VicinalClassifier(epochs=20, random_state=0).fit(X, y).predict_proba(X)
    b = VicinalClassifier(epochs=20, random_state=0).fit(X.iloc[order], y[order]).predict_proba(X)
    np.testing.assert_array_equal(a, b)


def test_plain_training_agrees_with_scikit_learns_logistic_regression():
    """An independent twin: the same penalised loss, minimised by another solver."""
    X, y = load_wine(return_X_y=True)
    z = StandardScaler().fit_transform(X)
    decay = 0.02
    ours = VicinalClassifier(
        vc.Vanilla(), learning_rate=0.02, weight_decay=decay, epochs=3000, batch_size=1000, random_state=0
    ).fit(X, y)
    # torch's weight decay also shrinks the bias: here the weight of a constant column.
    z = np.column_stack([z, np.ones(len(z))])
    twin = LogisticRegression(C=1 / (decay * len(X)), fit_intercept=False, tol=1e-10, max_iter=5000).fit(z, y)
    np.testing.assert_allclose(ours.predict_proba(X), twin.predict_proba(z), atol=1e-4)


def test_grid_search_reaches_nested_parameters(iris):
    X, y = iris
    search = GridSearchCV(
        make_pipeline(StandardScaler(), VicinalClassifier(vc.GenLabel(Gaussian()), epochs=30, random_state=0)),
        {
            "vicinalclassifier__vicinity__labeler__gamma": [0.0, 1.0],
            "vicinalclassifier__vicinity__labeler__density__covariance": ["full", "diagonal"],
        },
        cv=3,
    ).fit(X, y)
    assert search.best_params_["vicinalclassifier__vicinity__labeler__gamma"] == 1.0


def test_cv_is_no_worse_than_plain_training_and_reports_what_it_did():
    X, y = load_breast_cancer(return_X_y=True)
    train, test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    model = VicinalClassifierCV(random_state=0).fit(train, y_train)
    plain = VicinalClassifierCV([vc.Vanilla()], selection="one", random_state=0).fit(train, y_train)
    losses = [log_loss(y_test, m.predict_proba(test)) for m in (model, plain)]
    assert losses[0] < losses[1] + 0.02
    results, members = model.cv_results_, model.members_
    assert {len(v) for v in results.values()} == {len(default_candidates()) * 2 * 3}
    assert model.best_score_ == pytest.approx(results["mean_log_loss"].min(), abs=0.02)
    assert members["weight"].sum() == pytest.approx(1) == results["weight"].sum()
    heaviest = members["weight"].argmax()
    assert model.best_params_ == {name: members[name][heaviest] for name in model.best_params_}
    assert model.n_iter_ == members["epochs"].max()


def test_cv_prefers_what_is_clearly_better():
    """Two Gaussians a long way apart with a third between: mixup's labels are wrong there, and the Gaussian's right."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    X = rng.normal(scale=0.3, size=(300, 2)) + np.array([[-3.0, 0], [0, 0], [3.0, 0]])[y]
    for selection in ("one", "ensemble"):
        model = VicinalClassifierCV(
            [vc.Mixup(), vc.GenLabel(Gaussian())], (0.1,), hidden=(16,), selection=selection, random_state=0
        ).fit(X, y)
        assert model.best_params_["candidate"] == 1
        assert model.best_vicinity_ is model.candidates[1]


@pytest.mark.parametrize(("selection", "hidden"), [("ensemble", ()), ("ensemble", (8,)), ("one", ())])
def test_cv_predicts_the_mean_of_its_networks(iris, selection, hidden):
    """A brute-force twin: every fold's rows standardised and trained by themselves, and the networks' predictions averaged."""
    from vicinal.estimators.cv import REFITS

    X, first = np.unique(iris[0].to_numpy(), axis=0, return_index=True)
    y = np.unique(iris[1], return_inverse=True)[1][first]
    splits = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y))
    model = VicinalClassifierCV(
        [vc.Mixup()], (0.05,), hidden, (0.0,), epochs=30, cv=splits, selection=selection, random_state=5
    ).fit(X, y)  # fmt: skip
    trained = [(X[a], y[a], {"fold": f}) for f, (a, _) in enumerate(splits)] if selection == "ensemble" else []
    trained += [(X, y, {"refit": i}) for i in range(1 if selection == "one" else REFITS if hidden else 0)]
    expected = np.zeros((len(X), 3))
    for rows, labels, address in trained:
        group = make_group(rows, labels, 3, {"seed": 5, **address}, scale=True)
        z = torch.as_tensor(StandardScaler().fit(rows).transform(X), dtype=torch.float32)
        for epochs, weight in zip(model.members_["epochs"], model.members_["weight"], strict=True):
            setting = Setting(vc.Mixup(), 0.05, epochs=int(epochs))
            fit = fit_stack([group], [setting], hidden=hidden, epochs=model.n_iter_)
            expected += weight / len(trained) * fit.probabilities(0, 0, z).numpy()
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-5)


def test_cv_hedges_with_densities():
    """On two moons a kernel density beats every line; what is predicted is the mixture, and a saved model has it all."""
    X, y = make_moons(400, noise=0.2, random_state=0)
    test, y_test = make_moons(400, noise=0.2, random_state=1)
    model = VicinalClassifierCV(random_state=0).fit(X, y)
    lines = VicinalClassifierCV(densities=[], random_state=0).fit(X, y)
    assert lines.densities_ == []
    assert model.score(test, y_test) > 0.93 > lines.score(test, y_test)
    assert model.density_weight_.sum() + model.members_["weight"].sum() == pytest.approx(1)
    z = (test - X.mean(0)) / X.std(0)
    for twin in (model, VicinalClassifierCV([vc.Vanilla()], (0.1,), densities=[KDE()], random_state=0).fit(X, y)):
        densities = [density.posterior(torch.as_tensor(z), "empirical").numpy() for density in twin.densities_]
        mixed = sum(w * (0.99 * p + 0.005) for w, p in zip(twin.density_weight_, densities, strict=True))
        networks = predict_ensemble(twin.parameters_, twin.weight_, torch.as_tensor(z, dtype=torch.float32)).numpy()
        np.testing.assert_allclose(twin.predict_proba(test), mixed + networks, atol=1e-4)
    # Where nothing but a density is chosen, the network that is shown has no say.
    alone = VicinalClassifierCV([vc.Vanilla()], (1e-6,), epochs=1, densities=[KDE()], random_state=0).fit(X, y)
    assert alone.density_weight_.tolist() == [1.0]
    assert alone.members_["weight"].tolist() == [0.0]


def test_cv_gives_rows_of_twice_the_weight_twice_the_say():
    """Half of the rows say otherwise; the selection must follow the heavy half."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(100, 1)), 2, axis=0) + rng.normal(scale=1e-3, size=(200, 1))
    y = np.arange(200) % 2
    for heavy in (0, 1):
        weight = np.where(y == heavy, 9.0, 1.0)
        model = VicinalClassifierCV([vc.Vanilla(), vc.Mixup()], (0.1,), epochs=50, cv=3, random_state=0)
        assert model.fit(X, y, weight).predict_proba(X)[:, heavy].mean() == pytest.approx(0.9, abs=0.03)
        assert model.best_score_ == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1), abs=0.03)


def test_cv_looks_at_no_more_held_out_rows_than_it_may(iris, monkeypatch):
    from vicinal.estimators import cv

    monkeypatch.setattr(cv, "HELD_OUT_NUMBERS", 1)
    monkeypatch.setattr(cv, "HELD_OUT_ROWS", 60)
    seen = []
    original = cv.select_ensemble
    monkeypatch.setattr(cv, "select_ensemble", lambda p, *a, **o: seen.append(p.shape) or original(p, *a, **o))
    model = VicinalClassifierCV([vc.Vanilla()], (0.1,), epochs=50, cv=3, random_state=0).fit(*iris)
    assert seen[0][1] == 60
    assert model.score(*iris) > 0.9


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must lie in"),
        ({"epochs": 0}, "`epochs` must lie in"),
        ({"epochs": "all"}, "`epochs` must be an integer"),
        ({"candidates": []}, "`candidates` must hold at least one"),
        ({"learning_rates": ()}, "`learning_rates` must hold at least one"),
        ({"weight_decays": []}, "`weight_decays` must hold at least one"),
        ({"cv": []}, "`cv` must have rows"),
        ({"cv": [(np.arange(50, 150), np.arange(50))]}, "`cv` must have rows of some weight"),
    ],
)
def test_cv_refuses_what_it_cannot_choose_among(wrong, message, iris):
    weight = np.repeat([0.0, 1.0], [50, 100])
    with pytest.raises((ValueError, TypeError), match=message):
        VicinalClassifierCV(**wrong).fit(*iris, sample_weight=weight)


def test_cv_takes_splitters_and_both_scores(iris):
    X, y = iris
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    for scoring, selection in product(("log_loss", "accuracy"), ("ensemble", "one")):
        model = VicinalClassifierCV(
            [vc.Vanilla()], (0.1,), cv=folds, scoring=scoring, selection=selection, epochs=100, random_state=0
        ).fit(X, y)
        assert model.score(X, y) > 0.9
        assert (model.best_score_ > 0.9) == (scoring == "accuracy")
    with pytest.raises(InputError, match="`scoring` must be one of"):
        VicinalClassifierCV(scoring="auc").fit(X, y)
    with pytest.raises(InputError, match="`selection` must be one of"):
        VicinalClassifierCV(selection="all").fit(X, y)


def test_generative_classifier_is_bayes_rule():
    from scipy.special import softmax
    from scipy.stats import multivariate_normal

    X, y = load_wine(return_X_y=True)
    parts = [X[y == c] for c in range(3)]
    logs = [multivariate_normal(p.mean(0), np.cov(p.T)).logpdf(X) + np.log(len(p)) for p in parts]
    ours = GenerativeClassifier().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(ours, softmax(np.stack(logs, 1), axis=1), atol=1e-9)


def test_wrapper_trains_boosting_on_vicinal_points():
    X, y = load_wine(return_X_y=True, as_frame=True)
    boosting = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    wrapped = VicinalWrapper(boosting, vc.GenLabel(Gaussian(shrinkage=0.1)), random_state=0)
    assert cross_val_score(wrapped, X, y, cv=3).mean() > 0.9
    with pytest.raises(TypeError, match="must take `sample_weight`"):
        VicinalWrapper(KNeighborsClassifier()).fit(X, y)


def test_wrapper_knows_only_classes_of_some_weight_and_keeps_light_rows(iris):
    X, y = iris
    some = VicinalWrapper(LogisticRegression(), random_state=0).fit(X, y, np.repeat([1.0, 1.0, 0.0], 50))
    assert some.classes_.tolist() == ["setosa", "versicolor"]
    assert some.predict_proba(X).shape == (150, 2)
    light = VicinalWrapper(LogisticRegression(), random_state=0).fit(X, y, np.repeat([1.0, 1.0, 1e-6], 50))
    assert light.predict_proba(X).shape == (150, 3)


def test_wrapper_with_plain_vicinity_is_the_estimator_itself():
    X, y = load_wine(return_X_y=True)
    z = StandardScaler().fit_transform(X)
    wrapped = VicinalWrapper(LogisticRegression(), vc.Vanilla(), n_draws=3, random_state=0).fit(z, y)
    np.testing.assert_allclose(wrapped.predict_proba(z), LogisticRegression().fit(z, y).predict_proba(z), atol=1e-3)


@pytest.mark.parametrize("labels", ["draw", "argmax", "expand"])
def test_sampler(labels, iris):
    X, y = iris
    sampler = VicinalSampler(vc.GenLabel(Gaussian()), n_draws=3, labels=labels, random_state=0)
    more, hard = sampler.fit_resample(X, y)
    assert list(more.columns) == list(X.columns)
    assert len(more) == len(hard) == len(sampler.sample_weight_) == len(sampler.soft_labels_)
    np.testing.assert_array_equal(more.iloc[:150], X)
    np.testing.assert_array_equal(hard[:150], y)
    np.testing.assert_allclose(sampler.soft_labels_.sum(1), 1, atol=1e-6)
    assert set(hard) <= set(y)
    np.testing.assert_allclose(sampler.sample_weight_[150:].sum(), 3 * 149, rtol=1e-6)
    if labels == "draw":
        share = np.array([(hard[150:] == c).mean() for c in sampler.classes_])
        np.testing.assert_allclose(share, sampler.soft_labels_[150:].mean(0), atol=0.06)
    low, high = X.min().to_numpy() - 1e-6, X.max().to_numpy() + 1e-6
    assert ((more >= low) & (more <= high)).all(axis=None)


def test_sample_weight_of_two_is_a_row_twice(iris):
    X, y = iris
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    for model in (VicinalClassifier(epochs=20, random_state=0), VicinalWrapper(LogisticRegression(), random_state=0)):
        a = clone(model).fit(X, y, sample_weight=weight).predict_proba(X)
        rows = np.repeat(np.arange(len(X)), weight)
        b = clone(model).fit(X.iloc[rows], y[rows]).predict_proba(X)
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([[1.0], [np.nan]], [0, 1], "NaN"),
        ([[1.0], [np.inf]], [0, 1], "infinity"),
        ([[1.0], [1e300]], [0, 1], "below 1e"),
        ([[1.0], [2.0]], [0, 0], "at least 2 classes, got 1 class"),
        ([[1.0], [2.0]], [0.5, 1.5], "continuous"),
        (np.empty((0, 3)), [], "minimum of 1"),
        ([["a"], ["b"]], [0, 1], "could not convert"),
        ([[1.0], [2.0]], [0, 1, 1], "inconsistent"),
    ],
)
@pytest.mark.parametrize("model", FITTED.values(), ids=FITTED)
def test_hostile_input_is_refused_clearly(model, X, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        clone(model).fit(X, y)


@pytest.mark.parametrize("model", FITTED.values(), ids=FITTED)
@pytest.mark.parametrize(
    "make",
    [
        lambda rng: (rng.normal(size=(2, 3)), [0, 1]),
        lambda rng: (rng.normal(size=(12, 3)), np.arange(12) % 6),
        lambda rng: (rng.normal(size=(6, 3)), np.arange(6)),
        lambda rng: (np.ones((10, 3)), np.arange(10) % 2),
        lambda rng: (rng.normal(size=(40, 300)), np.arange(40) % 2),
        lambda rng: (rng.normal(size=(40, 1)) * np.ones((1, 4)), np.arange(40) % 2),
        lambda rng: (rng.normal(size=(40, 3)) * [1e-6, 1, 1e6], np.arange(40) % 2),
        lambda rng: (rng.normal(size=(40, 3)) + 1e9, np.arange(40) % 2),
        lambda rng: (rng.normal(size=(60, 2)), [0] * 59 + [1]),
        lambda rng: (rng.normal(size=(120, 2)), np.arange(120) % 60),
    ],
    ids=["two rows", "two a class", "one a class", "all equal", "wide", "copies", "scales", "offset", "rare", "many"],
)
def test_awkward_tables_give_finite_probabilities(model, make):
    X, y = make(np.random.default_rng(0))
    p = clone(model).fit(X, y).predict_proba(np.concatenate([X, X * 100]))
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
