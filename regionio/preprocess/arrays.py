"""Arrays where the pixels are: in main memory or in a GPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["beside", "is_on_host", "on_host", "round_half_up"]


def is_on_host(pixels: Any) -> bool:
    """Return whether pixels are in main memory.

    >>> is_on_host(np.zeros(3))
    True
    """
    return isinstance(pixels, np.ndarray)


def beside(array: NDArray[Any], pixels: Any) -> Any:
    """Return an array where the pixels are."""
    if is_on_host(pixels):
        return array
    import cupy

    return cupy.asarray(array)


def round_half_up(value: float) -> int:
    """Return the nearest integer, the larger of two, as Rust does it.

    >>> round_half_up(2.5), round(2.5)
    (3, 2)
    """
    return int(np.floor(value + 0.5))


def on_host(pixels: Any) -> NDArray[Any]:
    """Return pixels in main memory."""
    if is_on_host(pixels):
        array: NDArray[Any] = pixels
    else:
        array = pixels.get()
    return array
