"""The frames of a level in the order of a tile table: on a grid, or each with its place."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from regionio._errors import UnsupportedFormatError
from regionio._index import TileTable
from regionio.formats.dicom.instance import Instance
from regionio.formats.dicom.parts import Columns

__all__ = ["Layout"]

CHEAP_TILES = 2**20
"""A table of so many tiles costs little, however few of them there are."""

MOST_ABSENT = 8
"""Tiles of larger tables that are absent for each that is present; else each tile has its place."""

MOST_TILES_A_FRAME = 64
MOST_TILES = 2**24


class Layout:
    """Puts the frames of a level in order.

    Parameters
    ----------
    first
        A file of the level.
    planes
        Numbers of optical paths and of focal planes.
    """

    def __init__(self, first: Instance, planes: tuple[int, int]) -> None:
        (width, height), (tile_width, tile_height) = first.matrix, first.size
        self._first = first
        self._planes = planes
        self._tile = tile_height, tile_width
        self._grid = -(-height // tile_height), -(-width // tile_width)

    def table(
        self, columns: Columns, layer: NDArray[np.int64], position: NDArray[np.int64]
    ) -> TileTable:
        """Return the table: a grid where all tiles lie on it, else with their positions.

        Parameters
        ----------
        columns
            Of all frames.
        layer
            ``int64[n]``, optical path × number of focal planes + focal plane.
        position
            ``int64[n, 2]``, (y, x) of each frame's first pixel.

        Raises
        ------
        UnsupportedFormatError
            Two frames lie at one place, or frames are so few in so many planes that no table can
            hold them.
        """
        if self._planes[0] * self._planes[1] > MOST_TILES:
            self._refuse(len(layer))
        cell, rest = np.divmod(position, self._tile)
        counts = np.bincount(layer, minlength=self._planes[0] * self._planes[1])
        by_grid = len(counts) * self._grid[0] * self._grid[1]
        by_place = len(counts) * int(counts.max())
        on_grid = not rest.any() and bool(((cell >= 0) & (cell < self._grid)).all())
        roomy = by_grid > max(CHEAP_TILES, (MOST_ABSENT + 1) * len(layer))
        gridded = on_grid and not (roomy and by_place < by_grid)
        tiles = by_grid if gridded else by_place
        if tiles > max(CHEAP_TILES, MOST_TILES_A_FRAME * len(layer)):
            self._refuse(len(layer))
        if gridded:
            return self._gridded(columns, layer, cell)
        return self._placed(columns, layer, position, counts)

    def in_order(self, columns: Columns) -> TileTable:
        """Return the table of frames that are in its order already, all of them."""
        return TileTable(
            grid=(1, *self._planes, *self._grid), tile_shape=self._tile, **columns.fields()
        )

    def _refuse(self, count: int) -> NoReturn:
        msg = (
            f"{self._first.path!r}: {count} frames lie in {self._planes[0]} optical paths or "
            f"segments and {self._planes[1]} focal planes: tables of so many planes are not "
            "supported; write each path or segment as a file of its own"
        )
        raise UnsupportedFormatError(msg)

    def _gridded(
        self, columns: Columns, layer: NDArray[np.int64], cell: NDArray[np.int64]
    ) -> TileTable:
        rows, across = self._grid
        place = (layer * rows + cell[:, 0]) * across + cell[:, 1]
        count = self._planes[0] * self._planes[1] * rows * across
        taken = np.bincount(place, minlength=count)
        if taken.max() > 1:
            self._refuse_twice(cell[np.argmax(taken[place] > 1)] * self._tile)
        placed = columns.placed(place, count)
        grid = (1, *self._planes, rows, across)
        return TileTable(grid=grid, tile_shape=self._tile, **placed.fields())

    def _placed(
        self,
        columns: Columns,
        layer: NDArray[np.int64],
        position: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> TileTable:
        keys = np.column_stack([layer, position])
        by_key = np.lexsort(keys.T)
        twice = (np.diff(keys[by_key], axis=0) == 0).all(axis=1)
        if twice.any():
            self._refuse_twice(position[by_key[int(np.argmax(twice))]])
        most = int(counts.max())
        order = np.argsort(layer, kind="stable")  # in each plane, later frames are painted last
        within = np.empty(len(layer), dtype=np.int64)
        within[order] = np.arange(len(layer)) - np.repeat(np.cumsum(counts) - counts, counts)
        place, total = layer * most + within, most * len(counts)
        places = np.zeros((total, 2), dtype=np.int64)
        places[place] = position
        return TileTable(
            grid=(1, *self._planes, 1, most),
            tile_shape=self._tile,
            position=places,
            **columns.placed(place, total).fields(),
        )

    def _refuse_twice(self, place: NDArray[np.int64]) -> NoReturn:
        """Raise where two frames lie at one place: something unknown tells them apart."""
        y, x = place.tolist()
        msg = (
            f"{self._first.path!r}: two frames of its level lie at column {x + 1}, row {y + 1} "
            "of the total pixel matrix, in one focal plane and optical path; open the files "
            "one by one, each as a list of one"
        )
        raise UnsupportedFormatError(msg)
