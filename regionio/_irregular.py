"""Tiles that do not lie on a grid: which of them a box touches, and what of them is visible.

Tiles are painted in their order, later ones over earlier ones. Each tile's visible part is cut
into rectangles beforehand, so that pieces never overlap and may be painted in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from regionio._index import TileTable

__all__ = ["IrregularTiles", "VisibleParts"]

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class VisibleParts:
    """Visible rectangles of tiles that regions touch.

    Parameters
    ----------
    region, tile
        ``int64[n]``, number of the region and of the tile within its plane.
    box
        ``int64[n, 4]``, (y, x, height, width) of the rectangle in the level.
    """

    region: NDArray[np.int64]
    tile: NDArray[np.int64]
    box: NDArray[np.int64]


class IrregularTiles:
    """The visible parts of a table's tiles, in bins for quick look-up.

    Parameters
    ----------
    table
        A table with `TileTable.position`. Its planes have their tiles at the same places.
    """

    def __init__(self, table: TileTable) -> None:
        assert table.position is not None
        self._cell = np.array(table.tile_shape, dtype=np.int64)
        position = table.position[: table.plane_tiles]
        present = table.nbytes[: table.plane_tiles] > 0
        tile, box = _visible_rectangles(position, present, table.tile_shape)
        self._tile, self._box = tile, box
        self._fill_bins()

    @classmethod
    def of(cls, table: TileTable) -> IrregularTiles:
        """Return the table's, made once."""
        tiles = _made.get(table)
        if tiles is None:
            tiles = _made[table] = cls(table)
        return tiles

    def touching(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> VisibleParts:
        """Return what the boxes from `first` to before `last` touch.

        Parameters
        ----------
        first, last
            ``int64[n, 2]``, (y, x).
        """
        none = np.zeros(0, dtype=np.int64)
        found = [(none, none)]
        for region in np.flatnonzero((last > first).all(axis=1)):
            near = self._near(first[region], last[region])
            box = self._box[near]
            end = box[:, :2] + box[:, 2:]
            hit = near[((box[:, :2] < last[region]) & (end > first[region])).all(axis=1)]
            found.append((np.full(len(hit), region), hit))
        region_of, part = (np.concatenate(column) for column in zip(*found, strict=True))
        return VisibleParts(region_of, self._tile[part], self._box[part])

    def _fill_bins(self) -> None:
        """Sort the rectangles into bins of a tile's size, each into all that it touches."""
        start = self._box[:, :2] // self._cell
        stop = (self._box[:, :2] + self._box[:, 2:] - 1) // self._cell + 1
        spans = stop - start
        counts = spans.prod(axis=1)
        part = np.repeat(np.arange(len(self._box)), counts)
        inner = np.arange(len(part)) - np.repeat(np.cumsum(counts) - counts, counts)
        y, x = np.divmod(inner, spans[part, 1])
        self._bins = stop.max(axis=0, initial=0)
        key = (start[part, 0] + y) * self._bins[1] + start[part, 1] + x
        order = np.argsort(key, kind="stable")
        self._members = part[order]
        self._bounds = np.searchsorted(key[order], np.arange(self._bins.prod() + 1))

    def _near(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rectangles in the bins that a box touches, each once."""
        start = np.maximum(first // self._cell, 0)
        stop = np.minimum((last - 1) // self._cell + 1, self._bins)
        if (stop <= start).any():
            return np.zeros(0, dtype=np.int64)
        runs = []
        for row in range(start[0], stop[0]):
            bounds = self._bounds[row * self._bins[1] + np.array([start[1], stop[1]])]
            runs.append(self._members[bounds[0] : bounds[1]])
        return np.unique(np.concatenate(runs))


_made: WeakKeyDictionary[TileTable, IrregularTiles] = WeakKeyDictionary()


def _visible_rectangles(
    position: NDArray[np.int64], present: NDArray[np.bool_], tile_shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (tile, box) of every rectangle that stays visible once all tiles are painted."""
    height, width = tile_shape
    at: dict[tuple[int, int], list[int]] = {}
    tiles: list[int] = []
    boxes: list[Box] = []
    places = position.tolist()
    for tile in range(len(places) - 1, -1, -1):
        if not present[tile]:
            continue
        y, x = places[tile]
        visible: list[Box] = [(y, x, height, width)]
        cell_y, cell_x = y // height, x // width
        for row in (cell_y - 1, cell_y, cell_y + 1):
            for column in (cell_x - 1, cell_x, cell_x + 1):
                for later in at.get((row, column), ()):
                    cover = (*places[later], height, width)
                    visible = [rest for box in visible for rest in _minus(box, cover)]
        at.setdefault((cell_y, cell_x), []).append(tile)
        tiles.extend([tile] * len(visible))
        boxes.extend(visible)
    box = np.array(boxes, dtype=np.int64).reshape(-1, 4)
    return np.array(tiles, dtype=np.int64), box


def _minus(box: Box, cover: Box) -> list[Box]:
    """Return the rectangles that are left of `box` under `cover`."""
    y, x, height, width = box
    top, left = max(y, cover[0]), max(x, cover[1])
    bottom = min(y + height, cover[0] + cover[2])
    right = min(x + width, cover[1] + cover[3])
    if top >= bottom or left >= right:
        return [box]
    rest = [
        (y, x, top - y, width),
        (bottom, x, y + height - bottom, width),
        (top, x, bottom - top, left - x),
        (top, right, bottom - top, x + width - right),
    ]
    return [part for part in rest if part[2] > 0 and part[3] > 0]
