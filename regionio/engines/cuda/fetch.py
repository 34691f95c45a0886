"""Bytes of tiles into pinned memory, each to a place of its own, by several threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from regionio.storage import FetchCount, Storage

__all__ = ["places_for", "read_to_places", "shares"]

ALIGNMENT = 16
"""Of each tile in memory: enough for every sample, and for the widest loads."""

LARGEST_GAP_BYTES = 16 * 1024
MOST_BUFFERS = 512
"""Buffers of one read; operating systems take at least 1024."""

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
    storage: Storage,
    offset: Sequence[int],
    nbytes: Sequence[int],
    place: Sequence[int],
    buffer: NDArray[np.uint8],
) -> FetchCount:
    """Read tiles, neighbours together, each to its place.

    Parameters
    ----------
    storage
        The file.
    offset, nbytes
        Of each tile, sorted by offset.
    place
        Where in the buffer each goes.
    buffer
        The memory.

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
    file = storage.ranges(np.zeros((0, 2), np.int64))
    memory = buffer.data
    if file is None or not hasattr(os, "preadv"):
        _read_one_by_one(storage, offset, nbytes, place, memory, count)
        return count
    gap = memoryview(bytearray(LARGEST_GAP_BYTES))
    first = 0
    while first < len(offset):
        buffers, stop, last = _run(offset, nbytes, place, memory, gap, first)
        size = stop - offset[first]
        got = os.preadv(file.descriptor, buffers, offset[first])
        if got < size:  # a signal, or the end of the file
            part = slice(first, last)
            _read_one_by_one(storage, offset[part], nbytes[part], place[part], memory, count)
        else:
            count.requests += 1
            count.bytes_read += size
            count.bytes_wanted += sum(nbytes[first:last])
        first = last
    return count


def _run(
    offset: Sequence[int],
    nbytes: Sequence[int],
    place: Sequence[int],
    memory: memoryview,
    gap: memoryview,
    first: int,
) -> tuple[list[memoryview], int, int]:
    """Return the buffers of tiles that are read together, where they end, and the next tile."""
    buffers: list[memoryview] = []
    stop, number = offset[first], first
    while number < len(offset) and len(buffers) < MOST_BUFFERS:
        between = offset[number] - stop
        if not 0 <= between <= LARGEST_GAP_BYTES:
            break
        if between:
            buffers.append(gap[:between])
        buffers.append(memory[place[number] : place[number] + nbytes[number]])
        stop = offset[number] + nbytes[number]
        number += 1
    return buffers, stop, number


def _read_one_by_one(
    storage: Storage,
    offset: Sequence[int],
    nbytes: Sequence[int],
    place: Sequence[int],
    memory: memoryview,
    count: FetchCount,
) -> None:
    for start, size, at in zip(offset, nbytes, place, strict=True):
        storage.read_into(start, memory[at : at + size], count)
