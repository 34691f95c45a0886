"""A few tiles on their way into regions of the GPU's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, RegionIOError
from regionio._index import Encoding
from regionio.codecs.cuda import GpuStreams
from regionio.compose.gather import GATHER_PIECE, GatherKind
from regionio.engines.cuda.fetch import SHARE_BYTES, read_to_places
from regionio.engines.cuda.memory import PinnedBuffer
from regionio.engines.cuda.slabs import Lease
from regionio.engines.cuda.streams import Context
from regionio.engines.cuda.tables import ValueTables
from regionio.engines.cuda.tasks import Tasks
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
    tasks, lane
        Run what threads have to do: the second, one at a time, what has threads of its own.
    compose
        Takes the chunk once it is known where in the GPU's memory its tiles are; returns what writes
        pieces of them into regions, to be called when they are there.
    tables
        What gives other values for the stored ones, or None.
    suits
        What makes streams of tiles of an encoding, None if the GPU can't decode them; as far as that
        was found out.
    tiles
        Of the whole job, whose chunks go the same way.
    """

    group: TileGroup
    tasks: Tasks
    lane: Tasks
    compose: Callable[[Context, TileChunk], Callable[[], None]]
    tables: ValueTables | None = None
    suits: dict[Encoding, GpuStreams | None] = field(default_factory=dict)
    tiles: int = 0


class TileChunk:
    """Tiles of one group; subclasses bring them to the GPU, each by its own way.

    Parameters
    ----------
    plan
        The tiles, and what becomes of them.

    Attributes
    ----------
    threads_shared
        By how many the threads that read are divided: others need the CPU meanwhile.
    failed
        Why tiles can't be had, by their number in the group.
    lease
        The memory that the tiles are in, once they are there.
    bytes
        Pinned memory that is the chunk's until then.
    finished
        Whether they are.
    """

    threads_shared = 1

    def __init__(self, plan: ChunkPlan) -> None:
        self.group = plan.group
        self.failed: dict[int, RegionIOError] = {}
        self.stats = ReadStats()
        self.lease: Lease
        self.finished = False
        self.futures: list[Future[FetchCount]] = []
        self.tasks, self.lane = plan.tasks, plan.lane
        self.events: list[Any] = []
        self._tables = plan.tables
        self._compose: Callable[[Context, TileChunk], Callable[[], None]] | None = plan.compose
        self._launch: Callable[[], None] | None = None
        self.bytes: NDArray[np.uint8]
        self._buffer: PinnedBuffer | None = None
        self._rows: NDArray[Any] | None = None
        self._kept_tables: list[Any] = []
        self.ranges = self.group.ranges()
        for member, reason in self.group.wrong_ranges().items():
            self.fail(member, CorruptFileError(reason))
        self.ranges[list(self.failed), 1] = 0  # they are not read

    @property
    def nbytes(self) -> int:
        """Bytes of its tiles in the GPU's memory."""
        return len(self.group) * self.group.tile_bytes

    @property
    def kind(self) -> GatherKind:
        """How samples lie in the GPU's memory; the target is still open."""
        return self.with_tables(GatherKind(str(self.group.dtype), str(self.group.dtype)))

    def with_tables(self, kind: GatherKind) -> GatherKind:
        """Return a kind that looks values up, if that is wanted."""
        return kind if self._tables is None else self._tables.kind(kind)

    def rows(self) -> NDArray[Any]:
        """Return ``GATHER_PIECE[n]`` of each tile, as `piece_table` wants it."""
        raise NotImplementedError  # each way has its own

    def complete_rows(self, context: Context) -> NDArray[Any]:
        """Return the same, with the address of each tile's table of values."""
        if self._rows is None:
            self._rows = self.rows()
            if self._tables is not None:
                tiles = self.group.window.tiles["tile"]
                self._rows["table"], self._kept_tables = self._tables.addresses(context, tiles)
        return self._rows

    def start(self, context: Context) -> None:
        """Have bytes fetched by other threads."""
        raise NotImplementedError  # each way has its own

    def bring(self, context: Context) -> None:
        """Have what the threads have made brought to the GPU."""
        raise NotImplementedError  # each way has its own

    def on_change(self, wake: Callable[[], None]) -> None:
        """Have a function called whenever a thread is done."""
        for future in self.futures:
            future.add_done_callback(lambda _: wake())

    def is_ready(self) -> bool:
        """Return whether nothing has to be waited for."""
        return all(future.done() for future in self.futures)

    def finish(self, context: Context) -> None:
        """Wait for the threads; bring the tiles to the GPU, and compose."""
        self._collect()
        self.bring(context)
        self.stats.tiles_decoded += len(self.group) - len(self.failed)
        self.events += [context.decode_stream.record(), context.copy_stream.record()]
        self._give_back(self.events)
        for event in self.events:
            context.compose_stream.wait_event(event)
        self.prepare(context)
        assert self._launch is not None
        self._launch()
        self._compose = self._launch = None  # who keeps the chunk does not keep the job
        self.events = []
        self.finished = True

    def abandon(self, context: Context) -> None:
        """Wait until nothing is read or written for it any more, whatever came of it."""
        wait(self.futures)
        try:
            for event in self.events:
                event.synchronize()
            for stream in (context.decode_stream, context.copy_stream, context.compose_stream):
                stream.synchronize()
        finally:  # a GPU that is lost neither reads nor writes
            self._give_back([])
            self._compose = self._launch = None
            self.futures, self.events = [], []
            self.__dict__.pop("lease", None)  # who keeps the error keeps the chunk

    def prepare(self, context: Context) -> None:
        """Prepare composing: as soon as it is known where tiles will be, and which have failed."""
        if self._launch is None and self._compose is not None:
            self._launch = self._compose(context, self)

    def members_by_offset(self) -> list[int]:
        """Return the tiles that can be read, in the order in which they lie in the file."""
        order: list[int] = np.argsort(self.ranges[:, 0], kind="stable").tolist()
        return [member for member in order if member not in self.failed]

    def take_buffer(self, context: Context, nbytes: int) -> NDArray[np.uint8]:
        """Return pinned memory, this chunk's until its tiles are in the GPU's."""
        self._buffer = context.pinned(nbytes)
        self.bytes = self._buffer.take(nbytes)
        return self.bytes

    def _give_back(self, events: list[Any]) -> None:
        """Let others have the pinned memory after the events: a chunk may be kept for long."""
        if self._buffer is not None:
            self._buffer.give_back(events)
        self._buffer = None
        self.__dict__.pop("bytes", None)

    def fail(self, member: int, error: Exception) -> None:
        """Note that a tile can't be had."""
        self.failed[member] = self.group.located(member, error)

    def read(self, placed: NDArray[np.int64], buffer: NDArray[np.uint8]) -> FetchCount:
        """Read ranges by several threads; parameters as of `read_to_places`."""
        most = max(1, self.tasks.most // self.threads_shared)
        threads = min(most, 1 + int(placed[:, 1].sum()) // SHARE_BYTES)
        return read_to_places(self.group.storage, placed, buffer, threads)

    def upload(self, context: Context, buffer: NDArray[np.uint8]) -> int:
        """Copy a pinned buffer to the GPU; return the address."""
        self.lease = context.slab(len(buffer))
        device = self.lease.slab.memory[: len(buffer)]
        device.set(buffer, stream=context.copy_stream)
        return int(device.data.ptr)

    def scattered(self, members: list[int], rows: NDArray[Any]) -> NDArray[Any]:
        """Return the rows of some tiles in a table of all; those of the others are empty."""
        every = np.zeros(len(self.group), dtype=GATHER_PIECE)
        every[members] = rows
        return every

    def _collect(self) -> None:
        """Wait for threads, and count what they have read."""
        for future in self.futures:
            self.stats.add_fetched(future.result())
        self.futures = []


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
