"""Running something in a forked child."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

__all__ = ["result_in_fork"]

LONGEST_SECONDS = 60


def result_in_fork(read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return what a function returns in a forked child.

    Parameters
    ----------
    read
        Called in the child.

    Raises
    ------
    queue.Empty
        The child did not answer within a minute.
    """
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=lambda: queue.put(read()))
    process.start()
    try:
        result: NDArray[Any] = queue.get(timeout=LONGEST_SECONDS)
    finally:
        process.join(LONGEST_SECONDS)
    return result
