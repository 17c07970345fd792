"""Shared fixtures."""

import os
from pathlib import Path

# Before scipy is imported: scikit-learn's checks of array API input skip without it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import hypothesis
import pytest
import torch

# A busy machine is no failure, and a run that failed must fail again.
hypothesis.settings.register_profile(
    "vicinal", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("vicinal")

# Small operations gain nothing from threads, and lose much where the cores are busy.
torch.set_num_threads(1)

TABLES = Path(__file__).resolve().parents[2] / "shared" / "tables"


@pytest.fixture(scope="session")
def tables() -> Path:
    """A folder of real tables beside the repository, for development; tests that need it skip without it."""
    if not TABLES.is_dir():
        pytest.skip("no folder shared/tables beside the repository")
    return TABLES
