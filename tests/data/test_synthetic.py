import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.datasets import make_circles, make_moons

from vicinal.core.checks import InputError
from vicinal.data import SYNTHETIC, Arc, Cubes, Gaussians, NoisyArcs

PLANE = ["moon", "circle", "four-circle", "cube2d", "9-gaussians"]


@pytest.mark.parametrize("name", SYNTHETIC)
def test_samples_and_posteriors_keep_their_shapes(name):
    problem = SYNTHETIC[name]
    x, y = problem.sample(7, seed=1)
    assert x.shape == (7 * problem.n_classes, problem.n_features)
    assert x.dtype == np.float64
    assert y.dtype == np.int64
    assert np.array_equal(np.bincount(y), np.full(problem.n_classes, 7))
    far = np.concatenate([x, x * 1e6])
    posterior = problem.posterior(far)
    assert np.isfinite(posterior).all()
    np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-12)
    looped = np.concatenate([problem.posterior(row[None]) for row in far])
    np.testing.assert_allclose(posterior, looped, atol=1e-9)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_seed_is_an_address(name):
    problem = SYNTHETIC[name]
    assert np.array_equal(problem.sample(5, seed=3)[0], problem.sample(5, seed=3)[0])
    assert not np.array_equal(problem.sample(5, seed=3)[0], problem.sample(5, seed=4)[0])


@pytest.mark.parametrize("name", SYNTHETIC)
def test_posterior_is_bayes_rule_on_the_densities(name):
    problem = SYNTHETIC[name]
    x, _ = problem.sample(20, seed=2)
    density = np.exp(problem.log_prob(x))
    np.testing.assert_allclose(problem.posterior(x), density / density.sum(axis=1, keepdims=True), atol=1e-9)


@pytest.mark.parametrize("name", PLANE)
def test_posterior_is_calibrated_on_samples(name):
    """Among points of one predicted probability, that share belongs to the class."""
    problem = SYNTHETIC[name]
    x, y = problem.sample(3000, seed=5)
    posterior = problem.posterior(x)
    for label in range(problem.n_classes):
        for low in np.arange(0, 1, 0.1):
            inside = (posterior[:, label] >= low) & (posterior[:, label] <= low + 0.1)
            expected, spread = posterior[inside, label].sum(), (posterior * (1 - posterior))[inside, label].sum()
            assert abs((y[inside] == label).sum() - expected) < 4.5 * np.sqrt(spread) + 0.5


def test_moon_posterior_matches_a_histogram_of_samples():
    problem = SYNTHETIC["moon"]
    x, y = problem.sample(200_000, seed=6)
    edges = [np.linspace(-1.0, 2.0, 31), np.linspace(-1.0, 1.5, 26)]
    counts = np.stack([np.histogram2d(*x[y == label].T, bins=edges)[0] for label in (0, 1)], axis=-1)
    centers = np.stack(np.meshgrid(*[(edge[1:] + edge[:-1]) / 2 for edge in edges], indexing="ij"), axis=-1)
    density = np.exp(problem.log_prob(centers.reshape(-1, 2))).reshape(30, 25, 2)
    # Bins of 0.1 are as wide as the noise: the mean of a 5 x 5 grid in each bin, not its centre.
    shifts = (np.arange(5) - 2) * 0.02
    grid = np.stack(np.meshgrid(shifts, shifts), axis=-1).reshape(-1, 2)
    fine = (centers.reshape(-1, 1, 2) + grid).reshape(-1, 2)
    density = np.exp(problem.log_prob(fine)).reshape(30, 25, 25, 2).mean(axis=2)
    expected = density * 0.01 * 200_000
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected) + 0.01 * expected + 3).all()


@pytest.mark.parametrize("name", ["moon", "circle", "cube2d", "cube3d", "9-gaussians"])
def test_densities_integrate_to_one(name):
    """Importance sampling from a wide box, and for the circles from a ring that holds nearly all of the mass."""
    problem = SYNTHETIC[name]
    generator = np.random.default_rng(0)
    if name == "circle":
        angle, radius = generator.uniform(0, 2 * np.pi, 8_000), generator.uniform(0.3, 1.5, 8_000)
        x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        volume = 2 * np.pi * 1.2 * radius
    else:
        low, high = {"moon": (-2.5, 3.5), "9-gaussians": (-12, 12)}.get(name, (-2.5, 2.5))
        x = generator.uniform(low, high, (15_000 if name != "9-gaussians" else 400_000, problem.n_features))
        volume = np.full(len(x), float(high - low) ** problem.n_features)
    terms = np.exp(problem.log_prob(x)) * volume[:, None]
    error = terms.std(axis=0) / np.sqrt(len(x))
    assert (error < 0.05).all()
    assert (np.abs(terms.mean(axis=0) - 1) < 4.5 * error + 1e-3).all()


@pytest.mark.parametrize("name", ["moon", "circle", "four-circle"])
def test_noisy_arcs_equal_brute_force_integration(name):
    problem = SYNTHETIC[name]
    assert isinstance(problem, NoisyArcs)
    sampled, _ = problem.sample(4, seed=7)
    x = np.concatenate([sampled, [[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [3.0, -4.0]]])
    steps = (np.arange(200_000) + 0.5) / 200_000
    for label, arcs in enumerate(problem.arcs):
        log_terms = []
        for arc in arcs:
            curve = arc.at(arc.start + (arc.stop - arc.start) * steps)
            log_terms.append([logsumexp(-np.abs(point - curve).sum(axis=1) / problem.scale) for point in x])
        expected = logsumexp(log_terms, axis=0) - np.log(len(steps) * len(arcs) * 4 * problem.scale**2)
        np.testing.assert_allclose(problem.log_prob(x)[:, label], expected, atol=1e-5)


def test_the_curves_are_scikit_learns():
    t = np.linspace(0, np.pi, 50)
    x, y = make_moons(100, shuffle=False)
    moon, circle = SYNTHETIC["moon"], SYNTHETIC["circle"]
    assert isinstance(moon, NoisyArcs)
    assert isinstance(circle, NoisyArcs)
    np.testing.assert_allclose(moon.arcs[0][0].at(t), x[y == 0], atol=1e-12)
    np.testing.assert_allclose(moon.arcs[1][0].at(np.pi + t), x[y == 1], atol=1e-12)
    assert moon.arcs[1][0] == Arc((1.0, 0.5), 1.0, np.pi, 2 * np.pi)
    t = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    x, y = make_circles(100, shuffle=False)
    for label in (0, 1):
        np.testing.assert_allclose(circle.arcs[label][0].at(t), x[y == label], atol=1e-12)


def test_noise_is_laplacian_with_the_papers_scale():
    problem = NoisyArcs(
        name="point", train_per_class=1, test_per_class=1, arcs=((Arc(radius=1e-9),), (Arc(radius=1e-9),)), scale=0.1
    )
    x, _ = problem.sample(20_000)
    assert np.abs(x).mean() == pytest.approx(0.1, rel=0.02)
    expected = -np.abs(x[:50]).sum(axis=1) / 0.1 - np.log(4 * 0.1**2)
    np.testing.assert_allclose(problem.log_prob(x[:50])[:, 0], expected, atol=1e-6)
    assert [SYNTHETIC[name].scale for name in ("moon", "circle", "four-circle")] == [0.1, 0.02, 0.01]


def test_four_circle_is_two_circle_problems_with_flipped_labels_that_do_not_overlap():
    four, circle = SYNTHETIC["four-circle"], SYNTHETIC["circle"]
    assert isinstance(four, NoisyArcs)
    assert isinstance(circle, NoisyArcs)
    left, right = np.array([-1.2, 0.0]), np.array([1.2, 0.0])
    outer, inner = circle.arcs[0][0].at(np.arange(8)), circle.arcs[1][0].at(np.arange(8))
    for points, label in ((outer + left, 0), (inner + left, 1), (outer + right, 1), (inner + right, 0)):
        np.testing.assert_allclose(four.posterior(points)[:, label], 1, atol=1e-6)
    x, y = four.sample(1000)
    assert [((x[:, 0] < 0) & (y == label)).sum() for label in (0, 1)] == [500, 500]


def test_cubes_hold_their_points_and_share_their_faces():
    cubes = SYNTHETIC["cube3d"]
    assert isinstance(cubes, Cubes)
    assert cubes.centers[0] == (-1, -1, -1)
    x, y = cubes.sample(500)
    assert (np.abs(x - np.array(cubes.centers)[y]).max(axis=1) <= 1).all()
    assert np.array_equal(cubes.posterior(x).argmax(axis=1), y)
    assert cubes.posterior([[0.0, 0.0, 0.0]]).tolist() == [[1 / 8] * 8]
    assert cubes.posterior([[5.0, -3.0, 2.0]]).argmax() == cubes.centers.index((1, -1, 1))


def test_gaussians_equal_scipys():
    problem = SYNTHETIC["9-gaussians"]
    assert isinstance(problem, Gaussians)
    x, _ = problem.sample(10)
    for label, mean in enumerate(problem.means):
        np.testing.assert_allclose(problem.log_prob(x)[:, label], multivariate_normal(mean, 0.1 * np.eye(2)).logpdf(x))
    assert (problem.means[0], problem.means[8]) == ((-10, -10), (10, 10))


def test_row_counts_are_the_papers():
    counts = {name: (p.n_classes, p.train_per_class, p.test_per_class) for name, p in SYNTHETIC.items()}
    assert counts == {
        "moon": (2, 500, 500),
        "circle": (2, 500, 500),
        "four-circle": (2, 1000, 1000),
        "cube2d": (2, 20, 10_000),
        "cube3d": (8, 20, 10_000),
        "9-gaussians": (9, 5000, 5000),
    }
    assert len(SYNTHETIC["cube3d"].sample()[0]) == 160


def test_errors():
    problem = SYNTHETIC["moon"]
    with pytest.raises(InputError, match=r"`per_class` must lie in \[1, inf\), got 0"):
        problem.sample(0)
    with pytest.raises(InputError, match=r"shape \(N, 2\) for 'moon', got \(1, 3\)"):
        problem.posterior([[1.0, 2.0, 3.0]])
    with pytest.raises(InputError, match="with NaN or infinite values"):
        problem.posterior([[1.0, np.nan]])
    assert problem.posterior(np.empty((0, 2))).shape == (0, 2)
    with pytest.raises(AttributeError):
        problem.name = "sun"  # type: ignore[misc]
