"""GenLabel's cross-validation (Table 11): 1,200 trainings as one stack, against the loop that trains them one by one.

5 trials (70/30 stratified splits) x 5 stratified folds x 4 learning rates x 6 loss ratios x 2 densities = 1,200 logistic
regressions, each 100 epochs of Adam (weight decay 1e-4, batches of 128) on the features as they come, evaluated on the
held-out fold at the end.

- *stacked*: `vicinal.training.fit_stack` on 25 groups x 48 settings. Timed from arrays to accuracies, the fit of all
  densities included; median of several runs after a warm-up.
- *one by one*: for each training an ordinary PyTorch loop over a DataLoader; scipy's `multivariate_normal` or
  `gaussian_kde`, built once a training, labels each batch. It runs in one process, on 1 thread or on 2, whichever a trial of
  both found faster. 1,200 of them take long, so a sample is timed, in which each (density, loss ratio) comes equally often,
  on random folds, and scaled up; `--all` times every one. `--lean` times the leanest such loop instead, which few write:
  tensors indexed without a DataLoader, and no labels where the loss ratio is 0.

The two take turns. Each draws its own random numbers, so mean accuracies agree within their standard error, not to the
digit.
"""

import argparse
import random
import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from measure import print_facts, print_table, timed
from scipy.spatial import KDTree
from scipy.stats import gaussian_kde, multivariate_normal
from sklearn.datasets import load_iris, make_classification
from sklearn.model_selection import StratifiedKFold, train_test_split
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.utils.data import DataLoader, TensorDataset

import vicinal as vc
from vicinal.training import Fit, Group, Setting, fit_stack

EPOCHS, BATCH, DECAY = 100, 128, 1e-4
DENSITIES = {"Gaussian": vc.densities.Gaussian, "KDE": vc.densities.KDE}
GAMMAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
RATES = (0.1, 0.01, 0.001, 0.0001)
SETTINGS = list(product(DENSITIES, GAMMAS, RATES))


@dataclass(frozen=True)
class Fold:
    """Training and held-out rows of one fold of one trial: x (N, D), y (N,), x_eval (V, D), y_eval (V,)."""

    x: np.ndarray
    y: np.ndarray
    x_eval: np.ndarray
    y_eval: np.ndarray


def problems() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the data sets by name; none has collinear features, which scipy's densities refuse."""
    return {
        "iris": load_iris(return_X_y=True),
        "1,000 x 10": make_classification(1000, 10, n_informative=5, n_redundant=0, random_state=0),
    }


def split(x: np.ndarray, y: np.ndarray, trials: int, folds: int) -> list[Fold]:
    """Return every fold of every trial."""
    parts = []
    for trial in range(trials):
        x_train, _, y_train, _ = train_test_split(x, y, test_size=0.3, stratify=y, random_state=trial)
        for a, b in StratifiedKFold(folds, shuffle=True, random_state=trial).split(x_train, y_train):
            parts.append(Fold(x_train[a], y_train[a], x_train[b], y_train[b]))
    return parts


def stacked(folds: list[Fold], epochs: int) -> Fit:
    """Train every setting on every fold, all at once."""
    classes = int(folds[0].y.max()) + 1
    groups = [
        Group(
            torch.as_tensor(fold.x, dtype=torch.float32), torch.as_tensor(fold.y), classes,
            torch.as_tensor(fold.x_eval, dtype=torch.float32), torch.as_tensor(fold.y_eval), address={"fold": number},
        )
        for number, fold in enumerate(folds)
    ]  # fmt: skip
    settings = [Setting(vc.GenLabel(DENSITIES[name](), gamma), rate, DECAY) for name, gamma, rate in SETTINGS]
    return fit_stack(groups, settings, batch_size=BATCH, epochs=epochs, checkpoints=[epochs])


def batches(x: torch.Tensor, y: torch.Tensor, lean: bool) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Return the shuffled batches of one epoch, anew each time it is looped over."""
    if lean:
        return [(x[index], y[index]) for index in torch.randperm(len(x)).split(BATCH)]
    return DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)


def one_by_one(
    fold: Fold,
    density: str | None,
    gamma: float,
    rate: float,
    epochs: int,
    lean: bool,
    mixing: str = "mixup",
    each_epoch: bool = False,
) -> float:
    """Train one setting on one fold and return its accuracy on the held-out rows.

    `mixing` is 'vanilla', 'mixup' or 'excluding intrusion', `density` None for labels on the straight line; `each_epoch`
    takes the accuracy after every epoch.
    """
    classes = int(fold.y.max()) + 1
    log_densities = fit_densities(fold, density, classes) if density else []
    neighbours = KDTree(fold.x) if mixing == "excluding intrusion" else None
    x, y = torch.as_tensor(fold.x, dtype=torch.float32), torch.as_tensor(fold.y)
    x_eval, y_eval = torch.as_tensor(fold.x_eval, dtype=torch.float32), torch.as_tensor(fold.y_eval)
    network = nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, weight_decay=DECAY)
    accuracy = 0.0
    for epoch in range(epochs):
        for x_batch, y_batch in batches(x, y, lean):
            x_mix, y_mix, kept = x_batch, one_hot(y_batch, classes).float(), torch.ones(len(x_batch))
            if mixing != "vanilla":
                partner = torch.randperm(len(x_batch))
                lam = np.random.beta(1.0, 1.0)  # noqa: NPY002 - as the published code does
                x_mix = lam * x_batch + (1 - lam) * x_batch[partner]
                y_mix = lam * y_mix + (1 - lam) * y_mix[partner]
            if neighbours is not None:
                nearest = y[torch.as_tensor(neighbours.query(x_mix.numpy())[1])]
                kept = ((nearest == y_batch) | (nearest == y_batch[partner])).float()
            logits = network(x_mix)
            losses = (1 - gamma) * cross_entropy(logits, y_mix, reduction="none")
            if log_densities and (gamma > 0 or not lean):
                points = x_mix.numpy()
                log_p = np.stack([log_density(points) for log_density in log_densities], 1)
                y_gen = torch.softmax(torch.as_tensor(log_p), 1).float()
                losses = losses + gamma * cross_entropy(logits, y_gen, reduction="none")
            optimizer.zero_grad()
            ((losses * kept).sum() / kept.sum().clamp(min=1)).backward()
            optimizer.step()
        if each_epoch or epoch == epochs - 1:
            with torch.no_grad():
                accuracy = float((network(x_eval).argmax(1) == y_eval).float().mean())
    return accuracy


def fit_densities(fold: Fold, density: str, classes: int) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Return scipy's log-density of every class."""
    rows = [fold.x[fold.y == c] for c in range(classes)]
    if density == "Gaussian":
        return [multivariate_normal(own.mean(0), np.cov(own, rowvar=False)).logpdf for own in rows]
    estimates = [gaussian_kde(own.T) for own in rows]
    return [lambda points, kde=kde: kde.logpdf(points.T) for kde in estimates]


def choose_trainings(folds: int, rounds: int | None) -> list[tuple[int, int]]:
    """Return (fold, setting) numbers: all of them, or of each round one for each density and loss ratio.

    Learning rates take turns, so that four rounds are all settings once; folds are random.
    """
    if rounds is None:
        return list(product(range(folds), range(len(SETTINGS))))
    draw, turns = random.Random(0), len(RATES)
    pairs = range(len(SETTINGS) // turns)
    return [(draw.randrange(folds), pair * turns + (pair + n) % turns) for n in range(rounds) for pair in pairs]


def compare(name: str, x: np.ndarray, y: np.ndarray, options: argparse.Namespace, rounds: int | None) -> list[object]:
    """Time both ways on one data set and return a row of the table."""
    folds = split(x, y, options.trials, options.folds)
    trainings = choose_trainings(len(folds), rounds)

    def plain(numbers: list[tuple[int, int]], threads: int, epochs: int = options.epochs) -> list[float]:
        with use_threads(threads):
            return [one_by_one(folds[g], *SETTINGS[r], epochs, options.lean) for g, r in numbers]

    kinds = [(0, len(SETTINGS) // 2 - 1), (0, len(SETTINGS) - 1)]  # one training of each density
    plain(kinds, 1, epochs=2)
    threads = min((1, 2), key=lambda number: timed(lambda: plain(kinds, number)))
    fit = stacked(folds, options.epochs)  # the warm-up, and the accuracies

    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - see one_by_one
    accuracies: list[float] = []
    ours, theirs = [], 0.0
    for run in range(options.runs):  # in turns, so that a machine that slows down slows both
        ours.append(timed(lambda: stacked(folds, options.epochs)))
        theirs += timed(lambda run=run: accuracies.extend(plain(trainings[run :: options.runs], threads)))
    taken, whole = statistics.median(ours), theirs * len(folds) * len(SETTINGS) / len(trainings)
    in_turn = [pair for run in range(options.runs) for pair in trainings[run :: options.runs]]
    stacks = np.array([fit.accuracy[g, r, -1] for g, r in in_turn])
    difference = stacks - accuracies
    return [
        name, f"{taken:.3f}", f"{theirs:.2f} for {len(trainings)}", threads, f"{whole:.0f}", f"{whole / taken:.0f}",
        f"{stacks.mean():.3f}", f"{np.mean(accuracies):.3f}",
        f"{difference.mean():+.3f} +- {difference.std(ddof=1) / len(difference) ** 0.5:.3f}",
    ]  # fmt: skip


@contextmanager
def use_threads(number: int) -> Iterator[None]:
    """Let torch and numpy's linear algebra use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with threadpool_limits(number, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--runs", type=int, default=5, help="of the stack, the median counts")
    parser.add_argument("--rounds", type=int, nargs=2, default=(4, 1), help="of 12 trainings one by one, by data set")
    parser.add_argument("--all", action="store_true", help="train all 1,200 one by one")
    parser.add_argument("--lean", action="store_true", help="the leanest loop instead of the ordinary one")
    parser.add_argument("--only", type=int, choices=(0, 1), help="the number of one data set")
    options = parser.parse_args()
    print_facts()
    rows = []
    for number, (name, (x, y)) in enumerate(problems().items()):
        if options.only in (None, number):
            rows.append(compare(name, x, y, options, None if options.all else options.rounds[number]))
    total = options.trials * options.folds * len(SETTINGS)
    print(f"seconds for {total:,} trainings; one by one, {'all are' if options.all else 'a sample is'} timed")
    header = ["data", "stacked", "one by one", "threads", "all so", "ratio", "accuracy", "one by one's", "difference"]
    print_table(header, rows)


if __name__ == "__main__":
    main()
