"""Decoded tiles that are likely to be used again: one byte budget for the process."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from regionio._fork import renew_after_fork
from regionio._index import TileTable
from regionio._workers import dataloader_workers

__all__ = ["CacheStats", "Claim", "ReuseHistory", "TileCache", "cache"]

DEFAULT_CAPACITY_BYTES = 128 * 1024 * 1024
ENVIRONMENT = "REGIONIO_CACHE_BYTES"


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the cache did since it was last cleared.

    Parameters
    ----------
    hits, misses
        Tiles that were found, and that were not.
    nbytes, capacity
        Bytes held now, and at most.
    tiles
        Tiles held now.
    """

    hits: int
    misses: int
    nbytes: int
    capacity: int
    tiles: int


class Claim:
    """One tile's decode, which others may wait for.

    Parameters
    ----------
    owner
        Who decodes it.
    """

    __slots__ = ("_done", "_pixels", "owner")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        # held until it is done, and made by the first who waits; Ctrl-C can't leave it half-way, as
        # it can an event, which is Python code
        self._done: threading.Lock | None = None
        self._pixels: NDArray[Any] | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits."""
        return self._done is not None

    def expect(self) -> None:
        """Say that the caller is going to wait. Call it under the cache's lock."""
        if self._done is None:
            done = threading.Lock()
            done.acquire()
            self._done = done

    def settle(self, pixels: NDArray[Any] | None) -> None:
        """Hand the pixels to whoever waits; None if they could not be had."""
        if self._done is not None:
            self._pixels = pixels
            self._done.release()

    def wait(self) -> NDArray[Any] | None:
        """Return the pixels once they are there."""
        assert self._done is not None
        with self._done:
            return self._pixels


class TileCache:
    """Least recently used decoded tiles within a byte budget; safe in many threads.

    Parameters
    ----------
    capacity
        Most bytes to hold; 0 keeps nothing.

    Examples
    --------
    >>> import numpy as np
    >>> tiles = TileCache(capacity=1000)
    >>> _, mine = tiles.claim([("slide", 7)], owner="this example")
    >>> mine
    [0]
    >>> tiles.fulfil(("slide", 7), np.zeros((10, 10), np.uint8), keep=True)
    >>> tiles.stats.nbytes
    100
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY_BYTES) -> None:
        self._lock = threading.Lock()
        self._tiles: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._claims: dict[Hashable, Claim] = {}
        self._histories: WeakKeyDictionary[TileTable, ReuseHistory] = WeakKeyDictionary()
        self._capacity, self._chosen = capacity, False
        self._nbytes = self._hits = self._misses = 0
        renew_after_fork(self)

    def _renew(self) -> None:
        """In a forked child, forget decodes that only the parent's threads would finish."""
        self._lock = threading.Lock()
        self._claims = {}
        self._histories = WeakKeyDictionary()

    def __repr__(self) -> str:
        stats = self.stats
        held, most = stats.nbytes / 2**20, stats.capacity / 2**20
        return f"<TileCache {held:.0f} of {most:.0f} MiB, {stats.tiles} tiles, {stats.hits} hits>"

    @property
    def capacity(self) -> int:
        """Most bytes to hold. Setting it drops what no longer fits.

        Unless it was set, the workers of a PyTorch DataLoader share it.
        """
        if self._chosen:
            return self._capacity
        return self._capacity // dataloader_workers()

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        if capacity < 0:
            msg = f"a cache's capacity is 0 bytes or more, not {capacity}"
            raise ValueError(msg)
        with self._lock:
            self._capacity, self._chosen = capacity, True
            self._evict()

    @property
    def stats(self) -> CacheStats:
        """Counts since the last `clear`."""
        with self._lock:
            return CacheStats(
                self._hits, self._misses, self._nbytes, self.capacity, len(self._tiles)
            )

    def clear(self) -> None:
        """Drop all tiles, forget what was used when, and set the counts to zero."""
        with self._lock:
            self._tiles.clear()
            self._histories.clear()
            self._nbytes = self._hits = self._misses = 0

    def claim(
        self, keys: Sequence[Hashable], owner: object
    ) -> tuple[list[NDArray[Any] | Claim], list[int]]:
        """Look tiles up, and take on those that nobody decodes yet.

        Parameters
        ----------
        keys
            What identifies each tile, each once.
        owner
            Whose the claims are: an object of this call's own.

        Returns
        -------
        found
            For each key its pixels, or the claim of whoever decodes it now.
        mine
            Positions of the keys that nobody decoded: their claims are the caller's, who must
            decode them and call `fulfil`, and `release` in the end, whatever happens.
        """
        found: list[NDArray[Any] | Claim] = []
        mine: list[int] = []
        with self._lock:
            for place, key in enumerate(keys):
                pixels = self._tiles.get(key)
                if pixels is not None:
                    self._tiles.move_to_end(key)
                    found.append(pixels)
                elif (claim := self._claims.get(key)) is not None:
                    claim.expect()
                    found.append(claim)
                else:
                    claim = self._claims[key] = Claim(owner)
                    found.append(claim)
                    mine.append(place)
            self._misses += len(mine)
            self._hits += len(keys) - len(mine)
        return found, mine

    def release(self, keys: Sequence[Hashable], owner: object) -> None:
        """Give up what is left of an owner's claims: whoever waits must decode himself.

        Parameters
        ----------
        keys, owner
            What `claim` was called with; it may have been interrupted.
        """
        with self._lock:
            claims = [self._claims.get(key) for key in keys]
            mine = [claim for claim in claims if claim is not None and claim.owner is owner]
            for key, claim in zip(keys, claims, strict=True):
                if claim is not None and claim.owner is owner:
                    del self._claims[key]
        for claim in mine:
            claim.settle(None)

    def fulfil(self, key: Hashable, pixels: NDArray[Any], *, keep: bool = False) -> None:
        """Hand over a claimed tile's pixels.

        Parameters
        ----------
        key
            A key that `claim` gave to the caller.
        pixels
            Must not change after this call if it is kept; else it is copied for those who wait.
        keep
            Whether to hold it for later.
        """
        with self._lock:
            claim = self._claims.pop(key)
            if keep and pixels.nbytes <= self.capacity:
                self._tiles[key] = pixels
                self._nbytes += pixels.nbytes
                self._evict()
        if claim.awaited:
            claim.settle(pixels if keep else pixels.copy())

    def history(self, table: TileTable) -> ReuseHistory:
        """Return when the tiles of a level were used."""
        with self._lock:
            history = self._histories.get(table)
            if history is None:
                history = self._histories[table] = ReuseHistory(len(table.offset))
            return history

    def _evict(self) -> None:
        capacity = self.capacity
        while self._nbytes > capacity:
            _, pixels = self._tiles.popitem(last=False)
            self._nbytes -= pixels.nbytes


class ReuseHistory:
    """Whether the tiles of a level come again soon enough for a cache to hold them.

    A job that never comes back to a tile (a sparse sample of a large slide) must not pay for
    keeping tiles: to decode one whole into memory of its own takes about a third longer. So each
    tile's last use is noted, counted in bytes of the tiles used since, and tiles are kept once
    enough uses were seen to come back within the cache's capacity.

    Parameters
    ----------
    tiles
        Number of tiles of the level.
    """

    WORTH_KEEPING = 0.25
    MEMORY_TILES = 128

    def __init__(self, tiles: int) -> None:
        self._last_use = np.full(tiles, -1, dtype=np.int64)
        self._clock = 0
        self._share = 0.0
        self._lock = threading.Lock()

    def note(
        self, tile: NDArray[np.int64], tile_bytes: int, used_up: NDArray[np.bool_], capacity: int
    ) -> NDArray[np.bool_]:
        """Note that tiles are used now and return which of them are worth keeping.

        Parameters
        ----------
        tile
            ``int64[n]``, their numbers.
        tile_bytes
            Decoded size of one.
        used_up
            ``bool[n]``, whether all of a tile's pixels are used now.
        capacity
            Bytes that the cache can hold.
        """
        with self._lock:
            last = self._last_use[tile]
            back = (last >= 0) & (self._clock - last <= capacity)
            weight = min(1.0, len(tile) / self.MEMORY_TILES)
            self._share += weight * (float(back.mean()) - self._share)
            self._clock += len(tile) * tile_bytes
            self._last_use[tile] = self._clock
            if self._share < self.WORTH_KEEPING:
                return np.zeros(len(tile), dtype=np.bool_)
        return back | ~used_up


def _capacity_from_environment() -> int:
    text = os.environ.get(ENVIRONMENT)
    if text is None:
        return DEFAULT_CAPACITY_BYTES
    if not text.isdigit():
        msg = f"{ENVIRONMENT} is a number of bytes, not {text!r}"
        raise ValueError(msg)
    return int(text)


cache = TileCache(_capacity_from_environment())
"""The process's cache of decoded tiles in main memory."""
