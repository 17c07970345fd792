"""Densities against scipy, scikit-learn, loops and closed forms."""

import math

import numpy as np
import pytest
import torch
from mpmath import mp, mpf
from scipy.stats import gaussian_kde, multivariate_normal
from sklearn.covariance import ledoit_wolf
from sklearn.neighbors import KernelDensity

from vicinal.core import InputError
from vicinal.densities import KDE, KNN, Gaussian


def table(n: int = 60, d: int = 3, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, classes and queries, correlated and of different scales."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % k)
    slant = rng.normal(size=(d, d)) * 10.0 ** np.arange(d)
    x = (rng.normal(size=(n, d)) + y[:, None]) @ slant
    return x, y, (rng.normal(size=(11, d)) + 1) @ slant


def test_gaussian_is_scipys() -> None:
    x, y, queries = table()
    ours = Gaussian().fit(x, y).log_prob(torch.tensor(queries)).numpy()
    for c in range(3):
        own = x[y == c]
        scipys = multivariate_normal(own.mean(0), np.cov(own.T)).logpdf(queries)
        np.testing.assert_allclose(ours[:, c], scipys, rtol=1e-8)


@pytest.mark.parametrize("kind", ["diagonal", "tied", "shrunk", "ledoit-wolf"])
def test_gaussian_covariances(kind: str) -> None:
    """Numpy's covariances of each class, changed as the docstring says; shrinkage in pooled standard deviations."""
    x, y, queries = table()
    scale = x.std(0)
    options = {"shrunk": {"shrinkage": 0.3}, "ledoit-wolf": {"shrinkage": "ledoit-wolf"}}.get(
        kind, {"covariance": kind}
    )
    ours = Gaussian(**options).fit(x, y).log_prob(torch.tensor(queries)).numpy()
    centred = x - np.stack([x[y == c].mean(0) for c in range(3)])[y]
    for c in range(3):
        u = x[y == c] / scale
        own = np.cov(u.T)
        flat = np.trace(own) / 3 * np.eye(3)
        if kind == "shrunk":
            own = 0.7 * own + 0.3 * flat
        elif kind == "ledoit-wolf":
            share = ledoit_wolf(u)[1]
            own = (1 - share) * own + share * flat
        elif kind == "diagonal":
            own = np.diag(np.diag(own))
        else:
            own = (centred / scale).T @ (centred / scale) / (len(x) - 3)
        scipys = multivariate_normal(x[y == c].mean(0), own * np.outer(scale, scale)).logpdf(queries)
        np.testing.assert_allclose(ours[:, c], scipys, rtol=1e-8)


def test_spherical_gaussian() -> None:
    """One variance per class, in units of each feature's pooled standard deviation."""
    x, y, queries = table()
    scale = x.std(0)
    ours = Gaussian("spherical").fit(x, y).log_prob(torch.tensor(queries)).numpy()
    for c in range(3):
        variance = (x[y == c] / scale).var(0, ddof=1).mean()
        scipys = multivariate_normal(x[y == c].mean(0), np.diag(variance * scale**2)).logpdf(queries)
        np.testing.assert_allclose(ours[:, c], scipys, rtol=1e-8)


def test_from_moments_is_scipys() -> None:
    mean = torch.tensor([[0.0, 1.0], [3.0, -2.0]])
    covariance = torch.tensor([[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.3], [-0.3, 0.4]]])
    queries = torch.tensor([[0.3, 0.4], [2.0, -1.0], [50.0, 60.0]], dtype=torch.float64)
    ours = Gaussian.from_moments(mean, covariance).log_prob(queries)
    for c in range(2):
        scipys = multivariate_normal(mean[c].numpy(), covariance[c].numpy()).logpdf(queries.numpy())
        np.testing.assert_allclose(ours[:, c].numpy(), scipys, rtol=1e-6)


@pytest.mark.parametrize("bandwidth", ["scott", "silverman", 0.37])
@pytest.mark.parametrize("d", [1, 3])
def test_kde_is_scipys(bandwidth: str | float, d: int) -> None:
    x, y, queries = table(d=d)
    ours = KDE(bandwidth).fit(x, y).log_prob(torch.tensor(queries)).numpy()
    for c in range(3):
        np.testing.assert_allclose(ours[:, c], gaussian_kde(x[y == c].T, bandwidth).logpdf(queries.T), rtol=1e-8)


def test_weighted_kde_is_scipys() -> None:
    """Scipy's weights are shares, ours frequencies: the covariances differ by a factor, left to the bandwidth."""
    x, y, queries = table()
    weight = np.random.default_rng(1).uniform(0.5, 3.0, len(x))
    ours = KDE(0.6).fit(x, y, sample_weight=weight).log_prob(torch.tensor(queries)).numpy()
    for c in range(3):
        own, w = x[y == c], weight[y == c]
        frequency = ((own - w @ own / w.sum()) * w[:, None]).T @ (own - w @ own / w.sum()) / (w.sum() - 1)
        share = np.cov(own.T, aweights=w)
        h = 0.6 * math.sqrt(frequency[0, 0] / share[0, 0])
        np.testing.assert_allclose(ours[:, c], gaussian_kde(own.T, h, weights=w).logpdf(queries.T), rtol=1e-8)


def test_kde_of_white_data_is_scikit_learns() -> None:
    """Where a class's covariance is the unit matrix, the kernel is spherical."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=(50, 2))
    own = np.linalg.solve(np.linalg.cholesky(np.cov(own.T)), (own - own.mean(0)).T).T
    x, y = np.concatenate([own, own + 3]), np.repeat([0, 1], 50)
    queries = rng.normal(size=(9, 2))
    ours = KDE(0.45).fit(x, y).log_prob(torch.tensor(queries)).numpy()
    for c, rows in enumerate((own, own + 3)):
        theirs = KernelDensity(bandwidth=0.45).fit(rows).score_samples(queries)
        np.testing.assert_allclose(ours[:, c], theirs, rtol=1e-8)


def test_likelihood_bandwidth_against_a_loop() -> None:
    """The factor of the grid under which left-out rows are most likely; a copy of a row does not vouch for it."""
    rng = np.random.default_rng(3)
    own = np.concatenate([rng.normal(size=(150, 2)) * 0.3 + c for c in ((0, 0), (6, 0), (0, 6))] * 1)
    own = np.concatenate([own, own[:100]])
    x, y = np.concatenate([own, rng.normal(size=(40, 2))]), np.repeat([0, 1], [len(own), 40])
    fitted = KDE("likelihood").fit(x, y)
    for c in range(2):
        rows = x[y == c]
        n, covariance = len(rows), np.cov(rows.T)
        white = np.linalg.solve(np.linalg.cholesky(covariance), rows.T).T
        squared = ((white[:, None] - white[None]) ** 2).sum(-1)
        squared[squared < 1e-20] = np.inf
        scott = n ** (-1 / 6)
        grid = np.geomspace(0.05, 2.0, 25) * scott
        score = [np.log(np.exp(-squared / (2 * h**2)).sum(1) + 1e-300).mean() - 2 * np.log(h) for h in grid]
        assert float(fitted.factor_[c]) == pytest.approx(grid[int(np.argmax(score))])
    assert float(fitted.factor_[0]) < 0.5 * len(own) ** (-1 / 6)


@pytest.mark.parametrize("h", [0.01, 0.1, 1.0])
def test_left_out_likelihood_against_a_loop(h: float) -> None:
    """Also where the kernels are so narrow that a row's distance to itself must not be a rounding error."""
    from vicinal.densities.kde import _left_out

    rows = np.random.default_rng(0).normal(size=(300, 2))
    rows = np.concatenate([rows, rows[:50]]) + 5
    squared = (((rows[:, None] - rows[None]) / h) ** 2).sum(-1)
    squared[squared == 0] = np.inf
    least = squared.min(1, keepdims=True)
    each = np.log(np.exp((least - squared) / 2).sum(1)) - least[:, 0] / 2
    expected = np.clip(each, -1e5, None).mean() - 2 * math.log(h)
    points, weight = torch.tensor(rows / h), torch.ones(350, dtype=torch.float64)
    assert _left_out(points, weight, h, 2) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("k", [1, 3, "sqrt", 1000])
def test_knn_against_a_loop(k: int | str) -> None:
    """log p = log(k / (n V)), V the ball that reaches the k-th nearest row."""
    x, y, queries = table(n=50, d=3)
    ours = KNN(k).fit(x, y).log_prob(torch.tensor(queries)).numpy()
    for i, query in enumerate(queries):
        for c in range(3):
            own = x[y == c]
            n = len(own)
            held = min({"sqrt": math.ceil(math.sqrt(n))}.get(k, k), n)
            r = sorted(math.dist(query, row) for row in own)[held - 1]
            volume = math.pi**1.5 / math.gamma(2.5) * r**3
            assert ours[i, c] == pytest.approx(math.log(held / (n * volume)), rel=1e-9)


def test_knn_with_an_outlier_and_twins() -> None:
    """One row far away must not cost the others their digits."""
    x = np.concatenate([np.random.default_rng(0).normal(size=(50, 2)), [[1e5, -1e5]]])
    y = np.arange(51) % 2
    queries = x[:20] + 0.01
    ours = KNN().fit(x, y).log_prob(torch.tensor(queries)).numpy()
    for c in range(2):
        own = x[y == c]
        r = np.array([min(math.dist(q, row) for row in own) for q in queries])
        np.testing.assert_allclose(ours[:, c], -np.log(len(own) * math.pi * r**2), rtol=1e-9)


def test_posterior_is_bayes_rule() -> None:
    """Against the closed form of two normals on a line; prior and temperature included."""
    density = Gaussian.from_moments(torch.tensor([[0.0], [2.0]]), torch.tensor([[[1.0]], [[4.0]]]))
    density.count_ = torch.tensor([30.0, 10.0], dtype=torch.float64)
    for x in (-3.0, 0.4, 1.0, 7.0):
        p = math.exp(-(x**2) / 2), math.exp(-((x - 2) ** 2) / 8) / 2
        point = torch.tensor([[x]], dtype=torch.float64)
        assert float(density.posterior(point)[0, 0]) == pytest.approx(p[0] / (p[0] + p[1]), rel=1e-10)
        weighed = 0.75 * p[0] / (0.75 * p[0] + 0.25 * p[1])
        assert float(density.posterior(point, "empirical")[0, 0]) == pytest.approx(weighed, rel=1e-10)
        warm = p[0] ** 0.2 / (p[0] ** 0.2 + p[1] ** 0.2)
        assert float(density.posterior(point, temperature=5.0)[0, 0]) == pytest.approx(warm, rel=1e-10)


@pytest.mark.parametrize("density", [Gaussian(), KDE(0.5)], ids=str)
def test_posteriors_at_minus_1e5_are_exact(density: Gaussian | KDE) -> None:
    """50 digits of mpmath against log-densities of -1e5 and beyond, where every p_c(x) is 0 as a double."""
    x = torch.tensor([[-1.0], [0.0], [1.0], [0.5], [1.5], [2.5]], dtype=torch.float64)
    y = [0, 0, 0, 1, 1, 1]
    fitted = density.fit(x, y)
    mp.dps = 50
    spread = mpf(1) if isinstance(density, Gaussian) else mpf("0.5")
    kernels = {
        c: [mpf(v) for v in (rows if isinstance(density, KDE) else [sum(rows) / 3])]
        for c, rows in {0: [-1.0, 0.0, 1.0], 1: [0.5, 1.5, 2.5]}.items()
    }

    def posterior(at: float) -> float:
        p = [sum(mp.exp(-((mpf(at) - m) ** 2) / (2 * spread**2)) for m in kernels[c]) for c in (0, 1)]
        return float(p[1] / (p[0] + p[1]))

    lowest = 0.0
    for at in (-600.0, -460.0, -30.0, 0.75, 0.8, 30.0, 450.0, 600.0):
        point = torch.tensor([[at]], dtype=torch.float64)
        lowest = min(lowest, float(fitted.log_prob(point).max()))
        assert float(fitted.posterior(point)[0, 1]) == pytest.approx(posterior(at), rel=1e-6, abs=1e-300)
    assert lowest < -1e5


def test_twins_far_away_share_the_posterior() -> None:
    """Between two mirrored classes the posterior is 1/2 exactly, also where log p is -1e9."""
    x = torch.tensor([[-2.0, 0.0], [-1.0, 1.0], [-1.0, -1.0], [2.0, 0.0], [1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    for density in (Gaussian(), KDE(), KNN()):
        fitted = density.fit(x, [0, 0, 0, 1, 1, 1])
        for distance in (0.0, 10.0, 1e3, 1e5):
            point = torch.tensor([[0.0, distance]], dtype=torch.float64)
            assert fitted.posterior(point)[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-4), (density, distance)


@pytest.mark.parametrize("density", [Gaussian(), Gaussian("diagonal"), KDE(), KDE("likelihood")], ids=str)
def test_units_do_not_matter(density: Gaussian | KDE) -> None:
    """Columns in units from 1e-6 to 1e6 give the same posterior, and log p less the units' logs."""
    x, y, queries = table()
    unit = np.array([1e-6, 1.0, 1e6])
    plain = density.fit(x, y).log_prob(torch.tensor(queries))
    scaled = density.fit(x * unit, y).log_prob(torch.tensor(queries * unit))
    np.testing.assert_allclose(scaled.numpy(), plain.numpy() - np.log(unit).sum(), rtol=1e-7)


def test_one_row_in_every_class() -> None:
    """Nothing to estimate a spread from: the nearest row decides."""
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    queries = torch.tensor([[0.1, 0.1], [0.9, 0.05], [0.2, 0.7]])
    for density in (Gaussian(), Gaussian("diagonal"), Gaussian("spherical"), Gaussian("tied"), KDE(), KNN()):
        assert density.fit(x, [0, 1, 2]).posterior(queries).argmax(1).tolist() == [0, 1, 2], density


def test_a_class_too_small_borrows_its_covariance() -> None:
    """n_c rows of D + 1 or fewer: (1 - a) S_c + a S_w, a = 1 - (n_c - 1) / (D + 1)."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(33, 3))
    y = np.repeat([0, 1], [30, 3])
    centred = x - np.stack([x[y == c].mean(0) for c in range(2)])[y]
    within = centred.T @ centred / (33 - 2)
    share = 1 - 2 / 4
    borrowed = (1 - share) * np.cov(x[30:].T) + share * within
    ours = Gaussian().fit(x, y).log_prob(torch.tensor(x)).numpy()[:, 1]
    np.testing.assert_allclose(ours, multivariate_normal(x[30:].mean(0), borrowed).logpdf(x), rtol=1e-8)


def test_kernel_sums_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices without double precision take the same ways, far from all rows too."""
    monkeypatch.setattr("vicinal.densities.base.working_dtype", lambda device: torch.float32)
    fitted = KDE(1.0).fit(torch.tensor([[-1.0], [1.0], [10.0], [12.0]]), [0, 0, 1, 1])
    assert fitted.kernels_.dtype == torch.float32
    for at in (0.3, 5.0, 13.0, 40.0, 1e3, -3e3):
        ours = fitted.log_prob(torch.tensor([[at]]))[0].tolist()
        for c, rows in enumerate(([-1, 1], [10, 12])):  # of variance 2
            total = sum(mp.exp(-((mpf(at) - row) ** 2) / 4) for row in rows) / 2
            assert ours[c] == pytest.approx(float(mp.log(total / mp.sqrt(4 * mp.pi))), rel=1e-4), at


@pytest.mark.parametrize("gap", [0.0, 20.0, 104.0, math.inf])
@pytest.mark.parametrize("outlier", [False, True])
def test_classes_far_below_another_are_no_more_than_that(gap: float, outlier: bool) -> None:
    """What is within `gap` of its row's largest log-density is exact, and the rest is below."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(600) % 4
    x = torch.randn(600, 5, generator=generator) + torch.tensor([0.0, 2.0, 12.0, 40.0])[y, None]
    if outlier:
        x[0] += 1e4
    queries = torch.cat([0.4 * x + 0.6 * x.roll(1, 0), x * 3, x * 1e3])
    fitted = KDE().fit(x, y)
    exact = fitted.log_prob(queries.double())
    found = fitted._log_prob_within(queries, gap)
    below = exact < exact.amax(1, keepdim=True) - gap
    assert bool(below.any()) == math.isfinite(gap)
    torch.testing.assert_close(found[~below], exact[~below], rtol=1e-5, atol=2e-4)
    assert bool((found <= found.amax(1, keepdim=True) - gap + 1e-3)[below].all())
    single = fitted.posterior(queries)
    torch.testing.assert_close(single.double(), fitted.posterior(queries.double()), rtol=1e-3, atol=1e-12)


def test_score_is_accuracy() -> None:
    x = torch.tensor([[-1.0], [1.0], [9.0], [11.0], [0.5]])
    assert Gaussian().fit(x[:4], [0, 0, 1, 1]).score(x, [0, 0, 1, 1, 1]) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Gaussian("round").fit([[0.0], [1.0]], [0, 1]), "`covariance` must be one of 'full', 'diagonal'"),
        (lambda: Gaussian(shrinkage=1.5).fit([[0.0], [1.0]], [0, 1]), r"`shrinkage` must lie in \[0, 1\], got 1.5"),
        (lambda: KDE("wide").fit([[0.0], [1.0]], [0, 1]), "`bandwidth` must be one of 'scott'"),
        (lambda: KDE(0.0).fit([[0.0], [1.0]], [0, 1]), r"`bandwidth` must lie in \(0, inf\), got 0.0"),
        (lambda: KNN("half").fit([[0.0], [1.0]], [0, 1]), "`k` must be one of 'sqrt'"),
        (lambda: KNN(0).fit([[0.0], [1.0]], [0, 1]), r"`k` must lie in \[1, inf\), got 0"),
        (lambda: KNN().fit([[0.0], [1.0]], [0, 1]).sample(3), "KNN can't be sampled.*use KDE or Gaussian"),
        (lambda: Gaussian().log_prob(torch.zeros(1, 1)), "this Gaussian is not fitted; call `fit"),
        (lambda: Gaussian().fit([[0.0], [1.0]], [0, 1]).log_prob(torch.zeros(1, 2)), "`x` must have 1 features.*got 2"),
        (lambda: Gaussian().fit([[0.0], [1.0]], [0, 1]).log_prob(torch.zeros(1)), r"`x` must be \(B, ...\), a row"),
        (lambda: Gaussian().fit([[0.0], [1.0]], [0, 1], sample_weight=[-1, 2]), "`sample_weight` must be .N,. numbers"),
        (lambda: Gaussian().fit([[0.0], [1.0]], [0, 1], sample_weight=[0, 0]), "not all of them 0"),
        (
            lambda: Gaussian(shrinkage="ledoit-wolf").fit([[0.0], [1.0]], [0, 1], sample_weight=[1, 2]),
            "takes no sample weights; give a number",
        ),
        (lambda: Gaussian().fit([[0.0], [1.0]], [0, 1]).posterior(torch.zeros(1, 1), "flat"), "`prior` must be one of"),
        (
            lambda: Gaussian().fit([[0.0], [1.0]], [0, 1], n_classes=3).sample(1, [2]),
            "`y` names a class that had no rows",
        ),
    ],
)
def test_messages(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=message):
        call()


def test_max_rows_of_kde() -> None:
    """A sample of the rows stands for all: the sum is over the sample, spread and bandwidth come from all rows."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(75, 1)), np.repeat([0, 1], [60, 15])
    fitted = KDE(max_rows=20).fit(x, y)
    assert fitted.rows_ == [20, 15]
    kept = (fitted.roots_[0, 0, 0] * fitted.points_[:20, 0] * fitted.scale_ + fitted.shift_).numpy()
    assert len(set(np.abs(kept[:, None] - x[:60, 0]).argmin(1))) == 20
    assert float(np.abs(kept[:, None] - x[:60, 0]).min(1).max()) < 1e-12
    spread = 60 ** (-1 / 5) * x[:60, 0].std(ddof=1)
    queries = rng.normal(size=(9, 1))
    p = np.exp(-(((queries - kept) / spread) ** 2) / 2).mean(1) / (spread * math.sqrt(2 * math.pi))
    ours = fitted.log_prob(torch.tensor(queries)).numpy()
    np.testing.assert_allclose(ours[:, 0], np.log(p), rtol=1e-8)
    everything = KDE().fit(x, y).log_prob(torch.tensor(queries)).numpy()
    np.testing.assert_allclose(ours[:, 1], everything[:, 1], rtol=1e-8)
    with pytest.raises(InputError, match=r"`max_rows` must lie in \[1, inf\), got 0"):
        KDE(max_rows=0).fit(x, y)


@pytest.mark.parametrize("spread", [1.0, 30.0, 1e4])
def test_kde_in_single_precision_is_as_good_as_its_points(spread):
    """Clusters far apart, and queries far from all: single precision falls back to double, and double to the exact way."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    x = torch.randn(300, 4, generator=generator) + spread * torch.nn.functional.one_hot(y, 3)[:, [0, 1, 2, 0]]
    density = KDE().fit(x, y)
    queries = torch.cat([x, x.flip(0) * 0.3 + x * 0.7, x * 50])
    single, double = density.log_prob(queries), density.log_prob(queries.double())
    torch.testing.assert_close(single, double, rtol=1e-5, atol=2e-4)
    torch.testing.assert_close(
        density.posterior(queries).double(), density.posterior(queries.double()), rtol=0, atol=2e-4
    )


@pytest.mark.parametrize("density", [Gaussian(), Gaussian("diagonal"), KDE(), KNN(), KNN(3)], ids=str)
def test_gradients_are_those_of_finite_differences(density):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    fitted = density.fit(x, torch.arange(60) % 3)
    queries = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fitted.log_prob, (queries,), atol=1e-4)
