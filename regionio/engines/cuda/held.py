"""Decoded tiles of a loader's last batches, which the next ones may need."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import RegionIOError
from regionio._window import Window
from regionio.engines.cuda.chunk import TileChunk
from regionio.engines.cuda.streams import Context

__all__ = ["HeldPart", "HeldTiles"]


@dataclass(frozen=True, eq=False)
class HeldPart:
    """Tiles of an earlier chunk that are wanted once more.

    Parameters
    ----------
    chunk
        The chunk; it is finished when the job that wants them ends.
    members
        ``int64[n]``, their numbers in it.
    window
        The tiles, with the pieces that are wanted now.
    """

    chunk: TileChunk
    members: NDArray[np.int64]
    window: Window

    def rows(self, context: Context) -> NDArray[Any]:
        """Return the tiles' rows, as `TileChunk.complete_rows` does."""
        rows: NDArray[Any] = self.chunk.complete_rows(context)[self.members]
        return rows

    @property
    def failed(self) -> dict[int, RegionIOError]:
        """Why tiles can't be had, by their number in the window."""
        errors = self.chunk.failed
        numbers = enumerate(self.members.tolist())
        return {number: errors[member] for number, member in numbers if member in errors}


@dataclass(frozen=True, eq=False)
class _Held:
    chunk: TileChunk
    last_batch: int
    nbytes: int
    order: NDArray[np.int64]
    tiles: NDArray[np.int64]


class HeldTiles:
    """Chunks that a loader keeps; only the GPU's thread touches them.

    Parameters
    ----------
    batches
        For how many batches a tile is kept.
    """

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._held: deque[_Held] = deque()

    def add(self, chunk: TileChunk, last_batch: int, nbytes: int) -> None:
        """Keep a chunk that has been started.

        Parameters
        ----------
        chunk
            The chunk.
        last_batch
            Number of the last batch that it was made for.
        nbytes
            Of its tiles.
        """
        if self._batches == 0 or chunk.group.by_rows:
            return
        numbers = np.array(chunk.group.tile, dtype=np.int64)
        order = np.argsort(numbers)
        self._held.append(_Held(chunk, last_batch, nbytes, order, numbers[order]))

    def expire(self, batch: int, most_bytes: int) -> None:
        """Let go of what is too old for a batch, and of the oldest if it is too much."""
        while self._held and (
            self._held[0].last_batch < batch - self._batches
            or sum(held.nbytes for held in self._held) > most_bytes
        ):
            self._held.popleft()

    def find(self, window: Window) -> tuple[list[HeldPart], Window]:
        """Return the tiles of a window that are there, and the others."""
        wanted = window.tiles["tile"]
        missing = np.ones(len(wanted), dtype=np.bool_)
        parts = []
        for held in self._held:
            place = np.searchsorted(held.tiles, wanted)
            place[place == len(held.tiles)] = 0
            numbers = np.flatnonzero(missing & (held.tiles[place] == wanted))
            if len(numbers):
                missing[numbers] = False
                members = held.order[place[numbers]]
                parts.append(HeldPart(held.chunk, members, window.chosen(numbers)))
        return parts, window.chosen(np.flatnonzero(missing)) if parts else window
