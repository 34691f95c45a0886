"""Where to read: the many ways in which callers say it, made into arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LocationSequence", "LocationStream", "parse_locations", "single_location"]

PROTOCOLS = ("__array_interface__", "__array__", "__dlpack__")


def single_location(location: Any, axes: int) -> NDArray[np.int64] | None:
    """Return ``int64[axes]`` if `location` is one flat location, else None.

    Parameters
    ----------
    location
        What the caller gave.
    axes
        2, or 3 for a volume.

    >>> single_location((3, 4), 2)
    array([3, 4])
    >>> single_location([(3, 4)], 2) is None
    True
    """
    if _is_array(location) and not isinstance(location, tuple | list):
        location = np.asarray(location)  # a table of columns iterates over their names
        return _integers(location) if location.shape == (axes,) else None
    if not isinstance(location, tuple | list):
        return None
    if len(location) != axes or any(np.ndim(value) for value in location):
        return None
    return _integers(location)


def parse_locations(location: Any, axes: int) -> LocationSequence | LocationStream:
    """Return the caller's locations, as an array if they are finite and at hand.

    Parameters
    ----------
    location
        Nested or flat sequence, array of integers, or any iterable of locations.
    axes
        Numbers of one location.

    Raises
    ------
    TypeError
        Something in it is no integer.
    ValueError
        Its numbers can't be cut into locations.
    """
    if isinstance(location, str | bytes):
        msg = f"location is made of integers, not {location!r}"
        raise TypeError(msg)
    if isinstance(location, tuple | list | range) or _is_array(location):
        return LocationSequence(_table(location, axes))
    if isinstance(location, Iterable):
        return LocationStream(location, axes)
    msg = f"location is a pair of integers or an iterable of them, not {type(location).__name__}"
    raise TypeError(msg)


class LocationSequence:
    """Locations that are all known, in order or shuffled anew for every epoch.

    Parameters
    ----------
    table
        ``int64[n, axes]``.
    """

    def __init__(self, table: NDArray[np.int64]) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def feed(self, epoch: int, *, shuffle: bool, seed: int) -> Feed:
        """Return the locations of an epoch."""
        if not shuffle:
            return _SequenceFeed(self.table, np.arange(len(self.table)))
        order = np.random.default_rng([seed, epoch]).permutation(len(self.table))
        return _SequenceFeed(self.table, order)


class LocationStream:
    """Locations that are pulled one after another, perhaps without end.

    Parameters
    ----------
    locations
        An iterable of locations. An iterator can be read once only.
    axes
        Numbers of one location.
    """

    def __init__(self, locations: Iterable[Any], axes: int) -> None:
        self._locations = locations
        self._axes = axes
        self._once = isinstance(locations, Iterator)
        self._used = False

    def feed(self, epoch: int, *, shuffle: bool, seed: int) -> Feed:
        """Return the locations of an epoch, always as they come: a loader refuses to shuffle.

        Raises
        ------
        RuntimeError
            The iterator has been read before.
        """
        if self._once and self._used:
            msg = "the generator of locations is used up; give a list, or a new generator"
            raise RuntimeError(msg)
        self._used = True
        return _StreamFeed(iter(self._locations), self._axes)


Taken: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], Exception | None]


class Feed(Protocol):
    """Locations in the order of reading."""

    def take(self, count: int) -> Taken:
        """Return up to `count` locations.

        Returns
        -------
        locations, indices
            The locations, and their positions in the input.
        error
            What the caller's iterator raised after them, or None.
        """
        ...


class _SequenceFeed:
    def __init__(self, table: NDArray[np.int64], order: NDArray[np.int64]) -> None:
        self._table, self._order, self._next = table, order, 0

    def take(self, count: int) -> Taken:
        chosen = self._order[self._next : self._next + count]
        self._next += len(chosen)
        return self._table[chosen], chosen, None


class _StreamFeed:
    def __init__(self, locations: Iterator[Any], axes: int) -> None:
        self._locations, self._axes, self._next = locations, axes, 0

    def take(self, count: int) -> Taken:
        rows: list[NDArray[np.int64]] = []
        error: Exception | None = None
        try:
            rows.extend(_row(place, self._axes) for place in islice(self._locations, count))
        except Exception as raised:  # noqa: BLE001  it is raised when its turn comes
            error = raised
        indices = np.arange(self._next, self._next + len(rows))
        self._next += len(rows)
        return np.array(rows, dtype=np.int64).reshape(-1, self._axes), indices, error


def _row(location: Any, axes: int) -> NDArray[np.int64]:
    row = _integers(location)
    if row.shape != (axes,):
        msg = f"a location is {axes} integers, not {location!r}"
        raise ValueError(msg)
    return row


def _table(location: Any, axes: int) -> NDArray[np.int64]:
    try:
        values = _integers(location)
    except ValueError as error:
        msg = f"locations of different lengths: each is {axes} integers"
        raise ValueError(msg) from error
    if values.ndim == 1 and len(values) % axes == 0:
        return values.reshape(-1, axes)
    if values.ndim == 2 and values.shape[1] == axes:
        return values
    msg = f"an array of shape {values.shape} can't be cut into locations of {axes} integers"
    raise ValueError(msg)


def _integers(values: Any) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        msg = f"location is made of integers, not {array.dtype}: round it yourself, as you mean it"
        raise TypeError(msg)
    if array.dtype == np.uint64 and (array > np.iinfo(np.int64).max).any():
        msg = "location is larger than a 64-bit integer holds"
        raise ValueError(msg)
    return array.astype(np.int64)


def _is_array(location: Any) -> bool:
    return any(hasattr(location, protocol) for protocol in PROTOCOLS)
