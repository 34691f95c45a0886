"""Threads that keep a GPU's hardware engine for JPEG busy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

__all__ = ["Engine", "EngineThread"]

MOST_THREADS = 4
"""Of 1, 2 and 4 callers the most had the most tiles a second: 31, 35 and 47 thousand."""

LEAST_TRIED = 64
"""Tiles that have to be refused, none being decoded, until there is taken to be no engine."""

Result = TypeVar("Result")


class Closable(Protocol):
    """Something that must be closed."""

    def close(self) -> None:
        """Give back what it holds."""
        ...


@dataclass(frozen=True)
class EngineThread:
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


class Engine:
    """The engine, for calls from several threads at a time.

    Parameters
    ----------
    cupy
        The module.
    number
        Of the GPU.

    Attributes
    ----------
    is_there
        Whether the GPU has one; unknown is True.
    """

    def __init__(self, cupy: Any, number: int) -> None:
        self.is_there = True
        self._cupy = cupy
        self._tried = 0
        self._works = False
        self._lock = threading.Lock()
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

    def mine(self, make: Callable[[], Any]) -> EngineThread:
        """Return what belongs to the thread that asks; `make` gives it its decoder."""
        mine: EngineThread | None = getattr(self._local, "mine", None)
        if mine is None:
            stream = self._cupy.cuda.Stream(non_blocking=True)
            mine = self._local.mine = EngineThread(make(), stream)
            self._decoders.append(mine.decoder)
        return mine

    def note(self, done: int, left: int) -> None:
        """Take in how many tiles were decoded, and how many it has refused."""
        with self._lock:
            self._works = self._works or done > 0
            self._tried += left
            self.is_there = self._works or self._tried < LEAST_TRIED

    def close(self) -> None:
        """End the threads, then let go of their decoders."""
        self._pool.shutdown()
        for decoder in self._decoders:
            decoder.close()
        self._decoders.clear()
