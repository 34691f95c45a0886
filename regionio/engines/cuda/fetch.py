"""Bytes of tiles into pinned memory, each to a place of its own, by several threads."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from regionio._native import native
from regionio.storage import NO_RANGES, FetchCount, Storage

__all__ = ["places_for", "read_to_places", "shares"]

ALIGNMENT = 16
"""Of each tile in memory: enough for every sample, and for the widest loads."""

SHARE_BYTES = 1024 * 1024
"""What is not worth a thread of its own."""


def places_for(nbytes: NDArray[np.int64], room: int = 0) -> tuple[NDArray[np.int64], int]:
    """Return where tiles go in a buffer, each aligned, and how large that buffer is.

    Parameters
    ----------
    nbytes
        ``int64[n]``, of each tile.
    room
        Bytes to leave free before each.

    >>> places_for(np.array([10, 20]), room=4)
    (array([ 4, 20]), 48)
    """
    sizes = (nbytes + room + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    ends = np.cumsum(sizes)
    return ends - sizes + room, int(ends[-1]) if len(ends) else 0


def shares(nbytes: NDArray[np.int64], threads: int) -> list[slice]:
    """Cut tiles into parts of about as many bytes, one a thread, none of them tiny."""
    total = int(nbytes.sum())
    count = max(1, min(threads, total // SHARE_BYTES))
    goals = np.arange(1, count) * (total / count)
    cuts = [0, *np.searchsorted(np.cumsum(nbytes), goals).tolist(), len(nbytes)]
    return [slice(a, b) for a, b in pairwise(cuts) if a < b]


def read_to_places(
    storage: Storage, placed: NDArray[np.int64], buffer: NDArray[np.uint8], threads: int = 1
) -> FetchCount:
    """Read tiles, neighbours together, each to its place.

    Parameters
    ----------
    storage
        The file.
    placed
        ``int64[n, 3]``, offset and bytes of each tile and its place in the buffer, sorted by
        offset.
    buffer
        The memory.
    threads
        Most that read files, the caller's included.

    Returns
    -------
    FetchCount
        What it cost.

    Raises
    ------
    CorruptFileError
        The file ended before a tile did.
    """
    count = FetchCount()
    file = storage.ranges(NO_RANGES)
    done = 0
    if file is not None and native is not None:
        packed = np.ascontiguousarray(placed)
        arguments = file.descriptor, packed, buffer, threads
        done, count.requests, count.bytes_read = native.read_ranges(*arguments)
        count.bytes_wanted = int(packed[:done, 1].sum())
    memory = buffer.data
    for offset, nbytes, place in placed[done:].tolist():
        storage.read_into(offset, memory[place : place + nbytes], count)
    return count
