"""Bytes that are in memory already, served like a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError
from regionio.storage._contract import FetchCount, FileIdentity, FileRanges

__all__ = ["MemoryFile"]


class MemoryFile:
    """The content of a file after something was done to all of it, as inflating.

    Parameters
    ----------
    path, modified
        Of the file.
    data
        Its content.

    Examples
    --------
    >>> file = MemoryFile("scan.dcm", b"0123456789", 0)
    >>> [bytes(part) for part in file.read([2, 7], [3, 1], FetchCount())]
    [b'234', b'7']
    """

    def __init__(self, path: str, data: bytes, modified: int) -> None:
        self._data = data
        self._identity = FileIdentity(path, len(data), modified)

    @property
    def identity(self) -> FileIdentity:
        return self._identity

    def read(
        self, offsets: Sequence[int], sizes: Sequence[int], count: FetchCount
    ) -> list[memoryview]:
        whole = memoryview(self._data)
        parts = [whole[offset : offset + size] for offset, size in zip(offsets, sizes, strict=True)]
        if any(len(part) < size for part, size in zip(parts, sizes, strict=True)):
            msg = f"{self._identity.path!r}: its content ends at byte {len(whole)}, before a range"
            raise CorruptFileError(msg)
        count.bytes_wanted += sum(sizes)
        return parts

    def ranges(self, ranges: NDArray[np.int64]) -> FileRanges | None:
        return None

    def view(self) -> BinaryIO:
        return io.BytesIO(self._data)

    def close(self) -> None:
        """Nothing is open; the memory goes with the object."""
