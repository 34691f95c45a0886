"""How much of a GPU's memory may be taken beside the batch that is waited for."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet, ref

import numpy as np
from numpy.typing import NDArray

__all__ = ["AheadBudget", "Held", "HeldBudget", "Reservation"]


@dataclass(eq=False)
class Reservation:
    """Memory that batches may take which are read ahead, for as long as somebody holds this.

    Parameters
    ----------
    nbytes
        How much.
    """

    nbytes: int


class AheadBudget:
    """What the batches of all loaders of a GPU may take that are read ahead.

    Parameters
    ----------
    most
        Bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: WeakSet[Reservation] = WeakSet()
        self._lock = threading.Lock()

    def reserve(self, wanted: int, free: int) -> Reservation:
        """Return as much of what is wanted as others leave, and no more than is free."""
        with self._lock:
            left = self._most - sum(one.nbytes for one in self._all)
            reservation = Reservation(max(0, min(wanted, left, free)))
            self._all.add(reservation)
        return reservation


@dataclass(eq=False)
class Held:
    """A chunk that is kept.

    Parameters
    ----------
    chunk
        The chunk, None once it had to go.
    last_batch
        Number of the last batch that it was made for.
    nbytes
        Of its tiles.
    order, tiles
        ``int64[n]``: numbers of its tiles, sorted, and where each stands in the chunk.
    """

    chunk: Any
    last_batch: int
    nbytes: int
    order: NDArray[np.int64]
    tiles: NDArray[np.int64]


class HeldBudget:
    """What all loaders of a GPU may keep together; the oldest goes first.

    Parameters
    ----------
    most
        Bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: deque[ref[Held]] = deque()

    def add(self, held: Held) -> None:
        """Take a chunk in, and let go of the oldest if that is too much."""
        self._all.append(ref(held))
        alive = [one for found in self._all if (one := found()) is not None and one.chunk]
        total = sum(one.nbytes for one in alive)
        for one in alive:
            if total > self._most:
                total -= one.nbytes
                one.chunk = None
        self._all = deque(ref(one) for one in alive if one.chunk)

    def clear(self) -> None:
        """Let go of all chunks."""
        for found in self._all:
            held = found()
            if held is not None:
                held.chunk = None
        self._all.clear()
