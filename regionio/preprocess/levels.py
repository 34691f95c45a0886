"""Gray levels of volumes: after the file's window, a window of the caller's, or from darkest to brightest.

Source: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3 (windows).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from regionio._transform import GrayTransform, LookupTable, Window

__all__ = ["bits_of", "converted", "extent_of", "has_window", "spread", "windowed_down"]


OUTPUTS = tuple(np.dtype(name) for name in ("uint8", "uint16", "float32"))


def bits_of(stored_bits: int) -> int:
    """Return the bits of gray levels, 8 or 16, for so many bits stored.

    >>> bits_of(8), bits_of(12)
    (8, 16)
    """
    return 8 if stored_bits <= 8 else 16


def converted(pixels: Any, dtype: DTypeLike) -> Any:
    """Return gray levels or colours in another dtype, the whole range to the whole range.

    Parameters
    ----------
    pixels
        uint8 or uint16.
    dtype
        uint8 or uint16; or float32, of which 1 is the largest value.

    Raises
    ------
    ValueError
        It is another dtype.

    Examples
    --------
    >>> converted(np.array([0, 128, 129, 65535], np.uint16), "uint8").tolist()
    [0, 0, 1, 255]
    """
    wanted = np.dtype(dtype)
    if wanted not in OUTPUTS:
        msg = f"dtype is one of {', '.join(map(str, OUTPUTS))}, not {wanted}"
        raise ValueError(msg)
    if wanted == pixels.dtype:
        return pixels
    if wanted.kind == "f":
        return pixels.astype(wanted) / wanted.type(np.iinfo(pixels.dtype).max)
    if wanted.itemsize == 2:
        return pixels.astype(wanted) * wanted.type(257)  # 255 becomes 65535
    return ((pixels.astype(np.uint32) + 128) // 257).astype(wanted)


def has_window(transforms: tuple[Any, ...]) -> bool:
    """Return whether every frame has a window or a table of gray levels of its own."""
    gray = [one for one in transforms if isinstance(one, GrayTransform)]
    return len(gray) > 0 and all(_is_window(one.window) for one in gray)


def _is_window(window: Window | LookupTable | None) -> bool:
    """Return whether there is one, of a width that the standard allows."""
    return window is not None and (isinstance(window, LookupTable) or window.width > 0)


def extent_of(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the lowest value and the highest.

    Raises
    ------
    ValueError
        Some are no numbers, or infinite.
    """
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(high - low):
        msg = f"values from {low} to {high} cannot be spread over gray levels: give a window"
        raise ValueError(msg)
    return low, high


def spread(
    values: NDArray[np.float32],
    bits: int,
    extent: tuple[float, float],
    *,
    inverted: bool,
    rounded: bool = True,
) -> NDArray[Any]:
    """Spread values from the lowest to the highest over all gray levels.

    Parameters
    ----------
    values
        Modality values, ``[frames, ...]``.
    bits
        8 or 16.
    extent
        The lowest and the highest, of all that is to be comparable: a whole volume.
    inverted
        The lowest value is white.
    rounded
        To the nearest level; else down.

    Examples
    --------
    >>> values = np.array([[-1000.0, 0.0, 1000.0]], np.float32)
    >>> spread(values, 8, extent_of(values), inverted=False)
    array([[  0, 128, 255]], dtype=uint8)
    """
    low, high = extent
    width = high - low
    levels = np.empty_like(values, dtype=f"u{bits // 8}")
    for frame, into in zip(values, levels, strict=True):  # one by one, as float64 is large
        exact = frame.astype(np.float64)
        share = (exact - low) / width if width > 0 else np.zeros_like(exact)
        into[...] = _levels(share, bits, inverted=inverted, rounded=rounded)
    return levels


def windowed_down(
    values: NDArray[np.float32], window: Window | LookupTable, bits: int, *, inverted: bool
) -> NDArray[Any]:
    """Return gray levels after a window, rounded down, as the original does.

    Parameters
    ----------
    values
        Modality values.
    window
        What is spread over all gray levels.
    bits, inverted
        As of `spread`.
    """
    if isinstance(window, LookupTable):
        place = np.clip(
            np.floor(values.astype(np.float64) - window.first), 0, len(window.values) - 1
        )
        share = window.values[place.astype(np.int64)] / (2.0**window.bits - 1)
        return _levels(share, bits, inverted=inverted, rounded=False)
    center, width = window.center, window.width
    exact = values.astype(np.float64)
    if window.function == "SIGMOID":
        share = 1 / (1 + np.exp(-4 * (exact - center) / width))
    elif window.function == "LINEAR_EXACT":
        share = (exact - center) / max(width, np.finfo(float).tiny) + 0.5
    else:
        share = (exact - (center - 0.5)) / max(width - 1, np.finfo(float).tiny) + 0.5
    return _levels(np.clip(share, 0, 1), bits, inverted=inverted, rounded=False)


def _levels(
    share: NDArray[np.float64], bits: int, *, inverted: bool, rounded: bool
) -> NDArray[Any]:
    """Return the level of shares from 0 to 1; what is inverted is turned after that."""
    most = 2**bits - 1
    exact = share * most
    whole = np.floor(exact + 0.5) if rounded else np.floor(exact)
    levels = (most - whole if inverted else whole).astype(f"u{bits // 8}")
    found: NDArray[Any] = levels
    return found
