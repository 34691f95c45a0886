"""Chunks whose compressed samples nvCOMP decompresses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.codecs.cuda import ByteStreams, adler_of, source_text
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk
from regionio.engines.cuda.composer import uploaded
from regionio.engines.cuda.fetch import places_for
from regionio.engines.cuda.nvcomp import nvcomp
from regionio.engines.cuda.pictures import decode_left
from regionio.engines.cuda.slots import Slots
from regionio.engines.cuda.streams import Context

__all__ = ["InflatedChunk"]

THREADS = 256
ALIGNMENT = 16
"""Of streams in the GPU's memory; nvCOMP wants 4 or 8."""


class InflatedChunk(TileChunk):
    """Tiles that nvCOMP decompresses; kernels check checksums and undo predictors.

    Parameters
    ----------
    plan
        As of `TileChunk`.
    streams
        How tiles are compressed.
    """

    def __init__(self, plan: ChunkPlan, streams: ByteStreams) -> None:
        super().__init__(plan)
        self._streams = streams
        self._slots = Slots(self, self.members_by_offset())

    def start(self, context: Context) -> None:
        members, before = self._slots.members, self._streams.around[0]
        nbytes = self.ranges[members, 1]
        self._place, total = places_for(nbytes, (ALIGNMENT - before) % ALIGNMENT)
        self.take_buffer(context, total)
        placed = np.column_stack([self.ranges[members], self._place])
        self.futures.append(self.lane.run(self.read, placed, self.bytes))

    def bring(self, context: Context) -> None:
        self._compressed = context.slab(len(self.bytes))
        source = self._compressed.slab.memory[: len(self.bytes)]
        source.set(self.bytes, stream=context.decode_stream)
        self.lease = context.slab(self._slots.total)
        heads = self.bytes[self._place[:, None] + np.arange(2)]
        nbytes = self.ranges[self._slots.members, 1]
        mine = np.flatnonzero(self._streams.are_plain(heads, nbytes))
        left = set(range(len(self._slots.members))) - set(mine.tolist())
        if len(mine):
            left |= self._decompress(context, int(source.data.ptr), mine)
        self._compressed.slab.busy = context.decode_stream.record()
        del self._compressed
        decode_left(context, self, self._slots, sorted(left))

    def abandon(self, context: Context) -> None:
        super().abandon(context)
        self.__dict__.pop("_compressed", None)

    def _decompress(self, context: Context, source: int, mine: NDArray[np.int64]) -> set[int]:
        """Decompress tiles into their slots; return those in which something is wrong."""
        library, cupy, count = nvcomp(), context.cupy, len(mine)
        assert library is not None
        before, after = self._streams.around
        nbytes = self.ranges[self._slots.members, 1][mine] - before - after
        slots = int(self.lease.slab.memory.data.ptr) + mine * self._slots.step
        room = np.full(count, self._slots.nbytes)
        with context.decode_stream as stream:
            tables = uploaded(context, source + self._place[mine] + before, nbytes, slots, room)
            size = library.temporary_bytes(self._streams.kind, count, self._slots.nbytes)
            temporary = cupy.empty(max(1, size), cupy.uint8)
            sizes, statuses = cupy.zeros(count, np.uint64), cupy.zeros(count, np.int32)
            first, second, third, fourth = (int(table.data.ptr) for table in tables)
            library.decompress(
                self._streams.kind,
                count,
                (first, second, third, fourth),
                (int(temporary.data.ptr), size),
                (int(sizes.data.ptr), int(statuses.data.ptr)),
                stream.ptr,
            )
            sums = self._summed(context, mine, sizes)
            self._unpack(context)
            is_wrong = cupy.asnumpy(statuses) != 0
            found = cupy.asnumpy(sizes)
            is_wrong |= found < self._expected(mine)
            if sums is not None:
                is_wrong |= adler_of(cupy.asnumpy(sums), found) != self._stated(mine)
        return set(mine[is_wrong].tolist())

    def _expected(self, mine: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return the bytes that tiles have to become at least."""
        _, columns, samples = self.group.tile_shape
        rows = self.group.height[self._slots.members][mine].astype(np.uint64)
        return rows * np.uint64(columns * samples * self.group.dtype.itemsize)

    def _stated(self, mine: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the checksums that tiles state."""
        ends = (self._place + self.ranges[self._slots.members, 1])[mine]
        last = self.bytes[ends[:, None] + np.arange(-4, 0)]
        stated: NDArray[np.uint32] = np.ascontiguousarray(last).view(">u4")[:, 0]
        return stated

    def _summed(self, context: Context, mine: NDArray[np.int64], sizes: Any) -> Any:
        """Return the sums that checksums are made of, None where streams have none."""
        if self._streams.kind != "Deflate":
            return None
        cupy, count = context.cupy, len(self._slots.members)
        every = cupy.zeros(count, np.uint64)
        chosen = cupy.asarray(mine)
        every[chosen] = cupy.minimum(sizes, np.uint64(self._slots.nbytes))  # of damaged ones, too
        sums = cupy.zeros((count, 2), np.uint64)
        memory = self.lease.slab.memory
        kernel = self._kernel(context, "adler")
        kernel((count,), (THREADS,), (memory, np.int64(self._slots.step), every, sums))
        return sums[chosen]

    def _unpack(self, context: Context) -> None:
        if not (self._streams.differences or self._streams.swapped):
            return
        kernel = self._kernel(context, "unpack")
        sides = [np.int64(side) for side in self.group.tile_shape]
        arguments = self.lease.slab.memory, np.int64(self._slots.step), *sides
        kernel((len(self._slots.members),), (THREADS,), arguments)

    def _kernel(self, context: Context, name: str) -> Any:
        key = name, self._streams
        if key not in context.kernels:
            text = source_text(self._streams)
            context.kernels[key] = context.cupy.RawKernel(text, name, options=("--std=c++17",))
        return context.kernels[key]

    def rows(self) -> NDArray[Any]:
        address = int(self.lease.slab.memory.data.ptr)
        return self.scattered(self._slots.members, self._slots.rows(address))
