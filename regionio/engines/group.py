"""Tiles of one view, one file and one encoding: their ranges, their decoder, their pieces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, DecodeError, RegionIOError
from regionio._index import Encoding
from regionio._lazy import lazy_property
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

    Attributes
    ----------
    offset, nbytes
        ``int64[n]``, the bytes of each tile in the file that are read.
    begin
        ``int64[n]``, the row of each tile at which they begin: 0 unless it is uncompressed.
    height
        ``int64[n]``, rows of each tile that lie inside the image; of uncompressed ones, that are
        read.
    """

    def __init__(self, window: Window, view: int, storage: Storage, encoding: int) -> None:
        self.view_number = view
        self.view = window.views[view]
        self.window = window
        self._storage = storage
        self._encoding = self.view.index.encodings[encoding]
        self.offset: NDArray[np.int64] = window.tiles["offset"]
        self.nbytes: NDArray[np.int64] = window.tiles["nbytes"]
        self.height: NDArray[np.int64] = window.tiles["rows"]
        self.begin: NDArray[np.int64] = np.zeros(len(window), dtype=np.int64)
        self.tile_shape = (*self.view.table.tile_shape, self._encoding.samples)
        self.dtype = np.dtype(self._encoding.dtype)
        self.tile_bytes = math.prod(self.tile_shape) * self.dtype.itemsize
        self.by_rows = self._encoding.compression == "none"
        if self.by_rows:
            self._narrow_to_rows()
        else:
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

    @lazy_property
    def tile(self) -> list[int]:
        """Numbers of the tiles in the level's table."""
        return _listed(self.window.tiles["tile"])

    @lazy_property
    def rows(self) -> list[int]:
        """The same as `height`."""
        return _listed(self.height)

    @lazy_property
    def columns(self) -> list[int]:
        """Columns of each tile that lie inside the image."""
        return _listed(self.window.tiles["columns"])

    @lazy_property
    def first_row(self) -> list[int]:
        """The same as `begin`."""
        return _listed(self.begin)

    @lazy_property
    def last_row(self) -> list[int]:
        """The row of each tile that follows the last one which its pieces need."""
        return _listed(self.window.tiles["last_row"])

    @lazy_property
    def _pieces(self) -> list[PieceTuple]:
        pieces: list[PieceTuple] = self.window.pieces.tolist()
        return pieces

    @lazy_property
    def _bounds(self) -> list[int]:
        return _listed(self.window.first_piece)

    def ranges(self) -> NDArray[np.int64]:
        """Return ``int64[n, 2]``, where the bytes of each tile begin, and how many there are."""
        return np.array([self.offset, self.nbytes]).T

    def wrong_ranges(self) -> dict[int, str]:
        """Return the tiles whose bytes can't be read, and why."""
        return {member: self._wrong_range(member) for member in self._wrong.tolist()}

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

    def pieces_of(self, members: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the pieces of some tiles: where each tile's begin, and ``PIECE[n]``."""
        bounds = self.window.first_piece
        if len(members) == len(self) and (members[1:] > members[:-1]).all():
            return bounds, self.window.pieces
        counts = bounds[members + 1] - bounds[members]
        owner, inner = runs(counts)
        first = np.zeros(len(members) + 1, dtype=np.int64)
        np.cumsum(counts, out=first[1:])
        return first, self.window.pieces[bounds[members][owner] + inner]

    def sorted_inside(self, members: Sequence[int]) -> NDArray[np.int64]:
        """Return the tiles whose bytes can be read, in the order of their offsets."""
        chosen = np.array(members, dtype=np.int64)
        if len(self._wrong):
            chosen = np.setdiff1d(chosen, self._wrong)
        return chosen[np.argsort(self.offset[chosen], kind="stable")]

    @property
    def _largest_nbytes(self) -> int:
        if self.by_rows:
            return int(np.iinfo(np.int64).max)
        return LARGEST_GROWTH * self.tile_bytes + LARGEST_OVERHEAD

    @lazy_property
    def _wrong(self) -> NDArray[np.int64]:
        """Numbers of the tiles whose bytes can't be read."""
        room = self._storage.identity.size - self.offset
        is_wrong = (self.offset < 0) | (self.nbytes > np.minimum(room, self._largest_nbytes))
        return np.flatnonzero(is_wrong)

    def _wrong_range(self, member: int) -> str:
        """Return what is wrong with the range of a tile's bytes."""
        nbytes, size = int(self.nbytes[member]), self._storage.identity.size
        end = int(self.offset[member]) + nbytes
        if not 0 <= end - nbytes <= end <= size:
            return f"its bytes end at {end}, but the file has only {size}"
        return f"it takes {nbytes} bytes, and {self.tile_bytes} when it is decoded"

    def bytes_of(
        self, members: NDArray[np.int64], count: FetchCount
    ) -> list[memoryview] | FileRanges:
        """Return the bytes of tiles of `sorted_inside`, or where compiled code reads them.

        Raises
        ------
        CorruptFileError
            The file has become shorter.
        """
        offset, nbytes = self.offset[members], self.nbytes[members]
        ranges = self._storage.ranges(np.column_stack([offset, nbytes]))
        if ranges is None:
            return self._storage.read(offset.tolist(), nbytes.tolist(), count)
        count.bytes_wanted += int(nbytes.sum())
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
        offset, nbytes = self.offset[inside], self.nbytes[inside]
        try:
            data = self._storage.read(offset.tolist(), nbytes.tolist(), count)
        except CorruptFileError as error:
            for i in members:
                yield i, error
            return
        yield from zip(inside.tolist(), data, strict=True)
        for i in members if len(inside) < len(members) else ():
            if i in self._wrong:
                yield i, CorruptFileError(self._wrong_range(i))

    def read_into(self, member: int, place: NDArray[Any], count: FetchCount) -> memoryview | None:
        """Read a tile's bytes into the memory of its pixels, if they are as many.

        Raises
        ------
        CorruptFileError
            The file has become shorter.
        """
        if self.nbytes[member] != place.nbytes or member in self._wrong:
            return None
        memory = place.data.cast("B")
        self._storage.read_into(int(self.offset[member]), memory, count)
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
        tiles = self.window.tiles
        self.begin, self.height = tiles["first_row"], tiles["last_row"] - tiles["first_row"]
        first = self.begin * row_bytes
        last = np.minimum(tiles["last_row"] * row_bytes, self.nbytes)
        self.offset = self.offset + first
        self.nbytes = np.maximum(last - first, 0)

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


def _listed(numbers: NDArray[np.int64]) -> list[int]:
    """Return numbers as Python's, which single ones are taken from sooner."""
    listed: list[int] = numbers.tolist()
    return listed
