"""Decoders alone, on streams that are in memory: what the routes of the CUDA engine are chosen by."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg

from benchmarks.cuda_measure import CudaRow, Job, Scale, compare_on_gpu, cupy
from benchmarks.cuda_nvimgcodec import BareDecoder, tile_streams
from benchmarks.dicom_elements import compressed_frames
from benchmarks.dicom_volumes import DicomVolume
from benchmarks.measure import UnableError
from benchmarks.slides import Slide
from benchmarks.works import in_threads
from regionio.engines.cuda.nvjpeg import INTERPOLATED, JpegDecoder, NvJpeg, Process, nvjpeg

TILE, TILES, FRAMES = 256, 4096, 64
HARDWARE = 3
"""Of ``nvjpegCreateEx``: the backend of the engine."""

CALLERS, CALLS = (1, 2, 3, 4), (256, 512, 1024)
"""Calls at a time, and streams a call."""


class EngineNvJpeg(NvJpeg):
    """nvJPEG by its hardware engine."""

    def handle(self, process: Process) -> ctypes.c_void_p:
        found = ctypes.c_void_p()
        create = self._library.nvjpegCreateEx
        status = create(HARDWARE, None, None, INTERPOLATED, ctypes.byref(found))
        if status != 0:
            msg = f"nvJPEG has no hardware engine here (status {status})"
            raise UnableError(msg)
        return found


class Callers:
    """Threads that have nvJPEG decode streams, each with a decoder.

    Parameters
    ----------
    library
        nvJPEG.
    streams
        Whole streams of pictures of one size.
    shape, dtype
        Of a picture.
    process
        By which they are encoded.
    callers, batch
        How many threads, and streams a call.
    """

    def __init__(
        self,
        library: NvJpeg,
        streams: Sequence[bytes],
        shape: tuple[int, int, int],
        dtype: str,
        process: Process,
        callers: int,
        batch: int,
    ) -> None:
        sizes = np.array([len(stream) for stream in streams])
        memory = cupy().cuda.alloc_pinned_memory(int(sizes.sum()))
        self._pinned = np.frombuffer(memory, np.uint8, int(sizes.sum()))
        self._pinned[:] = np.frombuffer(b"".join(streams), np.uint8)
        place = self._pinned.ctypes.data + np.cumsum(sizes) - sizes
        self._streams = np.column_stack([place, sizes]).astype(np.uint64)
        self._pictures = cupy().empty((len(streams), *shape), dtype)
        step = int(self._pictures.strides[0])
        self._slots = (self._pictures.data.ptr + np.arange(len(streams)) * step).astype(np.uint64)
        self._row_bytes = int(self._pictures.strides[1])
        self._process: Process = process
        self._colors: Any = "as is" if process == "lossless" else "rgb"
        self._batch = batch
        self._decoders = [JpegDecoder(library) for _ in range(callers)]
        self._cuda = [cupy().cuda.Stream(non_blocking=True) for _ in range(callers)]
        self._pool = ThreadPoolExecutor(callers, initializer=cupy().cuda.Device(0).use)

    def decode(self) -> None:
        """Decode all."""
        starts = deque(range(0, len(self._streams), self._batch))
        works = range(len(self._decoders))
        list(self._pool.map(lambda number: self._work(number, starts), works))

    def _work(self, number: int, starts: deque[int]) -> None:
        decoder, stream = self._decoders[number], self._cuda[number]
        while True:
            try:
                start = starts.popleft()
            except IndexError:
                break
            part = slice(start, start + self._batch)
            streams, slots = self._streams[part], self._slots[part]
            is_done = decoder.decode(
                self._process, self._colors, streams, slots, self._row_bytes, stream
            )
            if not is_done:
                msg = "nvJPEG refuses these streams"
                raise UnableError(msg)
        stream.synchronize()

    def pictures(self) -> np.ndarray:
        """Return what was decoded last."""
        found: np.ndarray = cupy().asnumpy(self._pictures)
        return found

    def close(self) -> None:
        """Give back what the decoders hold."""
        self._pool.shutdown()
        for decoder in self._decoders:
            decoder.close()


def _library(kind: type[NvJpeg]) -> NvJpeg:
    found = nvjpeg()
    if found is None:
        msg = "nvJPEG is not installed"
        raise UnableError(msg)
    return kind(found._library)


def jobs(folder: Path, workers: int, rounds: int, _scale: Scale) -> dict[str, Job]:
    """Return what measures each row."""
    path = partial(Slide("jpeg420", 16384, TILE).path, folder)
    lossless = partial(DicomVolume("jpeg-lossless", FRAMES, 2500, 2000).path, folder / "dicom")
    return {
        **{
            f"jpeg tiles, {callers} callers, {batch} a call": partial(
                jpeg_tiles, path, callers, batch, workers, rounds
            )
            for callers in CALLERS
            for batch in CALLS
        },
        "lossless frames": partial(lossless_frames, lossless, workers, rounds),
    }


def jpeg_tiles(
    path: Callable[[], Path], callers: int, batch: int, workers: int, rounds: int
) -> CudaRow:
    """Compare nvJPEG's kernels with its engine, nvImageCodec and the CPU's threads."""
    streams = tile_streams(path(), TILES)
    shape = TILE, TILE, 3
    row = CudaRow(
        f"decode tiles, {callers} calls of {batch}", "jpeg420-256", workers, TILES, "tiles"
    )
    made = Callers(_library(NvJpeg), streams, shape, "uint8", "baseline", callers, batch)

    def by_engine() -> Callers:
        return Callers(_library(EngineNvJpeg), streams, shape, "uint8", "baseline", callers, batch)

    engine: list[Callers] = []

    def engine_decodes() -> None:
        if not engine:
            engine.append(by_engine())
        engine[0].decode()

    bare = BareDecoder(streams, shape, "SRGB", (batch,))
    made.decode()
    expected = np.stack([simplejpeg.decode_jpeg(stream) for stream in streams[:64]])
    found = made.pictures()[:64].astype(np.int16)
    row.note(f"pixels within {np.abs(found - expected).max()} of libjpeg-turbo's")
    out = np.empty((TILES, *shape), np.uint8)

    def by_cpu(numbers: range) -> None:
        for number in numbers:
            simplejpeg.decode_jpeg(streams[number], buffer=out[number])

    contestants: dict[str, Callable[[], object]] = {
        "regionio": made.decode,
        "nvjpeg's engine": engine_decodes,
        "nvimgcodec": lambda: bare.fastest(TILES),
        "libjpeg-turbo": lambda: in_threads(by_cpu, TILES, workers),
    }
    try:
        return compare_on_gpu(row, contestants, rounds, path())
    finally:
        for each in (made, *engine):
            each.close()


def lossless_frames(path: Callable[[], Path], workers: int, rounds: int) -> CudaRow:
    """Compare nvJPEG with nvImageCodec and the CPU's threads."""
    streams = compressed_frames(path())
    expected = imagecodecs.jpeg8_decode(streams[0])
    shape = (*expected.shape[:2], 1)
    row = CudaRow("decode frames, 2 calls of 32", "jpeg-lossless", workers, len(streams), "frames")
    made = Callers(_library(NvJpeg), streams, shape, "uint16", "lossless", 2, 32)
    made.decode()
    np.testing.assert_array_equal(made.pictures()[0, ..., 0], expected)
    row.note("pixels equal libjpeg-turbo's")
    bare = BareDecoder(streams, shape, "GRAY", (32,), ["CodeStreams"], "uint16")
    out = np.empty((len(streams), *shape[:2]), np.uint16)

    def by_cpu(numbers: range) -> None:
        for number in numbers:
            imagecodecs.jpeg8_decode(streams[number], out=out[number])

    contestants: dict[str, Callable[[], object]] = {
        "regionio": made.decode,
        "nvimgcodec": lambda: bare.fastest(len(streams)),
        "libjpeg-turbo": lambda: in_threads(by_cpu, len(streams), workers),
    }
    try:
        return compare_on_gpu(row, contestants, rounds, path())
    finally:
        made.close()
