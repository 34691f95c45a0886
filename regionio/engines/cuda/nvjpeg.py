"""JPEG tiles decoded by nvImageCodec into the memory of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, RegionIOError
from regionio.codecs.cuda import JpegStreams
from regionio.engines.cuda.chunk import TileChunk, rows_at
from regionio.engines.cuda.fetch import places_for, read_to_places
from regionio.engines.cuda.streams import Context
from regionio.engines.group import TileGroup
from regionio.storage import FetchCount

__all__ = ["JpegChunk", "nvimagecodec"]

NEWEST_LOSSLESS_BUG = (13, 0, 2)


def nvimagecodec() -> Any | None:
    """Return nvImageCodec's module, None where it is not installed."""
    try:
        from nvidia import nvimgcodec
    except ImportError:
        return None
    return nvimgcodec


class JpegDecoder:
    """A decoder of nvImageCodec's, which belongs to one thread and one GPU.

    Parameters
    ----------
    codec
        The module.
    context
        Whose thread it belongs to.
    """

    def __init__(self, codec: Any, context: Context) -> None:
        kinds = codec.BackendKind
        # no CPU: what it falls back to may be zeros, and ours says what is wrong
        backends = [
            codec.Backend(kind)
            for kind in (kinds.HW_GPU_ONLY, kinds.GPU_ONLY, kinds.HYBRID_CPU_GPU)
        ]
        self._codec = codec
        self._decoder = codec.Decoder(device_id=context.number, backends=backends)
        self._parameters = {
            3: codec.DecodeParams(
                apply_exif_orientation=False,
                color_spec=codec.ColorSpec.SRGB,
                allow_any_depth=True,
                sample_format=codec.SampleFormat.I_RGB,
            ),
            1: codec.DecodeParams(
                apply_exif_orientation=False,
                color_spec=codec.ColorSpec.GRAY,
                allow_any_depth=True,
                sample_format=codec.SampleFormat.P_Y,
            ),
        }
        self._views: dict[tuple[int, int, tuple[int, ...]], list[Any]] = {}

    def views(self, slab: Any, shape: tuple[int, ...], count: int) -> list[Any]:
        """Return a picture for each tile of a slab; they are made once."""
        key = slab.data.ptr, count, shape
        if key not in self._views:
            if len(self._views) > MOST_VIEWS:
                self._views.clear()
            tiles = slab[: count * int(np.prod(shape))].reshape(count, *shape)
            if shape[2] == 1:
                tiles = tiles[..., 0]
            self._views[key] = [self._codec.as_image(tile) for tile in tiles]
        return self._views[key]

    def decode(
        self, streams: list[NDArray[np.uint8]], views: list[Any], samples: int, stream: Any
    ) -> list[bool]:
        """Decode streams into pictures; return which of them were decoded."""
        sources = [self._codec.CodeStream(data) for data in streams]
        found = self._decoder.decode(
            sources,
            images=views[: len(sources)],
            params=self._parameters[samples],
            cuda_stream=stream.ptr,
        )
        return [image is not None for image in found]

    def close(self) -> None:
        """Give back what the decoder holds."""
        self._views.clear()
        self._decoder.__exit__(None, None, None)


MOST_VIEWS = 16


class JpegChunk(TileChunk):
    """JPEG tiles: those that nvJPEG may be given, and the others by the CPU.

    Parameters
    ----------
    codec
        nvImageCodec's module.
    streams
        Tells which tiles it may be given.
    """

    def __init__(
        self,
        group: TileGroup,
        threads: int,
        compose: Callable[[Context, TileChunk], None],
        *,
        codec: Any,
        streams: JpegStreams,
    ) -> None:
        super().__init__(group, threads, compose)
        self._codec = codec
        self._streams = streams

    def prepare(self, context: Context) -> None:
        group, streams = self.group, self._streams
        ranges = group.ranges()
        for member, reason in group.wrong_ranges().items():
            self.fail(member, CorruptFileError(reason))
        self._nbytes = ranges[:, 1].copy()
        self._nbytes[list(self.failed)] = 0
        self._place, self._total = places_for(self._nbytes, len(streams.prefix))
        self._pinned = self.staging.pinned(self._total)
        order = np.argsort(ranges[:, 0], kind="stable")

        def read(part: slice) -> FetchCount:
            chosen = order[part]
            chosen = chosen[self._nbytes[chosen] > 0]
            columns = (ranges[chosen, 0], self._nbytes[chosen], self._place[chosen])
            offset, nbytes, place = (column.tolist() for column in columns)
            return read_to_places(group.storage, offset, nbytes, place, self._pinned)

        self.share_out(read, self._nbytes[order])

    def bring(self, context: Context) -> None:
        decoder = context.decoders.get("nvjpeg")
        if decoder is None:
            decoder = context.decoders["nvjpeg"] = JpegDecoder(self._codec, context)
        shape = self.group.tile_shape
        self._tile_bytes = int(np.prod(shape))
        count = len(self.group)
        slab = self.staging.device(count * self._tile_bytes)
        views = decoder.views(slab, shape, count)
        mine = [i for i in range(count) if i not in self.failed and self._accepted(i)]
        streams = [self._stream(member) for member in mine]
        into = [views[member] for member in mine]
        done = decoder.decode(streams, into, shape[2], context.decode_stream) if mine else []
        left = set(range(count)) - set(self.failed)
        left -= {member for member, ok in zip(mine, done, strict=True) if ok}
        for member in sorted(left):
            self._decode_by_cpu(member, slab, context)
        self._address = slab.data.ptr

    def _bytes(self, member: int) -> memoryview:
        place = int(self._place[member])
        data: memoryview = self._pinned[place : place + int(self._nbytes[member])].data
        return data

    def _accepted(self, member: int) -> bool:
        return self._streams.accepts(self._bytes(member))

    def _stream(self, member: int) -> NDArray[np.uint8]:
        """Return a tile as a whole stream: what goes before its content is written over its start."""
        prefix, skipped = self._streams.prefix, self._streams.skipped
        place, nbytes = int(self._place[member]), int(self._nbytes[member])
        begin = place + skipped - len(prefix)
        if prefix:
            self._pinned[begin : place + skipped] = np.frombuffer(prefix, np.uint8)
        stream: NDArray[np.uint8] = self._pinned[begin : place + nbytes]
        return stream

    def _decode_by_cpu(self, member: int, slab: Any, context: Context) -> None:
        """Decode what the GPU does not, or say what is wrong with it."""
        group = self.group
        out = np.empty(group.tile_shape, np.uint8)
        covers = group.rows[member], group.columns[member]
        count = FetchCount()
        [(_, data)] = group.fetch([member], count)  # its start may have been written over
        try:
            if isinstance(data, RegionIOError):
                raise data
            pixels = group.decoder(data, covers, covers[0], out)
        except Exception as error:  # noqa: BLE001  whatever a codec makes of damaged bytes
            self.fail(member, error)
            return
        whole = np.zeros(group.tile_shape, np.uint8)
        whole[: pixels.shape[0], : pixels.shape[1]] = pixels
        begin = member * self._tile_bytes
        slab[begin : begin + self._tile_bytes].set(whole.reshape(-1), stream=context.decode_stream)
        context.decode_stream.synchronize()  # the source is pageable, and goes

    def rows(self) -> NDArray[Any]:
        _, columns, samples = self.group.tile_shape
        address = self._address + np.arange(len(self.group)) * self._tile_bytes
        return rows_at(address, columns * samples, samples, 1)
