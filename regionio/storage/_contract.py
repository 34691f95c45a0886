"""What every storage gives: sizes, ranges, and a file-like view for header parsers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from regionio._identity import FileIdentity

__all__ = ["NO_RANGES", "FetchCount", "FileIdentity", "FileRanges", "Storage"]

NO_RANGES = np.zeros((0, 2), dtype=np.int64)
"""What `Storage.ranges` is asked for by who wants to know whether compiled code reads the storage."""


@dataclass(slots=True)
class FetchCount:
    """What fetching cost.

    Parameters
    ----------
    bytes_wanted
        Sum of the ranges asked for.
    bytes_read
        What was read to serve them, gaps between neighbouring ranges included.
    requests
        Number of reads.
    """

    bytes_wanted: int = 0
    bytes_read: int = 0
    requests: int = 0

    def add(self, other: FetchCount) -> None:
        """Add another count to this one."""
        self.bytes_wanted += other.bytes_wanted
        self.bytes_read += other.bytes_read
        self.requests += other.requests


@dataclass(frozen=True, eq=False)
class FileRanges:
    """Ranges of a file that compiled code reads by itself, without Python's lock.

    Parameters
    ----------
    descriptor
        Open file descriptor.
    ranges
        ``int64[n, 2]``, offsets and sizes in bytes, sorted by offset.
    holder
        Keeps the descriptor open.
    """

    descriptor: int
    ranges: NDArray[np.int64]
    holder: object


class Storage(Protocol):
    """One file that can be read by range, from many threads at once."""

    @property
    def identity(self) -> FileIdentity:
        """Identity of the file when it was opened."""
        ...

    def read(
        self, offsets: Sequence[int], sizes: Sequence[int], count: FetchCount
    ) -> list[memoryview]:
        """Return the bytes of each range.

        Parameters
        ----------
        offsets, sizes
            Ranges in bytes. Neighbours are read together if they are sorted by offset. All lie
            inside the file.
        count
            Is added to.

        Returns
        -------
        list of memoryview
            One a range. The memory belongs to the caller.

        Raises
        ------
        CorruptFileError
            The file ended before a range did.
        ClosedError
            The storage was closed.
        """
        ...

    def read_into(self, offset: int, memory: memoryview, count: FetchCount) -> None:
        """Read one range into memory that is there already.

        Parameters
        ----------
        offset
            Of the range, in bytes.
        memory
            Writable bytes, as many as are read.
        count
            Is added to.

        Raises
        ------
        CorruptFileError
            The file ended before the range did.
        ClosedError
            The storage was closed.
        """
        ...

    def ranges(self, ranges: NDArray[np.int64]) -> FileRanges | None:
        """Return what compiled code needs to read ranges by itself, None if it can't.

        Parameters
        ----------
        ranges
            As in `FileRanges`.

        Raises
        ------
        ClosedError
            The storage was closed.
        """
        ...

    def view(self) -> BinaryIO:
        """Return a seekable file object with a position of its own, for parsers of headers."""
        ...

    def close(self) -> None:
        """Refuse new reads; let go of the file when the last one is done."""
        ...
