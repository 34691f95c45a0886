"""Batches that are rendered together on a GPU: their chunks, and what became of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regionio._cuda_batches import CudaBatches
from regionio._errors import DeviceError, RegionIOError
from regionio._index import Encoding
from regionio._reader import Reader
from regionio._window import Window, stacked
from regionio.codecs.cuda import GpuStreams
from regionio.compose.gather import GatherKind
from regionio.engines import ReadStats
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk
from regionio.engines.cuda.composer import Composer
from regionio.engines.cuda.device import explained
from regionio.engines.cuda.held import HeldPart, HeldTiles
from regionio.engines.cuda.memory import BatchMemory, GivenMemory
from regionio.engines.cuda.routes import chunk_of
from regionio.engines.cuda.streams import Context
from regionio.engines.cuda.tables import ValueTables
from regionio.engines.cuda.tasks import Tasks
from regionio.engines.group import TileGroup, groups_of

__all__ = ["CudaJob"]

CHUNK_TILES = 1024


class JobOwner(Protocol):
    """Whose batches a job renders.

    Attributes
    ----------
    reader
        What regions have in common.
    held
        Tiles of earlier batches.
    tasks, lane, suits
        As of `ChunkPlan`.
    failure
        What went wrong first.
    """

    reader: Reader
    held: HeldTiles
    tasks: Tasks
    lane: Tasks
    suits: dict[Encoding, GpuStreams | None]
    failure: str

    def tables_for(self, group: TileGroup) -> ValueTables | None:
        """Return what gives other values for stored ones, None if there is no such thing."""
        ...

    def is_cancelled(self) -> bool:
        """Return whether nobody wants the rest."""
        ...

    def note(self, stats: ReadStats) -> None:
        """Count what a chunk has cost."""
        ...


class CudaJob:
    """Batches that are rendered together.

    Parameters
    ----------
    work
        Whose they are.
    window
        Their tiles.
    batches
        Their memory.
    """

    def __init__(self, work: JobOwner, window: Window, batches: CudaBatches) -> None:
        self._work = work
        self._window = window
        self._batches = batches
        self._errors: dict[int, BaseException] = {}
        self._finished, self._ended = threading.Event(), threading.Event()
        self._event: Any = None
        self._composer: Composer | None = None
        self._again: list[HeldPart] = []
        self.cupy: Any = None
        self._device = 0

    def chunks(self, context: Context) -> Iterator[TileChunk]:
        """Prepare the batches' memory, and yield the work."""
        self.cupy, self._device = context.cupy, context.number
        if self._work.is_cancelled():
            return
        reader, held = self._work.reader, self._work.held
        batches = self._batches
        self._composer = batches.allocate(context)
        last_batch = batches.first_batch + len(batches.counts) - 1
        held.expire(batches.first_batch)
        self._again, missing = held.find(self._window)
        tile_bytes = _tile_bytes(reader, self._window)
        for part in _portions(missing, context.share_bytes // tile_bytes):
            for group in groups_of(part, [reader.source.storages]):
                if self._work.is_cancelled():
                    return
                chunk = self._chunk(context, group, len(missing))
                held.add(chunk, last_batch, len(group) * tile_bytes, context.held)
                yield chunk

    def done(self, context: Context, error: BaseException | None) -> None:
        """Note that the pixels are on their way, or that they never will be."""
        if self._finished.is_set():
            return
        if error is not None:
            error = explained(context.number, error, self._batches.nbytes)
            self._work.failure = self._work.failure or str(error)
            first = self._batches.first_batch
            self._errors = dict.fromkeys(range(first, first + len(self._batches.counts)), error)
            self._batches.drop()  # who keeps the error keeps the job
        else:
            self._compose_again(context)
            self._batches.complete(context)
            self._event = context.compose_stream.record()
        self._again.clear()
        self._finished.set()

    def end(self, context: Context) -> None:
        """Note that all that will ever be written is on its way."""
        try:
            self._event = self._event or context.compose_stream.record()
        finally:
            self._ended.set()

    def settle(self) -> None:
        """Let the stream that is current in the caller's thread wait for all that is written."""
        self._ended.wait()
        if self._event is not None:
            with self.cupy.cuda.Device(self._device):
                self.cupy.cuda.get_current_stream().wait_event(self._event)

    def wait(self, number: int) -> tuple[Any, BatchMemory | GivenMemory] | None:
        """Return a batch's pixels and their memory, once what makes them is on its way.

        None: nothing was begun, where the loader was closed.
        """
        self._finished.wait()
        taken = self._batches.take(number)
        if number in self._errors:
            del taken  # who keeps the error keeps this frame
            raise self._errors[number]
        if taken is None:
            return None
        with self.cupy.cuda.Device(self._device):  # each GPU has a current stream of its own
            stream = self.cupy.cuda.get_current_stream()
            stream.wait_event(self._event)
        taken[1].used_by(stream)
        return taken

    def _chunk(self, context: Context, group: TileGroup, tiles: int) -> TileChunk:
        """Return the chunk that takes the way of the tiles, of so many that are missing."""
        convert = self._work.reader.source.convert
        tables = self._work.tables_for(group)
        work = self._work
        plan = ChunkPlan(group, work.tasks, work.lane, self._compose, tables, work.suits, tiles)
        index = group.view.index
        return chunk_of(context, plan, index, None if tables is not None else convert)

    def _compose(self, context: Context, chunk: TileChunk) -> Callable[[], None]:
        """Return what writes the pieces of a chunk's tiles into regions, once they are there."""
        window, rows = self._sound(chunk.group.window, chunk.complete_rows(context), chunk.failed)
        assert self._composer is not None
        launch = self._composer.prepared(context, chunk.kind, window, rows)

        def compose() -> None:
            self._work.note(chunk.stats)
            launch()
            chunk.lease.slab.busy = context.compose_stream.record()

        return compose

    def _compose_again(self, context: Context) -> None:
        """Write the pieces of tiles that were decoded for earlier batches."""
        if not self._again:  # nothing was begun, where the loader was closed
            return
        alike: dict[GatherKind, list[tuple[Window, NDArray[Any]]]] = {}
        for part in self._again:
            if not part.chunk.finished:
                reason = self._work.failure or "its loader was closed"
                msg = f"a batch before this one, whose tiles it needs, could not be read: {reason}"
                raise DeviceError(msg)
            found = self._sound(part.window, part.rows(context), part.failed)
            alike.setdefault(part.chunk.kind, []).append(found)
        assert self._composer is not None
        for kind, found_alike in alike.items():
            windows, rows = zip(*found_alike, strict=True)
            launch = self._composer.prepared(context, kind, stacked(windows), np.concatenate(rows))
            launch()
        for part in self._again:
            part.chunk.lease.slab.busy = context.compose_stream.record()

    def _sound(
        self, window: Window, rows: NDArray[Any], failed: dict[int, RegionIOError]
    ) -> tuple[Window, NDArray[Any]]:
        """Return the tiles that could be read; regions that need others have an error."""
        bounds, batch_size = window.first_piece, self._batches.batch_size
        for member, error in failed.items():
            for region in window.pieces["region"][bounds[member] : bounds[member + 1]].tolist():
                self._errors.setdefault(region // batch_size, error)
        if not failed:
            return window, rows
        there = np.setdiff1d(np.arange(len(window)), list(failed))
        return window.chosen(there), rows[there]


def _portions(window: Window, most_tiles: int) -> Iterator[Window]:
    """Cut a window into parts for one chunk each, about as large as each other."""
    most = max(1, min(CHUNK_TILES, most_tiles))
    step = max(1, -(-len(window) // max(1, -(-len(window) // most))))
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
