"""Vicinities as batch transforms: `x, y = mix(x, y)`, against torchvision's MixUp.

- *images*: (128, 3, 32, 32) in single precision, 10 classes. `vicinal.Mixup` against `torchvision.transforms.v2.MixUp`, which
  pairs each row with its neighbour where vicinal draws a permutation.
- *a table*: (128, 20), 5 classes. `vicinal.GenLabel` with Gaussian and, for information, KDE densities fitted on 1,000 rows,
  against `vicinal.Mixup` on the same batch: what the labels cost.

One thread, as in a DataLoader's worker (`--threads` for more). The ways take turns; the median of many calls counts.
"""

import argparse
from collections.abc import Callable

import torch
from measure import medians, print_facts, print_table
from sklearn.datasets import make_classification
from torch import Tensor
from torchvision.transforms import v2

import vicinal as vc

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def compare(title: str, x: Tensor, y: Tensor, ways: dict[str, Transform], options: argparse.Namespace) -> None:
    """Print the times of the ways on one batch and their ratios to the first."""
    functions = {name: lambda way=way: way(x, y) for name, way in ways.items()}
    seconds = medians(functions, options.runs, options.calls)
    first = next(iter(seconds.values()))
    print(f"{title}, median of {options.runs} times {options.calls} calls")
    print_table(
        ["", "microseconds", "ratio"],
        [[name, f"{taken * 1e6:.0f}", f"{taken / first:.2f}"] for name, taken in seconds.items()],
    )


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rows", type=int, default=1_000, help="that the densities are fitted on")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--calls", type=int, default=20, help="in one run")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print_facts()

    x, y = torch.rand(options.batch, 3, 32, 32), torch.randint(10, (options.batch,))
    ways = {"torchvision's MixUp": v2.MixUp(num_classes=10), "vicinal's Mixup": vc.Mixup(n_classes=10)}
    compare(f"images ({options.batch}, 3, 32, 32)", x, y, ways, options)

    rows, labels = make_classification(
        options.rows + options.batch, 20, n_informative=10, n_redundant=0, n_classes=5, random_state=0
    )
    x, y = torch.as_tensor(rows, dtype=torch.float32), torch.as_tensor(labels)
    seen, classes, x, y = x[options.batch :], y[options.batch :], x[: options.batch], y[: options.batch]
    densities = {"Gaussian": vc.densities.Gaussian(), "KDE": vc.densities.KDE()}
    ways = {
        "Mixup": vc.Mixup(n_classes=5),
        **{f"GenLabel, {name}": vc.GenLabel(density).fit(seen, classes) for name, density in densities.items()},
    }
    compare(f"a table ({options.batch}, 20), densities of {options.rows} rows", x, y, ways, options)


if __name__ == "__main__":
    main()
