"""A GPU that is none and that notices what is not ordered: streams with vector clocks.

`fake_cuda` does everything at once, so that a missing wait goes unseen. Here every access to memory
is noted with the time of its stream; two accesses to the same bytes, one of them a write, of which
neither came before the other by events, are a race. Memory goes back to the pool of the stream that
it was taken for, and is handed out again, as CuPy's pool does it.

Source: L. Lamport, "Time, clocks, and the ordering of events in a distributed system", 1978; F.
Mattern, "Virtual time and global states of distributed systems", 1989.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self

import numpy as np

from regionio.codecs.cpu.jpeg_facts import JpegFacts
from regionio.compose.gather import GATHER_PIECE
from regionio.engines.cuda.nvjpeg import JpegDecoder
from tests import fake_cuda
from tests.fake_cuda import Cupy, fake_gpu
from tests.fake_nvjpeg import at

PAGE = 2**16
Times = dict[str, int]


@dataclass(frozen=True)
class Access:
    """Bytes from `start` to `stop` were read or written at a time of a stream."""

    start: int
    stop: int
    is_write: bool
    stream: str
    time: int
    what: str

    def overlaps(self, other: Access) -> bool:
        return self.start < other.stop and other.start < self.stop


class Order:
    """What was accessed, by which streams, and in which order.

    Attributes
    ----------
    races
        (what, by which stream, and what, by which stream) → how often.
    reused
        How often memory was handed out again.
    """

    def __init__(self) -> None:
        self.races: Counter[tuple[str, str, str, str]] = Counter()
        self.reused = 0
        self.lock = threading.RLock()
        self.host: Times = {}
        self._by_page: dict[int, list[Access]] = defaultdict(list)

    def note(self, stream: CheckedStream | None, array: Any, what: str, *, write: bool) -> None:
        """Note that a stream, or the host, reads or writes all of an array."""
        start, stop = extent(array)
        self.note_bytes(stream, start, stop, what, write=write)

    def note_bytes(
        self, stream: CheckedStream | None, start: int, stop: int, what: str, *, write: bool
    ) -> None:
        with self.lock:
            times = self.host if stream is None else join(stream.times, self.host)
            name = "host" if stream is None else stream.name
            times[name] = times.get(name, 0) + 1
            access = Access(start, stop, write, name, times[name], what)
            for page in range(start // PAGE, max(start, stop - 1) // PAGE + 1):
                self._by_page[page] = [*self._kept(page, access, times), access]

    def _kept(self, page: int, new: Access, times: Times) -> Iterator[Access]:
        """Yield the accesses that a new one leaves of interest, once it was compared with them."""
        for old in self._by_page[page]:
            if old.overlaps(new) and (old.is_write or new.is_write):
                if old.stream != new.stream and times.get(old.stream, 0) < old.time:
                    self.races[old.what, old.stream, new.what, new.stream] += 1
                elif new.is_write and new.start <= old.start and old.stop <= new.stop:
                    continue
            yield old


def join(times: Times, others: Times) -> Times:
    for name, time in others.items():
        times[name] = max(time, times.get(name, 0))
    return times


def extent(array: Any) -> tuple[int, int]:
    """Return the first address of an array, and that after its last."""
    start = array.ctypes.data
    if array.size == 0:
        return start, start
    steps = zip(array.shape, array.strides, strict=True)
    return start, start + sum((n - 1) * abs(step) for n, step in steps) + array.itemsize


class CheckedEvent:
    """A point in a stream; it is over for the host only once the host has waited for it."""

    done = False

    def __init__(self, order: Order, times: Times) -> None:
        self.times = times
        self._order = order

    def synchronize(self) -> None:
        with self._order.lock:
            join(self._order.host, self.times)


class Pooled:
    """Memory that goes back to the pool of the stream for which it was taken."""

    device_id = 0

    def __init__(self, pool: list[np.ndarray], content: np.ndarray) -> None:
        self._pool, self._content = pool, content
        self.ptr = content.ctypes.data

    def __del__(self) -> None:
        self._pool.append(self._content)


class CheckedStream:
    """A stream with the times of all streams that it has waited for."""

    _current = threading.local()

    def __init__(self, order: Order, name: str, number: int) -> None:
        self.order, self.name, self.ptr = order, name, number
        self.times: Times = {}
        self.pool: list[np.ndarray] = []

    @classmethod
    def stack(cls) -> list[CheckedStream]:
        """Return the streams that are current in this thread, the last one is."""
        found: list[CheckedStream] = cls._current.__dict__.setdefault("streams", [])
        return found

    def __enter__(self) -> Self:
        self.stack().append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack().pop()

    def record(self) -> CheckedEvent:
        with self.order.lock:
            return CheckedEvent(self.order, dict(join(self.times, self.order.host)))

    def wait_event(self, event: CheckedEvent) -> None:
        with self.order.lock:
            join(self.times, event.times)

    def synchronize(self) -> None:
        self.record().synchronize()


class CheckedCuda:
    """Stands for `cupy.cuda` and for what CuPy allocates."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.null = CheckedStream(order, "null", 0)
        self.streams = {0: self.null}
        self._numbers = itertools.count(1000)

    def stream(self, non_blocking: bool = False) -> CheckedStream:
        number = next(self._numbers)
        made = CheckedStream(self.order, f"stream {number}", number)
        self.streams[number] = made
        return made

    def current(self) -> CheckedStream:
        stack = CheckedStream.stack()
        return stack[-1] if stack else self.null

    def alloc(self, nbytes: int) -> Pooled:
        """Return memory of the current stream's pool: the smallest that is large enough."""
        size = -(-max(1, nbytes) // 512) * 512
        pool = self.current().pool
        with self.order.lock:
            fitting = [part for part in pool if size <= len(part) <= max(2 * size, size + 4096)]
            if fitting:
                content = min(fitting, key=len)
                pool[:] = [part for part in pool if part is not content]
                self.order.reused += 1
            else:
                content = np.full(size, 0xA5, np.uint8)
        return Pooled(pool, content)

    def ndarray(self, shape: Any, dtype: Any, pointer: Any) -> CheckedArray:
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        kind: Any = type("Owned", (ctypes.c_uint8 * max(1, nbytes),), {})
        buffer = kind.from_address(pointer.memory.ptr)
        buffer.owner = pointer.memory
        flat = np.frombuffer(buffer, np.uint8, nbytes).view(dtype)
        return self.checked(flat.reshape(shape))

    def checked(self, array: np.ndarray) -> CheckedArray:
        found = array.view(CheckedArray)
        found.order = self.order
        return found

    def empty(self, shape: Any, dtype: Any) -> CheckedArray:
        memory = self.alloc(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return self.ndarray(shape, dtype, SimpleNamespace(memory=memory))

    def filled(self, values: np.ndarray, what: str) -> CheckedArray:
        array = self.empty(values.shape, values.dtype)
        np.asarray(array)[...] = values
        self.order.note(self.current(), array, what, write=True)
        return array


class CheckedArray(fake_cuda.Array):
    """An array in the memory of the GPU."""

    order: Order

    def __array_finalize__(self, parent: Any) -> None:
        if isinstance(parent, CheckedArray) and hasattr(parent, "order"):
            self.order = parent.order

    def set(self, values: Any, stream: Any = None) -> None:
        reader = (
            stream if is_pinned(values) else None
        )  # else CUDA has taken it when the call is back
        self.order.note(reader, values, "copy reads", write=False)
        self.order.note(stream, self, "copy writes", write=True)
        np.asarray(self)[...] = values


def is_pinned(values: Any) -> bool:
    """Return whether an array lies in what stands for pinned memory, which are byte arrays."""
    while isinstance(values, np.ndarray):
        values = values.base
    return values is not None


def noting_kernel(cuda: CheckedCuda) -> type[fake_cuda.Kernel]:
    class CheckedKernel(fake_cuda.Kernel):
        """A kernel; of the one that gathers, it is noted what it reads and writes."""

        def __call__(self, grid: Any, block: Any, arguments: Any) -> None:
            if self._name == "gather":
                self._note(arguments[0], grid[0], int(arguments[2]), int(arguments[3]))
            super().__call__(grid, block, arguments)

        def _note(self, table: Any, count: int, row_stride: int, pixel_stride: int) -> None:
            stream, order = cuda.current(), cuda.order
            order.note(stream, table, "gather reads its table", write=False)
            raw = np.asarray(table).reshape(-1).view(np.uint8)
            for piece in raw[: count * GATHER_PIECE.itemsize].view(GATHER_PIECE):
                height, width = int(piece["height"]) - 1, int(piece["width"]) - 1
                start = int(piece["source"])
                far = height * int(piece["row_stride"]) + width * int(piece["pixel_stride"])
                order.note_bytes(stream, start, start + far + 1, "gather reads tile", write=False)
                start = int(piece["target"])
                far = height * row_stride + width * pixel_stride
                order.note_bytes(stream, start, start + far + 1, "gather writes", write=True)

    return CheckedKernel


def noting_decoder(cuda: CheckedCuda) -> type[fake_cuda.ImageDecoder]:
    class CheckedDecoder(fake_cuda.ImageDecoder):
        """A decoder whose reads and writes are noted."""

        def decode(self, sources: Any, images: Any, params: Any, cuda_stream: int) -> Any:
            stream = cuda.streams[cuda_stream]
            for source, image in zip(sources, images, strict=True):
                cuda.order.note(stream, source, "decoder reads", write=False)
                cuda.order.note(stream, image, "decoder writes", write=True)
            return super().decode(sources, images, params, cuda_stream)

    return CheckedDecoder


def note_nvjpeg(cuda: CheckedCuda, monkeypatch: Any) -> None:
    """Have it noted what nvJPEG reads and writes."""
    decode = JpegDecoder.decode

    def noting(
        self: Any, process: Any, colors: Any, streams: Any, slots: Any, row_bytes: int, stream: Any
    ) -> bool:
        for (address, nbytes), slot in zip(streams.tolist(), slots.tolist(), strict=True):
            height = JpegFacts.of(memoryview(at(address, nbytes)).cast("B")).height
            order, end = cuda.order, slot + height * row_bytes
            order.note_bytes(stream, address, address + nbytes, "nvJPEG reads", write=False)
            order.note_bytes(stream, slot, end, "nvJPEG writes", write=True)
        return decode(self, process, colors, streams, slots, row_bytes, stream)

    monkeypatch.setattr(JpegDecoder, "decode", noting)


def noting_file(cuda: CheckedCuda) -> type[fake_cuda.CuFile]:
    class CheckedFile(fake_cuda.CuFile):
        """A file whose reads are noted: the host waits for them."""

        def pread(self, memory: Any, size: int, offset: int, task_size: int) -> Any:
            cuda.order.note(None, memory, "KvikIO writes", write=True)
            return super().pread(memory, size, offset, task_size)

    return CheckedFile


@contextlib.contextmanager
def checked_gpu(monkeypatch: Any, **options: Any) -> Iterator[tuple[Cupy, CheckedCuda]]:
    """Have regionio use a GPU that notices races; options as of `fake_gpu`."""
    import sys

    from regionio.engines.cuda import memory

    with fake_gpu(monkeypatch, **options) as cupy:
        cuda = CheckedCuda(Order())
        made: Any = cupy.cuda
        made.Stream = type("Stream", (), {"__new__": lambda _, **given: cuda.stream(**given)})
        made.Stream.null = cuda.null
        made.get_current_stream = cuda.current
        made.alloc = cuda.alloc
        module: Any = cupy
        module.ndarray = cuda.ndarray
        module.empty = cuda.empty
        module.zeros = lambda shape, dtype: cuda.filled(np.zeros(shape, dtype), "zeros writes")
        module.asarray = lambda values: cuda.filled(np.asarray(values), "asarray writes")
        module.RawKernel = noting_kernel(cuda)
        codec = sys.modules.get("nvidia.nvimgcodec")
        if codec is not None:
            monkeypatch.setattr(codec, "Decoder", noting_decoder(cuda))
        note_nvjpeg(cuda, monkeypatch)
        if cupy.kvikio is not None:
            cupy.kvikio.CuFile = noting_file(cuda)
        take = memory.PinnedBuffer.take

        def taken(buffer: Any, nbytes: int) -> Any:
            found = take(buffer, nbytes)
            cuda.order.note(None, found, "host writes", write=True)
            return found

        monkeypatch.setattr(memory.PinnedBuffer, "take", taken)
        monkeypatch.setattr(memory, "_stream", lambda _cupy, number, _device: cuda.streams[number])
        yield cupy, cuda
