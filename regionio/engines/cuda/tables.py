"""Tables in the GPU's memory that give what becomes of stored values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.compose.gather import GatherKind
from regionio.engines.cuda.streams import Context
from regionio.values import TileConversion

__all__ = ["ValueTables"]

MOST_TABLES = 64
"""That are kept for the next tiles."""


class ValueTables:
    """What becomes of the stored values of tiles, where it can be looked up.

    Parameters
    ----------
    convert
        What is to be done.
    stored
        Dtype of stored values.
    """

    def __init__(self, convert: TileConversion, stored: np.dtype[Any]) -> None:
        self._convert = convert
        self._stored = stored
        self._made: dict[int, Any] = {}

    @classmethod
    def of(cls, convert: TileConversion | None, stored: np.dtype[Any]) -> ValueTables | None:
        """Return the tables, None where there is nothing to do or tables can't do it."""
        if convert is None or not convert.is_tabular(stored):
            return None
        return cls(convert, stored)

    def kind(self, kind: GatherKind) -> GatherKind:
        """Return what the kernel is compiled for."""
        table = self._convert.table(0, self._stored)
        return replace(kind, table=str(table.dtype), table_values=table.shape[1])

    def addresses(
        self, context: Context, tiles: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], list[Any]]:
        """Return ``int64[n]``, the address of each tile's table, and the tables, to be kept as long."""
        numbers = self._convert.numbers_of(tiles)
        found = np.zeros(len(numbers), dtype=np.int64)
        tables = []
        for number in np.unique(numbers).tolist():
            table = self._made.pop(number, None)
            if table is None:
                table = self._copied(context, number)
            self._made[number] = table  # the last of them
            found[numbers == number] = table.data.ptr
            tables.append(table)
        while len(self._made) > MOST_TABLES:
            self._made.pop(next(iter(self._made)))
        return found, tables

    def _copied(self, context: Context, number: int) -> Any:
        """Return a table in the GPU's memory."""
        table = np.ascontiguousarray(self._convert.table(number, self._stored))
        with context.compose_stream:
            return context.cupy.asarray(table)
