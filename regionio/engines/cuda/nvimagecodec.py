"""nvImageCodec: streams in pinned memory to pictures in the GPU's.

Source: docs.nvidia.com/cuda/nvimagecodec.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.codecs.cuda import Colors, GpuStreams
from regionio.engines.cuda.chunk import TileChunk
from regionio.engines.cuda.fetch import places_for
from regionio.engines.cuda.slabs import Slab
from regionio.engines.cuda.slots import Slots

__all__ = ["BatchDecoder", "StreamTiles", "nvimagecodec"]


@cache
def nvimagecodec() -> Any | None:
    """Return nvImageCodec's module, None where it is not installed."""
    try:
        from nvidia import nvimgcodec
    except ImportError:
        return None
    return nvimgcodec


class BatchDecoder:
    """A decoder, which belongs to one thread and one GPU.

    Parameters
    ----------
    device
        Number of the GPU.
    kinds
        Names of the backends that may be used. The CPU's is never: what it falls back to may be
        zeros, and ours says what is wrong.
    """

    def __init__(self, device: int, kinds: tuple[str, ...]) -> None:
        codec = nvimagecodec()
        assert codec is not None
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


@dataclass
class Decoded:
    """What became of some tiles.

    Parameters
    ----------
    done
        How many were decoded.
    refused, unsuited
        Numbers of those that the decoder has refused, and of those that it was not given.
    """

    done: int = 0
    refused: list[int] = field(default_factory=list)
    unsuited: list[int] = field(default_factory=list)


class StreamTiles:
    """Tiles of a chunk as streams in pinned memory, and their slots in a slab.

    Parameters
    ----------
    chunk
        Whose tiles they are.
    members
        Their numbers in its group, sorted by offset.
    streams
        Tells which tiles may be decoded, and how.

    Attributes
    ----------
    slots
        Where pixels go.
    placed
        ``int64[n, 3]``, as `read_to_places` takes it.
    total
        Bytes of memory for the streams.
    """

    def __init__(self, chunk: TileChunk, members: list[int], streams: GpuStreams) -> None:
        self.slots = Slots(chunk, members)
        self._streams = streams
        ranges = chunk.ranges[members]
        place, self.total = places_for(ranges[:, 1], len(streams.prefix))
        self.placed = np.column_stack([ranges, place])

    def views(self, slab: Slab, idle_stream: Any) -> list[Any]:
        """Return a picture for each slot; a slab's are made once.

        Parameters
        ----------
        slab
            The memory.
        idle_stream
            Is said to be what the pictures are used by: for each of them nvImageCodec lets the host
            wait until that has nothing to do.
        """
        codec: Any = nvimagecodec()
        slots = self.slots
        views = slab.views.setdefault((slots.shape, slots.dtype), [])
        address = int(slab.memory.data.ptr)
        plain = slots.shape[:2] if slots.shape[2] == 1 else slots.shape
        for number in range(len(views), len(slots.members)):
            array = _Array(address + number * slots.step, plain, slots.dtype)
            views.append(codec.as_image(array, idle_stream.ptr))
        return views

    def decode(
        self,
        part: slice,
        buffer: NDArray[np.uint8],
        views: list[Any],
        decoder: BatchDecoder,
        stream: Any,
    ) -> Decoded:
        """Decode tiles that have been read.

        Parameters
        ----------
        part
            Which of them.
        buffer
            The pinned memory that they are in.
        views
            Of their slots.
        decoder, stream
            Of the thread.

        Returns
        -------
        Decoded
            How many are done, and which are left to the CPU.
        """
        found = Decoded()
        ways: dict[Colors, list[int]] = {}
        ranges: dict[int, tuple[int, int]] = {}
        memory = buffer.data
        for number, (_, nbytes, place) in enumerate(self.placed[part].tolist(), part.start):
            colors = self._streams.colors(memory[place : place + nbytes])
            if colors is None:
                found.unsuited.append(number)
            else:
                ways.setdefault(colors, []).append(number)
                ranges[number] = self._whole(memory, place, nbytes)
        for colors, numbers in ways.items():
            streams = [buffer[slice(*ranges[number])] for number in numbers]
            done = decoder.decode(streams, [views[i] for i in numbers], colors, stream)
            found.refused += [number for number, ok in zip(numbers, done, strict=True) if not ok]
            found.done += sum(done)
        return found

    def _whole(self, memory: memoryview, place: int, nbytes: int) -> tuple[int, int]:
        """Make a tile a whole stream: what goes before it is written over its start."""
        content = place + self._streams.skipped
        begin = content - len(self._streams.prefix)
        memory[begin:content] = self._streams.prefix
        return begin, place + nbytes


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
