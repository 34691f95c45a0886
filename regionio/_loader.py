"""Batches of regions: order, prefetch, epochs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Self

from regionio._errors import ClosedError
from regionio._fork import renew_after_fork
from regionio._locations import Feed, LocationSequence, LocationStream
from regionio._opened import OpenedFile
from regionio._reader import Reader
from regionio._region import Region
from regionio._work import AnyWork, begun, reserve_ahead
from regionio.engines import ReadStats
from regionio.engines.cuda.budget import Reservation

__all__ = ["Loader", "LoaderOptions"]

THREAD_TILES, MOST_TILES = 512, 4096
"""Small batches are planned together until they need so many tiles for each thread, and at most
the second; for a GPU the second."""

THREAD_BYTES, MOST_BYTES = 2**24, 2**28
"""Bytes that they take together at most, one batch excepted."""


@dataclass(frozen=True)
class LoaderOptions:
    """How a loader goes through its locations.

    Parameters
    ----------
    batch_size
        Regions a batch; 1 gives single regions.
    drop_last
        Leave out a last batch that is short.
    prefetch_factor
        Batches that are read ahead.
    shuffle, seed
        Go through the locations in a new order every epoch, which follows from seed and epoch.
    num_workers
        Most concurrent tasks; 0 reads in the caller's thread, without reading ahead.
    """

    batch_size: int
    drop_last: bool
    prefetch_factor: int
    shuffle: bool
    seed: int
    num_workers: int


class Loader:
    """Iterates over regions, or batches of them, that are read ahead in other threads.

    `Image.read_region` makes it. Every ``for`` loop over it is an epoch: it starts anew at the
    first location, in a new order if it shuffles. ``next(loader)`` goes on with the current epoch.
    Nothing is read before the first batch is asked for. Locations are pulled in the caller's
    thread, when a batch is asked for, and no further ahead than batches are read.

    Attributes
    ----------
    image
        The image that is read from; it stays open as long as its loader is used.

    Examples
    --------
    >>> import regionio
    >>> slide = regionio.open("tests/data/CMU-1-Small-Region.svs")
    >>> grid = [(x, y) for y in range(0, 2240, 224) for x in range(0, 2220, 224)]
    >>> with slide.read_region(grid, (224, 224), batch_size=32) as loader:
    ...     shapes = [batch.shape for batch in loader]
    >>> len(loader), shapes[0], shapes[-1]
    (4, (32, 224, 224, 3), (4, 224, 224, 3))
    """

    def __init__(
        self,
        reader: Reader,
        locations: LocationSequence | LocationStream,
        options: LoaderOptions,
        file: OpenedFile,
    ) -> None:
        if options.shuffle and isinstance(locations, LocationStream):
            msg = "shuffle=True needs all locations at once: give a list or an array"
            raise ValueError(msg)
        self.image: object = None
        self._reader = reader
        self._locations = locations
        self._options = options
        self._file = file
        self._epoch = 0
        self._skip = 0
        self._current: Epoch | None = None
        self._past = ReadStats()
        self._closed = False
        self._renew()
        renew_after_fork(self)

    def _renew(self) -> None:
        """In a forked child, forget that another thread was beginning or ending an epoch."""
        self._lock = threading.RLock()

    def __iter__(self) -> Iterator[Region]:
        """Start an epoch: the first, or the one after the current."""
        with self._lock:
            self._check_open()
            if self._current is not None:
                self._current.supersede()
                self._end_epoch()
                self._epoch += 1
            return self._start()

    def __reduce__(self) -> NoReturn:
        msg = "a loader is not pickled: pickle its image, and call read_region where it arrives"
        raise TypeError(msg)

    def __next__(self) -> Region:
        """Return the next batch of the current epoch."""
        with self._lock:
            self._check_open()
            current = self._current or self._start()
        return next(current)

    def __len__(self) -> int:
        """Return the number of batches of an epoch.

        Raises
        ------
        TypeError
            The locations come from an iterator, whose length is not known.
        """
        if isinstance(self._locations, LocationStream):
            msg = "the number of batches is not known: locations come from an iterator"
            raise TypeError(msg)
        batches, rest = divmod(len(self._locations), self._options.batch_size)
        return batches + (rest > 0 and not self._options.drop_last)

    @property
    def stats(self) -> ReadStats:
        """What reading has cost so far, over all epochs."""
        stats = replace(self._past)
        if self._current is not None:
            stats.add(self._current.stats)
        return stats

    @property
    def batch_size(self) -> int:
        """Regions a batch."""
        return self._options.batch_size

    def state_dict(self) -> dict[str, int]:
        """Return where the loader stands, to resume after what has been delivered.

        Returns
        -------
        dict
            Plain integers: epoch, delivered (batches of that epoch), seed, batch_size and, where it
            is known, the number of locations. After the last batch it is the beginning of the next
            epoch; after an error, an interrupt or `close` it is where that came: a batch that could
            not be read, of locations that are all known, is passed by adding 1 to delivered.
        """
        epoch, delivered = self._position()
        seed, batch_size = self._options.seed, self._options.batch_size
        state = {"epoch": epoch, "delivered": delivered, "seed": seed, "batch_size": batch_size}
        if isinstance(self._locations, LocationSequence):
            state["locations"] = len(self._locations)
        return state

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another loader over the same locations stood.

        Parameters
        ----------
        state
            What `state_dict` returned.

        Raises
        ------
        ValueError
            It is of a loader with another batch size or of other locations, or no such state.
        """
        wrong = [
            key for key in ("epoch", "delivered", "seed", "batch_size") if state.get(key, -1) < 0
        ]
        if wrong:
            msg = f"a loader's state has {wrong} as integers of 0 or more, unlike {state!r}"
            raise ValueError(msg)
        if state["batch_size"] != self._options.batch_size:
            msg = (
                f"the state is of batches of {state['batch_size']}, this loader has batches of "
                f"{self._options.batch_size}: it would resume at another place"
            )
            raise ValueError(msg)
        if isinstance(self._locations, LocationSequence):
            have = len(self._locations)
            if state.get("locations", have) != have or state["delivered"] > len(self):
                msg = (
                    f"the state is of other locations than this loader's {have}: {state!r}; with "
                    "others it would resume at another place"
                )
                raise ValueError(msg)
        with self._lock:
            self._end_epoch()
            self._epoch, self._skip = state["epoch"], state["delivered"]
            self._options = replace(self._options, seed=state["seed"])

    def close(self) -> None:
        """Stop reading and let go of batches that were not asked for."""
        with self._lock:
            position = self._position()
            self._end_epoch()
            self._epoch, self._skip = position
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        count = len(self) if isinstance(self._locations, LocationSequence) else "?"
        return f"<Loader of {count} batches of {self._options.batch_size} from {self._reader!r}>"

    def _start(self) -> Epoch:
        options = self._options
        feed = self._locations.feed(self._epoch, shuffle=options.shuffle, seed=options.seed)
        file = self._file.shared()
        try:
            self._current = Epoch(self._reader, feed, options, self._skip, file)
        except BaseException:
            file.close()
            raise
        self._skip = 0
        return self._current

    def _position(self) -> tuple[int, int]:
        """Return an epoch, and how many of its batches were delivered."""
        current = self._current
        if current is None:
            return self._epoch, self._skip
        is_over = current.exhausted
        if isinstance(self._locations, LocationSequence):
            is_over = current.delivered >= len(self)  # before it has asked for more
        if is_over:
            return self._epoch + 1, 0
        return self._epoch, current.delivered

    def _end_epoch(self) -> None:
        if self._current is not None:
            self._past.add(self._current.stats)
            self._current.close()
            self._current = None

    def _check_open(self) -> None:
        if self._closed:
            msg = "the loader is closed; call read_region again"
            raise ClosedError(msg)


class Epoch:
    """One pass over the locations.

    Parameters
    ----------
    reader
        Reads batches.
    feed
        The locations.
    options
        How to go through them.
    skip
        Batches that were delivered before.
    file
        Is closed, for this user, when the epoch ends.
    """

    def __init__(
        self, reader: Reader, feed: Feed, options: LoaderOptions, skip: int, file: OpenedFile
    ) -> None:
        self._feed = feed
        self._options = options
        self._together, self._window, self._reserved = _window_sizes(reader, options)
        self._first = self._together if reader.device is None else 1  # a GPU has it soon
        self._work = begun(reader, options.batch_size, options.num_workers, ahead=self._window)
        self._ahead: list[Any] = []
        self._exhausted = False
        self._error: BaseException | None = None
        self._superseded = False
        self._renew()
        self._handed_out = 0
        self.delivered = self._planned = skip
        self._to_skip = skip * options.batch_size
        self._finalizer = weakref.finalize(self, _end, self._work, file)
        self._finalizer.atexit = False
        renew_after_fork(self)

    def _renew(self) -> None:
        """In a forked child, forget that another thread was pulling locations."""
        self._lock = threading.RLock()
        self._is_pulling = False

    def __iter__(self) -> Epoch:
        return self

    def __next__(self) -> Region:
        """Return the next batch; several threads may share an epoch, and each batch goes to one."""
        with self._lock:
            if self._is_pulling:
                msg = "the loader's locations ask for its next batch, which waits for them"
                raise RuntimeError(msg)
            self._is_pulling = True
            try:
                batch = self._next_batch()
            finally:
                self._is_pulling = False
            self._handed_out += 1
        try:
            region = self._work.finish(batch)
        except BaseException:
            self.close()
            raise
        with self._lock:
            self.delivered += 1
            self._handed_out -= 1
        return region

    def _next_batch(self) -> Any:
        if self._superseded:
            msg = "a newer loop over this loader ended this one; make a second loader for it"
            raise RuntimeError(msg)
        if not self._finalizer.alive:
            raise StopIteration
        try:
            self._top_up()
        except BaseException:
            self.close()
            raise
        if self._ahead:
            return self._ahead.pop(0)
        if self._error is not None:
            self.close()
            raise self._error
        if not self._handed_out:  # else another thread still waits for its batch
            self.close()
        raise StopIteration

    @property
    def exhausted(self) -> bool:
        """Whether every batch has been delivered, as far as that is known."""
        return self._exhausted and self._error is None and self.delivered >= self._planned

    @property
    def stats(self) -> ReadStats:
        """What this epoch has cost so far."""
        return self._work.stats

    def supersede(self) -> None:
        """Stop because another epoch begins."""
        self._superseded = self._finalizer.alive
        self.close()

    def close(self) -> None:
        """Stop reading ahead."""
        self._ahead.clear()
        self._reserved = None
        self._finalizer()

    def _top_up(self) -> None:
        """Pull locations and plan batches until the window is full."""
        batch_size = self._options.batch_size
        if self._to_skip:
            *_, self._error = self._feed.take(self._to_skip)
            self._exhausted = self._error is not None
            self._to_skip = 0
        while not self._exhausted and len(self._ahead) <= self._window - self._together:
            wanted = batch_size * self._first
            self._first = self._together
            locations, indices, self._error = self._feed.take(wanted)
            self._exhausted = len(locations) < wanted
            if self._options.drop_last or self._error is not None:
                whole = len(locations) // batch_size * batch_size
                locations, indices = locations[:whole], indices[:whole]
            if len(locations):
                batches = self._work.add(locations, indices)
                self._planned += len(batches)
                self._ahead.extend(batches)


def _end(work: AnyWork, file: OpenedFile) -> None:
    """Stop what an epoch has begun."""
    work.cancel()
    file.close()


def _window_sizes(reader: Reader, options: LoaderOptions) -> tuple[int, int, Reservation | None]:
    """Return how many batches are planned at a time, how many are begun, and memory for them."""
    if options.num_workers == 0 or options.prefetch_factor == 0:
        return 1, 1, None
    tiles, nbytes = reader.tiles_per_region, reader.region_bytes
    most_tiles, most_bytes = MOST_TILES, MOST_BYTES
    if reader.device is None:
        most_tiles = min(most_tiles, THREAD_TILES * options.num_workers)
        most_bytes = min(most_bytes, THREAD_BYTES * options.num_workers)
    batch_bytes = max(1, nbytes * options.batch_size)
    together = int(min(most_tiles / (tiles * options.batch_size), most_bytes / batch_bytes))
    together = max(1, together)
    window = max(1 + options.prefetch_factor, 2 * together if together > 1 else 1)
    reserved = reserve_ahead(reader, window * batch_bytes)
    window = max(1, min(window, reserved.nbytes // batch_bytes))
    return min(together, window), window, reserved
