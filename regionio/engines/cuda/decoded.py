"""Tiles that CPU threads decode into pinned memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, RegionIOError
from regionio.codecs import Target
from regionio.compose.gather import GatherKind
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk, rows_at
from regionio.engines.cuda.fetch import places_for
from regionio.engines.cuda.streams import Context
from regionio.storage import FetchCount
from regionio.values import TileConversion

__all__ = ["CpuChunk", "CpuTiles"]

AS_IT_IS: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
"""No table: values are not changed."""


class CpuTiles:
    """Some tiles of a chunk, each with its place in pinned memory.

    Parameters
    ----------
    chunk
        Is told which tiles can't be had.
    members
        Their numbers in its group.
    convert
        What happens to their values, or None.
    samples, dtype
        Of what comes out.

    Attributes
    ----------
    members
        As above.
    place, nbytes
        ``int64[n]``, of each of the tiles.
    total
        Bytes of memory that they need.
    """

    def __init__(
        self,
        chunk: TileChunk,
        members: list[int],
        convert: TileConversion | None,
        samples: int,
        dtype: np.dtype[Any],
    ) -> None:
        self._chunk, self._group = chunk, chunk.group
        self.members = members
        self._convert = convert
        self._samples, self._dtype = samples, dtype
        height, self._columns, _ = self._group.tile_shape
        if self._group.by_rows:
            heights = np.array(self._group.rows, dtype=np.int64)[members]
        else:
            heights = np.full(len(members), height, dtype=np.int64)
        self.nbytes = heights * self._columns * samples * dtype.itemsize
        self.place, self.total = places_for(self.nbytes)
        self._times: list[float] = []

    def decode(self, part: slice, buffer: NDArray[np.uint8]) -> FetchCount:
        """Decode a part of them into the buffer."""
        count, begin = FetchCount(), time.perf_counter()
        numbers = range(*part.indices(len(self.members)))
        place_of = {self.members[i]: int(self.place[i]) for i in numbers}
        left = self._decode_together(place_of, buffer, count)
        for member, data in self._group.fetch(left, count) if left else ():
            self._decode(member, data, self._room(member, place_of[member], buffer))
        self._times.append(time.perf_counter() - begin)
        return count

    @property
    def seconds(self) -> float:
        """How long threads have worked, all of them together."""
        return sum(self._times)

    def _room(self, member: int, place: int, buffer: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the memory of one tile, ``[rows, columns, samples]``."""
        rows = self._group.rows[member] if self._group.by_rows else self._group.tile_shape[0]
        size = rows * self._columns * self._samples * self._dtype.itemsize
        memory = buffer[place : place + size].view(self._dtype)
        return memory.reshape(rows, self._columns, self._samples)

    def _decode_together(
        self, place_of: dict[int, int], buffer: NDArray[np.uint8], count: FetchCount
    ) -> Sequence[int]:
        """Decode tiles without Python's lock, where that can be; return those that are left."""
        group, members = self._group, list(place_of)
        if group.piece_decoder is None or self._convert is not None:
            return members
        inside = group.sorted_inside(members)
        try:
            source = group.bytes_of(inside, count)
        except CorruptFileError:  # `fetch` will say which tiles are affected
            return members
        pieces = np.zeros((len(inside), 5), dtype=np.int64)
        pieces[:, 2] = [group.rows[i] for i in inside]
        pieces[:, 3] = [group.columns[i] for i in inside]
        pieces[:, 4] = buffer.ctypes.data + np.array([place_of[i] for i in inside], dtype=np.int64)
        channels = np.repeat(np.arange(self._samples, dtype=np.int64)[:, None], 2, axis=1)
        target = Target(self._columns * self._samples, self._samples, channels, AS_IT_IS)
        first = np.arange(len(inside) + 1, dtype=np.int64)
        done, requests, nbytes = group.piece_decoder(source, first, pieces, target)
        count.requests += requests
        count.bytes_read += nbytes
        finished = {i for i, is_done in zip(inside, done, strict=True) if is_done}
        return [i for i in members if i not in finished]

    def _decode(self, member: int, data: memoryview | RegionIOError, room: NDArray[Any]) -> None:
        """Decode one tile into its place."""
        group = self._group
        if isinstance(data, RegionIOError):
            self._chunk.fail(member, data)
            return
        covers = group.rows[member], group.columns[member]
        fits = self._convert is None and room.shape[1:] == group.tile_shape[1:]
        out = room if fits else np.empty((len(room), *group.tile_shape[1:]), group.dtype)
        try:
            pixels = group.decoder(data, covers, group.last_row[member], out)
            if self._convert is not None:
                pixels = self._convert(pixels, group.tile[member])
        except Exception as error:  # noqa: BLE001  whatever a codec makes of damaged bytes
            self._chunk.fail(member, error)
            return
        if pixels.ctypes.data != room.ctypes.data:
            room[: pixels.shape[0], : pixels.shape[1]] = pixels

    def rows(self, address: int) -> NDArray[Any]:
        """Return where the tiles are when the buffer lies at an address of the GPU's memory."""
        row = self._columns * self._samples
        return rows_at(address + self.place, row, self._samples, self._dtype.itemsize)


class CpuChunk(TileChunk):
    """Tiles that threads decode.

    Parameters
    ----------
    plan
        As of `TileChunk`.
    convert
        What happens to their values before they are pasted, or None.
    samples, dtype
        Of what comes out.
    """

    def __init__(
        self,
        plan: ChunkPlan,
        *,
        convert: TileConversion | None = None,
        samples: int,
        dtype: np.dtype[Any],
    ) -> None:
        super().__init__(plan)
        self._dtype = dtype
        self._tiles = CpuTiles(self, list(range(len(plan.group))), convert, samples, dtype)

    @property
    def kind(self) -> GatherKind:
        kind = GatherKind(str(self._dtype), str(self._dtype))
        return kind if self._tables is None else self._tables.kind(kind)

    def start(self, context: Context) -> None:
        tiles, buffer = self._tiles, self.take_buffer(context, self._tiles.total)
        self._pixels = buffer
        self.share_out(lambda part: tiles.decode(part, buffer), tiles.nbytes)

    def bring(self, context: Context) -> None:
        self.collect(self._futures)
        self._address = self.upload(context, self._pixels)

    def rows(self) -> NDArray[Any]:
        rows = self._tiles.rows(self._address)
        rows["height"] = self.group.first_row
        return rows
