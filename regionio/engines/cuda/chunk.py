"""A few tiles on their way into regions of the GPU's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, RegionIOError
from regionio._workers import worker_pool
from regionio.compose.gather import GATHER_PIECE, GatherKind
from regionio.engines.cuda.fetch import read_to_places, shares
from regionio.engines.cuda.memory import PinnedBuffer
from regionio.engines.cuda.slabs import Lease
from regionio.engines.cuda.streams import Context
from regionio.engines.cuda.tables import ValueTables
from regionio.engines.group import TileGroup
from regionio.engines.stats import ReadStats
from regionio.storage import FetchCount

__all__ = ["ChunkPlan", "TileChunk", "rows_at"]


@dataclass(frozen=True, eq=False)
class ChunkPlan:
    """What every chunk of a job is made with.

    Parameters
    ----------
    group
        The tiles.
    threads
        Most threads at work for them.
    compose
        Takes the chunk once its tiles are in the GPU's memory: writes pieces into regions.
    tables
        What gives other values for the stored ones, or None.
    """

    group: TileGroup
    threads: int
    compose: Callable[[Context, TileChunk], None]
    tables: ValueTables | None = None


class TileChunk:
    """Tiles of one group; subclasses bring them to the GPU, each by its own way.

    Parameters
    ----------
    plan
        The tiles, and what becomes of them.

    Attributes
    ----------
    failed
        Why tiles can't be had, by their number in the group.
    lease
        The memory that the tiles are in, once they are there.
    finished
        Whether they are.
    """

    def __init__(self, plan: ChunkPlan) -> None:
        self.group = plan.group
        self.failed: dict[int, RegionIOError] = {}
        self.stats = ReadStats()
        self.lease: Lease
        self.finished = False
        self._tables = plan.tables
        self._threads = plan.threads
        self._compose: Callable[[Context, TileChunk], None] | None = plan.compose
        self._buffer: PinnedBuffer | None = None
        self._futures: list[Future[FetchCount]] = []

    @property
    def kind(self) -> GatherKind:
        """How samples lie in the GPU's memory; the target is still open."""
        kind = GatherKind(str(self.group.dtype), str(self.group.dtype))
        return kind if self._tables is None else self._tables.kind(kind)

    def rows(self) -> NDArray[Any]:
        """Return ``GATHER_PIECE[n]`` of each tile, as `piece_table` wants it."""
        raise NotImplementedError  # each way has its own

    def complete_rows(self, context: Context) -> NDArray[Any]:
        """Return the same, with the address of each tile's table of values."""
        rows = self.rows()
        if self._tables is not None:
            rows["table"] = self._tables.addresses(context, self.group.tile)
        return rows

    def start(self, context: Context) -> None:
        """Have bytes fetched by other threads."""
        raise NotImplementedError  # each way has its own

    def bring(self, context: Context) -> None:
        """Wait for the threads; have what they have made brought to the GPU."""
        raise NotImplementedError  # each way has its own

    def finish(self, context: Context) -> None:
        """Bring the tiles to the GPU, and compose."""
        self.bring(context)
        self.stats.tiles_decoded += len(self.group) - len(self.failed)
        brought = [context.decode_stream.record(), context.copy_stream.record()]
        if self._buffer is not None:
            self._buffer.busy = brought
        for event in brought:
            context.compose_stream.wait_event(event)
        assert self._compose is not None
        self._compose(context, self)
        self._compose = None  # who keeps the chunk does not keep the job
        self.finished = True

    def collect(self, futures: Sequence[Future[FetchCount]]) -> None:
        """Wait for threads, and count what they have read."""
        for future in futures:
            count: FetchCount = future.result()
            self.stats.bytes_wanted += count.bytes_wanted
            self.stats.bytes_read += count.bytes_read
            self.stats.requests += count.requests

    def abandon(self) -> None:
        """Wait for the threads, so that what they write to can be used again."""
        wait(self._futures)
        self._compose = None

    def take_buffer(self, context: Context, nbytes: int) -> NDArray[np.uint8]:
        """Return pinned memory, this chunk's until its tiles are in the GPU's."""
        self._buffer = context.pinned()
        return self._buffer.take(nbytes)

    def share_out(self, work: Callable[[slice], FetchCount], nbytes: NDArray[np.int64]) -> None:
        """Have `work` done on parts of the tiles by several threads."""
        for part in shares(nbytes, max(1, self._threads)):
            self._futures.append(worker_pool.run(work, part))

    def fail(self, member: int, error: Exception) -> None:
        """Note that a tile can't be had."""
        self.failed[member] = self.group.located(member, error)

    def readable_ranges(self) -> NDArray[np.int64]:
        """Return ``int64[n, 2]``, offset and bytes of each tile; 0 bytes of those that fail."""
        ranges = self.group.ranges()
        for member, reason in self.group.wrong_ranges().items():
            self.fail(member, CorruptFileError(reason))
        ranges[list(self.failed), 1] = 0
        return ranges

    def read_ranges(
        self,
        ranges: NDArray[np.int64],
        place: NDArray[np.int64],
        buffer: NDArray[np.uint8],
    ) -> None:
        """Have tiles read into the buffer by several threads.

        Parameters
        ----------
        ranges
            Of each tile.
        place
            Where in the buffer each goes.
        buffer
            The memory.
        """
        order = np.argsort(ranges[:, 0], kind="stable")
        order = order[ranges[order, 1] > 0]
        placed = np.column_stack([ranges, place])[order]

        def read(part: slice) -> FetchCount:
            return read_to_places(self.group.storage, placed[part], buffer)

        self.share_out(read, placed[:, 1])

    def upload(self, context: Context, buffer: NDArray[np.uint8]) -> int:
        """Copy a pinned buffer to the GPU; return the address."""
        self.lease = context.slabs.take(len(buffer))
        device = self.lease.slab.memory[: len(buffer)]
        device.set(buffer, stream=context.copy_stream)
        return int(device.data.ptr)


def rows_at(
    address: NDArray[np.int64] | Sequence[int], row: int, pixel: int, itemsize: int
) -> NDArray[Any]:
    """Return the tiles at some addresses, whose rows and pixels have so many samples."""
    rows = np.zeros(len(address), dtype=GATHER_PIECE)
    rows["source"] = address
    rows["row_stride"] = row * itemsize
    rows["pixel_stride"] = pixel * itemsize
    rows["channel_stride"] = itemsize
    return rows
