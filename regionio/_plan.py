"""From requests to work: which tiles are needed, and which pieces of them go where.

A request asks for one region of one view (an image at a level). A window of requests becomes the
tiles it needs, each once, and the pieces of those tiles, in vectorised NumPy: nothing here runs
once a tile in Python. No pixels and no files are touched.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionio._irregular import Layouts, VisibleTiles
from regionio._window import PIECE, View, Window, make_window, runs, single_piece_window

__all__ = ["plan_region", "plan_regions"]

MOST_TILES_ONE_BY_ONE = 48
"""Up to so many tiles, a loop takes less time than NumPy's calls do."""


def plan_region(
    view: View, location: tuple[int, int, int], size: tuple[int, int, int], number: int = 0
) -> Window:
    """Plan one region, with the same result as `plan_regions`, sooner if it is small.

    Parameters
    ----------
    view
        The view.
    location
        (z, y, x) of the region's first pixel, in pixels of its level.
    size
        (depth, height, width) of the region.
    number
        Of the request.
    """
    level, table = view.level, view.table
    tile_height, tile_width = table.tile_shape
    first = [max(start, 0) for start in location]
    whole = (table.grid[2], level.height, level.width)
    last = [min(start + n, stop) for start, n, stop in zip(location, size, whole, strict=True)]
    rows = range(first[1] // tile_height, min((last[1] - 1) // tile_height + 1, table.grid[3]))
    columns = range(first[2] // tile_width, min((last[2] - 1) // tile_width + 1, table.grid[4]))
    layers = range(first[0], last[0])
    count = len(view.planes) * len(layers) * len(rows) * len(columns)
    inside = all(start < stop for start, stop in zip(first, last, strict=True))
    if not inside or count > MOST_TILES_ONE_BY_ONE or table.position is not None:
        places = np.array([location], dtype=np.int64)
        return plan_regions([view], np.zeros(1, dtype=np.int64), places, size, number)
    pieces = []
    for plane, z, row, column in itertools.product(range(len(view.planes)), layers, rows, columns):
        tile = (view.time * table.grid[1] + view.planes[plane]) * table.grid[2] + z
        tile = tile * table.plane_tiles + row * table.grid[4] + column
        if table.nbytes[tile] == 0:
            continue
        tile_y, tile_x = row * tile_height, column * tile_width
        y, x = max(first[1], tile_y), max(first[2], tile_x)
        height = min(last[1], tile_y + tile_height) - y
        width = min(last[2], tile_x + tile_width) - x
        place = (z - location[0], y - location[1], x - location[2])
        piece = (number, plane, *place, y - tile_y, x - tile_x, height, width)
        pieces.append((int(table.offset[tile]), tile, piece))
    return single_piece_window(view, sorted(pieces), number)


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
        return make_window(views, empty, empty, np.zeros(0, dtype=PIECE), batch_size)
    view, tile, pieces = (np.concatenate(column) for column in zip(*parts, strict=True))
    return make_window(views, view, tile, pieces, batch_size)


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
