"""The work that a loader's threads do, not more of it at a time than it may."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from regionio._workers import ending_explained, worker_pool

__all__ = ["Tasks"]

Result = TypeVar("Result")


class Tasks:
    """Runs tasks in the process's threads, in the order in which they come.

    Parameters
    ----------
    most
        Most of them at a time; 0 counts as 1, as somebody has to do them.

    Examples
    --------
    >>> tasks = Tasks(2)
    >>> [future.result() for future in [tasks.run(pow, 2, n) for n in range(4)]]
    [1, 2, 4, 8]
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._running = 0
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._lock = threading.Lock()

    def run(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have a task run, and tell what it returns or raises."""
        future: Future[Result] = Future()
        entry = future, lambda: task(*arguments)
        with self._lock:
            self._waiting.append(entry)
            starts = self._running < max(1, self.most)
            self._running += starts
        if starts:
            self._start(entry)
        return future

    def _start(self, entry: tuple[Future[Any], Callable[[], Any]]) -> None:
        """Have a thread work; where there is none to be had, nobody waits for the entry for ever."""
        try:
            with ending_explained():
                worker_pool.submit(self._work)
        except BaseException:
            with self._lock:
                self._running -= 1
                if entry in self._waiting:
                    self._waiting.remove(entry)
            raise

    def _work(self) -> None:
        """Do what waits, as long as there is something."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                future, task = self._waiting.popleft()
            try:
                result = task()
            except BaseException as error:  # noqa: BLE001  it is raised where it is waited for
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, task  # they hold what they worked for
