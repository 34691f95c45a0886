"""One thread a GPU: its streams, its buffers, its decoders, and the work that waits for it."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, TypeVar

from regionio._errors import ClosedError, DeviceError
from regionio.engines.cuda.budget import AheadBudget, HeldBudget, Reservation
from regionio.engines.cuda.decoder_threads import (
    JPEG2000_THREADS,
    JPEG_THREADS,
    DecoderThreads,
)
from regionio.engines.cuda.device import opened_device
from regionio.engines.cuda.memory import PinnedBuffer, Retired
from regionio.engines.cuda.shared_calls import SharedCalls
from regionio.engines.cuda.slabs import Lease, SlabPool
from regionio.storage import FileIdentity
from regionio.storage.kvikio import DeviceFile

__all__ = ["Chunk", "Context", "DeviceThread", "Job", "device_thread"]

CHUNKS_AHEAD = 3
"""Chunks that threads are at work for at a time, the one that is waited for included."""

MOST_CHUNKS, SMALL_SHARES = 16, 4
"""So many if they are small: if their tiles take no more than this part of `share_bytes` together."""

MOST_PINNED_SHARES = 4
"""Pinned memory, in `share_bytes`, which is kept for the next chunks."""

ENDING = "the process ends"

MOST_FILES = 64
"""Files that KvikIO has open."""

SHARES, LEAST_SHARE_BYTES, MOST_SHARE_BYTES = 64, 2**28, 2**30
"""Tiles of a chunk take at most this part of the GPU's memory; those that all loaders keep, another."""

MOST_ROOM = 16
"""A buffer is kept for others if it is so many times as large as is wanted."""

AHEAD_SHARES, FREE_SHARES = 8, 2
"""Batches that loaders read ahead may take this part of it together, and each that of what is free."""

Result = TypeVar("Result")


class Context:
    """What belongs to a GPU and to the thread that drives it.

    Parameters
    ----------
    number
        Of the GPU.

    Attributes
    ----------
    decode_stream, copy_stream
        By which tiles are inflated, and copied.
    idle_stream
        On which nothing is ever done.
    jpeg, jpeg2000
        The threads that drive decoders.
    jpeg2000_calls
        What chunks of JPEG 2000 share.
    compose_stream
        By which regions are written, which may have to wait for those who used their memory before.
    share_bytes
        A part of the GPU's memory that readers may take without asking.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.cupy = opened_device(number)
        with self.cupy.cuda.Device(number):
            self.decode_stream = self.cupy.cuda.Stream(non_blocking=True)
            self.idle_stream = self.cupy.cuda.Stream(non_blocking=True)
            self.copy_stream = self.cupy.cuda.Stream(non_blocking=True)
            self.compose_stream = self.cupy.cuda.Stream(non_blocking=True)
        self.kernels: dict[Any, Any] = {}
        self.jpeg = DecoderThreads(self.cupy, number, JPEG_THREADS)
        self.jpeg2000 = DecoderThreads(self.cupy, number, JPEG2000_THREADS)
        self.jpeg2000_calls: SharedCalls[Any] = SharedCalls(self.jpeg2000)
        self._files: dict[FileIdentity, DeviceFile] = {}
        with self.cupy.cuda.Device(number):
            _, total = self.cupy.cuda.runtime.memGetInfo()
        share = min(MOST_SHARE_BYTES, max(LEAST_SHARE_BYTES, int(total) // SHARES))
        self.share_bytes = share
        self._ahead = AheadBudget(int(total) // AHEAD_SHARES)
        streams = self.decode_stream, self.copy_stream
        self.slabs = SlabPool(self.cupy, streams, most_idle=3 * share)
        self.held = HeldBudget(share)
        self.retired = Retired(self.compose_stream, share)
        self._pinned = [PinnedBuffer(self.cupy) for _ in range(MOST_CHUNKS + 1)]

    def pinned(self, nbytes: int) -> PinnedBuffer:
        """Return a buffer that no chunk has: one that is idle, or the one used longest ago."""
        idle = sorted((one for one in self._pinned if one.is_idle), key=lambda one: one.nbytes)
        fitting = [buffer for buffer in idle if buffer.nbytes >= nbytes]
        smaller = [buffer for buffer in idle if buffer.nbytes < nbytes]
        if fitting and (not smaller or fitting[0].nbytes <= MOST_ROOM * nbytes):
            buffer = fitting[0]
        elif smaller:
            buffer = smaller[-1]  # it becomes larger
        else:
            buffer = next(one for one in self._pinned if not one.is_taken)
        self._pinned.remove(buffer)
        self._pinned.append(buffer)
        buffer.wait()
        if buffer.nbytes < nbytes:
            kept = sum(other.nbytes for other in self._pinned if other is not buffer)
            if kept + buffer.size_for(nbytes) > MOST_PINNED_SHARES * self.share_bytes:
                for other in idle:
                    other.shrink()
        return buffer

    def reserve_ahead(self, wanted: int) -> Reservation:
        """Reserve memory for batches that a loader reads ahead, as much as there is for them."""
        least = Reservation(self.share_bytes)
        if wanted <= least.nbytes:
            return least
        with self.cupy.cuda.Device(self.number):
            free, _ = self.cupy.cuda.runtime.memGetInfo()
        free += self.cupy.get_default_memory_pool().free_bytes()
        found = self._ahead.reserve(wanted, int(free) // FREE_SHARES)
        return found if found.nbytes > least.nbytes else least

    def slab(self, nbytes: int) -> Lease:
        """Return memory for tiles, as `SlabPool.take` does."""
        return self.allocated(partial(self.slabs.take, nbytes))

    def allocated(self, allocate: Callable[[], Result]) -> Result:
        """Return what a function allocates, by two tries where memory is kept for others."""
        try:
            return allocate()
        except self.cupy.cuda.memory.OutOfMemoryError:
            self.held.clear()
            self.retired.settle()
            self.slabs.drop_idle()
        return allocate()

    def device_file(self, identity: FileIdentity, threads: int) -> DeviceFile:
        """Return a file as KvikIO has opened it; those used last stay open."""
        file = self._files.pop(identity, None)
        if file is None:
            file = DeviceFile(identity, threads)
        self._files[identity] = file
        while len(self._files) > MOST_FILES:
            self._files.pop(next(iter(self._files))).close()
        return file

    def close(self) -> None:
        """Let go of decoders, which must not wait for the interpreter's end."""
        self.jpeg.close()
        self.jpeg2000.close()
        self.kernels.clear()
        for file in self._files.values():
            file.close()
        self._files.clear()
        self.slabs.close()
        self.retired.clear()
        self._pinned.clear()


class Chunk(Protocol):
    """A part of a job that fits into the buffers of a task."""

    @property
    def nbytes(self) -> int:
        """Bytes of its tiles in the GPU's memory."""
        ...

    def start(self, context: Context) -> None:
        """Have bytes fetched by other threads."""
        ...

    def finish(self, context: Context) -> None:
        """Wait for the bytes; decode, and write pieces into regions."""
        ...

    def on_change(self, wake: Callable[[], None]) -> None:
        """Have a function called whenever a thread is done."""
        ...

    def is_ready(self) -> bool:
        """Return whether `finish` has nothing to wait for."""
        ...

    def abandon(self, context: Context) -> None:
        """Wait until nothing is read or written for it any more, whatever came of it."""
        ...


class Job(Protocol):
    """Batches that are rendered together."""

    def chunks(self, context: Context) -> Iterator[Chunk]:
        """Prepare the batches' memory, and yield the work."""
        ...

    def done(self, context: Context, error: BaseException | None) -> None:
        """Do what is left when all chunks were finished, or note that nothing more will be done."""
        ...

    def end(self, context: Context) -> None:
        """Note that no chunk is left, whatever came of it."""
        ...


class DeviceThread:
    """Does the jobs of all loaders of one GPU, in turn.

    Parameters
    ----------
    number
        Of the GPU.
    """

    def __init__(self, number: int) -> None:
        opened_device(number)  # what is wrong is told to the caller
        self.number = number
        self._process = os.getpid()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self.context = Context(number)
        self._thread = threading.Thread(
            target=self._run, name=f"regionio cuda:{number}", daemon=True
        )
        self._thread.start()

    def sweep(self) -> None:
        """Let go of memory that nobody works with any more."""
        if os.getpid() == self._process:
            with contextlib.suppress(Exception):  # the GPU may be lost
                self.context.retired.sweep()

    def check_process(self) -> None:
        """Raise in a process that was forked from the one that this thread is in.

        Raises
        ------
        DeviceError
            It is another.
        """
        if os.getpid() != self._process:
            opened_device(self.number)  # says so
            msg = "a loader of a GPU can't be read on in a forked process: make a new one there"
            raise DeviceError(msg)

    def submit(self, job: Job) -> None:
        """Have a job done after those that wait.

        Raises
        ------
        ClosedError
            The thread has ended, as the process does.
        """
        self.check_process()
        with self._lock:
            if self._ending.is_set():
                raise ClosedError(ENDING)
            self._jobs.put(job)
        self._wake.set()

    def close(self) -> None:
        """Give up what waits, and end the thread."""
        with self._lock:
            self._ending.set()
            self._jobs.put(None)
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        context = self.context
        with context.cupy.cuda.Device(self.number):
            pipeline = _Pipeline(context, self._jobs, self._wake, self._ending)
            while pipeline.step():
                pass
            context.close()


class _Pipeline:
    """Starts chunks ahead of those that are finished, across jobs."""

    def __init__(
        self,
        context: Context,
        jobs: queue.SimpleQueue[Job | None],
        wake: threading.Event,
        ending: threading.Event,
    ) -> None:
        self._context = context
        self._jobs = jobs
        self._wake, self._ending = wake, ending
        self._current: tuple[Job, Iterator[Chunk]] | None = None
        self._started: deque[tuple[Job, Chunk | None]] = deque()
        self._failed: set[int] = set()
        self._ended = False

    def step(self) -> bool:
        """Start what can be started, finish one chunk; return False at the end."""
        while self._has_room() and self._start_next(wait=not self._started):
            pass
        if not self._started:
            return not self._ended
        job, chunk = self._started[0]
        if chunk is not None and id(job) not in self._failed:
            self._start_while_waiting(chunk)
        self._started.popleft()
        if chunk is None:
            if id(job) not in self._failed:
                self._try(job, lambda: job.done(self._context, None))
            self._failed.discard(id(job))
            with contextlib.suppress(Exception):  # the GPU may be lost
                job.end(self._context)
        elif id(job) in self._failed or not self._try(job, lambda: chunk.finish(self._context)):
            self._abandon(chunk)
        return True

    def _abandon(self, chunk: Chunk) -> None:
        with contextlib.suppress(Exception):  # the GPU may be lost; who waits has been told
            chunk.abandon(self._context)

    def _start_while_waiting(self, chunk: Chunk) -> None:
        """Wait for a chunk's threads; start what can be started meanwhile."""
        while True:
            self._wake.clear()
            if chunk.is_ready():
                return
            if not self._has_room() or not self._start_next(wait=False):
                self._wake.wait()

    def _has_room(self) -> bool:
        """Return whether another chunk may be started."""
        sizes = [chunk.nbytes for _, chunk in self._started if chunk is not None]
        if len(sizes) < CHUNKS_AHEAD:
            return True
        return len(sizes) < MOST_CHUNKS and sum(sizes) * SMALL_SHARES < self._context.share_bytes

    def _start_next(self, *, wait: bool) -> bool:
        """Start one chunk; return False if there is none to start now."""
        if self._current is None:
            self._current = self._next_job(wait=wait)
        if self._current is None:
            return False
        job, chunks = self._current
        if self._ending.is_set():
            self._fail(job, ClosedError(ENDING))
        chunk = None if id(job) in self._failed else self._begun(job, chunks)
        if chunk is None:  # the job has no more
            self._current = None
        self._started.append((job, chunk))
        return True

    def _next_job(self, *, wait: bool) -> tuple[Job, Iterator[Chunk]] | None:
        """Return the job that has waited longest, None if there is none."""
        try:
            job = None if self._ended else self._jobs.get(block=wait)
        except queue.Empty:
            return None
        if job is None:
            self._ended = True
            return None
        return job, job.chunks(self._context)

    def _begun(self, job: Job, chunks: Iterator[Chunk]) -> Chunk | None:
        """Return a job's next chunk, which threads work for now; None: it has no more, or failed."""
        chunk = None
        try:
            chunk = next(chunks, None)
            if chunk is not None:
                chunk.start(self._context)
                chunk.on_change(self._wake.set)
        except BaseException as error:  # noqa: BLE001  it is raised where the batch is waited for
            self._fail(job, error)
            if chunk is not None:
                self._abandon(chunk)
            return None
        return chunk

    def _fail(self, job: Job, error: BaseException) -> None:
        self._failed.add(id(job))
        job.done(self._context, error)

    def _try(self, job: Job, work: Callable[[], None]) -> bool:
        """Work for a job; return whether that went well."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001  it is raised where the batch is waited for
            self._fail(job, error)
            return False
        return True


_threads: dict[tuple[int, int], DeviceThread] = {}
_lock = threading.Lock()


def device_thread(number: int) -> DeviceThread:
    """Return the thread of a GPU, begun if need be.

    Raises
    ------
    DeviceError
        The GPU can't be used.
    """
    opened_device(number)
    with _lock:
        key = os.getpid(), number
        if key not in _threads:
            _threads[key] = DeviceThread(number)
        return _threads[key]


def _close_all() -> None:
    for (process, _), thread in list(_threads.items()):
        if process == os.getpid():
            thread.close()


atexit.register(_close_all)
