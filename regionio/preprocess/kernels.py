"""Resizing by filters: separable, antialiased, in float32, down the columns and then along the rows.

Source: the crate image 0.25, imageops::sample: the kernel is stretched where pictures become
smaller, its weights add up to 1, and pixels beyond the edge are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from regionio._native import native_pixels
from regionio.preprocess.arrays import beside, is_on_host

__all__ = ["FILTERS", "Filter", "Taps", "resized", "taps_of"]

Filter: TypeAlias = Literal[
    "triangle", "nearest", "catmull-rom", "gaussian", "lanczos3", "max-pool"
]
FILTERS: tuple[Filter, ...] = get_args(Filter)

GAUSSIAN_SIGMA = 0.5
COMPILED = tuple(np.dtype(name) for name in ("uint8", "uint16", "float32"))


def _triangle(x: NDArray[np.float32]) -> NDArray[np.float32]:
    value: NDArray[np.float32] = np.maximum(np.float32(0), 1 - np.abs(x))
    return value


def _catmull_rom(x: NDArray[np.float32]) -> NDArray[np.float32]:
    a = np.abs(x)
    near = (1.5 * a - 2.5) * a * a + 1
    far = ((-0.5 * a + 2.5) * a - 4) * a + 2
    value: NDArray[np.float32] = np.where(a < 1, near, np.where(a < 2, far, 0)).astype(np.float32)
    return value


def _gaussian(x: NDArray[np.float32]) -> NDArray[np.float32]:
    height = 1 / (math.sqrt(2 * math.pi) * GAUSSIAN_SIGMA)
    value: NDArray[np.float32] = height * np.exp(-(x**2) / (2 * GAUSSIAN_SIGMA**2))
    return value.astype(np.float32)


def _lanczos3(x: NDArray[np.float32]) -> NDArray[np.float32]:
    value: NDArray[np.float32] = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return value.astype(np.float32)


KERNELS: dict[str, tuple[float, Callable[[NDArray[np.float32]], NDArray[np.float32]]]] = {
    "triangle": (1, _triangle),
    "catmull-rom": (2, _catmull_rom),
    "gaussian": (3, _gaussian),
    "lanczos3": (3, _lanczos3),
}
"""Support, in pixels of the larger of the two pictures, and value."""


@dataclass(frozen=True, eq=False)
class Taps:
    """What each pixel of a result is made of, along one axis.

    Parameters
    ----------
    first
        ``int64[n]``, the first pixel that counts.
    weight
        ``float32[n, taps]``, of it and those after it.
    """

    first: NDArray[np.int64]
    weight: NDArray[np.float32]


@lru_cache(maxsize=64)
def taps_of(kind: Filter, size: int, new_size: int) -> Taps:
    """Return how pixels of an axis are weighted.

    Parameters
    ----------
    kind
        The filter; not ``max-pool``.
    size, new_size
        Pixels before and after.

    Examples
    --------
    >>> taps_of("triangle", 4, 2).weight.tolist()
    [[0.4285714328289032, 0.4285714328289032, 0.1428571492433548], \
[0.1428571492433548, 0.4285714328289032, 0.4285714328289032]]
    """
    ratio = size / new_size
    center = (np.arange(new_size) + 0.5) * ratio
    if kind == "nearest":
        first = np.minimum(np.floor(center).astype(np.int64), size - 1)
        return Taps(first, np.ones((new_size, 1), np.float32))
    support, kernel = KERNELS[kind]
    stretch = max(ratio, 1.0)
    left = np.clip(np.floor(center - support * stretch), 0, size - 1).astype(np.int64)
    right = np.ceil(center + support * stretch).astype(np.int64)
    right = np.minimum(np.maximum(right, left + 1), size)
    place = left[:, None] + np.arange(int((right - left).max()))
    distance = ((place - (center[:, None] - 0.5)) / stretch).astype(np.float32)
    weight = np.where(place < right[:, None], kernel(distance), np.float32(0))
    weight /= weight.sum(axis=1, keepdims=True)
    used = np.flatnonzero(weight.any(axis=0))
    low, high = int(used[0]), int(used[-1]) + 1
    return Taps(left + low, np.ascontiguousarray(weight[:, low:high], np.float32))


def resized(pixels: Any, size: tuple[int, int], kind: Filter = "triangle") -> Any:
    """Resize pictures.

    Parameters
    ----------
    pixels
        ``[..., rows, columns]``, NumPy's or CuPy's; integers of 8 or 16 bits, or floats.
    size
        (rows, columns) of the result.
    kind
        The filter.

    Returns
    -------
    ndarray
        Of the dtype of `pixels`; integers are rounded to the nearest and clamped.

    Raises
    ------
    TypeError
        Integers have more bits, of which float32 would lose some.

    Examples
    --------
    >>> resized(np.array([[0, 10], [20, 30]], np.uint8), (1, 1))
    array([[15]], dtype=uint8)
    """
    if pixels.dtype.kind in "ui" and pixels.dtype.itemsize > 2:
        msg = f"integers of 8 or 16 bits, or floats, are resized, not {pixels.dtype}"
        raise TypeError(msg)
    if pixels.shape[-2:] == size:
        return pixels.copy()
    if kind == "max-pool":
        return _pooled(_pooled(pixels, -2, size[0]), -1, size[1])
    if kind == "nearest":
        rows, columns = (
            taps_of(kind, n, m).first for n, m in zip(pixels.shape[-2:], size, strict=True)
        )
        return pixels[..., beside(rows, pixels), :][..., beside(columns, pixels)]
    down = taps_of(kind, pixels.shape[-2], size[0])
    across = taps_of(kind, pixels.shape[-1], size[1])
    if not is_on_host(pixels):
        return _whole(_filtered(_filtered(pixels, -2, down), -1, across), pixels.dtype)
    result = np.empty((*pixels.shape[:-2], *size), pixels.dtype)
    for place in np.ndindex(pixels.shape[:-2]):  # one picture at a time: it stays in the cache
        _resize(pixels[place], down, across, result[place])
    return result


def _resize(picture: NDArray[Any], down: Taps, across: Taps, into: NDArray[Any]) -> None:
    """Resize one picture; the compiled part takes the same sums in the same order."""
    if native_pixels is not None and picture.dtype in COMPILED and into.flags.c_contiguous:
        native_pixels.resize(picture, down.first, down.weight, across.first, across.weight, into)
    else:
        into[...] = _whole(_filtered(_filtered(picture, -2, down), -1, across), picture.dtype)


def _whole(values: Any, dtype: np.dtype[Any]) -> Any:
    """Return values in a dtype; integers are rounded half away from zero, as Rust does it."""
    if dtype.kind not in "ui":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    low, high = np.float32(limits.min), np.float32(limits.max)
    whole = np.sign(values) * np.floor(np.abs(values) + np.float32(0.5))
    return whole.clip(low, high).astype(dtype)


def _filtered(pixels: Any, axis: int, taps: Taps) -> Any:
    """Weight pixels along one axis, in float32."""
    size = pixels.shape[axis]
    shape = [1] * pixels.ndim
    shape[axis] = len(taps.first)
    total: Any = None
    for number in range(taps.weight.shape[1]):
        place = np.minimum(taps.first + number, size - 1)
        part = pixels.take(beside(place, pixels), axis=axis).astype(np.float32, copy=False)
        part = part * beside(taps.weight[:, number].reshape(shape), pixels)
        total = part if total is None else np.add(total, part, out=total)
    return total


def _pooled(pixels: Any, axis: int, new_size: int) -> Any:
    """Return the largest of the pixels that each pixel of a smaller axis covers, rounded down."""
    size = pixels.shape[axis]
    edges = np.arange(new_size + 1) * size // new_size
    count = int(np.maximum(np.diff(edges), 1).max())
    result: Any = None
    for number in range(count):
        place = np.minimum(edges[:-1] + number, np.maximum(edges[1:], edges[:-1] + 1) - 1)
        part = pixels.take(beside(place, pixels), axis=axis)
        result = part if result is None else np.maximum(result, part)
    return result
