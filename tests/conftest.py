"""Where the test files are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import regionio
from regionio._workers import worker_pool
from tests.dicom_files import scene
from tests.fake_cuda import Cupy, fake_gpu
from tests.kernels import COMPILER
from tests.tiff_files import tiff

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
    """Give every test the default cache, empty, once readers that others dropped are done."""
    capacity = regionio.cache.capacity
    executor = worker_pool._executor
    deadline = time.monotonic() + 0.2  # the executor's count may lag
    while executor._idle_semaphore._value < len(executor._threads) and time.monotonic() < deadline:
        time.sleep(0.002)
    regionio.cache.clear()
    yield
    regionio.cache.capacity = capacity


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cupy]:
    """Stand in for a GPU."""
    with fake_gpu(monkeypatch) as cupy:
        yield cupy


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """Return a slide of one level of JPEG tiles, with halved chroma."""
    options = {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)}
    return tiff(tmp_path / "slide.tif", scene(1024, 1024, 3), **options)


@cache
def real_cupy() -> Any | None:
    """Return CuPy if it has a GPU."""
    try:
        import cupy
    except ImportError:
        return None
    try:
        return cupy if cupy.cuda.runtime.getDeviceCount() else None
    except cupy.cuda.runtime.CUDARuntimeError:
        return None


@pytest.fixture
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return CuPy, or what stands for it where there is no GPU and a test can do without."""
    real = real_cupy()
    if real is not None:
        yield real
    elif request.node.get_closest_marker("gpu") or COMPILER is None:
        pytest.skip("there is no GPU")
    else:
        with fake_gpu(monkeypatch) as fake:
            yield fake
