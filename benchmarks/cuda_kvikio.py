"""KvikIO alone: the same ranges of a file into the memory of a GPU, and nothing done with them."""

from __future__ import annotations

from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cuda_measure import cupy, fastest
from benchmarks.measure import UnableError, library

THREADS = (1, 8, 16)
LARGEST_GAP_BYTES = 16 * 1024


def kvikio() -> Any:
    """Return KvikIO's module."""
    try:
        library("kvikio.defaults")
        return library("kvikio")
    except ImportError as error:
        msg = f"KvikIO is not installed ({error}): pip install kvikio-cu12 or kvikio-cu13"
        raise UnableError(msg) from error


def coalesced(offset: np.ndarray, nbytes: np.ndarray) -> np.ndarray:
    """Return runs of ranges that lie close together.

    Parameters
    ----------
    offset, nbytes
        Of each range.

    Returns
    -------
    ndarray
        ``int64[n, 2]``, where each run begins and ends, sorted.

    >>> coalesced(np.array([100, 0, 10, 10**6]), np.array([50, 10, 20, 7])).tolist()
    [[0, 150], [1000000, 1000007]]
    """
    order = np.argsort(offset, kind="stable")
    start, stop = offset[order], (offset + nbytes)[order]
    reach = np.maximum.accumulate(stop)
    begins = np.flatnonzero(start[1:] > reach[:-1] + LARGEST_GAP_BYTES) + 1
    first, last = np.r_[0, begins], np.r_[begins - 1, len(order) - 1]
    return np.column_stack([start[first], reach[last]])


class RunReader:
    """Reads runs of a file, which stays open, with as many threads as are fastest.

    Parameters
    ----------
    path
        The file.
    runs
        ``int64[n, 2]``, where each begins and ends.

    Attributes
    ----------
    form, rates
        How many threads are fastest, and bytes a second by each number that was tried. KvikIO's
        setting stays so, for whoever uses it.
    """

    def __init__(self, path: Path, runs: np.ndarray) -> None:
        self._path = path
        self._file: Any = None
        self._runs: list[tuple[int, int]] = [(begin, end) for begin, end in runs.tolist()]
        self._plan: tuple[int, list[tuple[int, int, int]], int] = (-1, [], 0)
        self._threads = 0
        self.form = ""
        self.rates: dict[str, float] = {}

    def read(self, nbytes: int) -> object:
        """Read runs until they are so many bytes, from the first again if they are fewer."""
        assert nbytes > 0
        if self._file is None:
            self._file = kvikio().CuFile(self._path, "r")
        if not self._threads:
            forms = {f"with {n} threads": n for n in THREADS}
            runs = {name: partial(self._read, nbytes, n) for name, n in forms.items()}
            self.form, seconds = fastest(runs)
            self.rates = {name: nbytes / spent for name, spent in seconds.items()}
            self._threads = forms[self.form]
        return self._read(nbytes, self._threads)

    def _read(self, nbytes: int, threads: int) -> object:
        settings = kvikio().defaults
        if settings.get("num_threads") != threads:
            settings.set({"num_threads": threads})
        parts, total = self._parts(nbytes)
        memory = cupy().empty(total, np.uint8)
        waiting = [
            self._file.pread(memory[place : place + size], file_offset=begin)
            for begin, size, place in parts
        ]
        got = sum(future.get() for future in waiting)
        assert got == total, f"KvikIO read {got} bytes of {total}"
        return memory

    def _parts(self, nbytes: int) -> tuple[list[tuple[int, int, int]], int]:
        """Return (offset, size, place in memory) of what is read, and how much it is."""
        if self._plan[0] != nbytes:
            parts, total = [], 0
            for begin, end in cycle(self._runs):
                if total >= nbytes:
                    break
                parts.append((begin, end - begin, total))
                total += end - begin
            self._plan = nbytes, parts, total
        return self._plan[1:]
