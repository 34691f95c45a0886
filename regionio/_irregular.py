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
from regionio._window import runs

__all__ = ["Layouts", "VisibleParts", "VisibleTiles"]


@dataclass(frozen=True, eq=False)
class VisibleParts:
    """Visible rectangles of tiles that regions touch.

    Parameters
    ----------
    region, tile
        ``int64[n]``, number of the region and of the tile within its plane.
    box
        ``int64[n, 4]``, (y, x, height, width) of the rectangle in the level.
    origin
        ``int64[n, 2]``, (y, x) in the level where the tile's first pixel would lie.
    """

    region: NDArray[np.int64]
    tile: NDArray[np.int64]
    box: NDArray[np.int64]
    origin: NDArray[np.int64]


class Layouts:
    """How the tiles of each plane of a table lie; planes that lie alike share it.

    Parameters
    ----------
    table
        A table with `TileTable.position`.
    """

    def __init__(self, table: TileTable) -> None:
        assert table.position is not None
        present = table.nbytes.reshape(-1, table.plane_tiles) > 0
        position = table.position
        shared = position.ndim == 3 or len(position) == table.plane_tiles
        places = [position] if shared else np.split(position, len(present))
        numbers: dict[bytes, int] = {}
        self.of_plane = np.zeros(len(present), dtype=np.int64)
        self._table = table
        self._plans: list[tuple[NDArray[np.int64], NDArray[np.bool_]]] = []
        self._tiles: dict[int, VisibleTiles] = {}
        for plane, there in enumerate(present):
            place = places[0 if shared else plane]
            key = there.tobytes() + (b"" if shared else place.tobytes())
            number = numbers.setdefault(key, len(numbers))
            if number == len(self._plans):
                self._plans.append((place, there))
            self.of_plane[plane] = number

    @classmethod
    def of(cls, table: TileTable) -> Layouts:
        """Return the table's, made once."""
        layouts = _made.get(table)
        if layouts is None:
            layouts = _made[table] = cls(table)
        return layouts

    def tiles(self, number: int) -> VisibleTiles:
        """Return one of the layouts that `of_plane` counts, made once."""
        tiles = self._tiles.get(number)
        if tiles is None:
            position, present = self._plans[number]
            tiles = VisibleTiles(self._table, position, present)
            self._tiles[number] = tiles
        return tiles


_made: WeakKeyDictionary[TileTable, Layouts] = WeakKeyDictionary()


class VisibleTiles:
    """The visible parts of the tiles of one plane, in bins for quick look-up.

    Parameters
    ----------
    table
        Says how large tiles are.
    position
        `TileTable.position` of the plane.
    present
        ``bool[n]``, which of its tiles there are.
    """

    def __init__(
        self, table: TileTable, position: NDArray[np.int64], present: NDArray[np.bool_]
    ) -> None:
        tile, origin, start, stop = _placed(table, position)
        seen = present[tile] & (stop > 0).all(axis=1)
        tile, origin = tile[seen], origin[seen]
        # nothing is seen at negative coordinates
        owner, self._start, self._stop = _visible_rectangles(start[seen].clip(0), stop[seen])
        self._tile, self._origin = tile[owner], origin[owner]
        self._fill_bins()

    def touching(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> VisibleParts:
        """Return what the boxes from `first` to before `last` touch.

        Parameters
        ----------
        first, last
            ``int64[n, 2]``, (y, x), not negative.
        """
        low = first // self._cell
        high = np.minimum((last - 1) // self._cell, self._bins - 1)
        rows = np.where(((last > first) & (high >= low)).all(axis=1), high[:, 0] - low[:, 0] + 1, 0)
        region, row = runs(rows)
        row += low[region, 0]
        key = row * self._bins[1]
        begin = np.searchsorted(self._key, key + low[region, 1])
        end = np.searchsorted(self._key, key + high[region, 1], side="right")
        run, member = runs(end - begin)
        member += begin[run]
        region, row, part = region[run], row[run], self._member[member]
        column = self._key[member] - key[run]
        # a part lies in several bins: it counts in the first one that the region touches too
        bin_of_part = self._start[part] // self._cell
        hit = (row == np.maximum(bin_of_part[:, 0], low[region, 0])) & (
            column == np.maximum(bin_of_part[:, 1], low[region, 1])
        )
        hit &= (self._start[part] < last[region]).all(axis=1)
        hit &= (self._stop[part] > first[region]).all(axis=1)
        region, part = region[hit], part[hit]
        box = np.concatenate([self._start[part], self._stop[part] - self._start[part]], axis=1)
        return VisibleParts(region, self._tile[part], box, self._origin[part])

    def _fill_bins(self) -> None:
        """Sort the rectangles into bins as large as the largest, each into all that it touches."""
        self._cell = (self._stop - self._start).max(axis=0, initial=1)
        low = self._start // self._cell
        spans = (self._stop - 1) // self._cell + 1 - low
        self._bins = (low + spans).max(axis=0, initial=0)
        part, inner = runs(spans.prod(axis=1))
        y, x = np.divmod(inner, spans[part, 1])
        key = (low[part, 0] + y) * self._bins[1] + low[part, 1] + x
        order = np.argsort(key, kind="stable")
        self._key, self._member = key[order], part[order]


def _placed(table: TileTable, position: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Return (tile, origin, start, stop) of what is painted, in the order of painting."""
    shape = np.array(table.tile_shape, dtype=np.int64)
    if position.ndim == 2:
        return np.arange(len(position)), position, position, position + shape
    grid = np.array(table.grid[3:], dtype=np.int64)
    parts = np.array(position.shape[:2], dtype=np.int64) // grid
    cell = np.indices(position.shape[:2]).reshape(2, -1).T
    tile_cell, inner = np.divmod(cell, parts)
    # where parts are no whole pixels, the pixel that two of them share belongs to both
    inner_start = inner * shape // parts
    inner_stop = -((inner + 1) * shape // -parts)
    start = position.reshape(-1, 2)
    stop = start + inner_stop - inner_start
    return tile_cell[:, 0] * grid[1] + tile_cell[:, 1], start - inner_start, start, stop


def _visible_rectangles(
    start: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (owner, start, stop) of the rectangles that stay visible once all boxes are painted.

    Parameters
    ----------
    start, stop
        ``int64[n, 2]``, corners of the boxes in the order of painting; owners count in it.
    """
    owner = np.arange(len(start))
    if len(start) == 0:
        return owner, start, stop
    # boxes that overlap start in the same bin or in neighbouring ones; bins have a margin of one
    place = start // (stop - start).max(axis=0)
    place -= place.min(axis=0) - 1
    width = place[:, 1].max() + 2
    key = place[:, 0] * width + place[:, 1]
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    low, high = start, stop
    for neighbour in (0, 1, -1, width - 1, width, width + 1, -width - 1, -width, -width + 1):
        begin = np.searchsorted(sorted_key, key + neighbour)
        candidate = np.searchsorted(sorted_key, key + neighbour, side="right")
        while len(owner):
            # of each box, the latest neighbour that has not covered it yet
            candidate -= 1
            open_ = candidate[owner] >= begin[owner]
            later = np.where(open_, order[candidate[owner]], -1)
            covered = later > owner
            if not covered.any():
                break
            cover = later[covered]
            owner, low, high = _minus(owner, low, high, covered, start[cover], stop[cover])
    return owner, low, high


def _minus(
    owner: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    covered: NDArray[np.bool_],
    cover_low: NDArray[np.int64],
    cover_high: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Take one cover from each of the `covered` rectangles: what is left are up to four others."""
    top, left = np.maximum(low[covered], cover_low).T
    bottom, right = np.minimum(high[covered], cover_high).T
    meets = (top < bottom) & (left < right)
    top, left, bottom, right = top[meets], left[meets], bottom[meets], right[meets]
    cut = np.flatnonzero(covered)[meets]
    y, x = low[cut].T
    y_end, x_end = high[cut].T
    corners = np.concatenate(
        [
            np.stack([y, x, top, x_end], axis=1),
            np.stack([bottom, x, y_end, x_end], axis=1),
            np.stack([top, x, bottom, left], axis=1),
            np.stack([top, right, bottom, x_end], axis=1),
        ]
    )
    owners = np.tile(owner[cut], 4)
    left_over = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    whole = np.ones(len(owner), dtype=bool)
    whole[cut] = False
    corners = corners[left_over]
    return (
        np.concatenate([owner[whole], owners[left_over]]),
        np.concatenate([low[whole], corners[:, :2]]),
        np.concatenate([high[whole], corners[:, 2:]]),
    )
