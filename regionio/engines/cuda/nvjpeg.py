"""nvJPEG: batches of JPEG streams to pictures in the GPU's memory, Huffman codes and all.

Source: docs.nvidia.com/cuda/nvjpeg, the C interface of versions 12 and 13.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regionio._errors import DeviceError
from regionio.codecs.cuda import Colors
from regionio.engines.cuda.libraries import loaded

__all__ = ["INTERPOLATED", "LEAST_BATCH", "JpegDecoder", "NvJpeg", "Process", "nvjpeg"]

Process = Literal["baseline", "lossless"]

PLACES = ("cu13/lib/libnvjpeg.so.13", "nvjpeg/lib/libnvjpeg.so.12")
"""Where the packages of NVIDIA's have the library."""

BACKENDS: dict[Process, int] = {"baseline": 2, "lossless": 6}
"""What decodes them by kernels."""

INTERPOLATED = 32
"""Flag: chroma is upsampled as libjpeg does it."""

FORMATS: dict[tuple[Process, Colors], int] = {
    ("baseline", "gray"): 2,
    ("baseline", "rgb"): 5,
    ("baseline", "as is"): 10,
    ("lossless", "as is"): 7,
}
"""How pictures come out: luma, RGB, components as they are, and 16-bit samples."""

LEAST_BATCH = 51
"""Of fewer streams than that, the Huffman codes are left to the CPU, one stream after another."""

SINCE: dict[tuple[Process, Colors], tuple[int, ...]] = {
    ("baseline", "gray"): (12, 1),
    ("baseline", "rgb"): (12, 1),
    ("baseline", "as is"): (13, 0),
    ("lossless", "as is"): (13, 0, 2),
}
"""Version that has the flag and the format, and no silent zeros for lossless pictures of some depths."""

OF_THE_STREAM, NO_MEMORY = {3, 4, 10}, 5
"""Statuses of streams that are damaged, not supported, or incomplete; and of a GPU that is full."""

PICTURE = np.dtype([("channel", "u8", 4), ("pitch", "u8", 4)])
"""``nvjpegImage_t``."""


class NvJpeg:
    """The library.

    Parameters
    ----------
    library
        As ctypes has loaded it.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        parts = [ctypes.c_int() for _ in range(3)]
        for number, part in enumerate(parts):
            _check(library.nvjpegGetProperty(number, ctypes.byref(part)), "saying its version")
        self._version = tuple(part.value for part in parts)

    def takes(self, process: Process, colors: Colors) -> bool:
        """Return whether this version decodes them rightly."""
        return self._version >= SINCE[process, colors]

    def handle(self, process: Process) -> ctypes.c_void_p:
        """Return what states are made with."""
        found = ctypes.c_void_p()
        flags = INTERPOLATED if process == "baseline" else 0
        create = self._library.nvjpegCreateEx
        _check(create(BACKENDS[process], None, None, flags, ctypes.byref(found)), "beginning")
        return found

    def state(self, handle: ctypes.c_void_p) -> ctypes.c_void_p:
        """Return what a batch is decoded with."""
        found = ctypes.c_void_p()
        _check(self._library.nvjpegJpegStateCreate(handle, ctypes.byref(found)), "beginning")
        return found

    def prepare(
        self, handle: ctypes.c_void_p, state: ctypes.c_void_p, count: int, layout: int
    ) -> None:
        """Have a state expect so many streams."""
        run = self._library.nvjpegDecodeBatchedInitialize
        _check(run(handle, state, count, 1, layout), f"{count} streams at a time")

    def decode(
        self, handle: ctypes.c_void_p, state: ctypes.c_void_p, tables: list[int], stream: int
    ) -> int:
        """Have streams decoded; return nvJPEG's status.

        Parameters
        ----------
        handle, state
            As above.
        tables
            Addresses of the table of streams' addresses, of their bytes, and of ``PICTURE``.
        stream
            The CUDA stream's address.
        """
        memory = map(ctypes.c_void_p, (*tables, stream))
        return int(self._library.nvjpegDecodeBatched(handle, state, *memory))

    def close(self, handle: ctypes.c_void_p, states: list[ctypes.c_void_p]) -> None:
        """Give back what they hold."""
        for state in states:
            self._library.nvjpegJpegStateDestroy(state)
        self._library.nvjpegDestroy(handle)


class JpegDecoder:
    """A decoder, which belongs to one thread and one GPU.

    Parameters
    ----------
    library
        The library.
    """

    def __init__(self, library: NvJpeg) -> None:
        self._library = library
        self._handles: dict[Process, ctypes.c_void_p] = {}
        self._states: dict[tuple[Process, Colors], ctypes.c_void_p] = {}
        self._counts: dict[tuple[Process, Colors], int] = {}

    def decode(
        self,
        process: Process,
        colors: Colors,
        streams: NDArray[np.uint64],
        slots: NDArray[np.uint64],
        row_bytes: int,
        stream: Any,
    ) -> bool:
        """Have streams decoded.

        Parameters
        ----------
        process, colors
            What they are, and what is made of their components.
        streams
            ``uint64[n, 2]``, address and bytes of each; they stay until the CUDA stream is done.
        slots
            ``uint64[n]``, where its picture goes.
        row_bytes
            From one row of a picture to the next.
        stream
            The CUDA stream.

        Returns
        -------
        bool
            Whether all are decoded; else, none counts as decoded.

        Raises
        ------
        DeviceError
            It is not the streams' fault, nor that the GPU is full.
        """
        kind = process, colors
        if not self._library.takes(process, colors):
            return False
        missing = LEAST_BATCH - len(streams) if process == "baseline" else 0
        if missing > 0:  # the last one is written again, to the same place
            streams = np.concatenate([streams, np.repeat(streams[-1:], missing, axis=0)])
            slots = np.concatenate([slots, np.repeat(slots[-1:], missing)])
        addresses, nbytes = (np.ascontiguousarray(column) for column in streams.T)
        pictures = np.zeros(len(slots), PICTURE)
        pictures["channel"][:, 0] = slots
        pictures["pitch"][:, 0] = row_bytes
        handle, state = self._made(kind)
        if self._counts.get(kind) != len(streams):
            self._library.prepare(handle, state, len(streams), FORMATS[kind])
            self._counts[kind] = len(streams)
        tables = [table.ctypes.data for table in (addresses, nbytes, pictures)]
        status = self._library.decode(handle, state, tables, stream.ptr)
        if status != 0 and status not in OF_THE_STREAM:
            stream.synchronize()
            self.close()  # it is not known in what state it is, and its memory may be what lacks
            if status != NO_MEMORY:
                _check(status, "decoding")
        return status == 0

    def _made(self, kind: tuple[Process, Colors]) -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
        process, _ = kind
        if process not in self._handles:
            self._handles[process] = self._library.handle(process)
        if kind not in self._states:
            self._states[kind] = self._library.state(self._handles[process])
        return self._handles[process], self._states[kind]

    def close(self) -> None:
        """Give back what the decoder holds."""
        for process, handle in self._handles.items():
            states = [state for kind, state in self._states.items() if kind[0] == process]
            self._library.close(handle, states)
        self._handles.clear()
        self._states.clear()
        self._counts.clear()


def _check(status: int, what: str) -> None:
    if status != 0:
        msg = f"nvJPEG refused {what} with status {status}: is the driver as new as the package?"
        raise DeviceError(msg)


@cache
def nvjpeg() -> NvJpeg | None:
    """Return the library, None where it is not installed."""
    for library in loaded(*PLACES):
        try:
            return NvJpeg(library)
        except (AttributeError, DeviceError):  # it is something else
            continue
    return None
