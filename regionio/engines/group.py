"""Tiles of one view, one file and one encoding: their ranges, their decoder, their pieces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, DecodeError, RegionIOError
from regionio._index import Encoding
from regionio._opened import SourceStorages
from regionio._window import Window, runs
from regionio.codecs import box_decoder_for, decoder_for, piece_decoder_for
from regionio.compose.canvas import PieceTuple
from regionio.storage import FetchCount, FileRanges, Storage

__all__ = ["LARGEST_TILE_BYTES", "TileGroup", "groups_of"]

LARGEST_TILE_BYTES = 2**30
"""A larger decoded tile is taken for a decompression bomb."""

LARGEST_BOX_SHARE = 0.5
"""Of a tile; more than that is not decoded sooner by itself than with the rest."""

TILE_Y, TILE_X, HEIGHT, WIDTH = range(5, 9)
"""Where a piece, as a tuple, says so."""

LARGEST_GROWTH, LARGEST_OVERHEAD = 4, 2**20
"""No codec makes of a tile more than so many times its bytes, and so many besides."""


def groups_of(window: Window, storages: Sequence[SourceStorages]) -> Iterator[TileGroup]:
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
    table = window.views[0].table
    if len(window.views) == 1 and table.source is None and table.encoding is None:
        yield TileGroup(window, 0, storages[0][0], 0)
        return
    kinds = np.stack([tiles["view"], tiles["source"], tiles["encoding"]])
    changes = (np.flatnonzero((kinds[:, 1:] != kinds[:, :-1]).any(axis=0)) + 1).tolist()
    for start, stop in zip([0, *changes], [*changes, len(tiles)], strict=True):
        view, source, encoding = kinds[:, start].tolist()
        yield TileGroup(window[start:stop], view, storages[view][source], encoding)


class TileGroup:
    """A few tiles that are fetched together and decoded alike.

    Parameters
    ----------
    window
        Tiles of one view.
    view
        Number of the view.
    storage
        The file that holds them.
    encoding
        Index into `ImageIndex.encodings`.
    """

    def __init__(self, window: Window, view: int, storage: Storage, encoding: int) -> None:
        self.view_number = view
        self.view = window.views[view]
        self.window = window
        self._storage = storage
        self._encoding = self.view.index.encodings[encoding]
        tiles = window.tiles
        self.tile: list[int] = tiles["tile"].tolist()
        self._every = list(range(len(tiles)))
        self.rows: list[int] = tiles["rows"].tolist()
        self.columns: list[int] = tiles["columns"].tolist()
        self.last_row: list[int] = tiles["last_row"].tolist()
        self._offset: list[int] = tiles["offset"].tolist()
        self._nbytes: list[int] = tiles["nbytes"].tolist()
        self._pieces: list[PieceTuple] = window.pieces.tolist()
        self._bounds: list[int] = window.first_piece.tolist()
        self.tile_shape = (*self.view.table.tile_shape, self._encoding.samples)
        self.dtype = np.dtype(self._encoding.dtype)
        self.tile_bytes = math.prod(self.tile_shape) * self.dtype.itemsize
        self.by_rows = self._encoding.compression == "none"
        if self.by_rows:
            self._narrow_to_rows()
        else:
            self.first_row = [0] * len(self.tile)
            self._check_size(self.tile_bytes, self.tile_shape[0])
        self.decoder = decoder_for(self._encoding, self.view.table.tile_shape)
        self.box_decoder = box_decoder_for(self._encoding, self.view.table.tile_shape)
        self.piece_decoder = piece_decoder_for(self._encoding, self.view.table.tile_shape)

    def __len__(self) -> int:
        return len(self.tile)

    @property
    def encoding(self) -> Encoding:
        """How the tiles are encoded."""
        return self._encoding

    @property
    def storage(self) -> Storage:
        """The file that holds them."""
        return self._storage

    def ranges(self) -> NDArray[np.int64]:
        """Return ``int64[n, 2]``, where the bytes of each tile begin, and how many there are."""
        return np.array([self._offset, self._nbytes], dtype=np.int64).T

    def wrong_ranges(self) -> dict[int, str]:
        """Return the tiles whose bytes can't be read, and why."""
        offset, nbytes = self.ranges().T
        most = np.iinfo(np.int64).max if self.by_rows else self._largest_nbytes
        wrong = np.flatnonzero((offset + nbytes > self._storage.identity.size) | (nbytes > most))
        return {member: str(self._wrong_range(member)) for member in wrong.tolist()}

    def pieces(self, member: int) -> list[PieceTuple]:
        """Return the pieces of one tile."""
        return self._pieces[self._bounds[member] : self._bounds[member + 1]]

    def box(self, member: int) -> tuple[int, int, int, int] | None:
        """Return the rectangle that a tile's pieces lie in, if it is worth decoding by itself."""
        pieces = self.pieces(member)
        top, left = (min(piece[axis] for piece in pieces) for axis in (TILE_Y, TILE_X))
        bottom = max(piece[TILE_Y] + piece[HEIGHT] for piece in pieces)
        right = max(piece[TILE_X] + piece[WIDTH] for piece in pieces)
        height, width, _ = self.tile_shape
        if (bottom - top) * (right - left) > LARGEST_BOX_SHARE * height * width:
            return None
        return top, left, bottom, right

    def pieces_of(self, members: list[int]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the pieces of some tiles: where each tile's begin, and ``PIECE[n]``."""
        bounds = self.window.first_piece
        if members == self._every:
            return bounds, self.window.pieces
        chosen = np.array(members, dtype=np.int64)
        counts = bounds[chosen + 1] - bounds[chosen]
        owner, inner = runs(counts)
        first = np.zeros(len(chosen) + 1, dtype=np.int64)
        np.cumsum(counts, out=first[1:])
        return first, self.window.pieces[bounds[chosen][owner] + inner]

    def sorted_inside(self, members: Sequence[int]) -> list[int]:
        """Return the tiles whose bytes can be read, in the order of their offsets."""
        inside = [i for i in members if self._wrong_range(i) is None]
        inside.sort(key=self._offset.__getitem__)
        return inside

    @property
    def _largest_nbytes(self) -> int:
        return LARGEST_GROWTH * self.tile_bytes + LARGEST_OVERHEAD

    def _wrong_range(self, member: int) -> str | None:
        """Return what is wrong with the range of a tile's bytes."""
        nbytes, size = self._nbytes[member], self._storage.identity.size
        end = self._offset[member] + nbytes
        if end > size:
            return f"its bytes end at {end}, but the file has only {size}"
        if not self.by_rows and nbytes > self._largest_nbytes:
            return f"it takes {nbytes} bytes, and {self.tile_bytes} when it is decoded"
        return None

    def bytes_of(self, members: list[int], count: FetchCount) -> list[memoryview] | FileRanges:
        """Return the bytes of tiles of `sorted_inside`, or where compiled code reads them.

        Raises
        ------
        CorruptFileError
            The file has become shorter.
        """
        offsets = [self._offset[i] for i in members]
        sizes = [self._nbytes[i] for i in members]
        pairs = np.array([offsets, sizes], dtype=np.int64).T.copy()
        ranges = self._storage.ranges(pairs)
        if ranges is None:
            return self._storage.read(offsets, sizes, count)
        count.bytes_wanted += sum(sizes)
        return ranges

    def fetch(
        self, members: Sequence[int], count: FetchCount
    ) -> Iterator[tuple[int, memoryview | RegionIOError]]:
        """Read the bytes of some tiles in one go.

        Yields
        ------
        tuple
            Number of the tile in the group; its bytes, or why they can't be had.
        """
        inside = self.sorted_inside(members)
        try:
            data = self._storage.read(
                [self._offset[i] for i in inside], [self._nbytes[i] for i in inside], count
            )
        except CorruptFileError as error:
            for i in members:
                yield i, error
            return
        yield from zip(inside, data, strict=True)
        for i in members if len(inside) < len(members) else ():
            wrong = self._wrong_range(i)
            if wrong is not None:
                yield i, CorruptFileError(wrong)

    def read_into(self, member: int, place: NDArray[Any], count: FetchCount) -> memoryview | None:
        """Read a tile's bytes into the memory of its pixels, if they are as many.

        Raises
        ------
        CorruptFileError
            The file has become shorter.
        """
        if self._nbytes[member] != place.nbytes or self._wrong_range(member) is not None:
            return None
        memory = place.data.cast("B")
        self._storage.read_into(self._offset[member], memory, count)
        return memory

    def regions(self, member: int) -> list[int]:
        """Return the numbers of the regions that need a tile."""
        return sorted({piece[0] for piece in self.pieces(member)})

    def located(self, member: int, error: Exception) -> RegionIOError:
        """Return an error that says which tile of which file it is about."""
        where = f"{self._storage.identity.path!r}, {self._place(self.tile[member])}"
        if isinstance(error, RegionIOError):
            located = type(error)(f"{where}: {error}")
        else:
            located = DecodeError(f"{where}: {type(error).__name__}: {error}")
        located.__cause__ = error
        return located

    def _place(self, tile: int) -> str:
        """Return which tile or frame it is that has a number."""
        plane, in_plane = divmod(tile, self.view.table.plane_tiles)
        frames = self.view.index.frame_indices
        if frames is not None:
            return f"frame {frames.flat[plane]} (counted from 0)"
        row, column = divmod(in_plane, self.view.table.grid[4])
        return f"level {self.view.number}, tile in row {row}, column {column}"

    def _narrow_to_rows(self) -> None:
        """Of uncompressed tiles, read only the rows that pieces need."""
        _, columns, samples = self.tile_shape
        bits = self._encoding.bits
        pixel_bits = sum(bits) if isinstance(bits, tuple) else bits * samples
        row_bytes = (columns * pixel_bits + 7) // 8
        self._check_size(row_bytes, 1)
        self.first_row = self.window.tiles["first_row"].tolist()
        for i, (first, last) in enumerate(zip(self.first_row, self.last_row, strict=True)):
            self._offset[i] += first * row_bytes
            self._nbytes[i] = max(0, min(last * row_bytes, self._nbytes[i]) - first * row_bytes)
            self.rows[i] = last - first

    def _check_size(self, nbytes: int, rows: int) -> None:
        """Refuse what would have to be held at once if it is absurd."""
        if nbytes > LARGEST_TILE_BYTES:
            _, columns, samples = self.tile_shape
            msg = (
                f"{self._storage.identity.path!r}: a piece of {columns}×{rows} pixels and {samples} samples "
                f"that can only be read whole takes {nbytes} bytes, more than the "
                f"{LARGEST_TILE_BYTES} allowed"
            )
            raise DecodeError(msg)
