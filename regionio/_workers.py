"""The process's threads, and how many a reader may use."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from regionio._errors import ClosedError
from regionio._fork import renew_after_fork

__all__ = [
    "MOST_THREADS",
    "WorkerPool",
    "dataloader_workers",
    "default_num_workers",
    "ending_explained",
    "submit_or_drop",
    "worker_pool",
]

MOST_THREADS = 256
ENVIRONMENT = "REGIONIO_NUM_THREADS"


class WorkerPool:
    """The process's threads; they start as they are needed."""

    def __init__(self) -> None:
        self._renew()
        renew_after_fork(self)

    def _renew(self) -> None:
        """In a forked child, forget threads that do not exist there."""
        self._executor = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="regionio")

    def submit(self, task: Callable[[], None]) -> None:
        """Run a task in one of the threads; raises as `submit_or_drop` does."""
        submit_or_drop(self._executor, task)


def submit_or_drop(executor: ThreadPoolExecutor, task: Callable[[], None]) -> None:
    """Run a task in one of an executor's threads.

    Raises
    ------
    RuntimeError
        No thread can be started, or the executor was shut down; the task is not run then, not even
        later.
    """
    claim = threading.Lock()  # the executor has queued a task before it fails

    def claimed() -> None:
        if claim.acquire(blocking=False):
            task()

    try:
        executor.submit(claimed)
    except BaseException:
        if claim.acquire(blocking=False):
            raise  # else a thread that was there already has it


@contextmanager
def ending_explained() -> Iterator[None]:
    """Raise ClosedError where a thread can't be had because the process ends."""
    try:
        yield
    except RuntimeError as error:
        if "shutdown" in str(error):  # nothing else tells it apart
            msg = "the process ends: its main thread is over, and with it the threads that read"
            raise ClosedError(msg) from error
        raise


worker_pool = WorkerPool()


def default_num_workers() -> int:
    """Return how many concurrent tasks a reader uses that was not told.

    Returns
    -------
    int
        `REGIONIO_NUM_THREADS` if that is set; else the CPUs that this process may use (affinity
        and cgroup quota), divided by the number of workers inside a PyTorch DataLoader worker.
    """
    text = os.environ.get(ENVIRONMENT)
    if text is not None:
        if not text.isdigit():
            msg = f"{ENVIRONMENT} is a number of threads, not {text!r}"
            raise ValueError(msg)
        return int(text)
    cpus = _affinity()
    quota = _cgroup_quota()
    if quota is not None:
        cpus = min(cpus, quota)
    return max(1, cpus // dataloader_workers())


def dataloader_workers() -> int:
    """Return the number of sibling processes if this one is a PyTorch DataLoader worker, else 1."""
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return max(1, info.num_workers) if info is not None else 1


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _cgroup_quota() -> int | None:
    """Return the CPUs that a container's quota allows, rounded up; None without one."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return None
    if not quota.isdigit() or not period.isdigit():
        return None
    return max(1, -(-int(quota) // int(period)))
