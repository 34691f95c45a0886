"""Averages over areas: what a smaller picture of the same thing looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["area_average", "rounded_to"]


ROUNDING = 1e-6
"""Overlaps of less than this, in pixels, are where the edges' positions were rounded."""


def area_average(pixels: NDArray[Any], axis: int, edges: NDArray[np.float64]) -> NDArray[Any]:
    """Average along one axis between given edges.

    Parameters
    ----------
    pixels
        Any array of real numbers.
    axis
        The axis.
    edges
        ``float64[n + 1]``, rising, in pixels from the start of the axis, within it: pixel i
        covers i to i + 1, and is shared where an edge cuts it.

    Returns
    -------
    ndarray
        `n` averages along the axis: float32 of values that float32 holds exactly, else float64.

    >>> area_average(np.array([0, 2, 4, 6], np.uint8), 0, np.array([0.0, 1.5, 4.0]))
    array([0.6666667, 4.4      ], dtype=float32)
    """
    exact = np.can_cast(pixels.dtype, np.float32)
    moved = np.moveaxis(pixels, axis, 0)
    low, high = edges[:-1], edges[1:]
    first = np.floor(low).astype(np.int64)
    taps = int((np.ceil(high) - first).max(initial=1))
    sums: NDArray[Any] | None = None
    for tap in range(taps):  # the n-th pixel under each of the areas
        pixel = first + tap
        overlap = np.minimum(pixel + 1, high) - np.maximum(pixel, low)
        overlap[overlap < ROUNDING] = 0
        share = overlap / (high - low)
        weight: NDArray[Any] = share.astype(np.float32 if exact else np.float64)
        weight = weight.reshape(-1, *[1] * (moved.ndim - 1))
        part = moved[np.minimum(pixel, len(moved) - 1)]
        if moved.dtype.kind == "f":  # 0 × NaN is NaN
            part = np.where(weight > 0, part, 0)
        part = part * weight
        sums = part if sums is None else np.add(sums, part, out=sums)
    assert sums is not None
    return np.moveaxis(sums, 0, axis)


def rounded_to(averages: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return averages in the dtype of what was averaged: rounded to the nearest where it is whole."""
    if dtype.kind == "b":
        return averages >= 0.5
    return np.rint(averages).astype(dtype) if dtype.kind in "ui" else averages.astype(dtype)
