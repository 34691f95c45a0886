"""Uncompressed rows, as they stand in the file: the kernel that composes swaps and masks them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.compose.gather import GatherKind
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk, rows_at
from regionio.engines.cuda.fetch import places_for
from regionio.engines.cuda.streams import Context
from regionio.storage.kvikio import DeviceFile, runs_of

__all__ = ["KvikioChunk", "RawChunk", "are_long_runs"]

LEAST_RUN_BYTES = 256 * 1024
"""Of what KvikIO reads in one go on average: each takes it 14 µs and Python's lock."""


class RawChunk(TileChunk):
    """Rows that go through pinned memory."""

    def start(self, context: Context) -> None:
        self._place, total = places_for(self.ranges[:, 1])
        self.take_buffer(context, total)
        members = self.members_by_offset()
        placed = np.column_stack([self.ranges[members], self._place[members]])
        self.futures.append(self.lane.run(self.read, placed, self.bytes))

    def bring(self, context: Context) -> None:
        self._address = self.upload(context, self.bytes)

    @property
    def kind(self) -> GatherKind:
        encoding = self.group.encoding
        native = np.dtype(encoding.byteorder + "u2").isnative
        return replace(super().kind, swapped=not native, used_bits=encoding.option("used_bits"))

    def rows(self) -> NDArray[Any]:
        _, columns, samples = self.group.tile_shape
        itemsize = self.group.dtype.itemsize
        rows = rows_at(self._address + self._place, columns * samples, samples, itemsize)
        rows["height"] = self.group.begin
        return rows


class KvikioChunk(RawChunk):
    """Rows that KvikIO reads straight into the GPU's memory, neighbours together.

    Parameters
    ----------
    plan
        As of `TileChunk`.
    file
        The file that holds them.
    """

    def __init__(self, plan: ChunkPlan, file: DeviceFile) -> None:
        super().__init__(plan)
        self._file = file
        self._reads: list[Any] = []

    def start(self, context: Context) -> None:
        self._runs = runs_of(self.ranges, self.group.storage.identity.size)
        self._place = self._runs.place
        self.lease = context.slab(self._runs.total)
        slab = self.lease.slab
        if slab.busy is not None:
            slab.busy.synchronize()  # KvikIO knows of no stream
        self._address = int(slab.memory.data.ptr)
        self._file.start(self._runs, slab.memory, self._reads)
        self.prepare(context)  # while they are read

    def bring(self, context: Context) -> None:
        count = self._file.finish(self._runs, self._reads)
        self.stats.requests += count.requests
        self.stats.bytes_wanted += self._runs.bytes_wanted
        self.stats.bytes_read += count.bytes_read
        self.stats.bytes_kvikio += count.bytes_read
        self.stats.bytes_cufile += count.bytes_cufile

    def abandon(self, context: Context) -> None:
        self._file.settle(self._reads)
        super().abandon(context)


def are_long_runs(ranges: NDArray[np.int64]) -> bool:
    """Return whether ranges lie together so that KvikIO reads them sooner than `preadv`."""
    runs = runs_of(ranges, int(ranges.sum(axis=1).max(initial=0)))
    return len(runs.offset) * LEAST_RUN_BYTES <= runs.total
