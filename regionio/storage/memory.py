"""Bytes that are in memory already, served like a file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError
from regionio.storage._contract import FetchCount, FileIdentity, FileRanges, Storage

__all__ = ["MemoryFile", "inflated"]

LARGEST_INFLATED_BYTES = 2**31


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

    def read_into(self, offset: int, memory: memoryview, count: FetchCount) -> None:
        [part] = self.read([offset], [len(memory)], count)
        memory[:] = part

    def ranges(self, ranges: NDArray[np.int64]) -> FileRanges | None:
        return None

    def view(self) -> BinaryIO:
        return io.BytesIO(self._data)

    def close(self) -> None:
        """Nothing is open; the memory goes with the object."""


def inflated(storage: Storage, start: int) -> MemoryFile:
    """Return what a file holds in deflated form from byte `start` on.

    Raises
    ------
    CorruptFileError
        It is damaged, cut short, or of absurd size.
    """
    identity = storage.identity
    [data] = storage.read([start], [identity.size - start], FetchCount())
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(data, LARGEST_INFLATED_BYTES)
    except zlib.error as error:
        msg = f"{identity.path!r}: its deflated content is damaged ({error})"
        raise CorruptFileError(msg) from error
    if not inflater.eof:
        why = "is cut short" if not inflater.unconsumed_tail else "is larger than 2 GiB"
        msg = f"{identity.path!r}: its deflated content {why}"
        raise CorruptFileError(msg)
    return MemoryFile(identity.path, content, identity.modified)
