"""Batches of regions: order, prefetch, epochs."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from regionio._errors import ClosedError
from regionio._locations import Feed, LocationSequence, LocationStream
from regionio._reader import Batch, Reader
from regionio._region import Region
from regionio.engines import ReadStats

__all__ = ["Loader", "LoaderOptions"]

WINDOW_BYTES = 2**30
"""Batches that are read ahead take at most this much together, one batch excepted."""

LEAST_TILES = 256
"""Small batches are planned together until they need about so many tiles."""


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
    ) -> None:
        if options.shuffle and isinstance(locations, LocationStream):
            msg = "shuffle=True needs all locations at once: give a list or an array"
            raise ValueError(msg)
        self.image: object = None
        self._reader = reader
        self._locations = locations
        self._options = options
        self._epoch = 0
        self._skip = 0
        self._current: Epoch | None = None
        self._past = ReadStats()
        self._closed = False

    def __iter__(self) -> Iterator[Region]:
        """Start an epoch: the first, or the one after the current."""
        self._check_open()
        if self._current is not None:
            self._end_epoch()
            self._epoch += 1
        return self._start()

    def __next__(self) -> Region:
        """Return the next batch of the current epoch."""
        self._check_open()
        return next(self._current or self._start())

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
            Plain integers: epoch, delivered (batches of that epoch) and seed.
        """
        delivered = self._skip if self._current is None else self._current.delivered
        return {"epoch": self._epoch, "delivered": delivered, "seed": self._options.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another loader over the same locations stood.

        Parameters
        ----------
        state
            What `state_dict` returned.
        """
        self._end_epoch()
        self._epoch, self._skip = state["epoch"], state["delivered"]
        self._options = replace(self._options, seed=state["seed"])

    def close(self) -> None:
        """Stop reading and let go of batches that were not asked for."""
        self._end_epoch()
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
        self._current = Epoch(self._reader, feed, options, self._skip, self.image)
        self._skip = 0
        return self._current

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
    image
        What must not be closed before the epoch ends.
    """

    def __init__(
        self, reader: Reader, feed: Feed, options: LoaderOptions, skip: int, image: object
    ) -> None:
        self._image = image
        self._feed = feed
        self._options = options
        self._work = reader.begin(options.batch_size, options.num_workers)
        self._ahead: list[Batch] = []
        self._exhausted = False
        self._together, self._window = _window_sizes(reader, options)
        self.delivered = skip
        self._to_skip = skip * options.batch_size
        self._finalizer = weakref.finalize(self, self._work.cancel)
        self._finalizer.atexit = False

    def __iter__(self) -> Epoch:
        return self

    def __next__(self) -> Region:
        if not self._finalizer.alive:
            raise StopIteration
        try:
            self._top_up()
            if not self._ahead:
                self.close()
                raise StopIteration
            region = self._work.finish(self._ahead.pop(0))
        except StopIteration:
            raise
        except BaseException:
            self.close()
            raise
        self.delivered += 1
        return region

    @property
    def stats(self) -> ReadStats:
        """What this epoch has cost so far."""
        return self._work.stats

    def close(self) -> None:
        """Stop reading ahead."""
        self._ahead.clear()
        self._finalizer()

    def _top_up(self) -> None:
        """Pull locations and plan batches until the window is full."""
        batch_size = self._options.batch_size
        if self._to_skip:
            self._feed.take(self._to_skip)
            self._to_skip = 0
        while not self._exhausted and len(self._ahead) <= self._window - self._together:
            locations, indices = self._feed.take(self._together * batch_size)
            self._exhausted = len(locations) < self._together * batch_size
            if self._options.drop_last:
                whole = len(locations) // batch_size * batch_size
                locations, indices = locations[:whole], indices[:whole]
            if len(locations):
                self._ahead.extend(self._work.add(locations, indices))


def _window_sizes(reader: Reader, options: LoaderOptions) -> tuple[int, int]:
    """Return how many batches are planned at a time, and how many are read ahead at most."""
    if options.num_workers == 0 or options.prefetch_factor == 0:
        return 1, 1
    tiles, nbytes = reader.tiles_per_region, reader.region_bytes
    together = max(1, int(LEAST_TILES / (tiles * options.batch_size)))
    window = max(1 + options.prefetch_factor, 2 * together if together > 1 else 1)
    affordable = max(1, WINDOW_BYTES // max(1, nbytes * options.batch_size))
    window = min(window, affordable)
    return min(together, window), window
