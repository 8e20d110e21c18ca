"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of raw facts beside the checkout; tests over it skip where it is absent."""
    if not (SHARED / "facts").is_dir():
        pytest.skip("../shared is not beside this checkout: raw-file tests need it")
    return SHARED
