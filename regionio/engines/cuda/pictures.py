"""Chunks that nvImageCodec decodes: JPEG 2000 alone, JPEG side by side with the CPU's threads."""

from __future__ import annotations

from collections import deque
from concurrent.futures import wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.codecs.cuda import GpuStreams
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk
from regionio.engines.cuda.decoded import CpuTiles
from regionio.engines.cuda.fetch import read_to_places
from regionio.engines.cuda.nvimagecodec import BatchDecoder, StreamTiles
from regionio.engines.cuda.slots import Slots
from regionio.engines.cuda.streams import Context
from regionio.storage import FetchCount

__all__ = ["Jpeg2000Chunk", "JpegChunk", "decode_left"]

THREAD_TILES, ENGINE_TILES = 16, 128
"""Tiles that a thread, and a call of the hardware engine, take at a time."""

ENGINE, WAVELETS = ("HW_GPU_ONLY",), ("GPU_ONLY", "HYBRID_CPU_GPU")
"""nvImageCodec's names for what decodes JPEG, and JPEG 2000."""

LEAST_ENGINE_TILES = 64
"""Fewer are not worth a call of the engine."""

ENGINE_CALLS = 4
"""Calls of the engine at a time: one alone leaves it half idle."""


class Jpeg2000Chunk(TileChunk):
    """Tiles that nvJPEG2000 decodes, all in one call.

    Parameters
    ----------
    plan
        As of `TileChunk`.
    streams
        Tells which tiles it may be given.
    """

    def __init__(self, plan: ChunkPlan, streams: GpuStreams) -> None:
        super().__init__(plan)
        self._tiles = StreamTiles(self, self.members_by_offset(), streams)

    def start(self, context: Context) -> None:
        self._bytes = self.take_buffer(context, self._tiles.total)
        self.read(self._tiles.placed, self._bytes)

    def bring(self, context: Context) -> None:
        tiles = self._tiles
        self.lease = context.slabs.take(tiles.slots.total)
        decoder = context.decoder(lambda: BatchDecoder(context.number, WAVELETS))
        every = slice(0, len(tiles.placed))
        views = tiles.views(self.lease.slab, context.idle_stream)
        left = tiles.decode(every, self._bytes, views, decoder, context.decode_stream)
        del self._bytes
        decode_left(context, self, tiles.slots, left.refused + left.unsuited)

    def rows(self) -> NDArray[Any]:
        address = int(self.lease.slab.memory.data.ptr)
        return self.scattered(self._tiles.slots.members, self._tiles.slots.rows(address))


class JpegChunk(TileChunk):
    """Tiles that the hardware engine and the CPU's threads decode side by side.

    Both take the next few tiles as soon as they are done with the last, so that neither waits for
    the other. Their pixels differ by no more than 1, and hardly ever.

    Parameters
    ----------
    plan
        As of `TileChunk`.
    streams
        Tells which tiles the engine may be given.
    """

    def __init__(self, plan: ChunkPlan, streams: GpuStreams) -> None:
        super().__init__(plan)
        members = self.members_by_offset()
        self._by_gpu = StreamTiles(self, members, streams)
        samples, dtype = self.group.tile_shape[2], self.group.dtype
        self._by_cpu = CpuTiles(self, members, None, samples, dtype)
        self._left: list[int] = []
        self._threads_did: list[slice] = []
        step = max(1, min(THREAD_TILES, len(members) // max(1, self.tasks.most)))
        starts = range(0, len(members), step)
        self._parts = deque(slice(start, min(start + step, len(members))) for start in starts)

    def start(self, context: Context) -> None:
        total = self._by_cpu.total
        buffer = self.take_buffer(context, total + self._by_gpu.total)
        self._pixels, self._bytes = buffer[:total], buffer[total:]
        self.lease = context.slabs.take(total)
        count = len(self._by_gpu.placed)
        is_for_engine = context.engine.is_there and count >= LEAST_ENGINE_TILES
        if is_for_engine or (context.engine.is_there and self.tasks.most == 0):
            self._views = self._by_gpu.views(self.lease.slab, context.idle_stream)
            for _ in range(min(ENGINE_CALLS, -(-count // ENGINE_TILES))):
                self.futures.append(context.engine.run(self._decode_by_engine, context))
        threads = self.tasks.most if self.futures else max(1, self.tasks.most)
        for _ in range(min(threads, len(self._parts))):
            self.futures.append(self.tasks.run(self._decode_by_thread))

    def _decode_by_thread(self) -> FetchCount:
        """Decode parts as long as there are any."""
        count = FetchCount()
        while part := self._next(THREAD_TILES):
            count.add(self._by_cpu.decode(part, self._pixels))
            self._threads_did.append(part)
        return count

    def _decode_by_engine(self, context: Context) -> FetchCount:
        """Read and decode parts as long as there are any."""
        count, tiles = FetchCount(), self._by_gpu
        engine = context.engine.mine(lambda: BatchDecoder(context.number, ENGINE))
        if self.lease.slab.busy is not None:
            engine.stream.wait_event(self.lease.slab.busy)
        try:
            while part := self._next(ENGINE_TILES):
                count.add(read_to_places(self.group.storage, tiles.placed[part], self._bytes))
                left = tiles.decode(part, self._bytes, self._views, engine.decoder, engine.stream)
                context.engine.note(left.done, len(left.refused))
                self._left += left.refused + left.unsuited
        finally:
            self.events.append(engine.stream.record())
        return count

    def _next(self, most: int) -> slice | None:
        """Take parts that follow each other, so many tiles at most."""
        try:
            part = self._parts.popleft()
        except IndexError:
            return None
        stop = part.stop
        while stop - part.start < most:
            try:
                following = self._parts.popleft()
            except IndexError:
                break
            if following.start != stop:  # another thread was quicker
                self._parts.appendleft(following)
                break
            stop = following.stop
        return slice(part.start, stop)

    def bring(self, context: Context) -> None:
        place, nbytes = self._by_cpu.place, self._by_cpu.nbytes
        memory = self.lease.slab.memory
        for part in _joined(self._threads_did):
            begin = int(place[part.start])
            end = int(place[part.stop - 1] + nbytes[part.stop - 1])
            memory[begin:end].set(self._pixels[begin:end], stream=context.copy_stream)
        del self._bytes, self._pixels  # a chunk may be kept for long
        decode_left(context, self, self._by_gpu.slots, self._left)

    def rows(self) -> NDArray[Any]:
        address = int(self.lease.slab.memory.data.ptr)
        return self.scattered(self._by_gpu.slots.members, self._by_gpu.slots.rows(address))


def _joined(parts: list[slice]) -> list[slice]:
    """Return parts in order, those that follow each other as one."""
    joined: list[slice] = []
    for part in sorted(parts, key=lambda part: part.start):
        if joined and joined[-1].stop == part.start:
            joined[-1] = slice(joined[-1].start, part.stop)
        else:
            joined.append(part)
    return joined


def decode_left(context: Context, chunk: TileChunk, slots: Slots, left: list[int]) -> None:
    """Decode by the CPU what the GPU does not, or say what is wrong with it.

    Parameters
    ----------
    context
        Of the GPU.
    chunk
        Whose tiles they are.
    slots
        Of the tiles that the GPU was given.
    left
        Which of them it has left.
    """
    if not left:
        return
    samples, dtype = chunk.group.tile_shape[2], chunk.group.dtype
    by_cpu = CpuTiles(chunk, [slots.members[number] for number in left], None, samples, dtype)
    pixels = np.zeros(by_cpu.total, dtype=np.uint8)
    parts = [slice(number, number + 1) for number in range(len(left))]
    done = [chunk.tasks.run(by_cpu.decode, part, pixels) for part in parts]
    wait(done)
    for number, future in zip(left, done, strict=True):
        try:
            chunk.count(future.result())
        except Exception as error:  # noqa: BLE001  of this tile only
            chunk.fail(slots.members[number], error)
    for event in (context.decode_stream.record(), *chunk.events):  # they may write there still
        context.copy_stream.wait_event(event)
    memory = chunk.lease.slab.memory
    places = zip(left, by_cpu.place.tolist(), by_cpu.nbytes.tolist(), strict=True)
    for number, place, nbytes in places:
        slot = memory[number * slots.step :][:nbytes]
        slot.set(pixels[place : place + nbytes], stream=context.copy_stream)
