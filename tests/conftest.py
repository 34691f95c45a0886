"""Where the test files are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import regionio

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def slide_path() -> str:
    """Return the real slide that comes with the project."""
    return str(DATA / "CMU-1-Small-Region.svs")


@pytest.fixture(scope="session")
def wider_data() -> Path:
    """Return the folder of the wider set of real files, or skip."""
    folder = os.environ.get("REGIONIO_TEST_DATA")
    if not folder:
        pytest.skip("REGIONIO_TEST_DATA names no folder of further test files")
    return Path(folder)


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    """Give every test the default cache, empty."""
    capacity = regionio.cache.capacity
    regionio.cache.clear()
    yield
    regionio.cache.capacity = capacity
