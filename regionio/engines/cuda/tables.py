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

    def addresses(self, context: Context, tiles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return ``int64[n]``, the address of each tile's table."""
        numbers = self._convert.numbers_of(tiles)
        found = np.zeros(len(numbers), dtype=np.int64)
        for number in np.unique(numbers).tolist():
            if number not in self._made:
                table = self._convert.table(number, self._stored)
                with context.compose_stream:
                    self._made[number] = context.cupy.asarray(np.ascontiguousarray(table))
            found[numbers == number] = self._made[number].data.ptr
        return found
