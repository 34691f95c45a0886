"""What goes wrong on the way to a GPU, and the bounds of memory, tasks and time; with a stand-in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio import DeviceError, RegionIOError
from regionio.codecs.cuda import Jpeg2000Facts
from regionio.engines.cuda import streams
from regionio.engines.cuda.tasks import Tasks
from tests.dicom_files import ROOT, scene, shape_of, write
from tests.fake_cuda import Cupy, fake_gpu
from tests.fake_nvjpeg import JpegLibrary
from tests.kernels import COMPILER
from tests.test_cuda_ways import SIDE, equal
from tests.tiff_files import tiff

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


def test_full_memory_says_what_to_do(fake: Cupy, slide: Path) -> None:
    image = regionio.open(slide)
    fake.room = 100_000
    with pytest.raises(
        DeviceError, match=r"take 3145728 bytes.*lower batch_size.*prefetch_factor=0"
    ):
        image.read_region(device="cuda")
    fake.room = 400_000  # enough for the batch, not for its tiles
    with pytest.raises(DeviceError, match="the memory of cuda:0 is full"):
        list(image.read_region([(0, 0)] * 8, (100, 100), batch_size=8, device="cuda"))
    fake.room = 2**40
    equal(slide)


def test_damage_is_told_at_its_batch_and_ends_the_loader(fake: Cupy, slide: Path) -> None:
    with tifffile.TiffFile(slide) as file:
        page = file.pages.first
        start, size = page.dataoffsets[37], page.databytecounts[37]  # row 2, column 5
    data = bytearray(slide.read_bytes())
    data[start + 20 : start + size] = bytes(size - 20)
    slide.write_bytes(data)
    image = regionio.open(slide)
    places = [(0, 0), (64, 512), (330, 140), (0, 640)]
    for workers in (0, 2):
        loader = image.read_region(
            places, (40, 40), batch_size=2, device="cuda", num_workers=workers
        )
        assert next(loader).shape == (2, 40, 40, 3)
        with pytest.raises(RegionIOError, match="tile in row 2, column 5"):
            next(loader)
        with pytest.raises(StopIteration):
            next(loader)
    assert image.read_region((0, 0), (300, 100), device="cuda").shape == (100, 300, 3)


@pytest.mark.parametrize(("share", "ahead"), [(2**20, 1), (2**33, 3)])
def test_large_batches_are_read_ahead_as_far_as_memory_allows(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch, share: int, ahead: int
) -> None:
    monkeypatch.setattr("regionio._work.AHEAD_BYTES", 1)
    monkeypatch.setattr(streams, "LEAST_SHARE_BYTES", 1)
    monkeypatch.setattr(streams, "MOST_SHARE_BYTES", 2**20)
    monkeypatch.setattr("regionio._loader.MOST_BYTES", 1)  # none are small
    fake.cuda.runtime.memGetInfo = lambda: (share, share)
    pulled: list[int] = []
    image = regionio.open(slide)

    def locations() -> Iterator[tuple[int, int]]:
        for place in range(8):
            pulled.append(place)
            yield place, place

    for device, most in (("cpu", 1), ("cuda", ahead)):
        pulled.clear()
        with image.read_region(locations(), (300, 300), batch_size=1, device=device) as loader:
            next(loader)
            assert len(pulled) == most, device


def test_no_more_tasks_at_a_time_than_asked_for() -> None:
    tasks, lock = Tasks(3), threading.Lock()
    now = most = 0

    def work(number: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1
        if number == 7:
            raise ValueError(number)
        return number

    futures = [tasks.run(work, number) for number in range(40)]
    for number, future in enumerate(futures):
        if number == 7:
            with pytest.raises(ValueError, match="7"):
                future.result(10)
        else:
            assert future.result(10) == number
    assert most == 3


def test_tiles_that_are_kept_are_decoded_whole(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regionio.engines.group.piece_decoder_for", lambda *_: None)
    monkeypatch.setattr("regionio.engines.cuda.routes.nvjpeg", lambda: None)
    image = regionio.open(slide)
    grid = np.array([(x, y) for y in range(0, SIDE, 16) for x in range(0, SIDE, 64)])
    for device_batch, batch in zip(
        image.read_region(grid, (16, 16), batch_size=40, device="cuda", num_workers=2),
        image.read_region(grid, (16, 16), batch_size=40),
        strict=True,
    ):
        np.testing.assert_array_equal(np.array(device_batch.array), np.asarray(batch))


@pytest.mark.parametrize("kvikio", [False, True])
def test_uncompressed_tiles_that_are_too_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kvikio: bool
) -> None:
    path = tiff(tmp_path / "r.tif", scene(640, 640, 1, "uint16", 12)[..., 0])
    with tifffile.TiffFile(path, mode="r+") as file:
        tag = file.pages.first.tags["TileByteCounts"]
        tag.overwrite(
            [count - 200 if number == 11 else count for number, count in enumerate(tag.value)]
        )
    with fake_gpu(monkeypatch, kvikio=kvikio):
        image = regionio.open(path)
        with pytest.raises(RegionIOError, match="row 1, column 1"):
            image.read_region((64, 64), (64, 64), device="cuda")
        good = image.read_region((128, 64), (300, 300), device="cuda")
        np.testing.assert_array_equal(
            np.array(good.array), image.read_region((128, 64), (300, 300))
        )


@pytest.mark.parametrize("kvikio", [False, True])
@pytest.mark.parametrize("syntax", [".1", ".4.90", ".4.201"])
def test_colours_that_attributes_call_ybr(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, syntax: str, kvikio: bool
) -> None:
    pictures = np.stack([scene(700, 700, 3) + i for i in range(2)])
    encode = {
        ".4.90": lambda frame: imagecodecs.jpeg2k_encode(
            frame, level=0, codecformat="j2k", reversible=True
        ),
        ".4.201": lambda frame: imagecodecs.htj2k_encode(frame, reversible=True),
    }.get(syntax)
    pixels: Any = pictures.tobytes() if encode is None else [encode(one) for one in pictures]
    stated = {**shape_of(pictures), "PhotometricInterpretation": "YBR_FULL",
              "PlanarConfiguration": 0}  # fmt: skip
    path = write(tmp_path / "y.dcm", ROOT + syntax, pixels, **stated)
    with fake_gpu(monkeypatch, kvikio=kvikio):
        image = regionio.open(path)
        found = image.read_region(device="cuda", num_workers=1)
        np.testing.assert_array_equal(np.array(found.array), image.read_region())


def test_what_fails_when_it_is_decoded_again_is_told(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JpegLibrary, "nvjpegDecodeBatched", lambda *_: 3)

    def lost(*_: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("regionio.engines.cuda.decoded.CpuTiles.decode", lost)
    with pytest.raises(RegionIOError, match="Input/output error"):
        regionio.open(slide).read_region(device="cuda", num_workers=0)


@pytest.mark.parametrize("dtype", [">f4", "longdouble", "complex128"])
def test_dtypes_that_no_kernel_makes(fake: Cupy, slide: Path, dtype: str) -> None:
    image = regionio.open(slide)
    with pytest.raises(ValueError, match="is not made of uint8 on a GPU"):
        image.read_region((0, 0), (8, 8), device="cuda", dtype=dtype)


def test_a_forked_process_is_told_to_begin_anew(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = regionio.open(slide).read_region([(0, 0)] * 90, (8, 8), batch_size=2, device="cuda")
    next(loader)
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: 1)
        with pytest.raises(DeviceError, match="forked"):
            next(loader)


def test_a_finished_loader_keeps_no_tiles(fake: Cupy, slide: Path) -> None:
    image = regionio.open(slide)
    loaders = []
    for _ in range(4):
        loader = image.read_region(
            [(0, 0), (400, 400)] * 8, (300, 300), batch_size=4, device="cuda"
        )
        list(loader)
        loaders.append(loader)
    [thread] = streams._threads.values()
    assert all(slab.is_idle for slab in thread.context.slabs._slabs)


def test_kept_tiles_have_one_budget() -> None:
    from regionio.engines.cuda.budget import Held, HeldBudget

    budget = HeldBudget(100)
    nothing = np.zeros(0, np.int64)
    every = [Held(object(), 0, 40, nothing, nothing) for _ in range(4)]
    for held in every:
        budget.add(held)
    assert [held.chunk is not None for held in every] == [False, False, True, True]


def test_memory_waits_for_its_consumers_before_it_is_used_again() -> None:
    from regionio.engines.cuda.memory import MOST_RETIRED, Retired

    class Later:
        done = False

    waited: list[Any] = []
    stream: Any = type("Stream", (), {"wait_event": lambda self, event: waited.append(event)})()
    retired = Retired(stream, large=1000)
    events = [Later() for _ in range(MOST_RETIRED + 2)]
    for event in events:
        retired.add(object(), 10, [event])
    assert waited == events[:2]
    for event in events:
        event.done = True
    retired.sweep()
    assert len(retired._waiting) == 0
    large = Later()
    retired.add(object(), 1000, [large])
    assert waited[-1] is large
    assert len(retired._waiting) == 0


def test_a_picture_without_components_is_left_to_the_cpu() -> None:
    stream = bytearray(imagecodecs.jpeg2k_encode(scene(16, 16, 1)[..., 0], codecformat="j2k"))
    assert Jpeg2000Facts.of(bytes(stream)) is not None
    stream[40:42] = b"\0\0"
    assert Jpeg2000Facts.of(bytes(stream)) is None
