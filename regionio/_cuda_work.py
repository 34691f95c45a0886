"""Batches on their way from locations to pixels in the memory of a GPU."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._cuda_batches import CudaBatches
from regionio._cuda_job import CudaJob
from regionio._errors import ClosedError
from regionio._index import Encoding
from regionio._reader import Reader, incomplete_regions, paint_masks, planned
from regionio._region import Region
from regionio._window import Window
from regionio.codecs.cuda import GpuStreams
from regionio.engines import ReadStats
from regionio.engines.cuda.device import current_event, uploaded_mask
from regionio.engines.cuda.held import HeldTiles
from regionio.engines.cuda.streams import DeviceThread, device_thread
from regionio.engines.cuda.tables import ValueTables
from regionio.engines.cuda.tasks import Tasks
from regionio.engines.group import TileGroup

__all__ = ["CudaWork"]


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
        Most threads that fetch, or decode by compiled code; as many more may decode one by one.
    out
        CuPy's array for a single region, or None.
    ahead
        Batches that are read ahead: tiles are kept for as many.
    """

    def __init__(
        self,
        reader: Reader,
        batch_size: int,
        num_workers: int,
        out: Any = None,
        ahead: int = 0,
    ) -> None:
        assert reader.device is not None
        self.reader = reader
        self.held = HeldTiles(ahead)
        self.tasks, self.lane = Tasks(num_workers), Tasks(1)
        self.suits: dict[Encoding, GpuStreams | None] = {}
        self._tables: dict[np.dtype[Any], ValueTables | None] = {}
        self._batch_size = batch_size
        self._thread: DeviceThread = device_thread(reader.device)
        self._given = None if out is None else (out[None], current_event(reader.device))
        self._given_job: CudaJob | None = None
        self._next_region = self._regions = 0
        self._stats = ReadStats()
        self.failure = ""
        self._cancelled = False

    @property
    def stats(self) -> ReadStats:
        """What it has cost so far."""
        return replace(self._stats, regions=self._regions)

    def add(self, locations: NDArray[np.int64], indices: NDArray[np.int64]) -> list[CudaBatch]:
        """Plan one or more batches and hand them to the GPU's thread."""
        reader, size = self.reader, self._batch_size
        first = self._next_region
        self._next_region += -(-len(locations) // size) * size
        placed = reader.level_location(locations)
        window = planned(reader, placed, first, size)
        counts = [min(size, len(locations) - start) for start in range(0, len(locations), size)]
        incomplete = incomplete_regions(reader, window, first, len(locations))
        begin = None
        if reader.resampling is not None:
            begin = reader.begin_in_pixel(locations, placed)
        memory = CudaBatches(reader, first // size, size, counts, incomplete, begin, self._given)
        job = CudaJob(self, window, memory)
        self._thread.submit(job)
        if self._given is not None:
            self._given_job = job
        masks = self._masks(window, first // size, counts, begin) if reader.return_mask else None
        batches = []
        for place in range(len(counts)):
            part = slice(place * size, (place + 1) * size)
            mask = None if masks is None else masks[place]
            number = first // size + place
            batches.append(CudaBatch(number, locations[part], indices[part], mask, job))
        return batches

    def finish(self, batch: CudaBatch, *, help_render: bool = False) -> Region:
        """Wait until a batch's work has been given to the GPU, and return it.

        The stream that is current in the caller's thread waits for the pixels; the thread does
        not. Nobody can help the GPU's thread.
        """
        self._thread.check_process()
        taken = batch.job.wait(batch.number)
        if taken is None or self._cancelled:
            msg = "the loader was closed while it was read"
            raise ClosedError(msg)
        array, memory = taken
        self._regions += len(batch.locations)
        mask = None if batch.mask is None else uploaded_mask(self._thread.number, batch.mask)
        return self.reader.region(
            array, mask, batch.locations, batch.indices, batch_size=self._batch_size, memory=memory
        )

    def cancel(self) -> None:
        """Drop what is not finished; memory that was given is the caller's again."""
        self._cancelled = True
        self.held.close()
        if self._given_job is not None:
            with suppress(Exception):  # the GPU may be lost
                self._given_job.settle()
        self._thread.sweep()

    def tables_for(self, group: TileGroup) -> ValueTables | None:
        """Return what gives other values for stored ones, None where computing them is less work."""
        convert, dtype = self.reader.source.convert, group.dtype
        if dtype not in self._tables:
            self._tables[dtype] = ValueTables.of(convert, dtype)
        tables = self._tables[dtype]
        if tables is None or convert is None:
            return None
        count = len(np.unique(convert.numbers_of(group.window.tiles["tile"])))
        values = count << 8 * dtype.itemsize
        return tables if count == 1 or values <= len(group) * group.tile_bytes else None

    def is_cancelled(self) -> bool:
        """Return whether nobody wants the rest."""
        return self._cancelled

    def note(self, stats: ReadStats) -> None:
        """Count what a chunk has cost."""
        self._stats.add(stats)

    def _masks(
        self,
        window: Window,
        first_batch: int,
        counts: list[int],
        begin: NDArray[np.float64] | None,
    ) -> list[NDArray[np.bool_]]:
        """Return the masks of batches, in main memory."""
        reader, size = self.reader, self._batch_size
        plain = reader.source_layout.without_channels
        masks = [np.zeros((count, *plain.shape), np.bool_) for count in counts]
        ordered = [plain.ordered(mask) for mask in masks]
        paint_masks(reader, window, first_batch, size, ordered)
        if begin is None or reader.resampling is None:
            return masks
        result = reader.layout.without_channels
        covered = [np.zeros((count, *result.shape), np.bool_) for count in counts]
        for place, (read, mask) in enumerate(zip(ordered, covered, strict=True)):
            parts = begin[place * size :][: counts[place]]
            for part, start, out in zip(read, parts, result.ordered(mask), strict=True):
                reader.resampling.cover(part, start, out)
        return covered
