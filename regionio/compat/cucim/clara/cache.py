"""cuCIM's cache interface over regionio's cache of decoded tiles.

Sizes are in MiB where cuCIM takes them and in bytes where it returns them.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from regionio._cache import cache as tile_cache

if TYPE_CHECKING:
    from regionio.compat.cucim.clara._cuimage import CuImage

__all__ = ["CacheType", "ImageCache", "configure", "preferred_memory_capacity"]

MIB = 2**20
TILE_BYTES = 256 * 256 * 3
"""cuCIM's idea of a tile, from which it derives how many the cache lists."""

DEFAULTS: dict[str, Any] = {
    "memory_capacity": 1024,
    "capacity": None,
    "mutex_pool_capacity": 100_003,
    "list_padding": 10_000,
    "extra_shared_memory_size": 100,
    "record_stat": False,
}


class CacheType(IntEnum):
    """Kind of cache."""

    NoCache = 0
    PerProcess = 1
    SharedMemory = 2


TYPES = {
    "nocache": CacheType.NoCache,
    "no_cache": CacheType.NoCache,
    "per_process": CacheType.PerProcess,
}


def _options(given: dict[str, Any]) -> dict[str, Any]:
    unknown = given.keys() - DEFAULTS.keys()
    if unknown:
        msg = f"a cache has no option {sorted(unknown)}; it has {list(DEFAULTS)}"
        raise TypeError(msg)
    options = {**DEFAULTS, **given}
    options["memory_capacity"] = operator.index(options["memory_capacity"])
    if options["capacity"] is None:
        options["capacity"] = options["memory_capacity"] * MIB // TILE_BYTES
    return options


class ImageCache:
    """The process's cache. `CuImage.cache` returns it; until that sets it up, it tells nothing.

    Before that regionio keeps tiles too, within `regionio.cache`'s own limits.
    """

    def __init__(self) -> None:
        self._type = CacheType.NoCache
        self._config: dict[str, Any] = {"type": "nocache", **_options({})}
        self._before = (0, 0)

    def set_up(self, kind: CacheType, options: dict[str, Any]) -> None:
        """Empty the cache and give it a new size.

        Parameters
        ----------
        kind
            With `CacheType.NoCache` nothing is kept.
        options
            As in `configure`.
        """
        config = _options(options)
        self._type = kind
        self._config = {"type": "per_process" if kind else "nocache", **config}
        tile_cache.clear()
        tile_cache.capacity = config["memory_capacity"] * MIB if kind else 0
        self.record(config["record_stat"])

    @property
    def type(self) -> CacheType:
        """Kind of cache."""
        return self._type

    @property
    def config(self) -> dict[str, Any]:
        """What the cache was set up with; memory_capacity in MiB."""
        return dict(self._config)

    @property
    def size(self) -> int:
        """Tiles held now."""
        return tile_cache.stats.tiles if self._type else 0

    @property
    def memory_size(self) -> int:
        """Bytes held now."""
        return tile_cache.stats.nbytes if self._type else 0

    @property
    def capacity(self) -> int:
        """Tiles that cuCIM would list at most. Only bytes limit the cache here."""
        return int(self._config["capacity"]) if self._type else 0

    @property
    def memory_capacity(self) -> int:
        """Bytes held at most."""
        return tile_cache.capacity if self._type else 0

    @property
    def free_memory(self) -> int:
        """Bytes that are free."""
        return self.memory_capacity - self.memory_size

    @property
    def hit_count(self) -> int:
        """Tiles that were found since recording began; 0 if it is off."""
        return self._counts()[0]

    @property
    def miss_count(self) -> int:
        """Tiles that were not found since recording began; 0 if it is off."""
        return self._counts()[1]

    def record(self, value: bool | None = None) -> bool:  # noqa: FBT001  cuCIM's signature
        """Turn recording of hits and misses on or off, from 0; return whether it is on.

        Parameters
        ----------
        value
            None only asks.
        """
        if value is not None:
            stats = tile_cache.stats
            self._before = (stats.hits, stats.misses)
            self._config["record_stat"] = bool(value)
        return bool(self._config["record_stat"])

    def reserve(self, memory_capacity: int, **options: Any) -> None:
        """Enlarge the cache, and keep what is in it.

        Parameters
        ----------
        memory_capacity
            In MiB. Less than it has changes nothing.
        options
            capacity, see `configure`.
        """
        if not self._type or memory_capacity <= self._config["memory_capacity"]:
            return
        changed = _options({"memory_capacity": memory_capacity, **options})
        self._config["memory_capacity"] = changed["memory_capacity"]
        self._config["capacity"] = changed["capacity"]
        tile_cache.capacity = memory_capacity * MIB

    def _counts(self) -> tuple[int, int]:
        if not self._config["record_stat"]:
            return 0, 0
        stats, (hits, misses) = tile_cache.stats, self._before
        return max(0, stats.hits - hits), max(0, stats.misses - misses)


_cache = ImageCache()


def configure(kind: str | CacheType | None = None, **options: Any) -> ImageCache:
    """Return the process's cache, set up anew if a kind is given.

    Parameters
    ----------
    kind
        ``"nocache"`` or ``"per_process"``; None leaves the cache as it is.
    options
        memory_capacity (MiB) and record_stat. capacity, mutex_pool_capacity, list_padding and
        extra_shared_memory_size concern cuCIM's own lists: they are noted in `ImageCache.config`.

    Raises
    ------
    TypeError
        There is no such option, or options are given without a kind.
    ValueError
        There is no such kind of cache here.
    """
    if kind is None:
        if options:
            msg = f"{sorted(options)} need the kind of cache before them: 'per_process'"
            raise TypeError(msg)
        return _cache
    if kind in {"shared_memory", CacheType.SharedMemory}:
        msg = "regionio's cache belongs to one process: use 'per_process' in each"
        raise ValueError(msg)
    if kind not in TYPES and kind not in TYPES.values():
        msg = f"a cache is 'nocache' or 'per_process', not {kind!r}"
        raise ValueError(msg)
    _cache.set_up(TYPES[kind] if isinstance(kind, str) else kind, options)
    return _cache


def preferred_memory_capacity(
    img: CuImage | None = None,
    image_size: Sequence[int] | None = None,
    tile_size: Sequence[int] | None = None,
    patch_size: Sequence[int] | None = None,
    bytes_per_pixel: int = 3,
) -> int:
    """Return the MiB that hold a row of patches, so that the next row finds its tiles.

    Parameters
    ----------
    img
        Gives all but `patch_size`.
    image_size, tile_size, patch_size
        (width, height) in pixels; tiles and patches are (256, 256) if not given.
    bytes_per_pixel
        Of a decoded tile.

    Raises
    ------
    ValueError
        Neither `img` nor `image_size` is given.

    Examples
    --------
    >>> preferred_memory_capacity(image_size=(2**20, 2**20), patch_size=(256, 256))
    1536
    """
    if img is not None:
        image_size = img.size("XY")
        tile_size = img.resolutions["level_tile_sizes"][0]
        bytes_per_pixel = img.dtype.bits // 8 * img.size("C")[0]
    if image_size is None:
        msg = "give img or image_size, as image_size=(100000, 100000)"
        raise ValueError(msg)
    tile_width, tile_height = tile_size or (256, 256)
    _, patch_height = patch_size or (256, 256)
    columns = -(-image_size[0] // tile_width)
    rows = -(-patch_height // tile_height) + 1  # a patch may begin inside a tile
    return -(-columns * tile_width * tile_height * rows * bytes_per_pixel // MIB)
