"""Small chunks that share calls of a decoder: of many files that are read at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import regionio
from regionio import ClosedError
from regionio.engines.cuda import streams
from regionio.engines.cuda.decoder_threads import DecoderThreads
from regionio.engines.cuda.shared_calls import MOST_TILES, SharedCalls
from regionio.engines.cuda.streams import device_thread
from regionio.storage import FetchCount
from tests.fake_cuda import Cupy, ImageDecoder
from tests.kernels import COMPILER
from tests.test_cuda_ways import JPEG_2000, frames

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


class Calls:
    """Calls that a decoder gets; the first goes on when it is told to."""

    def __init__(self, bad: str = "") -> None:
        self.found: list[str] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self._bad = bad

    def __call__(self, chunks: list[str]) -> None:
        self.found.append("".join(chunks))
        self.begun.set()
        assert self.go.wait(20)
        if self._bad and self._bad in "".join(chunks):
            raise MemoryError(self._bad)


@pytest.fixture
def threads() -> Iterator[DecoderThreads]:
    threads = DecoderThreads(Cupy(), 0, 1)
    yield threads
    threads.close()


def read(error: Exception | None = None) -> Future[FetchCount]:
    """Return what a thread has read, or has not."""
    future: Future[FetchCount] = Future()
    if error is None:
        future.set_result(FetchCount())
    else:
        future.set_exception(error)
    return future


def added(calls: Calls, threads: DecoderThreads, names: str, tiles: int = 1) -> list[Future[Any]]:
    """Have chunks decoded that wait while the first, a, is."""
    shared: SharedCalls[str] = SharedCalls(threads)
    done = [shared.add("a", 1, read(), calls)]
    assert calls.begun.wait(20)
    done += [shared.add(name, tiles, read(), calls) for name in names]
    calls.go.set()
    return done


def test_what_waits_shares_the_next_call(threads: DecoderThreads) -> None:
    calls = Calls()
    for done in added(calls, threads, "bcd"):
        assert done.result(20) == FetchCount()
    assert calls.found == ["a", "bcd"]


def test_a_call_is_shared_by_few_tiles(threads: DecoderThreads) -> None:
    calls = Calls()
    for done in added(calls, threads, "bcdef", MOST_TILES // 2):
        done.result(20)
    assert calls.found == ["a", "bc", "de", "f"]
    calls = Calls()
    for done in added(calls, threads, "bc", 3 * MOST_TILES):
        done.result(20)
    assert calls.found == ["a", "b", "c"]


def test_what_fails_is_told_to_its_owner_alone(threads: DecoderThreads) -> None:
    calls = Calls(bad="c")
    first, *others = added(calls, threads, "bcd")
    assert first.result(20) == FetchCount()
    assert [type(done.exception(20)) for done in others] == [type(None), MemoryError, type(None)]
    assert calls.found == ["a", "bcd", "b", "c", "d"]


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_what_no_thread_takes_is_told_and_forgotten(
    threads: DecoderThreads, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    calls = Calls()
    calls.go.set()
    shared: SharedCalls[str] = SharedCalls(threads)

    def fail(_: threading.Thread) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        refused = shared.add("a", 1, read(), calls)
        assert refused.exception(20) is error
        with pytest.raises(type(error)):
            threads.run(calls, ["never"])
    assert shared.add("b", 1, read(), calls).result(20) == FetchCount()
    assert threads.run(lambda: 3).result(20) == 3
    assert calls.found == ["b"]


def test_nothing_is_decoded_that_was_not_read(threads: DecoderThreads) -> None:
    calls = Calls()
    shared: SharedCalls[str] = SharedCalls(threads)
    assert shared.add("a", 1, read(OSError("gone")), calls).result(20) == FetchCount()
    threads.close()
    late = shared.add("b", 1, read(), calls)  # the process ends: nobody waits for ever
    assert isinstance(late.exception(20), ClosedError)
    assert not calls.found


def test_pinned_memory_is_used_again_and_bounded(fake: Cupy) -> None:
    context = device_thread(0).context
    share = context.share_bytes

    def used(sizes: list[int]) -> set[int]:
        """Have chunks of so many bytes at a time; return which buffers they got."""
        taken = []
        for nbytes in sizes:
            taken.append(context.pinned(nbytes))
            assert len(taken[-1].take(nbytes)) == nbytes
        for buffer in taken:
            buffer.give_back([])
        assert len(set(map(id, taken))) == len(sizes)
        return {id(buffer) for buffer in taken}

    small = used([1000] * 3)
    assert used([1000] * 3) == small
    large = used([share] * 3)
    assert used([share] * 3) == large
    for step in range(4, 16):  # of chunks that become larger, not every one keeps its memory
        used([1000] * 8 + [share * step // 10] * 2)
        kept = sum(buffer.nbytes for buffer in context._pinned)
        assert kept <= streams.MOST_PINNED_SHARES * share


def test_a_tile_of_any_height_is_composed_by_blocks_that_cuda_launches(
    fake: Cupy, tmp_path: Path
) -> None:
    column = np.arange(2_200_000, dtype=np.uint32).astype(np.uint8)[:, None]
    path = tmp_path / "tall.tif"
    tifffile.imwrite(path, column, compression="zlib", rowsperstrip=len(column))
    with regionio.open(path) as image:
        found = np.array(image.read_region(device="cuda").array)
    np.testing.assert_array_equal(found.ravel(), column.ravel())


def test_many_files_at_once_share_calls(
    fake: Cupy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syntax, encode = JPEG_2000["htj2k"]
    paths = [
        frames(tmp_path / f"{n}.dcm", syntax, (1, 90 + n, 100), encode, "uint16") for n in range(12)
    ]
    calls = device_thread(0).context.jpeg2000_calls
    decode = ImageDecoder.decode
    counts: list[int] = []

    def counted(self: Any, sources: list[Any], *arguments: Any, **named: Any) -> list[Any]:
        deadline = time.monotonic() + 20
        while not counts and len(sources) + len(calls._waiting) < 12:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        counts.append(len(sources))
        return decode(self, sources, *arguments, **named)

    monkeypatch.setattr(ImageDecoder, "decode", counted)

    def pixels(path: Path, device: str) -> np.ndarray:
        with regionio.open(path) as image:
            return np.array(image.read_region(device=device).array)

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda path: pixels(path, "cuda"), paths))
    for path, each in zip(paths, found, strict=True):
        np.testing.assert_array_equal(each, pixels(path, "cpu"))
    assert sum(counts) == 12
    assert len(counts) <= 2  # those of the first call, and all others
