"""Chunks of compressed pictures: nvJPEG decodes JPEG, nvImageCodec JPEG 2000."""

from __future__ import annotations

from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.codecs.cuda import Colors, GpuStreams
from regionio.compose.gather import GatherKind
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk
from regionio.engines.cuda.decoded import CpuTiles
from regionio.engines.cuda.nvimagecodec import Jpeg2000Decoder, parsed, slot_views
from regionio.engines.cuda.nvjpeg import JpegDecoder, NvJpeg, Process
from regionio.engines.cuda.slots import Slots
from regionio.engines.cuda.stream_tiles import SortedStreams, StreamTiles
from regionio.engines.cuda.streams import Context
from regionio.storage import FetchCount

__all__ = ["Jpeg2000Chunk", "JpegChunk", "decode_left"]


class StreamChunk(TileChunk):
    """Tiles that a decoder of the GPU takes, each into a slot, in a thread that drives it.

    Parameters
    ----------
    plan
        As of `TileChunk`.
    streams
        Tells which tiles it may be given.

    Attributes
    ----------
    found
        The streams, once they are read.
    left
        Numbers of those that the decoder has not decoded.
    """

    def __init__(self, plan: ChunkPlan, streams: GpuStreams) -> None:
        super().__init__(plan)
        self.tiles = StreamTiles(self, self.members_by_offset(), streams)
        self.found = SortedStreams(np.zeros((0, 2), np.int64))
        self.left: list[int] = []

    def start(self, context: Context) -> None:
        self.take_buffer(context, self.tiles.total)
        self.lease = context.slab(self.tiles.slots.total)
        read = self.lane.run(self._read)
        self.futures.append(read)
        self.futures.append(self.decoded(context, read))

    def _read(self) -> FetchCount:
        """Read tiles, and see what is to be made of them."""
        count = self.read(self.tiles.placed, self.bytes)
        self.found = self.tiles.sort(self.bytes)
        self.parse(self.found)
        return count

    def parse(self, found: SortedStreams) -> None:
        """Have the decoder's library look at streams, if it may before it decodes them."""

    def decoded(self, context: Context, read: Future[FetchCount]) -> Future[FetchCount]:
        """Have tiles decoded once they are read; nothing happens where reading fails."""
        raise NotImplementedError  # each kind has its own

    def begin(self, stream: Any) -> None:
        """Let a stream wait until slots may be written, and begin anew with what is left."""
        if self.lease.slab.busy is not None:
            stream.wait_event(self.lease.slab.busy)
        self.left = list(self.found.unsuited)

    def bring(self, context: Context) -> None:
        decode_left(context, self, self.tiles.slots, self.left)

    def rows(self) -> NDArray[Any]:
        slots = self.tiles.slots
        address = int(self.lease.slab.memory.data.ptr)
        return self.scattered(slots.members, slots.rows(address))


class Jpeg2000Chunk(StreamChunk):
    """Tiles that nvJPEG2000 decodes.

    Parameters
    ----------
    plan, streams
        As of `StreamChunk`.

    Attributes
    ----------
    parsed
        Streams as nvImageCodec takes them, by their numbers.
    """

    threads_shared = 2  # nvJPEG2000 takes streams apart by the CPU

    def __init__(self, plan: ChunkPlan, streams: GpuStreams) -> None:
        super().__init__(plan, streams)
        self.parsed: dict[int, Any] = {}

    def parse(self, found: SortedStreams) -> None:
        for numbers in found.by_colors.values():
            for number in numbers:
                stream = parsed(self.bytes[slice(*found.ranges[number].tolist())])
                if stream is not None:
                    self.parsed[number] = stream

    def decoded(self, context: Context, read: Future[FetchCount]) -> Future[FetchCount]:
        decode = partial(decode_together, context)
        return context.jpeg2000_calls.add(self, len(self.group), read, decode)

    def bring(self, context: Context) -> None:
        self.parsed.clear()  # a chunk may be kept for long
        super().bring(context)

    def abandon(self, context: Context) -> None:
        super().abandon(context)
        self.parsed.clear()


def decode_together(context: Context, chunks: list[Jpeg2000Chunk]) -> None:
    """Decode chunks of JPEG 2000 by as few calls as there are kinds of pictures.

    Parameters
    ----------
    context
        Of the GPU.
    chunks
        The chunks, which have been read.
    """
    threads = context.jpeg2000
    decoder = threads.decoder(Jpeg2000Decoder, lambda: Jpeg2000Decoder(context.number))
    stream = threads.stream()
    alike: dict[tuple[Colors, str], list[tuple[Jpeg2000Chunk, int, Any]]] = {}
    for chunk in chunks:
        chunk.begin(stream)
        views = slot_views(chunk.lease.slab, chunk.tiles.slots, context.idle_stream)
        for colors, numbers in chunk.found.by_colors.items():
            chunk.left += [number for number in numbers if number not in chunk.parsed]
            there = [number for number in numbers if number in chunk.parsed]
            found = alike.setdefault((colors, str(chunk.group.dtype)), [])
            found.extend((chunk, number, views[number]) for number in there)
    try:
        for (colors, _), given in alike.items():
            streams = [chunk.parsed[number] for chunk, number, _ in given]
            if not streams:
                continue
            done = decoder.decode(streams, [view for _, _, view in given], colors, stream)
            for (chunk, number, _), is_done in zip(given, done, strict=True):
                if not is_done:
                    chunk.left.append(number)
    finally:
        event = stream.record()
        for chunk in chunks:
            chunk.events.append(event)


class JpegChunk(StreamChunk):
    """Tiles that nvJPEG decodes.

    Parameters
    ----------
    plan, streams
        As of `StreamChunk`.
    library
        nvJPEG.
    process
        By which all tiles are encoded.
    """

    def __init__(
        self, plan: ChunkPlan, streams: GpuStreams, library: NvJpeg, process: Process
    ) -> None:
        super().__init__(plan, streams)
        self._library = library
        self._process: Process = process

    @property
    def kind(self) -> GatherKind:
        return replace(super().kind, used_bits=self.group.encoding.option("used_bits"))

    def decoded(self, context: Context, read: Future[FetchCount]) -> Future[FetchCount]:
        return context.jpeg.run(self._decode, context, read)

    def _decode(self, context: Context, read: Future[FetchCount]) -> FetchCount:
        """Decode tiles once they are read."""
        if read.exception() is not None:  # who collects what is read raises it
            return FetchCount()
        stream = context.jpeg.stream()
        self.begin(stream)
        try:
            for colors in self.found.by_colors:
                self.left += self._decode_alike(context, colors)
        finally:
            self.events.append(stream.record())
        return FetchCount()

    def _decode_alike(self, context: Context, colors: Colors) -> list[int]:
        """Decode tiles whose components become the same; return those that were not decoded."""
        threads, found = context.jpeg, self.found
        decoder = threads.decoder(JpegDecoder, lambda: JpegDecoder(self._library))
        slots, numbers = self.tiles.slots, found.by_colors[colors]
        begin, end = found.ranges[numbers].T
        streams = np.column_stack([begin + self.bytes.ctypes.data, end - begin])
        address = int(self.lease.slab.memory.data.ptr)
        places = address + np.array(numbers, dtype=np.int64) * slots.step
        _, columns, samples = slots.shape
        row_bytes = columns * samples * slots.dtype.itemsize
        tables = streams.astype(np.uint64), places.astype(np.uint64)
        is_done = decoder.decode(self._process, colors, *tables, row_bytes, threads.stream())
        return [] if is_done else numbers


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
            chunk.stats.add_fetched(future.result())
        except Exception as error:  # noqa: BLE001  of this tile only
            chunk.fail(slots.members[number], error)
    for event in (context.decode_stream.record(), *chunk.events):  # they may write there still
        context.copy_stream.wait_event(event)
    memory = chunk.lease.slab.memory
    places = zip(left, by_cpu.place.tolist(), by_cpu.nbytes.tolist(), strict=True)
    for number, place, nbytes in places:
        slot = memory[number * slots.step :][:nbytes]
        slot.set(pixels[place : place + nbytes], stream=context.copy_stream)
