"""Places of decoded tiles in a slab, one as large as the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.engines.cuda.chunk import TileChunk, rows_at
from regionio.engines.cuda.fetch import ALIGNMENT

__all__ = ["Slots"]


class Slots:
    """The slots of some tiles of a chunk.

    Parameters
    ----------
    chunk
        Whose tiles they are.
    members
        Their numbers in its group.

    Attributes
    ----------
    members
        As above.
    nbytes, step
        Bytes of a tile, and from one slot to the next.
    """

    def __init__(self, chunk: TileChunk, members: list[int]) -> None:
        self.members = members
        self.shape, self.dtype = chunk.group.tile_shape, chunk.group.dtype
        self.nbytes = int(np.prod(self.shape)) * self.dtype.itemsize
        self.step = -(-self.nbytes // ALIGNMENT) * ALIGNMENT

    @property
    def total(self) -> int:
        """Bytes of all of them."""
        return self.step * len(self.members)

    def rows(self, address: int) -> NDArray[Any]:
        """Return where the tiles are, of slots from an address on."""
        slots = address + np.arange(len(self.members)) * self.step
        _, columns, samples = self.shape
        return rows_at(slots, columns * samples, samples, self.dtype.itemsize)
