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
from regionio._cuda_work import CudaWork
from regionio.engines.cuda.budget import AheadBudget
from regionio.engines.cuda.held import HeldTiles
from regionio.engines.cuda.nvimagecodec import MOST_VIEWS
from regionio.engines.cuda.slabs import SlabPool
from regionio.engines.cuda.streams import device_thread
from regionio.engines.cuda.tables import ValueTables
from tests.dicom_files import noise
from tests.dicom_volumes import multi_frame, placed
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


def test_tiles_that_are_kept_keep_no_slab_that_is_far_too_large(fake: Cupy) -> None:
    pool = SlabPool(fake, [fake.cuda.Stream(non_blocking=True)], most_idle=2**26)
    large = pool.take(2**24).slab
    small = pool.take(2**16).slab
    assert len(small.memory) <= 2**21 < len(large.memory)
    assert pool.take(2**23).slab is large
    pool.drop_idle()
    assert pool.take(2**23).slab is not large


def test_a_forked_process_gives_no_slab_back(fake: Cupy, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = SlabPool(fake, [fake.cuda.Stream(non_blocking=True)], most_idle=2**26)
    lease = pool.take(100)
    slab = lease.slab
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: 1)
        del lease
    assert not slab.is_idle


def test_what_is_kept_while_a_loader_is_closed_is_let_go_of(fake: Cupy, slide: Path) -> None:
    kept: list[Any] = []

    class Closing(HeldTiles):
        def add(self, *arguments: Any) -> None:
            kept.append(self)
            self.close()
            super().add(*arguments)

    work = CudaWork.__init__

    def begin(self: Any, *arguments: Any, **options: Any) -> None:
        work(self, *arguments, **options)
        self.held = Closing(3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CudaWork, "__init__", begin)
        loader = regionio.open(slide).read_region(
            [(0, 0)] * 9, (90, 90), batch_size=3, device="cuda"
        )
        assert len(list(loader)) == 3
    assert kept
    assert not any(held._held for held in kept)


def test_a_slab_keeps_the_pictures_of_a_few_kinds(fake: Cupy, tmp_path: Path) -> None:
    syntax, encode = JPEG_2000["htj2k"]
    for number in range(2 * MOST_VIEWS):
        shape = 2, 90 + number, 100
        path = frames(tmp_path / f"{number}.dcm", syntax, shape, encode, "uint16")
        with regionio.open(path) as image:
            found = np.array(image.read_region(device="cuda").array)
            np.testing.assert_array_equal(found, image.read_region())
    views = [len(slab.views) for slab in device_thread(0).context.slabs._slabs]
    assert max(views) == MOST_VIEWS


def test_a_rescale_of_each_frame_keeps_few_tables(
    fake: Cupy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regionio.engines.cuda.tables.MOST_TABLES", 3)
    volume = (noise(16, 256, 256, 1, dtype="uint16") >> 4)[..., 0]
    groups = [
        {**placed(0, 0, float(number)),
         "PixelValueTransformationSequence": {
             "RescaleSlope": 1 + number, "RescaleIntercept": -9, "RescaleType": "HU"}}
        for number in range(len(volume))
    ]  # fmt: skip
    path = multi_frame(tmp_path / "v.dcm", volume, groups, stored=12)
    made: list[int] = []
    addresses = ValueTables.addresses

    def noted(self: ValueTables, *arguments: Any) -> Any:
        found = addresses(self, *arguments)
        made.append(len(self._made))
        return found

    monkeypatch.setattr(ValueTables, "addresses", noted)
    image = regionio.open(path, values="modality")
    places = [(0, 0, z) for z in [*range(16), *range(16)]]
    options: dict[str, Any] = {"batch_size": 4, "num_workers": 2}
    by_gpu = image.read_region(places, (256, 256, 1), device="cuda", **options)
    for found, wanted in zip(
        by_gpu, image.read_region(places, (256, 256, 1), **options), strict=True
    ):
        np.testing.assert_array_equal(np.array(found.array), wanted)
    assert max(made) == 3
