"""Does `VicinalClassifierCV()` do no harm? The default against tuned plain training, tuned mixup and a plain ensemble.

On each of a folder of tables, random stratified splits of 70 % for training and 30 % for testing. On the same training rows,
with the same folds:

- *vicinal*: `VicinalClassifierCV()` as it comes;
- *networks*: the same without densities as members, so that what the vicinities bring is known;
- *plain* and *mixup*: one network; learning rate, weight decay (linear network) and epochs picked by out-of-fold log loss,
  then trained on all rows;
- *plain ensemble*: the same selection, library size, rounds and bagging as *vicinal*, from plain networks alone, which differ
  in learning rate and weight decay instead of in vicinity.

A table's verdict is on its mean difference over splits: *better* by its sign, *worse* if it exceeds one standard error. The
error is given plain, sd / sqrt(J) for J splits, and corrected for overlapping training rows, sd sqrt(1/J + 3/7) (C. Nadeau,
Y. Bengio. Inference for the generalization error. Machine Learning 52, 2003). Of tables of one family only the first counts.

The defaults were designed on every second family in alphabetical order (the first, the third, ...); the rest is reported on
its own. Results are appended to a file of JSON lines as they come, and a run that is started again goes on where it stopped.
"""

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import print_facts, print_table, timed
from sklearn.model_selection import train_test_split

from vicinal.estimators import VicinalClassifierCV
from vicinal.estimators.candidates import default_candidates
from vicinal.evaluation import score_probabilities
from vicinal.vicinity import Mixup, Vanilla

NETWORKS = {"linear": (), "mlp": (128, 128)}
TUNED = {"linear": (0.1, 0.03, 0.01), "mlp": (0.01, 0.003, 0.001)}
SPREAD = {"linear": (0.1, 0.01), "mlp": (0.01, 0.001)}
"""The first and the last of the default's learning rates, between which the plain ensemble's lie."""
OURS = ("vicinal", "networks")
RIVALS = ("plain", "mixup", "plain ensemble")
TEST_SHARE = 0.3


def methods(network: str, seed: int) -> dict[str, VicinalClassifierCV]:
    """Return the five methods, unfitted."""
    common: dict[str, Any] = {"hidden": NETWORKS[network], "random_state": seed}
    rates = np.geomspace(*SPREAD[network], len(SPREAD[network]) * len(default_candidates())).tolist()
    one = {"learning_rates": TUNED[network], "selection": "one", **common}
    return {
        "vicinal": VicinalClassifierCV(**common),
        "networks": VicinalClassifierCV(densities=[], **common),
        "plain": VicinalClassifierCV([Vanilla()], **one),
        "mixup": VicinalClassifierCV([Mixup()], **one),
        "plain ensemble": VicinalClassifierCV([Vanilla()], learning_rates=rates, **common),
    }


def read_families(folder: Path) -> list[str]:
    """Return the names of the tables, one for each family, in alphabetical order."""
    index = folder / "index.csv"
    if not index.exists():
        return sorted(path.stem for path in folder.glob("*.parquet"))
    names: list[str] = pd.read_csv(index).drop_duplicates("family").name.sort_values().tolist()
    return names


def measure(folder: Path, names: list[str], network: str, splits: range, file: Path) -> None:
    """Fit and score what the file lacks."""
    done = {(r["table"], r["network"], r["split"]) for r in read(file)}
    for split in splits:
        for name in names:
            if (name, network, split) in done:
                continue
            table = pd.read_parquet(folder / f"{name}.parquet")
            x, y = table.drop(columns="target").to_numpy(float), np.unique(table.target, return_inverse=True)[1]
            seed = 1000 + split
            x, x_test, y, y_test = train_test_split(x, y, test_size=TEST_SHARE, stratify=y, random_state=seed)
            record: dict[str, Any] = {"table": name, "network": network, "split": split, "rows": len(x)}
            for method, model in methods(network, seed).items():
                seconds = timed(lambda model=model, x=x, y=y: model.fit(x, y))
                scores = score_probabilities(model.predict_proba(x_test), y_test)
                record[method] = {"seconds": round(seconds, 2), **{s: scores[s] for s in ("log_loss", "accuracy")}}
            with file.open("a") as out:
                out.write(json.dumps(record) + "\n")
            print(network, split, name, *(f"{m} {record[m]['log_loss']:.4f}" for m in (*OURS, *RIVALS)), flush=True)


def read(file: Path) -> list[dict[str, Any]]:
    """Return the records of a file, or none."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def report(records: list[dict[str, Any]], names: list[str], untouched: set[str]) -> None:
    """Print how many tables the default is better and not worse on."""
    kinds = (
        ("all families", names),
        ("families that no default was designed on", [name for name in names if name in untouched]),
    )
    for network in NETWORKS:
        for what, kept in kinds:
            rows = []
            for ours, rival, (score, sign) in product(OURS, RIVALS, (("log_loss", 1), ("accuracy", -1))):
                differences = [
                    [
                        sign * (r[ours][score] - r[rival][score])
                        for r in records
                        if r["table"] == name and r["network"] == network
                    ]
                    for name in kept
                ]
                rows.append([ours, rival, score, *verdicts([np.array(d) for d in differences if len(d)])])
            print(f"{network}, {what}")
            print_table(
                ["ours", "against", "score", "tables", "splits", "better", "no worse", "(corrected)", "clearly better", "median"],
                rows,
            )  # fmt: skip


def verdicts(differences: list[np.ndarray]) -> list[str]:
    """Return the counts of one line of the report, from each table's differences over splits (positive: worse)."""
    if not differences:
        return ["0"] + ["-"] * 6
    mean = np.array([d.mean() for d in differences])
    deviation = np.array([d.std(ddof=1) if len(d) > 1 else np.nan for d in differences])
    splits = np.array([len(d) for d in differences])
    plain = np.nan_to_num(deviation * np.sqrt(1 / splits))
    corrected = np.nan_to_num(deviation * np.sqrt(1 / splits + TEST_SHARE / (1 - TEST_SHARE)))
    shares = (mean < 0, mean <= plain, mean <= corrected, mean < -plain)
    counted = str(splits.min()) if splits.min() == splits.max() else f"{splits.min()} to {splits.max()}"
    return [str(len(mean)), counted, *(f"{share.mean():.0%}" for share in shares), f"{np.median(mean):+.4f}"]


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSON lines, appended to")
    parser.add_argument(
        "--tables", type=Path, required=True, help="parquet files with a column `target`, and index.csv"
    )
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, help="none: report only")
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="ten of the tables")
    options = parser.parse_args()
    names = read_families(options.tables)
    untouched = set(names[1::2])
    names = names[:: max(1, len(names) // 9)] if options.quick else names
    print_facts()
    for network in options.networks:
        measure(options.tables, names, network, range(options.splits), options.file)
    report(read(options.file), names, untouched)


if __name__ == "__main__":
    main()
