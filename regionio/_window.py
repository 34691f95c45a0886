"""Work to do: tiles to decode, in order, and the pieces of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._index import ImageIndex, Level, TileTable

__all__ = [
    "PIECE",
    "TILE",
    "View",
    "Window",
    "make_window",
    "runs",
    "single_piece_window",
    "stacked",
]

PIECE = np.dtype(
    [
        ("region", np.int64),
        ("plane", np.int64),
        ("z", np.int64),
        ("y", np.int64),
        ("x", np.int64),
        ("tile_y", np.int64),
        ("tile_x", np.int64),
        ("height", np.int64),
        ("width", np.int64),
    ]
)
"""A rectangle of a tile that goes into a region.

region: the request's number. plane: which of `View.planes` the tile holds. z, y, x: first pixel in
the region. tile_y, tile_x: first pixel in the tile. height, width: its size.
"""

TILE = np.dtype(
    [
        ("view", np.int64),
        ("tile", np.int64),
        ("batch", np.int64),
        ("source", np.int64),
        ("encoding", np.int64),
        ("offset", np.int64),
        ("nbytes", np.int64),
        ("rows", np.int64),
        ("columns", np.int64),
        ("first_row", np.int64),
        ("last_row", np.int64),
        ("used", np.int64),
    ]
)
"""A tile that is needed.

view: number of the view. tile: its number in the level's table. batch: the first that wants it.
source, encoding, offset, nbytes: from the tile table. rows, columns: how many from its first
pixel lie inside the image. first_row, last_row: the rows that pieces need, the last one excluded.
used: pixels that pieces take, together.
"""


@dataclass(frozen=True, eq=False)
class View:
    """What requests see of an image: one level, one time, some planes.

    Parameters
    ----------
    index
        The image.
    number
        Number of the level.
    time
        Index along T.
    planes
        Indices along the tile table's plane axis, in the order in which `PIECE` counts them.
    """

    index: ImageIndex
    number: int
    time: int = 0
    planes: tuple[int, ...] = (0,)

    @property
    def level(self) -> Level:
        """The level."""
        return self.index.levels[self.number]

    @property
    def table(self) -> TileTable:
        """The level's tiles."""
        return self.level.tiles


@dataclass(frozen=True, eq=False)
class Window:
    """Tiles to decode, in order, and the pieces of each.

    Parameters
    ----------
    views
        The views that `TILE` and requests count in.
    tiles
        ``TILE[m]``, each tile once, sorted by (batch, view, source, offset).
    first_piece
        ``int64[m + 1]``: pieces of tile i are ``pieces[first_piece[i]:first_piece[i + 1]]``.
    pieces
        ``PIECE[p]``, disjoint within a region.
    """

    views: tuple[View, ...]
    tiles: NDArray[Any]
    first_piece: NDArray[np.int64]
    pieces: NDArray[Any]

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, part: slice) -> Window:
        """Return some of the tiles with their pieces."""
        start, stop, _ = part.indices(len(self.tiles))
        bounds = self.first_piece[start : stop + 1]
        if len(bounds) == 0:
            return Window(self.views, self.tiles[:0], np.zeros(1, np.int64), self.pieces[:0])
        return Window(
            self.views,
            self.tiles[start:stop],
            bounds - bounds[0],
            self.pieces[bounds[0] : bounds[-1]],
        )

    def chosen(self, numbers: NDArray[np.int64]) -> Window:
        """Return the tiles that stand at some places, in that order, with their pieces."""
        counts = np.diff(self.first_piece)[numbers]
        owner, inner = runs(counts)
        pieces = self.pieces[self.first_piece[numbers][owner] + inner]
        first_piece = np.concatenate(([0], np.cumsum(counts)))
        return Window(self.views, self.tiles[numbers], first_piece, pieces)

    def joined(self, later: Window, batch_size: int) -> Window:
        """Return one window of both, in which tiles that both need stand once.

        Parameters
        ----------
        later
            Window of later requests over the same views.
        batch_size
            Requests a batch, from whose numbers the order of work follows.
        """
        owners = [np.repeat(w.tiles, np.diff(w.first_piece)) for w in (self, later)]
        tiles = np.concatenate(owners)
        pieces = np.concatenate([self.pieces, later.pieces])
        return make_window(self.views, tiles["view"], tiles["tile"], pieces, batch_size)


def make_window(
    views: tuple[View, ...],
    view: NDArray[np.int64],
    tile: NDArray[np.int64],
    pieces: NDArray[Any],
    batch_size: int,
) -> Window:
    """Group pieces by tile and order the tiles.

    Parameters
    ----------
    views
        The views that tiles are of.
    view, tile
        ``int64[p]``, number of the view and of the tile of each piece.
    pieces
        ``PIECE[p]``.
    batch_size
        Requests a batch.
    """
    if len(pieces) == 0:
        return Window(views, np.zeros(0, dtype=TILE), np.zeros(1, dtype=np.int64), pieces)
    # one sortable number a tile: its place in the views' tables laid end to end
    base = np.cumsum([0, *(len(v.table.offset) for v in views)])
    key = base[view] + tile
    order = np.lexsort((pieces["region"], key))
    key, pieces = key[order], pieces[order]
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    tiles = np.empty(len(starts), dtype=TILE)
    tiles["view"] = view[order][starts]
    tiles["tile"] = tile[order][starts]
    tiles["batch"] = pieces["region"][starts] // batch_size
    tiles["first_row"] = np.minimum.reduceat(pieces["tile_y"], starts)
    tiles["last_row"] = np.maximum.reduceat(pieces["tile_y"] + pieces["height"], starts)
    tiles["used"] = np.add.reduceat(pieces["height"] * pieces["width"], starts)
    for number, this in enumerate(views):
        chosen = slice(None) if len(views) == 1 else np.flatnonzero(tiles["view"] == number)
        part = tiles[chosen]
        _describe(part, this)
        tiles[chosen] = part
    counts = np.diff(starts, append=len(key))
    rank = np.lexsort((tiles["offset"], tiles["source"], tiles["view"], tiles["batch"]))
    first_piece = np.concatenate(([0], np.cumsum(counts[rank])))
    by_rank = np.repeat(starts[rank] - first_piece[:-1], counts[rank]) + np.arange(len(pieces))
    return Window(views, tiles[rank], first_piece, pieces[by_rank])


def stacked(windows: Sequence[Window]) -> Window:
    """Return windows over the same views as one, the tiles of each behind those of the last."""
    if len(windows) == 1:
        return windows[0]
    ends = np.cumsum([0, *(len(window.pieces) for window in windows)]).tolist()
    bounds = [w.first_piece[:-1] + end for w, end in zip(windows, ends[:-1], strict=True)]
    return Window(
        windows[0].views,
        np.concatenate([window.tiles for window in windows]),
        np.concatenate([*bounds, ends[-1:]]),
        np.concatenate([window.pieces for window in windows]),
    )


def single_piece_window(
    view: View, found: list[tuple[int, int, tuple[int, ...]]], number: int
) -> Window:
    """Make a window of tiles of one view that have one piece each.

    Parameters
    ----------
    view
        The view.
    found
        (offset, tile, piece) of each, in order.
    number
        Of the first batch that needs them.
    """
    tiles = np.zeros(len(found), dtype=TILE)
    pieces = np.array([piece for _, _, piece in found], dtype=PIECE)
    tiles["tile"] = [tile for _, tile, _ in found]
    tiles["batch"] = number
    tiles["first_row"] = pieces["tile_y"]
    tiles["last_row"] = pieces["tile_y"] + pieces["height"]
    tiles["used"] = pieces["height"] * pieces["width"]
    _describe(tiles, view)
    return Window((view,), tiles, np.arange(len(found) + 1), pieces)


def _describe(tiles: NDArray[Any], view: View) -> None:
    """Fill in what the tile table and the level say of tiles of one view."""
    level, table = view.level, view.table
    ids = tiles["tile"]
    tiles["offset"] = table.offset[ids]
    tiles["nbytes"] = table.nbytes[ids]
    tiles["source"] = 0 if table.source is None else table.source[ids]
    tiles["encoding"] = 0 if table.encoding is None else table.encoding[ids]
    height, width = table.tile_shape
    if table.position is None:
        row, column = np.divmod(ids % table.plane_tiles, table.grid[4])
        tiles["rows"] = np.minimum(level.height - row * height, height)
        tiles["columns"] = np.minimum(level.width - column * width, width)
    else:
        tiles["rows"], tiles["columns"] = height, width


def runs(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the owner of each thing and its number there, where owner i has `counts[i]` things.

    >>> runs(np.array([2, 0, 3]))
    (array([0, 0, 2, 2, 2]), array([0, 1, 0, 1, 2]))
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
