"""How far a study is: what is done, what failed and why, what could not be had; and summaries as plain JSON."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["SCHEMA", "plain_json", "status_of"]

SCHEMA = 1
"""The version of the summaries that this code makes."""


def status_of(
    frame: pd.DataFrame, profiles: pd.DataFrame, study: Mapping[str, Any], records: int = 1
) -> dict[str, Any]:
    """Return what is done and what failed, of the methods' records and of the profiles.

    Where the study does not say what is planned, it is this many records for each data set that is to be had and each method.
    """
    ours = pd.concat([frame[frame["method"].isin(study["methods"])], profiles])
    ours = ours[ours["dataset"].isin(study["datasets"])]
    missing = [{"id": str(entry["id"]), "why": entry.get("why") or ""} for entry in study.get("missing") or []]
    failed = ours[ours["status"] == "failed"]
    done = int((ours["status"] == "done").sum())
    listed = study.get("planned")
    pairs = len(set(study["datasets"]) - {entry["id"] for entry in missing}) * len(study["methods"])
    planned = pairs * records + len(profiles) if listed is None else len(listed)
    columns = ["dataset", "method", *(["trial"] if "trial" in ours else []), "error_kind", "error_message"]
    failures = failed.reindex(columns=columns).to_dict("records")
    causes = (
        failed.reindex(columns=columns).astype(object).fillna("").groupby(["error_kind", "error_message"], sort=False)
    )
    return {
        "planned": planned,
        "done": done,
        "failed": len(failed),
        "left": max(0, planned - done - len(failed)),
        "missing": missing,
        "failures": failures,
        "causes": sorted(
            (
                {
                    "error_kind": kind,
                    "error_message": message,
                    "records": len(rows),
                    "datasets": list(dict.fromkeys(rows["dataset"])),
                    "methods": list(dict.fromkeys(rows["method"])),
                }
                for (kind, message), rows in causes
            ),
            key=lambda cause: -cause["records"],
        ),
    }


def plain_json(value: Any) -> Any:
    """Return plain JSON: Python's own numbers, None for what is not known."""
    if isinstance(value, dict):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, np.generic):
        return plain_json(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return None if value is pd.NA or value is pd.NaT else value
