"""Batches on their way from locations to pixels in the memory of a GPU."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import ClosedError, DeviceError, RegionIOError
from regionio._reader import Reader, incomplete_regions, paint_masks, planned
from regionio._region import Region
from regionio._window import Window
from regionio.compose.gather import BatchLayout
from regionio.engines import ReadStats
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk
from regionio.engines.cuda.composer import Composer
from regionio.engines.cuda.held import HeldPart, HeldTiles
from regionio.engines.cuda.memory import BatchMemory
from regionio.engines.cuda.routes import chunk_of
from regionio.engines.cuda.streams import Context, DeviceThread, device_thread
from regionio.engines.cuda.tables import ValueTables
from regionio.engines.cuda.tasks import Tasks
from regionio.engines.group import TileGroup, groups_of

__all__ = ["CudaWork"]

CHUNK_TILES = 512


@dataclass
class CudaBatch:
    """Regions that are being read.

    Parameters
    ----------
    number
        Of the batch.
    locations, indices
        As in `Region`.
    mask
        As in `Region`, still in main memory.
    job
        What renders it.
    """

    number: int
    locations: NDArray[np.int64]
    indices: NDArray[np.int64]
    mask: NDArray[np.bool_] | None
    job: CudaJob


class CudaWork:
    """The work of a reader whose regions are wanted on a GPU.

    Parameters
    ----------
    reader
        What regions have in common.
    batch_size
        1 gives regions without a leading axis.
    num_workers
        Most threads that fetch and decode.
    ahead
        Batches that are read ahead: tiles are kept for as many.
    """

    def __init__(self, reader: Reader, batch_size: int, num_workers: int, ahead: int = 0) -> None:
        assert reader.device is not None
        self._reader = reader
        self._batch_size = batch_size
        self._thread: DeviceThread = device_thread(reader.device)
        self._next_region = self._regions = 0
        self._stats = ReadStats()
        self._cancelled = False
        self.held = HeldTiles(ahead)
        self.tasks = Tasks(num_workers)

    @property
    def stats(self) -> ReadStats:
        """What it has cost so far."""
        return replace(self._stats, regions=self._regions)

    def add(self, locations: NDArray[np.int64], indices: NDArray[np.int64]) -> list[CudaBatch]:
        """Plan one or more batches and hand them to the GPU's thread."""
        reader, size = self._reader, self._batch_size
        first = self._next_region
        self._next_region += -(-len(locations) // size) * size
        window = planned(reader, reader.level_location(locations), first, size)
        counts = [min(size, len(locations) - start) for start in range(0, len(locations), size)]
        incomplete = incomplete_regions(reader, window, first, len(locations))
        masks = self._masks(window, first // size, counts) if reader.return_mask else None
        job = CudaJob(self, window, first // size, counts, incomplete)
        batches = []
        for place in range(len(counts)):
            part = slice(place * size, (place + 1) * size)
            mask = None if masks is None else masks[place]
            number = first // size + place
            batches.append(CudaBatch(number, locations[part], indices[part], mask, job))
        self._thread.submit(job)
        return batches

    def finish(self, batch: CudaBatch, *, help_render: bool = False) -> Region:
        """Wait until a batch's work has been given to the GPU, and return it.

        The stream that is current in the caller's thread waits for the pixels; the thread does
        not.
        """
        array, memory = batch.job.wait(batch.number)
        if self._cancelled:
            msg = "the loader was closed while it was read"
            raise ClosedError(msg)
        self._regions += len(batch.locations)
        mask = None if batch.mask is None else batch.job.cupy.asarray(batch.mask)
        single = self._batch_size == 1
        return self._reader.region(
            array, mask, batch.locations, batch.indices, single=single, memory=memory
        )

    def cancel(self) -> None:
        """Drop what is not finished."""
        self._cancelled = True

    def _masks(
        self, window: Window, first_batch: int, counts: list[int]
    ) -> list[NDArray[np.bool_]]:
        """Return the masks of batches, in main memory."""
        plain = self._reader.layout.without_channels
        masks = [np.zeros((count, *plain.shape), np.bool_) for count in counts]
        ordered = [plain.ordered(mask) for mask in masks]
        paint_masks(self._reader, window, first_batch, self._batch_size, ordered)
        return masks

    @property
    def reader(self) -> Reader:
        """What regions have in common."""
        return self._reader

    def is_cancelled(self) -> bool:
        """Whether nobody wants the rest."""
        return self._cancelled

    @property
    def batch_size(self) -> int:
        """Regions a batch."""
        return self._batch_size

    def note(self, stats: ReadStats) -> None:
        """Count what a chunk has cost."""
        self._stats.add(stats)


class CudaJob:
    """Batches that are rendered together.

    Parameters
    ----------
    work
        Whose they are.
    window
        Their tiles.
    first_batch, counts
        Number of the first batch, and how many regions each has.
    incomplete
        ``bool[n]``, which regions have pixels that no piece covers.
    """

    def __init__(
        self,
        work: CudaWork,
        window: Window,
        first_batch: int,
        counts: list[int],
        incomplete: NDArray[np.bool_],
    ) -> None:
        self._work = work
        self._window = window
        self._first_batch, self._counts = first_batch, counts
        self._incomplete = incomplete
        self._arrays: list[Any] = []
        self._memories: list[BatchMemory] = []
        self._errors: dict[int, BaseException] = {}
        self._finished = threading.Event()
        self._event: Any = None
        self._composer: Composer | None = None
        self._again: list[HeldPart] = []
        self.cupy: Any = None

    def chunks(self, context: Context) -> Iterator[TileChunk]:
        """Prepare the batches' memory, and yield the work."""
        self.cupy = context.cupy
        if self._work.is_cancelled():
            return
        reader, held = self._work.reader, self._work.held
        self._composer = self._made_composer(context)
        last_batch = self._first_batch + len(self._counts) - 1
        held.expire(self._first_batch, context.share_bytes)
        self._again, missing = held.find(self._window)
        tile_bytes = _tile_bytes(reader, self._window)
        for part in _portions(missing, context.share_bytes // tile_bytes):
            for group in groups_of(part, [reader.source.storages]):
                if self._work.is_cancelled():
                    return
                chunk = self._chunk(context, group)
                held.add(chunk, last_batch, len(group) * tile_bytes)
                yield chunk

    def done(self, context: Context, error: BaseException | None) -> None:
        """Note that the pixels are on their way, or that they never will be."""
        if self._finished.is_set():
            return
        if error is not None:
            error = _explained(context, error, self._nbytes())
            self._errors = dict.fromkeys(range(len(self._counts)), error)
        else:
            for part in self._again:
                self._compose_again(context, part)
            self._event = context.compose_stream.record()
        self._again.clear()
        self._finished.set()

    def wait(self, number: int) -> tuple[Any, BatchMemory]:
        """Return a batch's pixels and their memory, once what makes them is on its way."""
        self._finished.wait()
        place = number - self._first_batch
        if place in self._errors:
            raise self._errors[place]
        if not self._arrays:
            msg = "the loader was closed while it was read"
            raise ClosedError(msg)
        stream = self.cupy.cuda.get_current_stream()
        stream.wait_event(self._event)
        array, memory = self._arrays[place], self._memories[place]
        self._arrays[place] = None
        self._memories[place] = None  # type: ignore[call-overload]  # it is the caller's now
        memory.used_by(stream)
        return array, memory

    def _made_composer(self, context: Context) -> Composer:
        """Allocate the batches, and fill the regions that will not be covered."""
        reader, work = self._work.reader, self._work
        dtype, shape = reader.conversion.dtype, reader.layout.shape
        stream = context.compose_stream
        strides: tuple[int, ...] = ()
        for place, count in enumerate(self._counts):
            nbytes = math.prod(shape) * count * dtype.itemsize
            memory = BatchMemory(context.cupy, nbytes, stream)
            array = memory.array((count, *shape), dtype)
            self._arrays.append(array)
            self._memories.append(memory)
            strides = reader.layout.ordered(array).strides
            part = self._incomplete[place * work.batch_size :][:count]
            if part.any():
                with stream:
                    ordered = reader.layout.ordered(array)
                    fill = context.cupy.asarray(reader.fill)
                    ordered[context.cupy.asarray(np.flatnonzero(part))] = fill
        address = np.array([array.data.ptr for array in self._arrays], dtype=np.int64)
        region, z, y, x, channel = strides
        layout = BatchLayout(
            address, self._first_batch, work.batch_size, (region, z, y, x, channel)
        )
        return Composer(layout, reader.planes, reader.layout.channels, reader.conversion)

    def _chunk(self, context: Context, group: TileGroup) -> TileChunk:
        """Return the chunk that takes the tiles' way."""
        convert = self._work.reader.source.convert
        tables = ValueTables.of(convert, group.dtype)
        plan = ChunkPlan(group, self._work.tasks, self._compose, tables)
        index = group.view.index
        return chunk_of(context, plan, index, None if tables is not None else convert)

    def _compose(self, context: Context, chunk: TileChunk) -> None:
        """Write the pieces of a chunk's tiles into regions."""
        self._work.note(chunk.stats)
        self._write(context, chunk, chunk.group.window, chunk.complete_rows(context), chunk.failed)

    def _compose_again(self, context: Context, part: HeldPart) -> None:
        """Write the pieces of tiles that were decoded for earlier batches."""
        if not part.chunk.finished:
            msg = "a batch before this one, whose tiles it needs, could not be read"
            raise DeviceError(msg)
        self._write(context, part.chunk, part.window, part.rows(context), part.failed)

    def _write(
        self,
        context: Context,
        chunk: TileChunk,
        window: Window,
        rows: NDArray[Any],
        failed: dict[int, RegionIOError],
    ) -> None:
        bounds, batch_size = window.first_piece, self._work.batch_size
        for member, error in failed.items():
            for region in window.pieces["region"][bounds[member] : bounds[member + 1]].tolist():
                self._errors.setdefault(region // batch_size - self._first_batch, error)
        if failed:
            there = np.setdiff1d(np.arange(len(window)), list(failed))
            window, rows = window.chosen(there), rows[there]
        assert self._composer is not None
        self._composer(context, chunk.kind, window, rows)
        chunk.lease.slab.busy = context.compose_stream.record()

    def _nbytes(self) -> int:
        reader = self._work.reader
        return reader.region_bytes * sum(self._counts)


def _portions(window: Window, most_tiles: int) -> Iterator[Window]:
    """Cut a window into parts for one chunk each."""
    step = max(1, min(CHUNK_TILES, most_tiles))
    for start in range(0, len(window), step):
        yield window[start : start + step]


def _tile_bytes(reader: Reader, window: Window) -> int:
    """Return the bytes of a tile in the GPU's memory, of uncompressed ones as many as are read."""
    height, width = reader.view.table.tile_shape
    index = reader.view.index
    itemsize = max(index.dtype.itemsize, *(encoding.itemsize for encoding in index.encodings))
    if all(encoding.compression == "none" for encoding in index.encodings) and len(window):
        height = int((window.tiles["last_row"] - window.tiles["first_row"]).max())
    return height * width * max(index.samples, index.encodings[0].samples) * itemsize


def _explained(context: Context, error: BaseException, nbytes: int) -> BaseException:
    """Return an error that says what to do where the GPU's memory is full."""
    if isinstance(error, context.cupy.cuda.memory.OutOfMemoryError):
        msg = (
            f"the memory of cuda:{context.number} is full: batches that are read together take "
            f"{nbytes} bytes; lower batch_size or prefetch_factor ({error})"
        )
        return DeviceError(msg)
    return error
