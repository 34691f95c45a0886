"""A few tiles on their way into regions of the GPU's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, RegionIOError
from regionio._workers import worker_pool
from regionio.compose.gather import GATHER_PIECE, GatherKind
from regionio.engines.cuda.fetch import places_for, read_to_places, shares
from regionio.engines.cuda.memory import Staging
from regionio.engines.cuda.streams import Context
from regionio.engines.group import TileGroup
from regionio.engines.stats import ReadStats
from regionio.storage import FetchCount
from regionio.values import TileConversion

__all__ = ["CpuChunk", "RawChunk", "TileChunk", "rows_at"]


class TileChunk:
    """Tiles of one group; subclasses bring them to the GPU, each by its own way.

    Parameters
    ----------
    group
        The tiles.
    threads
        Most threads at work for them.
    compose
        Takes the chunk once its tiles are in the GPU's memory: writes pieces into regions.
    """

    def __init__(
        self, group: TileGroup, threads: int, compose: Callable[[Context, TileChunk], None]
    ) -> None:
        self.group = group
        self.failed: dict[int, RegionIOError] = {}
        self.stats = ReadStats()
        self.staging: Staging
        self._threads = max(1, threads)
        self._compose = compose
        self._futures: list[Future[FetchCount]] = []

    @property
    def kind(self) -> GatherKind:
        """How samples lie in the GPU's memory; the target is still open."""
        return GatherKind(str(self.group.dtype), str(self.group.dtype))

    def rows(self) -> NDArray[Any]:
        """Return ``GATHER_PIECE[n]`` of each tile, as `piece_table` wants it."""
        raise NotImplementedError  # each way has its own

    def start(self, context: Context) -> None:
        """Have bytes fetched by other threads."""
        self.staging = context.staging()
        self.prepare(context)

    def prepare(self, context: Context) -> None:
        """Divide the work, and hand it to threads."""
        raise NotImplementedError  # each way has its own

    def bring(self, context: Context) -> None:
        """Have what the threads have made brought to the GPU, on the decode stream."""
        raise NotImplementedError  # each way has its own

    def finish(self, context: Context) -> None:
        """Wait for the threads, bring the tiles to the GPU, and compose."""
        for future in self._futures:
            count: FetchCount = future.result()
            self.stats.bytes_wanted += count.bytes_wanted
            self.stats.bytes_read += count.bytes_read
            self.stats.requests += count.requests
        self.bring(context)
        self.stats.tiles_decoded += len(self.group) - len(self.failed)
        context.compose_stream.wait_event(context.decode_stream.record())
        self._compose(context, self)
        self.staging.busy = context.compose_stream.record()

    def share_out(self, work: Callable[[slice], FetchCount], nbytes: NDArray[np.int64]) -> None:
        """Have `work` done on parts of the tiles by several threads."""
        for part in shares(nbytes, self._threads):
            self._futures.append(worker_pool.run(work, part))

    def fail(self, member: int, error: Exception) -> None:
        """Note that a tile can't be had."""
        self.failed[member] = self.group.located(member, error)

    def uploaded(self, context: Context, nbytes: int) -> Any:
        """Copy the first bytes of the pinned buffer to the GPU, behind all other copies."""
        device = self.staging.device(nbytes)
        device.set(self.staging.pinned(nbytes), stream=context.decode_stream)
        return device


class RawChunk(TileChunk):
    """Uncompressed rows, copied as they stand in the file."""

    def prepare(self, context: Context) -> None:
        group = self.group
        ranges = group.ranges()
        for member, reason in group.wrong_ranges().items():
            self.fail(member, CorruptFileError(reason))
        self._nbytes = ranges[:, 1].copy()
        self._nbytes[list(self.failed)] = 0
        self._place, self._total = places_for(self._nbytes)
        buffer = self.staging.pinned(self._total)
        order = np.argsort(ranges[:, 0], kind="stable")

        def read(part: slice) -> FetchCount:
            chosen = order[part]
            chosen = chosen[self._nbytes[chosen] > 0]
            columns = (ranges[chosen, 0], self._nbytes[chosen], self._place[chosen])
            offset, nbytes, place = (column.tolist() for column in columns)
            return read_to_places(group.storage, offset, nbytes, place, buffer)

        self.share_out(read, self._nbytes[order])

    def bring(self, context: Context) -> None:
        self._address = self.uploaded(context, self._total).data.ptr

    @property
    def kind(self) -> GatherKind:
        encoding = self.group.encoding
        native = np.dtype(encoding.byteorder + "u2").isnative
        stored = str(self.group.dtype)
        used = encoding.option("used_bits")
        return GatherKind(stored, stored, swapped=not native, used_bits=used)

    def rows(self) -> NDArray[Any]:
        _, columns, samples = self.group.tile_shape
        itemsize = self.group.dtype.itemsize
        rows = rows_at(self._address + self._place, columns * samples, samples, itemsize)
        rows["height"] = self.group.first_row
        return rows


class CpuChunk(TileChunk):
    """Tiles that threads decode.

    Parameters
    ----------
    convert
        What happens to their values before they are pasted, or None.
    samples, dtype
        Of what comes out.
    """

    def __init__(
        self,
        group: TileGroup,
        threads: int,
        compose: Callable[[Context, TileChunk], None],
        *,
        convert: TileConversion | None = None,
        samples: int,
        dtype: np.dtype[Any],
    ) -> None:
        super().__init__(group, threads, compose)
        self._convert = convert
        self._samples, self._dtype = samples, dtype

    @property
    def kind(self) -> GatherKind:
        return GatherKind(str(self._dtype), str(self._dtype))

    def prepare(self, context: Context) -> None:
        group = self.group
        height, columns, _ = group.tile_shape
        heights = np.array(group.rows) if group.by_rows else np.full(len(group), height)
        self._nbytes = heights * columns * self._samples * self._dtype.itemsize
        self._place, self._total = places_for(self._nbytes)
        buffer = self.staging.pinned(self._total)

        def decode(part: slice) -> FetchCount:
            count = FetchCount()
            for member, data in group.fetch(range(*part.indices(len(group))), count):
                place = int(self._place[member])
                memory = buffer[place : place + int(self._nbytes[member])].view(self._dtype)
                self._decode(member, data, memory.reshape(-1, columns, self._samples))
            return count

        self.share_out(decode, self._nbytes)

    def _decode(self, member: int, data: memoryview | RegionIOError, place: NDArray[Any]) -> None:
        """Decode one tile into its place."""
        group = self.group
        if isinstance(data, RegionIOError):
            self.fail(member, data)
            return
        covers = group.rows[member], group.columns[member]
        fits = self._convert is None and place.shape[1:] == group.tile_shape[1:]
        out = place if fits else np.empty((len(place), *group.tile_shape[1:]), group.dtype)
        try:
            pixels = group.decoder(data, covers, group.last_row[member], out)
            if self._convert is not None:
                pixels = self._convert(pixels, group.tile[member])
        except Exception as error:  # noqa: BLE001  whatever a codec makes of damaged bytes
            self.fail(member, error)
            return
        if pixels.ctypes.data != place.ctypes.data:
            place[: pixels.shape[0], : pixels.shape[1]] = pixels

    def bring(self, context: Context) -> None:
        self._address = self.uploaded(context, self._total).data.ptr

    def rows(self) -> NDArray[Any]:
        columns = self.group.tile_shape[1]
        itemsize = self._dtype.itemsize
        address = self._address + self._place
        rows = rows_at(address, columns * self._samples, self._samples, itemsize)
        rows["height"] = self.group.first_row
        return rows


def rows_at(
    address: NDArray[np.int64] | Sequence[int], row: int, pixel: int, itemsize: int
) -> NDArray[Any]:
    """Return the tiles at some addresses, whose rows and pixels have so many samples."""
    rows = np.zeros(len(address), dtype=GATHER_PIECE)
    rows["source"] = address
    rows["row_stride"] = row * itemsize
    rows["pixel_stride"] = pixel * itemsize
    rows["channel_stride"] = itemsize
    return rows
