"""The cache that openslide-python lets slides share."""

from __future__ import annotations

import operator
from ctypes import ArgumentError

__all__ = ["OpenSlideCache"]


class OpenSlideCache:
    """A size for the cache of decoded tiles, to be given to `OpenSlide.set_cache`.

    Parameters
    ----------
    capacity
        Most bytes to hold.

    Raises
    ------
    ctypes.ArgumentError
        `capacity` is negative or no integer.

    Examples
    --------
    >>> OpenSlideCache(64 << 20)
    OpenSlideCache(67108864)
    """

    def __init__(self, capacity: int) -> None:
        try:
            self.capacity = operator.index(capacity)
        except TypeError as error:
            raise ArgumentError(str(error)) from None
        if self.capacity < 0:
            msg = f"a cache's capacity is 0 bytes or more, not {capacity}"
            raise ArgumentError(msg)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.capacity!r})"
