"""nvCOMP: deflate and Zstandard streams in the GPU's memory to bytes.

Damaged streams make it read past its buffers, after which the process can't use the GPU any more.
So it is used only where ``REGIONIO_NVCOMP=1`` says that files are known to be sound.

Source: docs.nvidia.com/cuda/nvcomp, the low-level C interface of version 5.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

from regionio._errors import DeviceError
from regionio.engines.cuda.libraries import loaded

__all__ = ["Nvcomp", "nvcomp"]

ENVIRONMENT = "REGIONIO_NVCOMP"
PLACE = "libnvcomp/lib64/libnvcomp.so.5"
"""Where the package of NVIDIA's has the library."""

OPTIONS_BYTES = 64


class Options(ctypes.Structure):
    """Of decompression; all zero is what nvCOMP recommends."""

    _fields_ = (("reserved", ctypes.c_char * OPTIONS_BYTES),)


class Nvcomp:
    """The library.

    Parameters
    ----------
    library
        As ctypes has loaded it.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def temporary_bytes(self, kind: str, count: int, largest: int) -> int:
        """Return how much memory of the GPU `decompress` needs.

        Parameters
        ----------
        kind
            ``Deflate`` or ``Zstd``.
        count
            Of streams.
        largest
            Bytes that one of them becomes at most.
        """
        size = ctypes.c_size_t()
        ask = getattr(self._library, f"nvcompBatched{kind}DecompressGetTempSizeAsync")
        limits = ctypes.c_size_t(count), ctypes.c_size_t(largest)
        _check(ask(*limits, Options(), ctypes.byref(size), ctypes.c_size_t(count * largest)))
        return size.value

    def decompress(
        self,
        kind: str,
        count: int,
        tables: tuple[int, int, int, int],
        temporary: tuple[int, int],
        found: tuple[int, int],
        stream: int,
    ) -> None:
        """Have streams decompressed.

        Parameters
        ----------
        kind, count
            As above.
        tables
            Addresses of the GPU's tables: of the streams' addresses, their bytes, the results'
            addresses, the bytes that there is room for.
        temporary
            Address and bytes of memory.
        found
            Addresses of ``uint64[count]`` for the bytes that came out, and of ``int32[count]`` for
            a status, 0 where all is well.
        stream
            The CUDA stream's address.
        """
        sources, nbytes, targets, room = map(ctypes.c_void_p, tables)
        sizes, statuses = map(ctypes.c_void_p, found)
        run = getattr(self._library, f"nvcompBatched{kind}DecompressAsync")
        memory = ctypes.c_void_p(temporary[0]), ctypes.c_size_t(temporary[1])
        _check(
            run(
                sources, nbytes, room, sizes, ctypes.c_size_t(count), *memory, targets, Options(),
                statuses, ctypes.c_void_p(stream),
            )
        )  # fmt: skip


def _check(status: int) -> None:
    if status != 0:
        msg = f"nvCOMP refused the work with status {status}"
        raise DeviceError(msg)


@cache
def nvcomp() -> Nvcomp | None:
    """Return the library, None where it is not asked for.

    Raises
    ------
    DeviceError
        It is asked for and not there.
    """
    if os.environ.get(ENVIRONMENT) != "1":
        return None
    for library in loaded(PLACE):
        return Nvcomp(library)
    msg = (
        f"{ENVIRONMENT}=1, but {Path(PLACE).name} is not there: pip install 'nvidia-libnvcomp-cu13>=5,<6' "
        "or 'nvidia-libnvcomp-cu12>=5,<6', whichever CUDA your driver has"
    )
    raise DeviceError(msg)
