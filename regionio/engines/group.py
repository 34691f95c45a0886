"""Tiles of one view, one file and one encoding: their ranges, their decoder, their pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, DecodeError, RegionIOError
from regionio._plan import Window
from regionio.codecs import decoder_for
from regionio.compose.canvas import PieceTuple
from regionio.storage import FetchCount, Storage

__all__ = ["LARGEST_TILE_BYTES", "TileGroup", "groups_of"]

LARGEST_TILE_BYTES = 2**30
"""A larger decoded tile is taken for a decompression bomb."""


def groups_of(window: Window, storages: Sequence[Sequence[Storage]]) -> Iterator[TileGroup]:
    """Cut a window where the view, the file or the encoding changes.

    Parameters
    ----------
    window
        Its tiles are sorted by view and file.
    storages
        For each view, a storage for each of its sources.
    """
    tiles = window.tiles
    if len(tiles) == 0:
        return
    if len(window.views) == 1:
        table = window.views[0].table
        if table.source is None and table.encoding is None:
            yield TileGroup(window, storages[0][0], 0)
            return
    kinds = np.zeros((len(tiles), 3), dtype=np.int64)
    kinds[:, 0] = tiles["view"]
    for number in np.unique(tiles["view"]):
        chosen = tiles["view"] == number
        table = window.views[number].table
        if table.source is not None:
            kinds[chosen, 1] = table.source[tiles["tile"][chosen]]
        if table.encoding is not None:
            kinds[chosen, 2] = table.encoding[tiles["tile"][chosen]]
    changes = np.flatnonzero((kinds[1:] != kinds[:-1]).any(axis=1)) + 1
    for start, stop in zip([0, *changes.tolist()], [*changes.tolist(), len(tiles)], strict=True):
        view, source, encoding = kinds[start].tolist()
        yield TileGroup(window[start:stop], storages[view][source], encoding)


class TileGroup:
    """A few tiles that are fetched together and decoded alike.

    Parameters
    ----------
    window
        Tiles of one view.
    storage
        The file that holds them.
    encoding
        Index into `ImageIndex.encodings`.
    """

    def __init__(self, window: Window, storage: Storage, encoding: int) -> None:
        self.view_number = int(window.tiles["view"][0])
        self.view = window.views[self.view_number]
        self.tile = window.tiles["tile"]
        self._storage = storage
        self._pieces: list[PieceTuple] = window.pieces.tolist()
        self._bounds: list[int] = window.first_piece.tolist()
        self._encoding = self.view.index.encodings[encoding]
        table = self.view.table
        self.tile_shape = (*table.tile_shape, self._encoding.samples)
        self.by_rows = self._encoding.compression == "none"
        offset, nbytes = table.offset[self.tile], table.nbytes[self.tile]
        self.first_row = [0] * len(self.tile)
        self.covers = self._valid_sizes()
        starts, pieces = window.first_piece[:-1], window.pieces
        last = np.maximum.reduceat(pieces["tile_y"] + pieces["height"], starts)
        if self.by_rows:
            first = np.minimum.reduceat(pieces["tile_y"], starts)
            offset, nbytes = self._narrowed(first, last, offset, nbytes)
        self.rows: list[int] = last.tolist()
        self._offset: list[int] = offset.tolist()
        self._nbytes: list[int] = nbytes.tolist()
        self.decoder = decoder_for(self._encoding, table.tile_shape)
        self._check_size()

    def __len__(self) -> int:
        return len(self.tile)

    @property
    def dtype(self) -> str:
        """Stored dtype."""
        return self._encoding.dtype

    @property
    def tile_bytes(self) -> int:
        """Bytes of a decoded tile."""
        rows, columns, samples = self.tile_shape
        return rows * columns * samples * self._encoding.itemsize

    def pieces(self, member: int) -> list[PieceTuple]:
        """Return the pieces of one tile."""
        return self._pieces[self._bounds[member] : self._bounds[member + 1]]

    def fetch(
        self, members: Sequence[int], count: FetchCount
    ) -> Iterator[tuple[int, memoryview | RegionIOError]]:
        """Read the bytes of some tiles in one go.

        Yields
        ------
        tuple
            Number of the tile in the group; its bytes, or why they can't be had.
        """
        size = self._storage.identity.size
        inside = [i for i in members if self._offset[i] + self._nbytes[i] <= size]
        inside.sort(key=self._offset.__getitem__)
        try:
            data = self._storage.read(
                [self._offset[i] for i in inside], [self._nbytes[i] for i in inside], count
            )
        except CorruptFileError as error:
            for i in members:
                yield i, error
            return
        yield from zip(inside, data, strict=True)
        if len(inside) < len(members):
            for i in set(members).difference(inside):
                end = self._offset[i] + self._nbytes[i]
                msg = f"its bytes end at {end}, but the file has only {size}"
                yield i, CorruptFileError(msg)

    def regions(self, member: int) -> list[int]:
        """Return the numbers of the regions that need a tile."""
        return sorted({piece[0] for piece in self.pieces(member)})

    def located(self, member: int, error: Exception) -> RegionIOError:
        """Return an error that says which tile of which file it is about."""
        columns = self.view.table.grid[4]
        row, column = divmod(int(self.tile[member]) % self.view.table.plane_tiles, columns)
        path = self._storage.identity.path
        where = f"{path!r}, level {self.view.number}, tile in row {row}, column {column}"
        if isinstance(error, RegionIOError):
            located = type(error)(f"{where}: {error}")
        else:
            located = DecodeError(f"{where}: {type(error).__name__}: {error}")
        located.__cause__ = error
        return located

    def _valid_sizes(self) -> list[tuple[int, int]]:
        """Return how many rows and columns of each tile lie inside the image."""
        level, table = self.view.level, self.view.table
        height, width = table.tile_shape
        if table.position is not None:
            return [(height, width)] * len(self.tile)
        row, column = np.divmod(self.tile % table.plane_tiles, table.grid[4])
        if row.max() < level.height // height and column.max() < level.width // width:
            return [(height, width)] * len(self.tile)
        rows = np.minimum(level.height - row * height, height)
        columns = np.minimum(level.width - column * width, width)
        return list(zip(rows.tolist(), columns.tolist(), strict=True))

    def _narrowed(
        self,
        first: NDArray[np.int64],
        last: NDArray[np.int64],
        offset: NDArray[np.int64],
        nbytes: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Narrow the ranges of uncompressed tiles to the rows that pieces need."""
        _, columns, samples = self.tile_shape
        bits = self._encoding.bits
        pixel_bits = sum(bits) if isinstance(bits, tuple) else bits * samples
        row_bytes = (columns * pixel_bits + 7) // 8
        self.first_row = first.tolist()
        self.covers = [
            (rows, covered[1])
            for rows, covered in zip((last - first).tolist(), self.covers, strict=True)
        ]
        return offset + first * row_bytes, np.minimum(last * row_bytes, nbytes) - first * row_bytes

    def _check_size(self) -> None:
        if self.tile_bytes > LARGEST_TILE_BYTES and not self.by_rows:
            rows, columns, samples = self.tile_shape
            msg = (
                f"{self._storage.identity.path!r}: a tile of {columns}×{rows} pixels and {samples} "
                f"samples takes {self.tile_bytes} bytes, more than the {LARGEST_TILE_BYTES} allowed"
            )
            raise DecodeError(msg)
