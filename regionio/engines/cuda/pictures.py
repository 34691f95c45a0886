"""Chunks of compressed pictures: nvJPEG decodes JPEG, nvImageCodec JPEG 2000."""

from __future__ import annotations

from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.codecs.cuda import Colors, GpuStreams
from regionio.compose.gather import GatherKind
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk
from regionio.engines.cuda.decoded import CpuTiles
from regionio.engines.cuda.decoder_threads import DecoderThreads
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
    """

    def __init__(self, plan: ChunkPlan, streams: GpuStreams) -> None:
        super().__init__(plan)
        self.tiles = StreamTiles(self, self.members_by_offset(), streams)
        self._found = SortedStreams(np.zeros((0, 2), np.int64))
        self._left: list[int] = []

    def start(self, context: Context) -> None:
        self.bytes = self.take_buffer(context, self.tiles.total)
        self.lease = context.slabs.take(self.tiles.slots.total)
        read, threads = self.lane.run(self._read), self.threads(context)
        self.futures.append(read)
        self.futures.append(threads.run(self._decode, context, threads, read))

    @staticmethod
    def threads(context: Context) -> DecoderThreads:
        """Return the threads that drive the decoder."""
        raise NotImplementedError  # each kind has its own

    def _read(self) -> FetchCount:
        """Read tiles, and see what is to be made of them."""
        count = self.read(self.tiles.placed, self.bytes)
        self._found = self.tiles.sort(self.bytes)
        self.parse(self._found)
        return count

    def parse(self, found: SortedStreams) -> None:
        """Have the decoder's library look at streams, if it may before it decodes them."""

    def _decode(
        self, context: Context, threads: DecoderThreads, read: Future[FetchCount]
    ) -> FetchCount:
        """Decode tiles once they are read."""
        if read.exception() is not None:  # who collects what is read raises it
            return FetchCount()
        stream = threads.stream()
        if self.lease.slab.busy is not None:
            stream.wait_event(self.lease.slab.busy)
        self._left += self._found.unsuited
        try:
            for colors in self._found.by_colors:
                self._left += self.decode_alike(context, self._found, colors)
        finally:
            self.events.append(stream.record())
        return FetchCount()

    def decode_alike(self, context: Context, found: SortedStreams, colors: Colors) -> list[int]:
        """Decode tiles whose components become the same.

        Parameters
        ----------
        context
            Of the GPU.
        found
            All streams, in `bytes`.
        colors
            What becomes of components.

        Returns
        -------
        list of int
            Numbers of those that the decoder has not decoded.
        """
        raise NotImplementedError  # each kind has its own

    def bring(self, context: Context) -> None:
        del self.bytes  # a chunk may be kept for long
        decode_left(context, self, self.tiles.slots, self._left)

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
    """

    threads_shared = 2  # nvJPEG2000 takes streams apart by the CPU

    def __init__(self, plan: ChunkPlan, streams: GpuStreams) -> None:
        super().__init__(plan, streams)
        self._streams: dict[int, Any] = {}

    @staticmethod
    def threads(context: Context) -> DecoderThreads:
        return context.jpeg2000

    def parse(self, found: SortedStreams) -> None:
        for numbers in found.by_colors.values():
            for number in numbers:
                stream = parsed(self.bytes[slice(*found.ranges[number].tolist())])
                if stream is not None:
                    self._streams[number] = stream

    def bring(self, context: Context) -> None:
        self._streams.clear()  # a chunk may be kept for long
        super().bring(context)

    def abandon(self, context: Context) -> None:
        super().abandon(context)
        self._streams.clear()

    def decode_alike(self, context: Context, found: SortedStreams, colors: Colors) -> list[int]:
        threads = context.jpeg2000
        decoder = threads.decoder(Jpeg2000Decoder, lambda: Jpeg2000Decoder(context.number))
        views = slot_views(self.lease.slab, self.tiles.slots, context.idle_stream)
        stream = threads.stream()
        numbers = [number for number in found.by_colors[colors] if number in self._streams]
        if not numbers:
            return found.by_colors[colors]
        streams = [self._streams[number] for number in numbers]
        done = decoder.decode(streams, [views[number] for number in numbers], colors, stream)
        decoded = {number for number, is_done in zip(numbers, done, strict=True) if is_done}
        return [number for number in found.by_colors[colors] if number not in decoded]


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

    @staticmethod
    def threads(context: Context) -> DecoderThreads:
        return context.jpeg

    @property
    def kind(self) -> GatherKind:
        return replace(super().kind, used_bits=self.group.encoding.option("used_bits"))

    def decode_alike(self, context: Context, found: SortedStreams, colors: Colors) -> list[int]:
        threads = context.jpeg
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
