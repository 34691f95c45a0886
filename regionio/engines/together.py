"""Parts of a work, done by the thread that needs them and by others that are free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import wait
from typing import TypeVar

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
    """Do all parts, whatever is raised by one.

    The caller's thread does what no other has taken, so that threads of the pool may wait for
    others of it.

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
    waiting = deque(parts)
    results: list[Result] = []

    def take() -> None:
        while waiting:
            try:
                part = waiting.popleft()
            except IndexError:  # another thread was sooner
                return
            results.append(work(part))

    helpers = [worker_pool.run(take) for _ in range(min(threads, len(waiting)) - 1)]
    try:
        take()
    finally:
        begun = [helper for helper in helpers if not helper.cancel()]
        wait(begun)
    for helper in begun:
        helper.result()
    return results
