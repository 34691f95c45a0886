"""Threads that drive the GPU's decoders, so that one call's work on the host goes on beside another's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from regionio._workers import ending_explained, submit_or_drop

__all__ = ["JPEG2000_THREADS", "JPEG_THREADS", "DecoderThreads"]

JPEG_THREADS = 3
"""Of nvJPEG, 512 tiles a call, 1, 2, 3 and 4 have 63, 99, 115 and 130 thousand tiles a second."""

JPEG2000_THREADS = 1
"""Calls of nvJPEG2000 share their parts out to threads of its own: three at a time are slower."""


class Closable(Protocol):
    """Something that must be closed."""

    def close(self) -> None:
        """Give back what it holds."""
        ...


Result = TypeVar("Result")
Decoder = TypeVar("Decoder", bound=Closable)


class DecoderThreads:
    """The threads of a GPU.

    Parameters
    ----------
    cupy
        The module.
    number
        Of the GPU.
    most
        How many there are at a time.
    """

    def __init__(self, cupy: Any, number: int, most: int) -> None:
        self._cupy, self._number = cupy, number
        self._local = threading.local()
        self._decoders: list[Closable] = []
        name = f"regionio cuda:{number} decode"
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=name)

    def run(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Run a task in one of the threads.

        Raises
        ------
        ClosedError
            The process ends.
        RuntimeError
            As by `submit_or_drop`.
        """
        future: Future[Result] = Future()
        waiting = [future]

        def work() -> None:
            mine = waiting.pop()  # else what is raised would keep itself, by this frame
            try:
                self._select()
                mine.set_result(task(*arguments))
            except BaseException as error:  # noqa: BLE001  it is raised where it is waited for
                mine.set_exception(error)
            del mine

        with ending_explained():
            submit_or_drop(self._pool, work)
        return future

    def _select(self) -> None:
        """Have the thread use its GPU, which may fail like any call of CUDA."""
        if not hasattr(self._local, "is_selected"):
            self._cupy.cuda.Device(self._number).use()
            self._local.is_selected = True

    def stream(self) -> Any:
        """Return the stream by which the thread that asks has its decoders work."""
        if not hasattr(self._local, "stream"):
            self._local.stream = self._cupy.cuda.Stream(non_blocking=True)
        return self._local.stream

    def decoder(self, kind: type[Decoder], make: Callable[[], Decoder]) -> Decoder:
        """Return a decoder that belongs to the thread that asks; `make` gives each thread one."""
        mine: dict[type, Decoder] = self._local.__dict__.setdefault("decoders", {})
        if kind not in mine:
            mine[kind] = make()
            self._decoders.append(mine[kind])
        return mine[kind]

    def close(self) -> None:
        """End the threads, then let go of their decoders."""
        self._pool.shutdown()
        for decoder in self._decoders:
            decoder.close()
        self._decoders.clear()
