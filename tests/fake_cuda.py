"""A GPU that is none: what regionio uses of CuPy, NVIDIA's decoders and KvikIO, in main memory.

Everything is done at once, in the order in which it is asked for, and the kernels are compiled for
the CPU. It shows that the right work is asked for, in an order that would be right; it can't show
that streams wait for each other.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import zlib
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import imagecodecs
import numpy as np

from tests.fake_nvjpeg import JpegLibrary, at
from tests.kernels import compiled_average, compiled_bytestream, compiled_gather


class DriverError(RuntimeError):
    """Stands for CUDARuntimeError."""

    __module__ = "cupy_backends.cuda.api.runtime"


class OutOfMemoryError(MemoryError):
    """Stands for CuPy's."""

    __module__ = "cupy.cuda.memory"


class Memory:
    """Bytes with an address."""

    device_id = 0

    def __init__(self, nbytes: int) -> None:
        self.bytes = np.full(nbytes, 0xA5, np.uint8)
        self.ptr = self.bytes.ctypes.data


class Array(np.ndarray):
    """Stands for `cupy.ndarray`."""

    def __new__(cls, shape: Any, dtype: Any, pointer: Any) -> Self:
        array: Self = array_at(shape, dtype, pointer)
        return array

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self) -> Any:
        return SimpleNamespace(id=0)

    def set(self, values: np.ndarray, stream: Any = None) -> None:
        assert stream is not None, "copies are ordered by a stream"
        np.asarray(self)[...] = values

    def get(self) -> np.ndarray:
        return np.array(self)


def array_at(shape: Any, dtype: Any, pointer: Any) -> Any:
    """Return an array over memory, which keeps the memory's owner."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    kind: Any = type("Owned", (ctypes.c_uint8 * nbytes,), {})
    buffer = kind.from_address(pointer.memory.ptr)
    buffer.owner = pointer.memory
    array: Any = np.frombuffer(buffer, np.uint8).view(dtype).reshape(shape).view(Array)
    return array


class Event:
    """All is over at once."""

    done = True

    def synchronize(self) -> None:
        """There is nothing to wait for."""


class Stream:
    """Work is done when it is asked for."""

    null: Stream

    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr = id(self) if non_blocking else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def record(self) -> Event:
        return Event()

    def wait_event(self, event: Event) -> None:
        assert isinstance(event, Event)

    def synchronize(self) -> None:
        pass


Stream.null = Stream()


class Device(contextlib.nullcontext[None]):
    """The only one."""

    def __init__(self, number: int) -> None:
        super().__init__()
        assert number == 0

    def use(self) -> None:
        """There is no other."""


class Kernel:
    """A kernel, compiled for the CPU."""

    def __init__(self, text: str, name: str, options: tuple[str, ...] = ()) -> None:
        self._name = name
        if name in {"adler", "unpack"}:
            self._run = getattr(compiled_bytestream(text), f"run_{name}")
        else:
            self._run = {"gather": compiled_gather, "average": compiled_average}[name](text)

    def __call__(self, grid: Any, block: Any, arguments: Any) -> None:
        assert all(0 < count < 2**16 for count in grid[1:]), "CUDA launches no more blocks"
        values = [
            ctypes.c_longlong(int(given)) if isinstance(given, np.int64)
            else ctypes.c_void_p(given.data.ptr)
            for given in arguments
        ]  # fmt: skip
        if self._name != "average":
            values.insert(int(self._name == "gather"), ctypes.c_uint(grid[0]))  # type: ignore[arg-type]
        self._run(*values)


class Cupy(ModuleType):
    """Stands for `cupy`; `room` bounds what can be allocated."""

    uint8 = np.uint8
    RawKernel = Kernel

    def __init__(self) -> None:
        super().__init__("cupy")
        self.room = 2**40
        self.kvikio: Any = None
        self.ndarray = Array
        self.cuda = SimpleNamespace(
            Stream=Stream,
            Device=Device,
            get_current_stream=lambda: Stream.null,
            alloc=self._alloc,
            PinnedMemory=bytearray,
            PinnedMemoryPointer=lambda memory, offset: memory,
            UnownedMemory=lambda ptr, size, owner, device: SimpleNamespace(ptr=ptr, owner=owner),
            MemoryPointer=lambda memory, offset: SimpleNamespace(memory=memory),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            runtime=SimpleNamespace(
                CUDARuntimeError=DriverError,
                getDeviceCount=lambda: 1,
                memGetInfo=lambda: (2**33, 2**34),
            ),
        )

    def _alloc(self, nbytes: int) -> Memory:
        if nbytes > self.room:
            msg = f"Out of memory allocating {nbytes:,} bytes"
            raise OutOfMemoryError(msg)
        return Memory(nbytes)

    def empty(self, shape: Any, dtype: Any) -> Array:
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._alloc(nbytes)
        array: Array = np.full(nbytes, 0xA5, np.uint8).view(dtype).reshape(shape).view(Array)
        return array

    def zeros(self, shape: Any, dtype: Any) -> Array:
        return np.zeros(shape, dtype).view(Array)

    def asarray(self, values: Any) -> Array:
        return np.array(values).view(Array)

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(free_bytes=lambda: 0)

    def minimum(self, values: Any, most: Any) -> Array:
        array: Array = np.minimum(values, most).view(Array)
        return array

    def asnumpy(self, values: Any) -> np.ndarray:
        return np.array(values)


class ImageDecoder:
    """Stands for nvImageCodec's; a call from a second thread is an error."""

    tiles_decoded = 0

    def __init__(self, device_id: int, backends: list[Any]) -> None:
        self._thread = threading.get_ident()
        assert device_id == 0
        assert backends

    def decode(
        self, sources: list[Any], images: list[Any], params: Any, cuda_stream: int
    ) -> list[Any]:
        assert threading.get_ident() == self._thread, "a decoder belongs to one thread"
        assert len(sources) == len(images)
        assert cuda_stream
        pairs = zip(sources, images, strict=True)
        return [self._decode(source, image, params) for source, image in pairs]

    def _decode(self, source: np.ndarray, image: Array, params: Any) -> Any:
        data = source.tobytes()
        try:
            if data[:4] == b"\xff\x4f\xff\x51" and data[8] & 0x40:
                pixels = imagecodecs.htj2k_decode(data)
            else:
                pixels = imagecodecs.jpeg2k_decode(data)
        except (ValueError, RuntimeError):
            return None
        assert pixels.dtype == image.dtype
        np.asarray(image)[...] = pixels.reshape(image.shape)
        ImageDecoder.tiles_decoded += 1
        return image

    def __exit__(self, *_: object) -> None:
        pass


def image_at(array: Any, stream: int) -> np.ndarray:
    """Return what lies at the address that an array states."""
    assert stream, "the default stream would be waited for"
    states = array.__cuda_array_interface__
    shape, dtype = states["shape"], np.dtype(states["typestr"])
    count = int(np.prod(shape)) * dtype.itemsize
    buffer = (ctypes.c_uint8 * count).from_address(states["data"][0])
    return np.frombuffer(buffer, dtype).reshape(shape)


def fake_nvimgcodec() -> Any:
    module: Any = ModuleType("nvidia.nvimgcodec")
    module.BackendKind = SimpleNamespace(GPU_ONLY=1, HYBRID_CPU_GPU=2)
    module.Backend = lambda kind: kind
    module.Decoder = ImageDecoder
    module.ColorSpec = SimpleNamespace(SRGB="SRGB", GRAY="GRAY")
    module.SampleFormat = SimpleNamespace(I_RGB="I_RGB", P_Y="P_Y")
    module.DecodeParams = dict
    module.CodeStream = code_stream
    module.as_image = image_at
    return module


def code_stream(data: np.ndarray) -> np.ndarray:
    """Refuse what does not begin as a picture, as nvImageCodec does."""
    if data[:4].tobytes() not in {b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0c"}:
        msg = "the stream could not be parsed"
        raise RuntimeError(msg)
    return data


class Read:
    """A read that is over, or failed."""

    def __init__(self, done: int) -> None:
        self._done = done

    def get(self) -> int:
        return self._done


class CuFile:
    """Stands for KvikIO's; counts what it reads as cuFile would."""

    bytes_read = 0

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def fileno(self) -> int:
        return self._descriptor

    def pread(self, memory: np.ndarray, size: int, offset: int, task_size: int) -> Read:
        data = os.pread(self._descriptor, size, offset)
        np.asarray(memory)[: len(data)] = np.frombuffer(data, np.uint8)
        CuFile.bytes_read += len(data)
        return Read(len(data))

    def close(self) -> None:
        os.close(self._descriptor)


def fake_kvikio(*, gds: bool) -> Any:
    settings = {"num_threads": 1}
    module: Any = ModuleType("kvikio")
    module.defaults = SimpleNamespace(
        get=settings.__getitem__, set=settings.update, is_compat_mode_preferred=lambda: not gds
    )
    module.CuFile = CuFile
    started = CuFile.bytes_read

    def summary() -> Any:
        totals = {"bytes_transferred": CuFile.bytes_read - started}
        return SimpleNamespace(by_backend={"GDS" if gds else "POSIX": totals})

    module.SummaryMonitor = lambda: SimpleNamespace(get=summary)
    return module


class FakeNvcomp:
    """Stands for nvCOMP, with memory that can be read and written as it likes."""

    tiles_decompressed = 0

    def temporary_bytes(self, kind: str, count: int, largest: int) -> int:
        return 100

    def decompress(
        self, kind: str, count: int, tables: Any, temporary: Any, found: Any, stream: int
    ) -> None:
        assert temporary[1] == 100
        columns = [np.frombuffer(at(table, 8 * count), np.int64) for table in tables]
        sizes = np.frombuffer(at(found[0], 8 * count), np.int64)
        statuses = np.frombuffer(at(found[1], 4 * count), np.int32)
        for number, (source, nbytes, target, room) in enumerate(zip(*columns, strict=True)):
            assert source % (4 if kind == "Deflate" else 1) == 0
            data = bytes(at(source, nbytes))
            try:
                result: Any
                if kind == "Deflate":
                    result = zlib.decompressobj(-15).decompress(data, int(room) + 1)
                else:
                    result = imagecodecs.zstd_decode(data)
            except (zlib.error, RuntimeError):
                statuses[number], sizes[number] = 12, 2**60  # nobody says what it is then
                continue
            statuses[number] = 0 if len(result) <= room else 15
            sizes[number] = min(len(result), room)
            ctypes.memmove(int(target), result, int(sizes[number]))
            FakeNvcomp.tiles_decompressed += 1


@contextlib.contextmanager
def fake_gpu(
    monkeypatch: Any, *, codec: bool = True, kvikio: bool = False, gds: bool = False
) -> Iterator[Cupy]:
    """Have regionio use the fakes: of decoders, KvikIO and its GPUDirect Storage if asked."""
    import sys

    from regionio.engines.cuda import device, nvimagecodec, routes, streams
    from regionio.engines.cuda.nvjpeg import NvJpeg
    from regionio.storage import kvikio as reader

    _close_threads(streams._threads)  # where there is a GPU, one of them drives it
    cupy = Cupy()
    library = JpegLibrary()
    monkeypatch.setattr(routes, "nvjpeg", lambda: NvJpeg(library) if codec else None)
    nvidia: Any = ModuleType("nvidia")
    if codec:
        nvidia.nvimgcodec = fake_nvimgcodec()
        monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", nvidia.nvimgcodec)
    monkeypatch.setitem(sys.modules, "nvidia", nvidia)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    fake = cupy.kvikio = fake_kvikio(gds=gds) if kvikio else None
    ImageDecoder.tiles_decoded = JpegLibrary.tiles_decoded = 0
    monkeypatch.setitem(sys.modules, "kvikio", fake)
    monkeypatch.setitem(sys.modules, "kvikio.defaults", fake and fake.defaults)
    caches = device._cupy, nvimagecodec.nvimagecodec, reader.kvikio
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(device, "_first_process", [])
    try:
        yield cupy
    finally:
        _close_threads(streams._threads)
        library.check_closed()
        for cache in caches:
            cache.cache_clear()


def _close_threads(threads: Any) -> None:
    for key in list(threads):
        threads.pop(key).close()
