"""Files read straight into the memory of a GPU by KvikIO, by GPUDirect Storage where there is it.

Source: docs.rapids.ai/api/kvikio.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import ChangedFileError, CorruptFileError, DeviceError
from regionio._identity import FileIdentity

__all__ = ["DeviceCount", "DeviceFile", "Runs", "has_nvidia_fs", "kvikio", "runs_of"]

LARGEST_GAP_BYTES = 64 * 1024

ALIGNMENT = 4096
"""Of offsets and addresses that GPUDirect Storage reads without a bounce buffer."""

TASK_BYTES = 4 * 2**20
"""What one thread reads; of 1, 4 and 16 MiB the fastest."""

NVIDIA_FS = "/proc/driver/nvidia-fs/stats"


@cache
def kvikio() -> ModuleType | None:
    """Return KvikIO, None where it is not installed or does not find its libraries."""
    try:
        import kvikio
        import kvikio.defaults
    except (ImportError, OSError, RuntimeError):
        return None
    module: ModuleType = kvikio
    return module


def has_nvidia_fs() -> bool:
    """Return whether the kernel has what lets cuFile read past the memory of the host."""
    return os.path.exists(NVIDIA_FS)


@dataclass(frozen=True, eq=False)
class Runs:
    """Neighbouring ranges of a file, to be read together.

    Parameters
    ----------
    offset, nbytes
        ``int64[runs]``, in the file.
    begin
        ``int64[runs]``, where in the memory each goes.
    place
        ``int64[n]``, where in the memory each range is then.
    total
        Bytes of memory that they need.
    bytes_wanted
        Of the ranges.
    """

    offset: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    begin: NDArray[np.int64]
    place: NDArray[np.int64]
    total: int
    bytes_wanted: int


def runs_of(ranges: NDArray[np.int64], size: int) -> Runs:
    """Lay out ranges, neighbours together, each run on a page of its own as in the file.

    Parameters
    ----------
    ranges
        ``int64[n, 2]``, offset and bytes, in any order; those of 0 bytes are not read.
    size
        Of the file.

    >>> runs = runs_of(np.array([[5000, 10], [5100, 10], [900_000, 10]]), 900_010)
    >>> runs.offset, runs.nbytes, runs.place
    (array([  4096, 897024]), array([4096, 2986]), array([ 904, 1004, 7072]))
    """
    wanted = np.flatnonzero(ranges[:, 1] > 0)
    order = wanted[np.argsort(ranges[wanted, 0], kind="stable")]
    place = np.zeros(len(ranges), dtype=np.int64)
    if len(order) == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return Runs(nothing, nothing, nothing, place, 0, 0)
    start, stop = ranges[order, 0], ranges[order].sum(axis=1)
    reach = np.maximum.accumulate(stop)
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = start[1:] > reach[:-1] + LARGEST_GAP_BYTES
    first = np.flatnonzero(is_first)
    ends = np.append(first[1:], len(order)) - 1
    offset = start[first] // ALIGNMENT * ALIGNMENT
    end = np.minimum(-(-reach[ends] // ALIGNMENT) * ALIGNMENT, size)
    nbytes = np.maximum(end, reach[ends]) - offset
    pages = -(-nbytes // ALIGNMENT) * ALIGNMENT
    begin = np.cumsum(pages) - pages
    run = np.cumsum(is_first) - 1
    place[order] = begin[run] + start - offset[run]
    return Runs(offset, nbytes, begin, place, int(pages.sum()), int(ranges[order, 1].sum()))


@dataclass(slots=True)
class DeviceCount:
    """What reading into the memory of a GPU cost.

    Parameters
    ----------
    requests, bytes_read
        Runs and their bytes.
    bytes_cufile
        Of these bytes, those that went through cuFile, not through POSIX reads and a copy.
    """

    requests: int
    bytes_read: int
    bytes_cufile: int


class DeviceFile:
    """A file that KvikIO has opened.

    Parameters
    ----------
    identity
        The file.
    threads
        Of KvikIO's, unless ``KVIKIO_NTHREADS`` says how many.

    Raises
    ------
    ChangedFileError
        Another file is in its place now.
    DeviceError
        KvikIO can't open it.
    """

    def __init__(self, identity: FileIdentity, threads: int) -> None:
        module = kvikio()
        assert module is not None
        self._path = identity.path
        self._cufile_bytes = _CufileBytes(module)
        if "KVIKIO_NTHREADS" not in os.environ and module.defaults.get("num_threads") < threads:
            module.defaults.set({"num_threads": threads})
        try:
            self._file = module.CuFile(identity.path)
        except (OSError, RuntimeError) as error:
            msg = f"KvikIO can't open {identity.path!r}: {error}"
            raise DeviceError(msg) from error
        status = os.fstat(self._file.fileno())
        if (status.st_size, status.st_mtime_ns) != (identity.size, identity.modified):
            self.close()
            msg = f"{identity.path!r} has changed since it was opened; open it again"
            raise ChangedFileError(msg)

    def start(self, runs: Runs, memory: Any, reads: list[Any]) -> None:
        """Have runs read.

        Parameters
        ----------
        runs
            What to read.
        memory
            ``uint8[n]`` of the GPU, which nobody uses.
        reads
            Gets one future a run.
        """
        columns = zip(runs.offset.tolist(), runs.nbytes.tolist(), runs.begin.tolist(), strict=True)
        for offset, size, begin in columns:
            room = memory[begin : begin + size]
            reads.append(self._file.pread(room, size, offset, TASK_BYTES))

    def finish(self, runs: Runs, reads: list[Any]) -> DeviceCount:
        """Wait for what `start` has begun; no future is left in `reads`.

        Raises
        ------
        CorruptFileError
            The file has become shorter.
        DeviceError
            It could not be read.
        """
        got, count = 0, len(reads)
        try:
            for size in reversed(runs.nbytes.tolist()):
                done = reads.pop().get()
                if done != size:
                    msg = f"{self._path!r} has become shorter while it was read"
                    raise CorruptFileError(msg)
                got += done
        except (OSError, RuntimeError) as error:
            if os.fstat(self._file.fileno()).st_size < int((runs.offset + runs.nbytes).max()):
                msg = f"{self._path!r} has become shorter while it was read"
                raise CorruptFileError(msg) from error
            msg = f"KvikIO can't read {self._path!r}: {error}"
            raise DeviceError(msg) from error
        finally:
            self.settle(reads)
        return DeviceCount(count, got, self._cufile_bytes.of(got))

    @staticmethod
    def settle(reads: list[Any]) -> None:
        """Wait until nothing is written any more, whatever came of it."""
        while reads:
            try:
                reads.pop().get()
            except (OSError, RuntimeError):  # it was told before, or nobody wants to know
                continue

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


class _CufileBytes:
    """How many of the bytes that KvikIO reads go through cuFile.

    KvikIO counts them for the whole process: what others read through it at the same time may be
    taken for ours.

    Parameters
    ----------
    module
        KvikIO.
    """

    def __init__(self, module: Any) -> None:
        self._always = not module.defaults.is_compat_mode_preferred()
        make = getattr(module, "SummaryMonitor", None)  # since version 26.10
        self._monitor = None if make is None else make()
        self._counted = 0

    def of(self, nbytes: int) -> int:
        """Return how many of `nbytes` that were read just now went through cuFile."""
        if self._monitor is None:
            return nbytes if self._always else 0
        backend = self._monitor.get().by_backend.get("GDS")
        total = 0 if backend is None else int(backend["bytes_transferred"])
        found = min(nbytes, total - self._counted)
        self._counted += found
        return found
