"""Files read and written at given places, as cuCIM does with GPUDirect Storage.

Here bytes go through the operating system's cache, into main memory.
"""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np

from regionio._errors import ClosedError, DeviceError

__all__ = [
    "CuFileDriver",
    "close",
    "discard_page_cache",
    "is_gds_available",
    "open",
    "pread",
    "pwrite",
]

MODES = {
    "r": os.O_RDONLY,
    "r+": os.O_RDWR,
    "w": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    "a": os.O_RDWR | os.O_CREAT,
}
HINTS = "pnm"
"""POSIX calls only, no O_DIRECT, memory map: how cuCIM is to read. The bytes are the same."""


def open(  # noqa: A001  cuCIM's name
    file_path: str | os.PathLike[str], flags: str = "r", mode: int = 0o644
) -> CuFileDriver:
    """Open a file.

    Parameters
    ----------
    file_path
        Path of the file.
    flags
        ``"r"``, ``"r+"``, ``"w"`` or ``"a"``; letters p, n and m after it are accepted.
    mode
        Permissions of a file that is made.

    Raises
    ------
    ValueError
        `flags` is none of these.
    OSError
        The file can't be opened.
    """
    basic = flags.rstrip(HINTS)
    if basic not in MODES:
        msg = f"flags are one of {list(MODES)} with letters out of {HINTS!r}, not {flags!r}"
        raise ValueError(msg)
    driver = CuFileDriver(
        os.open(file_path, MODES[basic] | getattr(os, "O_CLOEXEC", 0), mode),
        file_path=os.path.abspath(file_path),
    )
    driver.owns_descriptor = True
    return driver


def pread(fd: CuFileDriver, buf: Any, count: int, file_offset: int, buf_offset: int = 0) -> int:
    """Read from a file: see `CuFileDriver.pread`."""
    return fd.pread(buf, count, file_offset, buf_offset)


def pwrite(fd: CuFileDriver, buf: Any, count: int, file_offset: int, buf_offset: int = 0) -> int:
    """Write to a file: see `CuFileDriver.pwrite`."""
    return fd.pwrite(buf, count, file_offset, buf_offset)


def close(fd: CuFileDriver) -> bool:
    """Close a file: see `CuFileDriver.close`."""
    return fd.close()


def discard_page_cache(file_path: str | os.PathLike[str]) -> bool:
    """Ask the operating system to forget a file's bytes, so that the next read is a cold one.

    Parameters
    ----------
    file_path
        Path of the file.

    Returns
    -------
    bool
        Whether it was asked: False if there is no such file, or no such call.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    try:
        descriptor = os.open(file_path, os.O_RDONLY)
    except OSError:
        return False
    try:
        os.fdatasync(descriptor)  # changed pages can't be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return True


def is_gds_available() -> bool:
    """Return whether reads go from disk to GPU memory directly: False."""
    return False


class CuFileDriver:
    r"""An open file.

    Parameters
    ----------
    fd
        Descriptor, as `os.open` returns it. It stays open when this is closed.
    no_gds, use_mmap
        How cuCIM is to read. The bytes are the same.
    file_path
        Path of the file, for messages.

    Examples
    --------
    >>> import numpy as np
    >>> buffer = np.zeros(4, np.uint8)
    >>> with open("tests/data/CMU-1-Small-Region.svs", "r") as driver:
    ...     driver.pread(buffer, 2, file_offset=0, buf_offset=1), buffer.tobytes()
    (2, b'\x00II\x00')
    """

    def __init__(
        self,
        fd: int,
        no_gds: bool = False,  # noqa: FBT001, FBT002  cuCIM's signature
        use_mmap: bool = False,  # noqa: FBT001, FBT002
        file_path: str = "",
    ) -> None:
        self._descriptor: int | None = fd
        self._path = file_path
        self.owns_descriptor = False

    def pread(self, buf: Any, count: int, file_offset: int, buf_offset: int = 0) -> int:
        """Read bytes into memory.

        Parameters
        ----------
        buf
            NumPy array or other buffer that can be written.
        count
            Number of bytes.
        file_offset, buf_offset
            Where they begin, in the file and in the memory.

        Returns
        -------
        int
            Bytes read: fewer at the end of the file.
        """
        part = _part(buf, count, buf_offset)
        if part.readonly:
            msg = f"buf ({type(buf).__name__}) is read-only"
            raise ValueError(msg)
        return os.preadv(self._open_descriptor(), [part], file_offset)

    def pwrite(self, buf: Any, count: int, file_offset: int, buf_offset: int = 0) -> int:
        """Write bytes from memory.

        Parameters
        ----------
        buf
            NumPy array or other buffer.
        count
            Number of bytes.
        file_offset, buf_offset
            Where they begin, in the file and in the memory.

        Returns
        -------
        int
            Bytes written.
        """
        part = _part(buf, count, buf_offset)
        return os.pwrite(self._open_descriptor(), part, file_offset)

    def close(self) -> bool:
        """Close the file; return True."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and self.owns_descriptor:
            os.close(descriptor)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "owns_descriptor"):
            self.close()

    def __repr__(self) -> str:
        return f"<cucim.clara.filesystem.CuFileDriver path:{self._path}>"

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            msg = f"file {self._path!r} is closed; open it again"
            raise ClosedError(msg)
        return self._descriptor


def _part(buf: Any, count: int, offset: int) -> memoryview:
    """Return some of a buffer's bytes."""
    if hasattr(buf, "__cuda_array_interface__"):
        msg = "buf is in GPU memory: files are read into main memory, copy it from there"
        raise DeviceError(msg)
    # a tensor is no buffer itself, but shares its memory as an array
    view = memoryview(np.asarray(buf).data if hasattr(buf, "__array__") else buf)
    if not view.c_contiguous:
        msg = "buf is not contiguous"
        raise ValueError(msg)
    if count < 0 or offset < 0 or offset + count > view.nbytes:
        msg = f"{count} bytes from {offset} on are not inside buf, which has {view.nbytes}"
        raise ValueError(msg)
    return view.cast("B")[offset : offset + count]
