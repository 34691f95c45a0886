"""How long the CUDA engine keeps memory, and what readers are told that end at bad moments."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regionio
from regionio import ClosedError, CorruptFileError, DeviceError
from regionio.engines.cuda.budget import AheadBudget
from regionio.engines.cuda.streams import device_thread
from tests.fake_cuda import Cupy, OutOfMemoryError
from tests.kernels import COMPILER
from tests.test_cuda_ways import JPEG_2000, frames

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Have nothing freed that is in a cycle."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def slabs_in_use() -> int:
    """Return how many slabs are in use once the GPU's thread has nothing to do."""
    slabs = device_thread(0).context.slabs._slabs
    deadline = time.monotonic() + 5
    while not all(slab.is_idle for slab in slabs) and time.monotonic() < deadline:
        time.sleep(0.001)
    return sum(not slab.is_idle for slab in slabs)


def test_what_went_well_leaves_no_cycle(fake: Cupy, tmp_path: Path, no_collector: None) -> None:
    syntax, encode = JPEG_2000["htj2k"]
    path = frames(tmp_path / "x.dcm", syntax, (1, 90, 100), encode, "uint16")
    for _ in range(5):
        with regionio.open(path) as image:
            image.read_region(device="cuda")
    assert slabs_in_use() == 0


@pytest.mark.parametrize("decoder", ["reading", "decoding"])
def test_an_error_that_is_kept_keeps_no_memory_of_the_gpu(
    fake: Cupy, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_collector: None,
    decoder: str,
) -> None:  # fmt: skip
    if decoder == "decoding":

        def broken(*_: Any) -> bool:
            msg = "no memory"
            raise OutOfMemoryError(msg)

        monkeypatch.setattr("regionio.engines.cuda.nvjpeg.JpegDecoder.decode", broken)
    kept = []
    for number in range(4):
        path = Path(shutil.copy(slide, tmp_path / f"{number}.tif"))
        with regionio.open(path) as image:
            if decoder == "reading":
                os.truncate(path, path.stat().st_size // 3)
            with pytest.raises((CorruptFileError, DeviceError)) as error:
                image.read_region(device="cuda", num_workers=1)
            kept.append(error.value)
    assert slabs_in_use() == 0
    assert not any(buffer.is_taken for buffer in device_thread(0).context._pinned)
    assert len(kept) == 4


def test_whoever_waits_is_told_that_the_loader_was_closed(fake: Cupy, slide: Path) -> None:
    found: Counter[type[BaseException]] = Counter()
    for _ in range(40):
        image = regionio.open(slide)
        loader = image.read_region([(9, 9)] * 40, (500, 500), batch_size=1, device="cuda")
        batches = iter(loader)

        def draw(batches: Iterator[Any] = batches) -> None:
            try:
                for _ in batches:
                    pass
            except BaseException as error:  # noqa: BLE001  it is looked at below
                found[type(error)] += 1

        threads = [threading.Thread(target=draw) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.002)
        loader.close()
        for thread in threads:
            thread.join()
    assert set(found) <= {ClosedError}


def test_a_mask_that_finds_no_memory_says_what_to_do(fake: Cupy, slide: Path) -> None:
    asarray = fake.asarray

    def full(values: Any) -> Any:
        if values.dtype == np.bool_:
            msg = "Out of memory allocating 1,048,576 bytes"
            raise OutOfMemoryError(msg)
        return asarray(values)

    fake.asarray = full  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="lower batch_size"):
        regionio.open(slide).read_region((0, 0), (200, 200), return_mask=True, device="cuda")


def test_loaders_share_what_may_be_read_ahead() -> None:
    budget = AheadBudget(100)
    first = budget.reserve(60, 1000)
    second = budget.reserve(60, 1000)
    assert (first.nbytes, second.nbytes) == (60, 40)
    assert budget.reserve(60, 1000).nbytes == 0
    del first
    assert budget.reserve(60, 20).nbytes == 20
