"""Hands the tiles of a window to threads and tells when a batch is complete."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from regionio._errors import ClosedError
from regionio._fork import renew_after_fork
from regionio._window import Window
from regionio._workers import worker_pool
from regionio.compose import Canvas
from regionio.engines import CpuEngine, ReadStats

__all__ = ["Schedule"]

TASK_BYTES = 8 * 1024 * 1024
"""Decoded bytes of one thread's part of a task, at most: Python's part of it is small then."""

LARGEST_TASK_TILES = 64

TASKS_WITH_THREADS = 2
"""Tasks at a time that have threads of their own: one prepares what is next while another decodes."""


LONGER_CALLS = 4
"""Times as much they take at once: between calls they wait for Python's lock, which others may hold
for long."""


class Sharing(NamedTuple):
    """How threads share tiles.

    Parameters
    ----------
    tasks
        Tasks at a time, at least 1.
    threads
        Most threads of each.
    most_tiles
        Most tiles of each.
    """

    tasks: int
    threads: int
    most_tiles: int


class Schedule:
    """Tiles that wait, tiles at work, and batches that wait for them.

    Tiles are added batch by batch. What waits is planned anew with every batch, so that a tile
    which several batches need is decoded once as long as it has not been started.

    Parameters
    ----------
    engine, canvas
        What renders, and where to.
    batch_size
        Regions a batch.
    num_workers
        Most threads at a time; 0 renders in the thread that waits.
    complete
        Called with the number of each batch whose pixels are all there, by the thread that brought
        the last of them, before anybody gets the batch; not for batches that need no tile.
    is_helped
        The thread that waits is one of them.
    """

    def __init__(
        self,
        engine: CpuEngine,
        canvas: Canvas,
        batch_size: int,
        num_workers: int,
        complete: Callable[[int], None] | None = None,
        *,
        is_helped: bool = False,
    ) -> None:
        self._complete = complete
        self._engine = engine
        self._canvas = canvas
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._renew_lock()
        self._waiting: Window | None = None
        self._next = 0
        self._is_helped = is_helped
        self._sharing = Sharing(1, 1, 1)
        self._tasks = 0
        self._threads = 0
        self._open_pieces: dict[int, int] = {}
        self._errors: dict[int, Exception] = {}
        self._cancelled = False
        self.stats = ReadStats()
        renew_after_fork(self)

    def _renew_lock(self) -> None:
        # Ctrl-C may come between a condition's taking its lock and the body of "with", and leave it
        # locked for ever; not so with the lock itself, which is no Python code
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def _renew(self) -> None:
        """In a forked child, give up what only the parent's threads would finish."""
        self._renew_lock()
        self._waiting, self._tasks, self._threads = None, 0, 0
        for batch in self._open_pieces:
            msg = "the loader was forked while it read; iterate over it anew in this process"
            self._errors.setdefault(batch, RuntimeError(msg))
        self._open_pieces.clear()

    def add(self, window: Window) -> None:
        """Take in the tiles of one or more further batches."""
        pieces = _pieces_by_batch(window, self._batch_size)
        with self._lock:
            self._open_pieces.update(pieces)
            if self._waiting is not None and self._next < len(self._waiting):
                window = self._waiting[self._next :].joined(window, self._batch_size)
            self._waiting, self._next = window, 0
            self._sharing = self._shared_out(window)
        self._start_tasks()

    def _start_tasks(self) -> None:
        """Have threads of the pool work, as many as may and can."""
        with self._lock:
            wanted = self._sharing.tasks - self._is_helped if self._num_workers else 0
            left = 0 if self._waiting is None else len(self._waiting) - self._next
            free = self._num_workers - self._threads
            count = max(0, min(wanted - self._tasks, left, free))
            self._tasks += count
        for number in range(count):
            try:
                worker_pool.submit(self._work)
            except RuntimeError:  # there is no other thread to be had: who waits does the work
                with self._lock:
                    self._tasks -= count - number
                return

    def finish(self, batch: int) -> None:
        """Wait until a batch is complete; raise what went wrong with it.

        Raises
        ------
        RegionIOError
            A tile of the batch could not be read.
        ClosedError
            The batch was cancelled.
        """
        while batch in self._open_pieces and self._tasks == 0 and self._render_next():
            pass
        with self._lock:
            while batch in self._open_pieces and not self._cancelled:
                self._changed.wait()
            error = self._errors.pop(batch, None)
            if self._cancelled:
                msg = "the loader was closed while it was read"
                raise ClosedError(msg)
        if error is not None:
            raise error

    def help_finish(self, batch: int) -> None:
        """Render in this thread as long as tiles wait, then finish a batch."""
        while self._render_next():
            pass
        self.finish(batch)

    def cancel(self) -> None:
        """Drop what waits. What is at work ends soon, and its results go nowhere."""
        with self._lock:
            self._cancelled = True
            self._waiting = None
            self._open_pieces.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        """Render until nothing waits: what a thread of the pool does."""
        while self._render_next(counted=True):
            pass

    def _render_next(self, *, counted: bool = False) -> bool:
        """Render the next few tiles; return False when none wait.

        A thread of the pool (`counted`) signs off under the same lock under which it finds
        nothing: tiles that are added later find it gone and start another.
        """
        pieces: dict[int, int] = {}
        threads = 0
        try:
            with self._lock:
                free = max(1, self._num_workers) - self._threads
                part = self._take() if free > 0 or not counted else None
                if part is None:
                    self._tasks -= counted
                    return False
                threads = max(1, min(self._sharing.threads, free))
                self._threads += threads
            pieces = _pieces_by_batch(part, self._batch_size)
            failures, stats = self._engine.render(part, self._canvas, threads)
            errors: dict[int, Exception] = {
                region // self._batch_size: failure.error
                for failure in failures
                for region in failure.regions
            }
        except Exception as error:  # noqa: BLE001  it is raised where its batch is waited for
            stats = ReadStats()
            if not pieces:  # it is not known whose work is lost
                pieces = dict(self._open_pieces)
            errors = dict.fromkeys(pieces, error)
        with self._lock:
            self._threads -= threads
        self._start_tasks()
        self._done(pieces, errors, stats)
        return True

    def _shared_out(self, window: Window) -> Sharing:
        """Return how threads share what waits."""
        threads, most = max(1, self._num_workers), _task_tiles(window)
        if not self._engine.has_own_threads(window):
            return Sharing(threads, 1, most)
        most *= LONGER_CALLS
        if self._is_helped and len(window) <= threads * most:  # one call does it
            return Sharing(1, threads, threads * most)
        tasks = threads // max(1, threads // TASKS_WITH_THREADS)
        each = -(-threads // tasks)  # one has what is left when the others have so many
        return Sharing(tasks, each, each * most)

    def _take(self) -> Window | None:
        if self._waiting is None or self._next >= len(self._waiting):
            self._waiting = None
            return None
        left = len(self._waiting) - self._next
        fair = -(-left // self._sharing.tasks)  # ever smaller parts: all end at about one time
        stop = self._next + min(fair, self._sharing.most_tiles)
        part = self._waiting[self._next : stop]
        self._next = stop
        return part

    def _done(self, pieces: dict[int, int], errors: dict[int, Exception], stats: ReadStats) -> None:
        complete = []
        with self._lock:
            self.stats.add(stats)
            for batch, error in errors.items():
                self._errors.setdefault(batch, error)
            for batch, count in pieces.items():
                left = self._open_pieces.get(batch, 0) - count
                if left > 0:
                    self._open_pieces[batch] = left
                else:
                    complete.append(batch)
        if not complete:
            return
        for batch in complete:
            self._call_complete(batch)
        with self._lock:
            for batch in complete:
                self._open_pieces.pop(batch, None)
            self._changed.notify_all()

    def _call_complete(self, batch: int) -> None:
        """Have the last thing done that a batch needs, unless it was cancelled or has failed."""
        if self._complete is None or batch not in self._open_pieces or batch in self._errors:
            return
        try:
            self._complete(batch)
        except Exception as error:  # noqa: BLE001  it is raised where the batch is waited for
            self._errors[batch] = error


def _pieces_by_batch(window: Window, batch_size: int) -> dict[int, int]:
    """Return the number of pieces of each batch that has any."""
    region = window.pieces["region"]
    if len(region) == 0:
        return {}
    first, last = int(region.min()) // batch_size, int(region.max()) // batch_size
    if first == last:
        return {first: len(region)}
    counts = np.bincount(region // batch_size - first)
    return {first + place: count for place, count in enumerate(counts.tolist()) if count}


def _task_tiles(window: Window) -> int:
    """Return the most tiles of one thread's part of a task."""
    largest = 1
    for view in window.views:
        height, width = view.table.tile_shape
        largest = max(largest, height * width * view.index.samples * view.index.dtype.itemsize)
    return max(1, min(LARGEST_TASK_TILES, TASK_BYTES // largest))
