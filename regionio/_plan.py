"""From requests to work: which tiles are needed, and which pieces of them go where.

A request asks for one region of one view (an image at a level). A window of requests becomes the
tiles it needs, each once, and the pieces of those tiles, in vectorised NumPy: nothing here runs
once a tile in Python. No pixels and no files are touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionio._index import ImageIndex, Level, TileTable
from regionio._irregular import Layouts, VisibleTiles, runs

__all__ = ["PIECE", "View", "Window", "plan_regions"]

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

TILE = np.dtype([("view", np.int64), ("tile", np.int64), ("batch", np.int64)])
"""A tile that is needed: the view, its number in the level's table, the first batch that wants it."""


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
        return _window(self.views, tiles["view"], tiles["tile"], pieces, batch_size)


def plan_regions(
    views: Sequence[View],
    view_of: NDArray[np.int64],
    location: NDArray[np.int64],
    size: tuple[int, int, int],
    first_request: int = 0,
    batch_size: int = 1,
) -> Window:
    """Plan a run of requests of one size.

    Parameters
    ----------
    views
        The views that requests may be of.
    view_of
        ``int64[n]``, number of each request's view.
    location
        ``int64[n, 3]``, (z, y, x) of each region's first pixel, in pixels of its level.
    size
        (depth, height, width) of the regions.
    first_request
        Number of the first request.
    batch_size
        Requests a batch: work is ordered by the first batch that needs it.

    Returns
    -------
    Window
        Absent tiles and what lies outside the image have no pieces.
    """
    views = tuple(views)
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]] = []
    for number in range(len(views)) if len(views) > 1 else (0,):
        chosen = np.flatnonzero(view_of == number) if len(views) > 1 else np.arange(len(location))
        if len(chosen) == 0:
            continue
        tile, pieces = _pieces(views[number], location[chosen], size)
        pieces["region"] = chosen[pieces["region"]] + first_request
        parts.append((np.full(len(tile), number, dtype=np.int64), tile, pieces))
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return _window(views, empty, empty, np.zeros(0, dtype=PIECE), batch_size)
    view, tile, pieces = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _window(views, view, tile, pieces, batch_size)


def _window(
    views: tuple[View, ...],
    view: NDArray[np.int64],
    tile: NDArray[np.int64],
    pieces: NDArray[Any],
    batch_size: int,
) -> Window:
    """Group pieces by tile and order the tiles."""
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
    counts = np.diff(starts, append=len(key))
    rank = np.lexsort((*_storage_order(views, tiles), tiles["view"], tiles["batch"]))
    first_piece = np.concatenate(([0], np.cumsum(counts[rank])))
    by_rank = np.repeat(starts[rank] - first_piece[:-1], counts[rank]) + np.arange(len(pieces))
    return Window(views, tiles[rank], first_piece, pieces[by_rank])


def _storage_order(
    views: tuple[View, ...], tiles: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (offset, source) of each tile, the least significant sort key first."""
    offset = np.empty(len(tiles), dtype=np.int64)
    source = np.zeros(len(tiles), dtype=np.int64)
    for number, view in enumerate(views):
        chosen = slice(None) if len(views) == 1 else tiles["view"] == number
        ids = tiles["tile"][chosen]
        offset[chosen] = view.table.offset[ids]
        if view.table.source is not None:
            source[chosen] = view.table.source[ids]
    return offset, source


def _pieces(
    view: View, location: NDArray[np.int64], size: tuple[int, int, int]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the tile of each piece and the pieces of regions of one view."""
    level, table = view.level, view.table
    depth = table.grid[2]
    first = np.maximum(location, 0)
    last = np.minimum(location + size, (depth, level.height, level.width))
    if table.position is not None:
        cells = _irregular_cells(view, first, last)
    else:
        cells = _grid_cells(view, first, last)
    start_y = np.maximum(first[cells.region, 1], cells.y)
    start_x = np.maximum(first[cells.region, 2], cells.x)
    stop_y = np.minimum(last[cells.region, 1], cells.y + cells.height)
    stop_x = np.minimum(last[cells.region, 2], cells.x + cells.width)
    pieces = np.empty(len(cells.region), dtype=PIECE)
    pieces["region"] = cells.region
    pieces["plane"] = cells.plane
    pieces["z"] = cells.z - location[cells.region, 0]
    pieces["y"] = start_y - location[cells.region, 1]
    pieces["x"] = start_x - location[cells.region, 2]
    pieces["tile_y"] = start_y - cells.tile_y
    pieces["tile_x"] = start_x - cells.tile_x
    pieces["height"] = stop_y - start_y
    pieces["width"] = stop_x - start_x
    if not table.complete:
        present = table.nbytes[cells.tile] > 0
        return cells.tile[present], pieces[present]
    return cells.tile, pieces


class _Cells(NamedTuple):
    """Rectangles of the level, each shown by one tile: columns of equal length, or one number.

    Parameters
    ----------
    region, plane, z, tile
        Which region it is for, where it is from, and the tile's number in the table.
    y, x, height, width
        The rectangle in the level.
    tile_y, tile_x
        Where in the level the tile's first pixel lies.
    """

    region: NDArray[np.int64]
    plane: NDArray[np.int64]
    z: NDArray[np.int64]
    tile: NDArray[np.int64]
    y: NDArray[np.int64]
    x: NDArray[np.int64]
    height: NDArray[np.int64] | int
    width: NDArray[np.int64] | int
    tile_y: NDArray[np.int64]
    tile_x: NDArray[np.int64]


def _grid_cells(view: View, first: NDArray[np.int64], last: NDArray[np.int64]) -> _Cells:
    """List the tiles of a grid that regions touch."""
    table = view.table
    _, _, _, rows, columns = table.grid
    tile_height, tile_width = table.tile_shape
    row = first[:, 1] // tile_height
    column = first[:, 2] // tile_width
    inside = (last > first).all(axis=1)
    depth = last[:, 0] - first[:, 0]
    down = np.minimum((last[:, 1] - 1) // tile_height + 1, rows) - row
    across = np.minimum((last[:, 2] - 1) // tile_width + 1, columns) - column
    counts = np.where(inside, len(view.planes) * depth * down * across, 0)
    region, inner = runs(counts)
    inner, cell_column = np.divmod(inner, across[region])
    inner, cell_row = np.divmod(inner, down[region])
    plane, z = np.divmod(inner, depth[region])
    cell_row += row[region]
    cell_column += column[region]
    z += first[region, 0]
    tile = _tile_number(view, plane, z, cell_row * columns + cell_column)
    y, x = cell_row * tile_height, cell_column * tile_width
    return _Cells(region, plane, z, tile, y, x, tile_height, tile_width, y, x)


def _irregular_cells(view: View, first: NDArray[np.int64], last: NDArray[np.int64]) -> _Cells:
    """List the visible parts of tiles that lie anywhere."""
    layouts = Layouts.of(view.table)
    depth = view.table.grid[2]
    plane, z = np.divmod(np.arange(len(view.planes) * depth), depth)
    layout_of = layouts.of_plane[_plane_number(view, plane, z)].reshape(-1, depth)
    touched = layout_of[:, first[:, 0].min(initial=depth) : last[:, 0].max(initial=0)]
    columns = [
        _layout_cells(view, layouts.tiles(number), layout_of == number, first, last)
        for number in (np.unique(touched).tolist() or [0])
    ]
    if len(columns) == 1:
        return columns[0]
    return _Cells(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _layout_cells(
    view: View,
    tiles: VisibleTiles,
    has_layout: NDArray[np.bool_],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
) -> _Cells:
    """List the visible parts in those planes (plane, z) that have one layout."""
    parts = tiles.touching(first[:, 1:], last[:, 1:])
    depth = np.maximum(last[:, 0] - first[:, 0], 0)
    chosen, inner = runs(len(view.planes) * depth[parts.region])
    region = parts.region[chosen]
    plane, z = np.divmod(inner, depth[region])
    z += first[region, 0]
    if not has_layout.all():
        wanted = has_layout[plane, z]
        chosen, region, plane, z = chosen[wanted], region[wanted], plane[wanted], z[wanted]
    tile = _tile_number(view, plane, z, parts.tile[chosen])
    y, x, height, width = parts.box[chosen].T
    tile_y, tile_x = parts.origin[chosen].T
    return _Cells(region, plane, z, tile, y, x, height, width, tile_y, tile_x)


def _plane_number(view: View, plane: NDArray[np.int64], z: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count planes as the table does, over (t, c, z)."""
    _, planes, depth, _, _ = view.table.grid
    number = np.asarray(view.planes, dtype=np.int64)[plane]
    number += view.time * planes
    return number * depth + z


def _tile_number(
    view: View, plane: NDArray[np.int64], z: NDArray[np.int64], in_plane: NDArray[np.int64]
) -> NDArray[np.int64]:
    return _plane_number(view, plane, z) * view.table.plane_tiles + in_plane
