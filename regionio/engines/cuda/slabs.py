"""GPU memory that tiles are decoded into, used again when nobody needs the tiles any more."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Lease", "Slab", "SlabPool"]

ROUNDING_BYTES = 2**20

MOST_ROOM = 4
"""A slab is taken for tiles that need no less than this part of it: who keeps them keeps it all."""


@dataclass(eq=False)
class Slab:
    """Memory for tiles.

    Parameters
    ----------
    memory
        ``uint8[n]`` of the GPU.
    busy
        Event after which it may be written again, None at first.
    is_idle
        Whether nobody needs what is in it.
    views
        What decoders have made of its parts, by the parts' shape and dtype.
    """

    memory: Any
    busy: Any = None
    is_idle: bool = False
    views: dict[Any, list[Any]] = field(default_factory=dict)


class Lease:
    """The use of a slab, which goes back to its pool with the last reference.

    Parameters
    ----------
    slab
        The memory.
    pool
        Where it goes then.
    """

    def __init__(self, slab: Slab, pool: SlabPool) -> None:
        self.slab = slab
        self._pool = pool

    def __del__(self) -> None:
        if not sys.is_finalizing() and self._pool.is_mine():
            self._pool.give_back(self.slab)


class SlabPool:
    """The slabs of a GPU.

    It holds all of them, those in use, too: what Python's collector of cycles finds unreachable
    together with a slab would be finalised, its event above all, before the slab comes back. Besides
    the streams, the threads that drive decoders and KvikIO write slabs; they wait for `Slab.busy`
    themselves.

    Parameters
    ----------
    cupy
        The module.
    streams
        By which tiles are written; memory is allocated on the first.
    most_idle
        Bytes that are kept for the next tiles; more goes back to CuPy's allocator.
    """

    def __init__(self, cupy: Any, streams: Sequence[Any], most_idle: int) -> None:
        self._cupy = cupy
        self._most_idle = most_idle
        self._streams = streams
        self._slabs: list[Slab] = []
        self._lock = threading.RLock()  # the collector may give one back while one is taken
        self._process = os.getpid()

    def is_mine(self) -> bool:
        """Return whether this process made the pool: in a forked one its lock may be taken for ever."""
        return os.getpid() == self._process

    def take(self, nbytes: int) -> Lease:
        """Return a slab of at least so many bytes, which the streams write when it is free."""
        with self._lock:
            slab = self._chosen(nbytes)
        self._wait_for(slab)
        return Lease(slab, self)

    def _chosen(self, nbytes: int) -> Slab:
        idle = [slab for slab in self._slabs if slab.is_idle]
        largest = MOST_ROOM * max(nbytes, ROUNDING_BYTES)
        fitting = [slab for slab in idle if nbytes <= len(slab.memory) <= largest]
        if fitting:
            slab = min(fitting, key=lambda slab: len(slab.memory))
        else:
            for slab in idle:
                if len(slab.memory) < nbytes:
                    self._drop(slab)
            slab = self._new(nbytes + nbytes // 8)
        slab.is_idle = False
        return slab

    def give_back(self, slab: Slab) -> None:
        """Keep a slab for later, or let CuPy's allocator have its memory."""
        with self._lock:
            slab.is_idle = True
            idle = [len(other.memory) for other in self._slabs if other.is_idle]
            if sum(idle) > self._most_idle:
                self._drop(slab)

    def drop_idle(self) -> None:
        """Let CuPy's allocator have the memory that nobody needs now."""
        with self._lock:
            for slab in [slab for slab in self._slabs if slab.is_idle]:
                self._drop(slab)

    def close(self) -> None:
        """Let go of all."""
        self._slabs.clear()

    def _new(self, nbytes: int) -> Slab:
        size = -(-nbytes // ROUNDING_BYTES) * ROUNDING_BYTES
        with self._streams[0]:
            slab = Slab(self._cupy.empty(size, self._cupy.uint8))
            # others than these streams write it, too, and who had the memory may not be done with it
            slab.busy = self._streams[0].record()
        self._slabs.append(slab)
        return slab

    def _drop(self, slab: Slab) -> None:
        """Let go of a slab, whose memory will be given out again on the first stream."""
        with self._cupy.cuda.Device(slab.memory.device.id):
            self._wait_for(slab)
        with contextlib.suppress(ValueError):  # it is closed
            self._slabs.remove(slab)

    def _wait_for(self, slab: Slab) -> None:
        """Let the streams wait for a slab's last use."""
        if slab.busy is not None:
            for stream in self._streams:
                stream.wait_event(slab.busy)
