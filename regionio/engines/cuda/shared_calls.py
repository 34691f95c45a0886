"""Calls of a decoder that several chunks share: what waits when one ends goes into the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from regionio.engines.cuda.decoder_threads import DecoderThreads
from regionio.storage import FetchCount

__all__ = ["SharedCalls"]

MOST_TILES = 16
"""Chunks share a call as long as they have no more together: larger ones fill one by themselves."""


Waiting = TypeVar("Waiting")


class SharedCalls(Generic[Waiting]):
    """Has small chunks decoded together: a picture alone takes a call as long as a few of them.

    Parameters
    ----------
    threads
        Which make the calls.
    """

    def __init__(self, threads: DecoderThreads) -> None:
        self._threads = threads
        self._waiting: deque[_Entry[Waiting]] = deque()

    def add(
        self,
        chunk: Waiting,
        tiles: int,
        read: Future[FetchCount],
        decode: Callable[[list[Waiting]], None],
    ) -> Future[FetchCount]:
        """Have a chunk decoded once it is read.

        Parameters
        ----------
        chunk
            The chunk.
        tiles
            How many it has.
        read
            Is done when its streams are in memory; if it failed, nothing is decoded.
        decode
            Decodes several chunks, again from the start if it has failed before; the same for all.

        Returns
        -------
        Future
            Is done when the chunk has been decoded.
        """
        entry = _Entry(chunk, tiles, decode)

        def is_read(done: Future[FetchCount]) -> None:  # not `read`, which keeps this function
            if done.exception() is not None:  # who waits for what is read raises it
                entry.settle(None)
                return
            self._waiting.append(entry)
            try:
                call = self._threads.run(self._call)
            except BaseException as error:  # noqa: BLE001  it is raised where the chunk is waited for
                self._give_up(entry, error)
            else:
                call.add_done_callback(partial(self._note_call, entry))

        read.add_done_callback(is_read)
        return entry.done

    def _note_call(self, entry: _Entry[Waiting], call: Future[None]) -> None:
        """Tell of a thread that could not even begin."""
        error = call.exception()
        if error is not None:
            self._give_up(entry, error)

    def _give_up(self, entry: _Entry[Waiting], error: BaseException) -> None:
        """Tell that no thread will decode a chunk, unless one has it already."""
        try:
            self._waiting.remove(entry)
        except ValueError:
            return
        entry.settle(error)

    def _call(self) -> None:
        """Decode what waits; there are as many calls of this as chunks, some find nothing."""
        entries = self._taken()
        error = _error_of(entries) if entries else None
        is_shared = error is not None and len(entries) > 1
        for entry in entries:  # what is wrong with one is not the others' fault
            entry.settle(_error_of([entry]) if is_shared else error)

    def _taken(self) -> list[_Entry[Waiting]]:
        """Return the chunks of the next call, in the order in which they came."""
        entries: list[_Entry[Waiting]] = []
        tiles = 0
        while self._waiting:
            try:
                entry = self._waiting.popleft()
            except IndexError:  # another thread was sooner
                break
            tiles += entry.tiles
            if entries and tiles > MOST_TILES:
                self._waiting.appendleft(entry)
                break
            entries.append(entry)
        return entries


@dataclass(eq=False)
class _Entry(Generic[Waiting]):
    """A chunk, of so many tiles, and who waits for it."""

    chunk: Waiting
    tiles: int
    decode: Callable[[list[Waiting]], None]
    done: Future[FetchCount] = field(default_factory=Future)

    def settle(self, error: BaseException | None) -> None:
        """Tell that the chunk has been decoded, or why not."""
        if error is None:
            self.done.set_result(FetchCount())
        else:
            self.done.set_exception(error)


def _error_of(entries: list[_Entry[Waiting]]) -> BaseException | None:
    """Decode chunks by one call; return what it raised."""
    try:
        entries[0].decode([entry.chunk for entry in entries])
    except BaseException as error:  # noqa: BLE001  it is raised where the chunk is waited for
        return error
    return None
