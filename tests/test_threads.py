"""Work that threads share: the compiled part's own ones, and those of the pool."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import tifffile

import regionio
from regionio._native import native
from regionio._window import Window
from regionio._workers import worker_pool
from regionio.compose import Canvas
from regionio.engines import CpuEngine
from regionio.engines.cuda.fetch import places_for, read_to_places
from regionio.engines.cuda.tasks import Tasks
from regionio.engines.together import do_together
from regionio.storage import LocalFile

SLIDE = "tests/data/CMU-1-Small-Region.svs"
needs_native = pytest.mark.skipif(native is None, reason="the compiled part is missing")


@pytest.fixture(autouse=True)
def _in_project_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(request.config.rootpath)


@pytest.mark.parametrize("threads", [1, 2, 7, 64])
def test_all_parts_are_done_once(threads: int) -> None:
    done = do_together(lambda part: part * part, range(100), threads)
    assert sorted(done) == [part * part for part in range(100)]


def test_threads_of_the_pool_may_share_work_with_others_of_it() -> None:
    def outer(part: int) -> list[int]:
        return do_together(lambda inner: part + inner, range(5), 8)

    tasks = Tasks(400)
    futures = [tasks.run(outer, part) for part in range(400)]  # more than it has threads
    found = [sorted(future.result(timeout=60)) for future in futures]
    assert found == [[part + inner for inner in range(5)] for part in range(400)]


def test_what_a_part_raises_is_raised_when_nobody_works_any_more() -> None:
    at_work = []

    def work(part: int) -> None:
        at_work.append(part)
        time.sleep(0.01)
        at_work.remove(part)
        if part == 3:
            msg = "part 3"
            raise KeyError(msg)

    with pytest.raises(KeyError, match="part 3"):
        do_together(work, range(20), 4)
    assert not at_work


def test_an_error_ends_what_others_do() -> None:
    begun = []

    def work(part: int) -> None:
        begun.append(part)
        time.sleep(0.01)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do_together(work, range(200), 3)
    assert len(begun) < 20


def test_a_task_that_no_thread_takes_is_not_run_later(monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[Callable[[], None]] = []
    done: list[int] = []

    def fails(task: Callable[[], None]) -> None:
        queued.append(task)
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(worker_pool._executor, "submit", fails)
    with pytest.raises(RuntimeError, match="new thread"):
        worker_pool.submit(lambda: done.append(1))
    queued[0]()
    assert not done


def test_without_other_threads_the_caller_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[Callable[[], None]] = []

    def fails(task: Callable[[], None]) -> None:
        queued.append(task)  # as the pool does, before it finds that no thread can be started
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(worker_pool._executor, "submit", fails)
    assert sorted(do_together(abs, range(9), 4)) == list(range(9))
    expected = tifffile.imread(SLIDE)
    with regionio.open(SLIDE) as slide:
        np.testing.assert_array_equal(slide.read_region(num_workers=4), expected)
        for batch in slide.read_region([(9, 9)] * 50, (99, 99), batch_size=7, num_workers=4):
            np.testing.assert_array_equal(batch[0], expected[9:108, 9:108])
    for task in queued:
        task()  # a thread comes after all: there is nothing for it to do


@pytest.mark.parametrize("num_workers", [1, 2, 3, 4, 5, 7, 16])
def test_no_more_threads_than_workers(num_workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where what compiled code decodes follows on what it does not, and the other way round."""
    lock, now, peaks, render = threading.Lock(), [0], [0], CpuEngine.render
    ways = itertools.cycle([False, True, True, False])

    def noted(self: CpuEngine, window: Window, canvas: Canvas, threads: int = 1) -> object:
        with lock:
            now[0] += threads
            peaks.append(now[0])
        time.sleep(0.002)
        try:
            return render(self, window, canvas, threads)
        finally:
            with lock:
                now[0] -= threads

    monkeypatch.setattr(CpuEngine, "has_own_threads", lambda *_: next(ways))
    monkeypatch.setattr(CpuEngine, "render", noted)
    places = np.random.default_rng(0).integers(0, 1500, (200, 2))
    with regionio.open(SLIDE) as slide:
        loader = slide.read_region(places, (700, 700), batch_size=8, num_workers=num_workers)
        assert len(list(loader)) == 25
        assert max(peaks) == num_workers


@pytest.mark.parametrize("num_workers", [0, 1, 2, 3, 5, 16])
@pytest.mark.parametrize("capacity", [0, 2**26])
def test_regions_are_the_same_by_any_number_of_threads(
    num_workers: int, capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regionio.cache, "capacity", capacity)
    regionio.cache.clear()
    expected = tifffile.imread(SLIDE)
    with regionio.open(SLIDE) as slide:
        whole = slide.read_region(num_workers=num_workers)
        np.testing.assert_array_equal(whole, expected)
        places = np.random.default_rng(0).integers(0, 2000, (64, 2))
        loader = slide.read_region(places, (99, 101), batch_size=4, num_workers=num_workers)
        for batch in loader:
            for (x, y), region in zip(batch.locations.tolist(), batch, strict=True):
                np.testing.assert_array_equal(region, expected[y : y + 101, x : x + 99])


@pytest.mark.parametrize("process", ["progressive", "damaged"])
def test_what_compiled_code_leaves_is_decoded_by_several_threads(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = tifffile.imread(SLIDE)[:1024, :1024]
    path = tmp_path / "slide.tif"
    if process == "progressive":
        from io import BytesIO

        from PIL import Image

        def encode(tile: np.ndarray) -> bytes:
            file = BytesIO()
            Image.fromarray(tile).save(file, "JPEG", quality=90, progressive=True)
            return file.getvalue()
    else:

        def encode(tile: np.ndarray) -> bytes:
            return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(tile), 90)[:-200])

    tiles = [
        encode(pixels[y : y + 256, x : x + 256])
        for y in range(0, 1024, 256)
        for x in range(0, 1024, 256)
    ]
    tifffile.imwrite(
        path, iter(tiles), shape=pixels.shape, dtype="u1", tile=(256, 256),
        compression="jpeg", photometric="ycbcr", subsampling=(2, 2),
    )  # fmt: skip
    names: set[str] = set()
    taken = _thread_names(names, monkeypatch)
    with regionio.open(path) as slide:
        if process == "progressive":
            found = slide.read_region(num_workers=4)
            np.testing.assert_array_equal(found, tifffile.imread(path))
            assert len(taken) > 1
        else:
            with pytest.raises(regionio.DecodeError, match=r"slide\.tif.*tile in row"):
                slide.read_region(num_workers=4)


def _thread_names(names: set[str], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Note which threads decode tiles one by one."""
    from regionio.engines.cpu import _Run

    decode = _Run._decode_tile

    def noted(self: _Run, *arguments: object) -> None:
        names.add(threading.current_thread().name)
        time.sleep(0.005)  # others come to it
        decode(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_Run, "_decode_tile", noted)
    return names


@needs_native
def test_a_thread_for_each_part_of_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region that is read alone is decoded by one call, whose threads are its own."""
    calls = []
    render = CpuEngine.render

    def noted(self: object, window: object, canvas: object, threads: int = 1) -> object:
        calls.append((threading.current_thread() is threading.main_thread(), threads))
        return render(self, window, canvas, threads)  # type: ignore[arg-type]

    monkeypatch.setattr(CpuEngine, "render", noted)
    with regionio.open(SLIDE) as slide:
        slide.read_region((0, 0), (1000, 1000), num_workers=4)
        assert calls == [(True, 4)]
        calls.clear()
        list(slide.read_region([(0, 0)] * 9, (1000, 1000), batch_size=3, num_workers=4))
        assert {threads for _, threads in calls} == {2}


@needs_native
@pytest.mark.parametrize("threads", [1, 2, 5, 300])
@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_ranges_are_read_by_several_threads(threads: int, count: int, tmp_path: Path) -> None:
    random = np.random.default_rng(count)
    content = random.integers(0, 256, 1_000_000, dtype=np.uint8)
    path = tmp_path / "bytes"
    content.tofile(path)
    begin = np.sort(random.integers(0, 980_000, count))
    nbytes = random.integers(0, 20_000, count)
    place, total = places_for(nbytes)
    buffer = np.zeros(total, np.uint8)
    file = LocalFile(os.fspath(path))
    found = read_to_places(file, np.column_stack([begin, nbytes, place]), buffer, threads)
    assert found.bytes_wanted == nbytes.sum()
    for start, size, at in zip(begin.tolist(), nbytes.tolist(), place.tolist(), strict=True):
        np.testing.assert_array_equal(buffer[at : at + size], content[start : start + size])
    file.close()


@needs_native
def test_the_range_after_the_end_of_a_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(1_000_000))
    file = LocalFile(os.fspath(path))
    os.truncate(path, 500_000)
    begin = np.arange(0, 900_000, 10_000)
    placed = np.column_stack([begin, np.full(90, 5000), 5000 * np.arange(90)])
    with pytest.raises(regionio.CorruptFileError, match="bytes"):
        read_to_places(file, placed, np.zeros(450_000, np.uint8), 4)
    file.close()


def test_locations_that_ask_for_batches_are_refused() -> None:
    with regionio.open(SLIDE) as slide:
        batches: list[Iterator[regionio.Region]] = []

        def places() -> Iterator[tuple[int, int]]:
            next(batches[0])
            yield 0, 0

        batches.append(iter(slide.read_region(places(), (9, 9), batch_size=2)))
        with pytest.raises(RuntimeError, match="locations ask for its next batch"):
            next(batches[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_may_use_what_another_thread_was_waiting_in() -> None:
    pulling, goes_on = threading.Event(), threading.Event()

    def places() -> Iterator[tuple[int, int]]:
        pulling.set()
        goes_on.wait(20)
        yield 0, 0

    with regionio.open(SLIDE) as slide:
        batches = iter(slide.read_region(places(), (9, 9), batch_size=2))
        thread = threading.Thread(target=lambda: next(batches))
        thread.start()
        assert pulling.wait(20)
        child = os.fork()
        if child == 0:  # no assert may leave this block
            signal.alarm(10)
            try:
                next(batches)
            except (RuntimeError, ValueError, StopIteration):
                os._exit(0)
            os._exit(1)
        goes_on.set()
        thread.join()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_any_number_of_workers() -> None:
    with regionio.open(SLIDE) as slide:
        expected = slide.read_region((0, 0), (300, 300), num_workers=0)
        found = slide.read_region((0, 0), (300, 300), num_workers=2**40)
        np.testing.assert_array_equal(found, expected)
