"""Threads that drive nvJPEG, so that one call's work on the host goes on beside another's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

__all__ = ["DecoderThread", "DecoderThreads"]

MOST_THREADS = 3
"""With 512 tiles a call, 1, 2, 3 and 4 callers had 63, 99, 115 and 130 thousand tiles a second."""

Result = TypeVar("Result")


class Closable(Protocol):
    """Something that must be closed."""

    def close(self) -> None:
        """Give back what it holds."""
        ...


@dataclass(frozen=True)
class DecoderThread:
    """What belongs to one of the threads.

    Parameters
    ----------
    decoder
        Its decoder.
    stream
        By which it decodes.
    """

    decoder: Any
    stream: Any


class DecoderThreads:
    """The threads of a GPU.

    Parameters
    ----------
    cupy
        The module.
    number
        Of the GPU.
    """

    def __init__(self, cupy: Any, number: int) -> None:
        self._cupy = cupy
        self._local = threading.local()
        self._decoders: list[Closable] = []
        self._pool = ThreadPoolExecutor(
            MOST_THREADS,
            thread_name_prefix=f"regionio cuda:{number} jpeg",
            initializer=lambda: cupy.cuda.Device(number).use(),
        )

    def run(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Run a task in one of the threads."""
        return self._pool.submit(task, *arguments)

    def mine(self, make: Callable[[], Any]) -> DecoderThread:
        """Return what belongs to the thread that asks; `make` gives it its decoder."""
        mine: DecoderThread | None = getattr(self._local, "mine", None)
        if mine is None:
            stream = self._cupy.cuda.Stream(non_blocking=True)
            mine = self._local.mine = DecoderThread(make(), stream)
            self._decoders.append(mine.decoder)
        return mine

    def close(self) -> None:
        """End the threads, then let go of their decoders."""
        self._pool.shutdown()
        for decoder in self._decoders:
            decoder.close()
        self._decoders.clear()
