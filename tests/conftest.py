"""Shared fixtures."""

from pathlib import Path

import pytest

TABLES = Path(__file__).resolve().parents[2] / "shared" / "tables"


@pytest.fixture(scope="session")
def tables() -> Path:
    """A folder of real tables beside the repository, for development; tests that need it skip without it."""
    if not TABLES.is_dir():
        pytest.skip("no folder shared/tables beside the repository")
    return TABLES
