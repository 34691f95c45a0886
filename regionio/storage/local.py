"""Files on a local or mounted disk, read at a position, without a lock."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from regionio._errors import ClosedError, CorruptFileError, UnsupportedFormatError
from regionio.storage._contract import FetchCount, FileIdentity, FileRanges

__all__ = ["LocalFile", "local_identity"]

# Reading a gap of this size costs less than a second request.
LARGEST_GAP_BYTES = 16 * 1024

HAS_PREAD = hasattr(os, "pread")
HAS_PREADV = hasattr(os, "preadv")


def local_identity(path: str, status: os.stat_result) -> FileIdentity:
    """Return the identity of a file of which `status` is known."""
    return FileIdentity(os.path.abspath(path), status.st_size, status.st_mtime_ns)


class LocalFile:
    """A file on disk.

    Parameters
    ----------
    path
        Path of the file.

    Raises
    ------
    FileNotFoundError, PermissionError
        As `open` raises them.
    UnsupportedFormatError
        `path` is a directory.
    """

    def __init__(self, path: str) -> None:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # to open a pipe waits for somebody to write into it
            what = "a directory; give the path of a file in it" if stat.S_ISDIR(mode) else "no file"
            msg = f"{path!r} is {what}"
            raise UnsupportedFormatError(msg)
        self._path = path
        self._open: _Descriptor | None = _Descriptor(path)
        self._identity = local_identity(path, os.fstat(self._open.number))

    @property
    def identity(self) -> FileIdentity:
        return self._identity

    def read(
        self, offsets: Sequence[int], sizes: Sequence[int], count: FetchCount
    ) -> list[memoryview]:
        descriptor = self._descriptor()  # held until the end: closing does not take it away
        buffers: list[memoryview] = []
        position, ranges = 0, len(offsets)
        while position < ranges:
            start = offsets[position]
            stop = start + sizes[position]
            last = position + 1
            while last < ranges and start <= offsets[last] <= stop + LARGEST_GAP_BYTES:
                stop = max(stop, offsets[last] + sizes[last])
                last += 1
            run = memoryview(self._read_run(descriptor, start, stop - start))
            for index in range(position, last):
                begin = offsets[index] - start
                buffers.append(run[begin : begin + sizes[index]])
            count.requests += 1
            count.bytes_read += stop - start
            position = last
        count.bytes_wanted += sum(sizes)
        return buffers

    def read_into(self, offset: int, memory: memoryview, count: FetchCount) -> None:
        descriptor, size = self._descriptor(), len(memory)
        if not HAS_PREADV:
            memory[:] = self._read_run(descriptor, offset, size)
        done = 0 if HAS_PREADV else size
        while done < size:
            try:
                got = os.preadv(descriptor.number, [memory[done:]], offset + done)
            except OSError as error:  # of a descriptor, it names no file
                raise OSError(error.errno, error.strerror, self._path) from error
            if not got:
                raise self._ended(offset + done, size - done)
            done += got
        count.requests += 1
        count.bytes_read += size
        count.bytes_wanted += size

    def ranges(self, ranges: NDArray[np.int64]) -> FileRanges | None:
        descriptor = self._descriptor()
        return FileRanges(descriptor.number, ranges, descriptor) if HAS_PREAD else None

    def _descriptor(self) -> _Descriptor:
        descriptor = self._open
        if descriptor is None:
            msg = f"{self._path!r} is closed; open it again to read from it"
            raise ClosedError(msg)
        return descriptor

    def _read_run(self, descriptor: _Descriptor, offset: int, size: int) -> bytes:
        try:
            data = descriptor.read_at(offset, size)
        except OSError as error:  # of a descriptor, it names no file
            raise OSError(error.errno, error.strerror, self._path) from error
        if len(data) == size:
            return data
        parts, done = [data], len(data)
        while done < size:
            more = descriptor.read_at(offset + done, size - done)
            if not more:
                raise self._ended(offset + done, size - done)
            parts.append(more)
            done += len(more)
        return b"".join(parts)

    def _ended(self, place: int, missing: int) -> CorruptFileError:
        msg = (
            f"{self._path!r} ends at byte {place}, "
            f"{missing} bytes before the end of a range that it should hold"
        )
        return CorruptFileError(msg)

    def view(self) -> BinaryIO:
        return io.BufferedReader(_View(self), buffer_size=8192)

    def close(self) -> None:
        self._open = None


class _Descriptor:
    """An open file descriptor, closed with the last reference to it."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()

    def read_at(self, offset: int, size: int) -> bytes:
        if HAS_PREAD:
            return os.pread(self.number, size, offset)
        with self._lock:  # Windows: no positioned read without moving the file position
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.read(self.number, size)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class _View(io.RawIOBase):
    """Seekable reader with its own position over a shared descriptor."""

    def __init__(self, file: LocalFile) -> None:
        self._file = file
        self._position = 0

    @property
    def name(self) -> str:
        """Path of the file, which some parsers ask for."""
        return self._file.identity.path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.identity.size}
        position = base[whence] + offset
        if position < 0:
            msg = f"seek to {position}, before the start of the file"
            raise ValueError(msg)
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        target = memoryview(buffer).cast("B")
        size = min(len(target), max(0, self._file.identity.size - self._position))
        if size == 0:
            return 0
        [data] = self._file.read([self._position], [size], FetchCount())
        target[:size] = data
        self._position += size
        return size
