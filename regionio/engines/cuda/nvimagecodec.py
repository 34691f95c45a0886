"""Compressed tiles decoded by nvImageCodec into the memory of a GPU.

Source: docs.nvidia.com/cuda/nvimagecodec.
"""

from __future__ import annotations

import time
from concurrent.futures import wait
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._workers import worker_pool
from regionio.codecs.cuda import Colors, GpuStreams, Jpeg2000Streams
from regionio.compose.gather import GATHER_PIECE
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk, rows_at
from regionio.engines.cuda.decoded import CpuTiles
from regionio.engines.cuda.fetch import places_for
from regionio.engines.cuda.slabs import Slab
from regionio.engines.cuda.streams import Context

__all__ = ["StreamChunk", "nvimagecodec"]

ALIGNMENT = 256
"""Of tiles in the GPU's memory."""


NOTHING: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)


@cache
def nvimagecodec() -> Any | None:
    """Return nvImageCodec's module, None where it is not installed."""
    try:
        from nvidia import nvimgcodec
    except ImportError:
        return None
    return nvimgcodec


class BatchDecoder:
    """A decoder of nvImageCodec's, which belongs to one thread and one GPU.

    Parameters
    ----------
    codec
        The module.
    device
        Number of the GPU.
    kinds
        Names of the backends that may be used. The CPU's is never: what it falls back to may be
        zeros, and ours says what is wrong.
    """

    def __init__(self, codec: Any, device: int, kinds: tuple[str, ...]) -> None:
        backends = [codec.Backend(getattr(codec.BackendKind, kind)) for kind in kinds]
        self._codec = codec
        self._decoder = codec.Decoder(device_id=device, backends=backends)
        colors, formats = codec.ColorSpec, codec.SampleFormat
        asked = {
            "gray": (colors.GRAY, formats.P_Y),
            "rgb": (colors.SRGB, formats.I_RGB),
            "as is": (colors.SYCC, formats.I_YUV),  # so it calls three components of any meaning
        }
        self._parameters = {
            name: codec.DecodeParams(
                apply_exif_orientation=False,
                allow_any_depth=True,
                color_spec=color,
                sample_format=layout,
            )
            for name, (color, layout) in asked.items()
        }

    @classmethod
    def of(cls, context: Context, kinds: tuple[str, ...]) -> BatchDecoder:
        """Return the GPU's decoder, made once."""
        decoder: BatchDecoder | None = context.decoders.get(kinds)
        if decoder is None:
            decoder = context.decoders[kinds] = cls(nvimagecodec(), context.number, kinds)
        return decoder

    def views(self, slab: Slab, shape: tuple[int, ...], dtype: Any, count: int) -> list[Any]:
        """Return a picture for each tile of a slab; they are made once."""
        views = slab.views.setdefault((shape, dtype), [])
        step = slot_bytes(shape, dtype)
        address, plain = int(slab.memory.data.ptr), shape[:2] if shape[2] == 1 else shape
        for number in range(len(views), count):
            views.append(self._codec.as_image(_Array(address + number * step, plain, dtype)))
        return views

    def decode(
        self, streams: list[NDArray[np.uint8]], into: list[Any], colors: Colors, stream: Any
    ) -> list[bool]:
        """Decode streams into pictures; return which of them were decoded."""
        found = self._decoder.decode(
            [self._codec.CodeStream(data) for data in streams],
            images=into,
            params=self._parameters[colors],
            cuda_stream=stream.ptr,
        )
        return [image is not None for image in found]

    def close(self) -> None:
        """Give back what the decoder holds."""
        self._decoder.__exit__(None, None, None)


class _Array:
    """An array of the GPU's memory, made in less time than CuPy's."""

    __slots__ = ("__cuda_array_interface__",)

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (address, False),
            "version": 3,
        }


def slot_bytes(shape: tuple[int, ...], dtype: Any) -> int:
    """Return how far apart tiles lie in a slab."""
    return -(-int(np.prod(shape)) * int(dtype.itemsize) // ALIGNMENT) * ALIGNMENT


class StreamChunk(TileChunk):
    """Tiles that nvImageCodec may be given; what it leaves, and a share of JPEG, by the CPU.

    Parameters
    ----------
    plan
        As of `TileChunk`.
    streams
        Tells which tiles it may be given.
    """

    def __init__(self, plan: ChunkPlan, streams: GpuStreams) -> None:
        super().__init__(plan)
        self._streams = streams
        self._is_jpeg = not isinstance(streams, Jpeg2000Streams)
        self._step = slot_bytes(self.group.tile_shape, self.group.dtype)
        height, width, _ = self.group.tile_shape
        self._pixels_each = height * width

    def start(self, context: Context) -> None:
        ranges = self.readable_ranges()
        there = [i for i in range(len(self.group)) if i not in self.failed]
        count = 0
        if self._is_jpeg:
            count = context.sharing.cpu_count(len(there), self._threads, self._pixels_each)
        by_cpu, by_gpu = there[:count], there[count:]
        samples, dtype = self.group.tile_shape[2], self.group.dtype
        self._cpu = CpuTiles(self, by_cpu, None, samples, dtype)
        self._gpu = by_gpu
        mine = ranges[by_gpu]
        place, total = places_for(mine[:, 1], len(self._streams.prefix))
        buffer = self.take_buffer(context, self._cpu.total + total)
        self._pixels, self._bytes = buffer[: self._cpu.total], buffer[self._cpu.total :]
        self._ranges = list(zip(place.tolist(), mine[:, 1].tolist(), strict=True))
        self.read_ranges(mine, place, self._bytes)
        self._reads = self._futures[:]
        tiles, pixels = self._cpu, self._pixels
        self.share_out(lambda part: tiles.decode(part, pixels), tiles.nbytes)
        self._decodes = self._futures[len(self._reads) :]

    def bring(self, context: Context) -> None:
        self.collect(self._reads)
        size, by_cpu = self._step * len(self._gpu), self._cpu.total
        self.lease = context.slabs.take(size + by_cpu)
        memory = self.lease.slab.memory
        self._address = int(memory.data.ptr)
        begin = time.perf_counter()
        left = self._decode(context, self.lease.slab) if self._gpu else []
        if self._gpu and self._is_jpeg:
            seconds = time.perf_counter() - begin
            context.sharing.note_engine(len(self._gpu), self._pixels_each, seconds)
        self.collect(self._decodes)
        if self._is_jpeg:
            tiles = len(self._cpu.members)
            context.sharing.note_threads(tiles, self._pixels_each, self._cpu.seconds)
        memory[size : size + by_cpu].set(self._pixels, stream=context.copy_stream)
        self._decode_left(context, left)
        self._bytes = self._pixels = NOTHING  # a chunk may be kept for long

    def _decode(self, context: Context, slab: Slab) -> list[int]:
        """Have tiles decoded by the GPU; return which of them it has left."""
        kinds = ("HW_GPU_ONLY",) if self._is_jpeg else ("GPU_ONLY", "HYBRID_CPU_GPU")
        decoder = BatchDecoder.of(context, kinds)
        views = decoder.views(slab, self.group.tile_shape, self.group.dtype, len(self._gpu))
        found = self._opened()
        left = found.pop(None, [])
        for colors, numbers in found.items():
            assert colors is not None
            streams = [self._stream(number) for number in numbers]
            into = [views[number] for number in numbers]
            done = decoder.decode(streams, into, colors, context.decode_stream)
            left += [i for i, is_done in zip(numbers, done, strict=True) if not is_done]
        if self._is_jpeg and len(left) == len(self._gpu) and any(found.values()):
            context.sharing.has_engine = False
        return left

    def _opened(self) -> dict[Colors | None, list[int]]:
        """Return which tiles are to be decoded how; None: not by the GPU."""
        memory = self._bytes.data
        found: dict[Colors | None, list[int]] = {}
        for number, (place, nbytes) in enumerate(self._ranges):
            colors = self._streams.colors(memory[place : place + nbytes])
            found.setdefault(colors, []).append(number)
        return found

    def _stream(self, number: int) -> NDArray[np.uint8]:
        """Return a tile as a whole stream: what goes before it is written over its start."""
        place, nbytes = self._ranges[number]
        content = place + self._streams.skipped
        begin = content - len(self._streams.prefix)
        self._bytes.data[begin:content] = self._streams.prefix
        return self._bytes[begin : place + nbytes]

    def _decode_left(self, context: Context, left: list[int]) -> None:
        """Decode by the CPU what the GPU does not, or say what is wrong with it."""
        if not left:
            return
        samples, dtype = self.group.tile_shape[2], self.group.dtype
        tiles = CpuTiles(self, [self._gpu[number] for number in left], None, samples, dtype)
        pixels = np.zeros(tiles.total, dtype=np.uint8)
        wait([
            worker_pool.run(tiles.decode, slice(i, i + 1), pixels) for i in range(len(left))
        ])  # fmt: skip
        memory = self.lease.slab.memory
        sizes = zip(left, tiles.place.tolist(), tiles.nbytes.tolist(), strict=True)
        for number, place, nbytes in sizes:
            slot = memory[number * self._step :][:nbytes]
            slot.set(pixels[place : place + nbytes], stream=context.decode_stream)

    def rows(self) -> NDArray[Any]:
        _, columns, samples = self.group.tile_shape
        by_cpu = self._cpu.rows(self._address + self._step * len(self._gpu))
        slots = self._address + np.arange(len(self._gpu)) * self._step
        by_gpu = rows_at(slots, columns * samples, samples, self.group.dtype.itemsize)
        rows = np.zeros(len(self.group), dtype=GATHER_PIECE)
        rows[self._cpu.members] = by_cpu
        rows[self._gpu] = by_gpu
        return rows
