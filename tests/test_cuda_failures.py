"""Failures of the GPU, its driver and its memory: what readers are told, and what they get back."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

import regionio
from regionio import DeviceError, RegionIOError
from regionio.engines.cuda import chunk, fetch, memory
from regionio.engines.cuda.streams import device_thread
from tests.dicom_files import scene
from tests.fake_cuda import Cupy, DriverError, FakeNvcomp, Memory, OutOfMemoryError
from tests.kernels import COMPILER
from tests.test_cuda_ways import JPEG_2000, frames
from tests.tiff_files import tiff

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a slide of uncompressed tiles."""
    return tiff(tmp_path / "raw.tif", scene(1024, 1024, 3), photometric="rgb")


def test_given_memory_is_the_callers_after_it_was_interrupted(
    fake: Cupy, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = regionio.open(raw)
    image.read_region(device="cuda")  # the kernel is compiled
    read = fetch.read_to_places

    def slow(*arguments: Any) -> Any:
        time.sleep(0.4)
        return read(*arguments)

    monkeypatch.setattr("regionio.engines.cuda.chunk.read_to_places", slow)
    out = fake.zeros((1024, 1024, 3), np.uint8)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        image.read_region(device="cuda", out=out)
    out[...] = 7
    time.sleep(0.6)
    assert (np.asarray(out) == 7).all()


def test_given_memory_is_the_callers_after_an_error(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[object] = []
    abandon = chunk.TileChunk.abandon

    def slowly(self: Any, context: Any) -> None:
        time.sleep(0.2)
        abandon(self, context)
        given_up.append(self)

    def full(*_: Any) -> bool:
        msg = "no memory"
        raise OutOfMemoryError(msg)

    monkeypatch.setattr(chunk.TileChunk, "abandon", slowly)
    monkeypatch.setattr("regionio.engines.cuda.nvjpeg.JpegDecoder.decode", full)
    with pytest.raises(DeviceError, match="is full"):
        regionio.open(slide).read_region(
            device="cuda", out=fake.zeros((1024, 1024, 3), np.uint8), num_workers=1
        )
    assert len(given_up) == 1


@pytest.mark.parametrize("codec", ["jpeg", "htj2k"])
def test_a_decoder_thread_that_can_not_use_its_gpu(
    fake: Cupy, slide: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    def lost(_: Any) -> None:
        msg = "cudaErrorIllegalAddress: an illegal memory access was encountered"
        raise DriverError(msg)

    if codec == "htj2k":
        syntax, encode = JPEG_2000["htj2k"]
        slide = frames(tmp_path / "x.dcm", syntax, (2, 90, 100), encode, "uint16")
    with monkeypatch.context() as patch:
        patch.setattr(fake.cuda.Device, "use", lost)
        with pytest.raises(DeviceError, match="cuda:0 failed: cudaErrorIllegalAddress"):
            regionio.open(slide).read_region(device="cuda", num_workers=1)
    image = regionio.open(raw)
    np.testing.assert_array_equal(
        np.array(image.read_region(device="cuda").array), image.read_region()
    )


def test_an_error_that_is_kept_keeps_no_batch(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[weakref.ref[Any]] = []
    begin = memory.BatchMemory.__init__

    def noted(self: Any, *arguments: Any) -> None:
        batches.append(weakref.ref(self))
        begin(self, *arguments)

    monkeypatch.setattr(memory.BatchMemory, "__init__", noted)
    monkeypatch.setattr("regionio.engines.cuda.routes.nvjpeg", lambda: None)

    def damaged(*_: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("regionio.engines.cuda.decoded.CpuTiles.decode", damaged)
    kept = []
    for _ in range(3):
        loader = regionio.open(slide).read_region(
            [(0, 0)] * 32, (100, 100), batch_size=8, device="cuda"
        )
        with pytest.raises(OSError, match="Input/output") as error:
            next(loader)
        kept.append(error.value)
        loader.close()
    deadline = time.monotonic() + 5
    while any(batch() for batch in batches) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert batches
    assert not any(batch() for batch in batches)
    assert len(kept) == 3


def test_a_region_that_fits_once_idle_memory_is_let_go_of(
    fake: Cupy, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [0]

    class Counted(Memory):
        def __init__(self, nbytes: int) -> None:
            self.nbytes = 0
            if taken[0] + nbytes > 9 * 2**19:
                msg = f"Out of memory allocating {nbytes:,} bytes"
                raise OutOfMemoryError(msg)
            super().__init__(nbytes)
            self.nbytes = nbytes
            taken[0] += nbytes

        def __del__(self) -> None:
            taken[0] -= self.nbytes

    def empty(shape: Any, dtype: Any) -> Any:
        pointer = SimpleNamespace(memory=Counted(int(np.prod(shape)) * np.dtype(dtype).itemsize))
        return fake.ndarray(shape, dtype, pointer)

    monkeypatch.setattr(fake.cuda, "alloc", Counted)
    monkeypatch.setattr(fake, "empty", empty)
    image = regionio.open(raw)
    image.read_region((0, 0), (700, 700), device="cuda")
    slabs = device_thread(0).context.slabs
    deadline = time.monotonic() + 5
    while not all(slab.is_idle for slab in slabs._slabs) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert taken[0] == 2 * 2**20  # a slab that nobody needs
    region = image.read_region((1000, 1000), (1024, 1024), device="cuda", fill=3)
    np.testing.assert_array_equal(
        np.array(region.array), image.read_region((1000, 1000), (1024, 1024), fill=3)
    )
    with pytest.raises(DeviceError, match="memory of cuda:0 is full"):
        image.read_region((0, 0), (1400, 1400), device="cuda")


@pytest.mark.parametrize(
    ("failing", "told"),
    [("PinnedMemory", r"no \d+ bytes of memory that can be pinned.*lower batch_size"),
     ("RawKernel", r"cuda:0 can't be used: CuPy failed to load libnvrtc.*regionio\[cuda12\]")],
)  # fmt: skip
def test_errors_of_cuda_say_what_to_do(
    fake: Cupy, raw: Path, monkeypatch: pytest.MonkeyPatch, failing: str, told: str
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        if failing == "RawKernel":
            msg = "CuPy failed to load libnvrtc.so.13: OSError: no such file"
            raise RuntimeError(msg)
        msg = "cudaErrorMemoryAllocation: out of memory"
        raise DriverError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(fake.cuda if failing == "PinnedMemory" else fake, failing, fails)
        with pytest.raises(DeviceError, match=told):
            regionio.open(raw).read_region(device="cuda")
    assert regionio.open(raw).read_region(device="cuda").shape == (1024, 1024, 3)


@pytest.mark.parametrize(
    ("name", "told"),
    [("cudaErrorInsufficientDriver", "too old"), ("cudaErrorECCUncorrectable", "in what state")],
)
def test_a_driver_that_fails_leaves_no_file_open(
    fake: Cupy, raw: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    image = regionio.open(raw)
    loader = image.read_region([(0, 0)] * 4, (9, 9), batch_size=2, device="cuda")

    def fails() -> int:
        msg = f"{name}: it is so"
        raise DriverError(msg)

    monkeypatch.setattr(fake.cuda.runtime, "getDeviceCount", fails)
    users = image._file._users
    for _ in range(3):
        with pytest.raises(DeviceError, match=f"{name}.*{told}"):
            next(loader)
    assert image._file._users == users


def test_nvcomp_that_states_no_size_of_what_is_damaged(
    fake: Cupy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeNvcomp()
    monkeypatch.setattr("regionio.engines.cuda.routes.nvcomp", lambda: library)
    monkeypatch.setattr("regionio.engines.cuda.inflated.nvcomp", lambda: library)
    path = tiff(tmp_path / "d.tif", scene(400, 500, 3), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        start, size = page.dataoffsets[9], page.databytecounts[9]
    data = bytearray(path.read_bytes())
    data[start + 20 : start + size] = bytes(size - 20)
    path.write_bytes(data)
    image = regionio.open(path)
    with pytest.raises(RegionIOError, match="tile in row 1, column 1"):
        image.read_region(device="cuda")
    assert library.tiles_decompressed > 0
