"""Tiles that CPU threads decode into pinned memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import ClosedError, RegionIOError
from regionio.codecs import Target
from regionio.compose.gather import GatherKind
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk, rows_at
from regionio.engines.cuda.fetch import places_for, shares
from regionio.engines.cuda.streams import Context
from regionio.engines.together import do_together, portions
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
        Whose tiles they are; it is told which can't be had.
    members
        Their numbers in its group, sorted by offset.
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
        self._group, self._failed = chunk.group, chunk.failed  # not the chunk, which holds this
        self.members = members
        self._convert = convert
        self._samples, self._dtype = samples, dtype
        height, self._columns, _ = self._group.tile_shape
        if self._group.by_rows:
            heights = self._group.height[members]
        else:
            heights = np.full(len(members), height, dtype=np.int64)
        self.nbytes = heights * self._columns * samples * dtype.itemsize
        self.place, self.total = places_for(self.nbytes)
        self._decoder = None if convert is not None else self._group.piece_decoder
        if self._decoder is not None:
            self._ranges = self._group.ranges()[members]
            self._pieces = np.zeros((len(members), 5), dtype=np.int64)
            self._pieces[:, 2] = self._group.height[members]
            self._pieces[:, 3] = self._group.window.tiles["columns"][members]
            self._first = np.arange(len(members) + 1, dtype=np.int64)
            channels = np.repeat(np.arange(samples, dtype=np.int64)[:, None], 2, axis=1)
            self._target = Target(self._columns * samples, samples, channels, AS_IT_IS)

    @property
    def has_own_threads(self) -> bool:
        """Whether compiled code decodes them, in threads of its own."""
        return self._decoder is not None

    def decode(self, part: slice, buffer: NDArray[np.uint8], threads: int = 1) -> FetchCount:
        """Decode a part of them, a slice with start and stop, into the buffer.

        Parameters
        ----------
        part, buffer
            As above.
        threads
            Most that work at it, the caller's included.
        """
        count = FetchCount()
        left = self._decode_together(part, buffer, threads, count)
        parts = portions(left, threads)
        for found in do_together(partial(self._decode_each, buffer), parts, threads):
            count.add(found)
        return count

    def _decode_each(self, buffer: NDArray[np.uint8], numbers: Sequence[int]) -> FetchCount:
        """Decode tiles one after the other."""
        count = FetchCount()
        number_of = {self.members[number]: number for number in numbers}
        for member, data in self._group.fetch(list(number_of), count):
            self._decode(member, data, self._room(number_of[member], buffer))
        return count

    def _decode_together(
        self, part: slice, buffer: NDArray[np.uint8], threads: int, count: FetchCount
    ) -> list[int]:
        """Decode tiles without Python's lock, where that can be; return which are left."""
        every = range(part.start, part.stop)
        if self._decoder is None:
            return list(every)
        try:
            source = self._group.storage.ranges(self._ranges[part])
        except ClosedError:  # `fetch` will say so
            source = None
        if source is None:
            return list(every)
        pieces = self._pieces[part]
        pieces[:, 4] = self.place[part] + buffer.ctypes.data
        first = self._first[: len(every) + 1]
        arguments = source, first, pieces, self._target, None, threads
        done, requests, nbytes = self._decoder(*arguments)
        count.requests += requests
        count.bytes_read += nbytes
        if all(done):
            count.bytes_wanted += int(self._ranges[part, 1].sum())
            return []
        return [number for number, is_done in zip(every, done, strict=True) if not is_done]

    def _room(self, number: int, buffer: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the memory of one tile, ``[rows, columns, samples]``."""
        begin = int(self.place[number])
        memory = buffer[begin : begin + int(self.nbytes[number])].view(self._dtype)
        return memory.reshape(-1, self._columns, self._samples)

    def _decode(self, member: int, data: memoryview | RegionIOError, room: NDArray[Any]) -> None:
        """Decode one tile into its place."""
        group = self._group
        if isinstance(data, RegionIOError):
            self._failed[member] = group.located(member, data)
            return
        covers = group.rows[member], group.columns[member]
        fits = self._convert is None and room.shape[1:] == group.tile_shape[1:]
        out = room if fits else np.empty((len(room), *group.tile_shape[1:]), group.dtype)
        try:
            rows = group.last_row[member] if group.by_rows else covers[0]  # others may be kept
            pixels = group.decoder(data, covers, rows, out)
            if self._convert is not None:
                pixels = self._convert(pixels, group.tile[member])
        except Exception as error:  # noqa: BLE001  whatever a codec makes of damaged bytes
            self._failed[member] = group.located(member, error)
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
        self._tiles = CpuTiles(self, self.members_by_offset(), convert, samples, dtype)

    @property
    def kind(self) -> GatherKind:
        return self.with_tables(GatherKind(str(self._dtype), str(self._dtype)))

    def start(self, context: Context) -> None:
        tiles, buffer = self._tiles, self.take_buffer(context, self._tiles.total)
        if tiles.has_own_threads:
            every, threads = slice(0, len(tiles.members)), max(1, self.tasks.most)
            self.futures.append(self.lane.run(tiles.decode, every, buffer, threads))
            return
        for part in shares(tiles.nbytes, max(1, self.tasks.most)):
            self.futures.append(self.tasks.run(tiles.decode, part, buffer))

    def bring(self, context: Context) -> None:
        self._address = self.upload(context, self.bytes)

    def rows(self) -> NDArray[Any]:
        rows = self.scattered(self._tiles.members, self._tiles.rows(self._address))
        rows["height"] = self.group.begin
        return rows
