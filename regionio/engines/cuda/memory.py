"""Memory of the GPU that batches are in, and memory that is used again and again."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import DeviceError

__all__ = ["BatchMemory", "GivenMemory", "PinnedBuffer", "Retired"]

MOST_RETIRED = 4
"""Batches whose consumers may still be at work, until the writing of others waits for them."""


class Retired:
    """Memory of batches that nobody holds any more, until those who worked with it are done.

    Parameters
    ----------
    stream
        By which batches are written; it waits for the oldest when too many are left.
    large
        Bytes from which on it waits at once: they are not to lie idle.
    """

    def __init__(self, stream: Any, large: int) -> None:
        self._stream = stream
        self._large = large
        self._waiting: deque[tuple[Any, list[Any]]] = deque()
        self._lock = threading.Lock()

    def add(self, memory: Any, nbytes: int, events: list[Any]) -> None:
        """Take memory; it goes back to its allocator after the events."""
        if nbytes >= self._large:
            self._wait_for(events)
        elif not all(event.done for event in events):
            self._waiting.append((memory, events))
        self.sweep()

    def sweep(self) -> None:
        """Let go of what nobody works with any more."""
        if not self._lock.acquire(blocking=False):  # the collector may come here from here
            return
        try:
            while self._waiting:
                _, events = self._waiting[0]
                if len(self._waiting) > MOST_RETIRED:
                    self._wait_for(events)
                elif not all(event.done for event in events):
                    return
                self._waiting.popleft()
        finally:
            self._lock.release()

    def settle(self) -> None:
        """Wait until nobody works with any of it, and let go of all."""
        with self._lock:
            while self._waiting:  # the collector may add to it meanwhile
                for event in self._waiting[0][1]:
                    event.synchronize()
                self._waiting.popleft()

    def clear(self) -> None:
        """Let go of all."""
        self._waiting.clear()

    def _wait_for(self, events: list[Any]) -> None:
        for event in events:
            self._stream.wait_event(event)


class BatchMemory:
    """The memory of one batch: the caller's, until nobody holds it.

    It comes from CuPy's allocator, on the stream that regions are written by. When the last
    reference goes, whatever the consumers' streams have been given to do by then is waited for
    before it is written again.

    Parameters
    ----------
    cupy
        The module.
    nbytes
        How much.
    stream
        What writes it.
    retired
        Takes it when nobody holds it any more.
    """

    def __init__(self, cupy: Any, nbytes: int, stream: Any, retired: Retired) -> None:
        self._cupy = cupy
        self._retired = retired
        retired.sweep()
        with stream:
            self._memory = cupy.cuda.alloc(max(1, nbytes))
        self._nbytes = nbytes
        self._process = os.getpid()
        self._device = self._memory.device_id
        self._consumers: dict[int, Any] = {}
        self._lock = threading.Lock()

    def array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return the memory as an array, which keeps it."""
        cupy = self._cupy
        owned = cupy.cuda.UnownedMemory(self._memory.ptr, self._nbytes, self, self._device)
        return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(owned, 0))

    @property
    def device(self) -> int:
        """Number of the GPU."""
        return int(self._device)

    def used_by_number(self, stream: int | None) -> None:
        """Note a stream as DLPack numbers it: 1 and 2 are the default ones, -1 is none.

        Source: Python array API, `__dlpack__`.
        """
        if stream != -1:
            number = stream or 1
            self.used_by(_stream(self._cupy, number, self._device))

    def used_by(self, stream: Any) -> None:
        """Note that a stream may be working with the memory."""
        with self._lock:
            self._consumers[stream.ptr] = stream

    def __del__(self) -> None:
        if not hasattr(self, "_consumers") or sys.is_finalizing() or self._process != os.getpid():
            return
        with self._cupy.cuda.Device(self._device):
            current = self._cupy.cuda.get_current_stream()  # of the thread that lets go of it
            streams = {**self._consumers, current.ptr: current}
            events = [stream.record() for stream in streams.values()]
            self._retired.add(self._memory, self._nbytes, events)


class _ForeignStream:
    """A stream of another library's, by the protocol that CUDA's Python packages share."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._number


def _stream(cupy: Any, number: int, device: int) -> Any:
    """Return CuPy's object for a stream of another library's."""
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_ForeignStream(number))
    return cupy.cuda.ExternalStream(number, device)


class GivenMemory:
    """Memory that the caller gave for a region.

    Parameters
    ----------
    array
        CuPy's.
    """

    def __init__(self, array: Any) -> None:
        self._array = array

    @property
    def device(self) -> int:
        """Number of the GPU."""
        return int(self._array.device.id)

    def used_by_number(self, stream: int | None) -> None:
        """Do nothing: who gave the memory knows when it may be used again."""

    def used_by(self, stream: Any) -> None:
        """Do nothing, as above."""


class PinnedBuffer:
    """Memory of the host which a GPU copies from quickly, used again and again.

    Parameters
    ----------
    cupy
        The module.

    Attributes
    ----------
    is_taken
        Whether somebody has it.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._memory = np.empty(0, np.uint8)
        self._busy: list[Any] = []
        self.is_taken = False

    @staticmethod
    def size_for(nbytes: int) -> int:
        """Return how large a buffer becomes that is too small: the next may need a little more."""
        return nbytes + nbytes // 4

    @property
    def nbytes(self) -> int:
        """Its size."""
        return len(self._memory)

    @property
    def is_idle(self) -> bool:
        """Whether it may be written at once."""
        return not self.is_taken and all(event.done for event in self._busy)

    def shrink(self) -> None:
        """Let go of its memory, which nobody uses any more."""
        self._busy = []
        self._memory = np.empty(0, np.uint8)

    def take(self, nbytes: int) -> NDArray[np.uint8]:
        """Return ``uint8[nbytes]``, the caller's until `give_back`.

        Raises
        ------
        DeviceError
            There is no such memory.
        """
        if len(self._memory) < nbytes:
            self._memory = np.empty(0, np.uint8)  # let go of the old one first
            size = self.size_for(nbytes)
            cuda = self._cupy.cuda
            try:  # not CuPy's pool, which keeps every size that was ever asked for
                memory = cuda.PinnedMemoryPointer(cuda.PinnedMemory(size), 0)
            except cuda.runtime.CUDARuntimeError as error:
                if "MemoryAllocation" not in str(error):
                    raise
                msg = (
                    f"the machine has no {size} bytes of memory that can be pinned, through which "
                    "tiles go to the GPU: lower batch_size, have nothing read ahead by "
                    "prefetch_factor=0, or read smaller regions"
                )
                raise DeviceError(msg) from error
            self._memory = np.frombuffer(memory, np.uint8, size)
        self.is_taken = True
        return self._memory[:nbytes]

    def give_back(self, events: list[Any]) -> None:
        """Let others have it, who may write it after the events."""
        self._busy = events
        self.is_taken = False

    def wait(self) -> None:
        """Wait until nobody uses it any more."""
        for event in self._busy:
            event.synchronize()
        self._busy = []
