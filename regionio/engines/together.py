"""Parts of a work, done by the thread that needs them and by others that are free."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from regionio._workers import worker_pool

__all__ = ["do_together", "portions"]

PORTIONS = 4
"""For each thread, so that all end at about one time."""

Part = TypeVar("Part")
Result = TypeVar("Result")


def portions(things: Sequence[Part], threads: int) -> list[Sequence[Part]]:
    """Cut things into parts for threads: a single one for one thread.

    >>> portions([1, 2, 3], 1), portions([1, 2, 3], 2)
    ([[1, 2, 3]], [[1], [2], [3]])
    """
    step = len(things) if threads == 1 else len(things) // (PORTIONS * threads)
    step = max(1, step)
    return [things[start : start + step] for start in range(0, len(things), step)]


def do_together(
    work: Callable[[Part], Result], parts: Iterable[Part], threads: int
) -> list[Result]:
    """Do all parts; when one raises, no others are begun.

    The caller's thread does what no other has taken, so that threads of the pool may wait for
    others of it, and all if there is no other. Nobody works any more when it returns.

    Parameters
    ----------
    work
        What is done with a part; what it raises is raised in the end.
    parts
        The parts.
    threads
        Most that work at a time, the caller's included.

    Returns
    -------
    list
        What `work` returned, in no order.

    Examples
    --------
    >>> sorted(do_together(abs, [1, -2, 3], threads=2))
    [1, 2, 3]
    """
    shared = _Shared(work, parts)
    try:
        for _ in range(min(threads, len(shared.waiting)) - 1):
            try:
                worker_pool.submit(shared.take)
            except RuntimeError:  # there is no other thread to be had
                break
        shared.take()
    finally:
        shared.end()
    if shared.errors:
        raise shared.errors[0]
    return shared.results


class _Shared(Generic[Part, Result]):
    """Parts that wait, and who is at work."""

    def __init__(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> None:
        self.waiting = deque(parts)
        self.results: list[Result] = []
        self.errors: list[BaseException] = []
        self._work = work
        self._lock = threading.Lock()  # taken by itself: Ctrl-C may leave a condition locked
        self._changed = threading.Condition(self._lock)
        self._at_work: set[int] = set()
        self._has_ended = False

    def take(self) -> None:
        """Do parts as long as there are any."""
        me = threading.get_ident()
        try:
            with self._lock:
                if self._has_ended:
                    return
                self._at_work.add(me)
            while self.waiting:
                try:
                    part = self.waiting.popleft()
                except IndexError:  # another thread was sooner
                    break
                self.results.append(self._work(part))
        except BaseException as error:  # noqa: BLE001  it is raised in the caller's thread
            self.errors.append(error)
            self.waiting.clear()
        finally:
            with self._lock:
                self._at_work.discard(me)
                self._changed.notify_all()

    def end(self) -> None:
        """Wait until nobody works any more, whatever interrupts; who comes later finds nothing."""
        self._has_ended = True
        me = {threading.get_ident()}  # Ctrl-C may have kept it from signing off
        while True:
            try:
                with self._lock:
                    self._changed.wait_for(lambda: self._at_work <= me)
            except BaseException as error:  # noqa: BLE001  Ctrl-C, once more
                self.errors.append(error)
                self.waiting.clear()
            else:
                return
