"""Decoded tiles of a loader's last batches, which the next ones may need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import RegionIOError
from regionio._window import Window
from regionio.engines.cuda.budget import Held, HeldBudget
from regionio.engines.cuda.chunk import TileChunk
from regionio.engines.cuda.streams import Context

__all__ = ["HeldPart", "HeldTiles"]


@dataclass(frozen=True, eq=False)
class HeldPart:
    """Tiles of an earlier chunk that are wanted once more.

    Parameters
    ----------
    chunk
        The chunk; it is finished when the job that wants them ends, unless it has failed.
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


class HeldTiles:
    """Chunks that a loader keeps; the GPU's thread adds and finds them, any may let go of all.

    Parameters
    ----------
    batches
        For how many batches a tile is kept.
    """

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._held: list[Held] = []
        self._is_closed = False

    def add(self, chunk: TileChunk, last_batch: int, nbytes: int, budget: HeldBudget) -> None:
        """Keep a chunk that has been started.

        Parameters
        ----------
        chunk
            The chunk.
        last_batch
            Number of the last batch that it was made for.
        nbytes
            Of its tiles.
        budget
            Of the GPU.
        """
        if self._batches == 0 or chunk.group.by_rows:
            return
        numbers = chunk.group.window.tiles["tile"]
        order = np.argsort(numbers)
        held = Held(chunk, last_batch, nbytes, order, numbers[order])
        self._held = [*self._held, held]
        self._check_closed()
        budget.add(held)

    def expire(self, batch: int) -> None:
        """Let go of what is too old for a batch."""
        least = batch - self._batches
        self._held = [one for one in self._held if one.chunk and one.last_batch >= least]
        self._check_closed()

    def close(self) -> None:
        """Let go of all, and keep nothing any more."""
        self._is_closed = True
        self._held = []

    def _check_closed(self) -> None:
        """Let go of what was kept while another thread closed this."""
        if self._is_closed:
            self._held = []

    def find(self, window: Window) -> tuple[list[HeldPart], Window]:
        """Return the tiles of a window that are there, and the others."""
        wanted = window.tiles["tile"]
        missing = np.ones(len(wanted), dtype=np.bool_)
        parts = []
        for held in self._held:
            if held.chunk is None:
                continue
            place = np.searchsorted(held.tiles, wanted)
            place[place == len(held.tiles)] = 0
            numbers = np.flatnonzero(missing & (held.tiles[place] == wanted))
            if len(numbers):
                missing[numbers] = False
                members = held.order[place[numbers]]
                parts.append(HeldPart(held.chunk, members, window.chosen(numbers)))
        return parts, window.chosen(np.flatnonzero(missing)) if parts else window
