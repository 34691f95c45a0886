"""Averages over areas: what a smaller picture of the same thing looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["area_average", "area_shares", "rounded_to", "working_dtype"]


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
    moved = np.moveaxis(pixels, axis, 0)
    first, shares = area_shares(edges, working_dtype(pixels.dtype))
    sums: NDArray[Any] | None = None
    for tap, share in enumerate(shares.T):  # the n-th pixel under each of the areas
        pixel = first + tap
        weight = share.reshape(-1, *[1] * (moved.ndim - 1))
        part = moved[np.minimum(pixel, len(moved) - 1)]
        if moved.dtype.kind == "f":  # 0 × NaN is NaN
            part = np.where(weight > 0, part, 0)
        part = part * weight
        sums = part if sums is None else np.add(sums, part, out=sums)
    assert sums is not None
    return np.moveaxis(sums, 0, axis)


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that values are averaged in: float32 where it holds all of them exactly."""
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32) else np.float64)


def area_shares(
    edges: NDArray[np.float64], working: np.dtype[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return how much each pixel counts in averages between edges.

    Parameters
    ----------
    edges
        ``float64[..., n + 1]``, as of `area_average`.
    working
        Dtype of the shares.

    Returns
    -------
    first
        ``int64[..., n]``, the first pixel under each area.
    shares
        ``[..., n, taps]``, how much it and those after it count; their sum is 1.

    >>> area_shares(np.array([0.0, 1.5, 4.0]), np.dtype("f4"))[1]
    array([[0.6666667 , 0.33333334, 0.        ],
           [0.2       , 0.4       , 0.4       ]], dtype=float32)
    """
    low, high = edges[..., :-1], edges[..., 1:]
    first = np.floor(low).astype(np.int64)
    taps = int((np.ceil(high) - first).max(initial=1))
    pixel = first[..., None] + np.arange(taps)
    overlap = np.minimum(pixel + 1, high[..., None]) - np.maximum(pixel, low[..., None])
    overlap[overlap < ROUNDING] = 0
    shares: NDArray[Any] = (overlap / (high - low)[..., None]).astype(working)
    return first, shares


def rounded_to(averages: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return averages in the dtype of what was averaged: rounded to the nearest where it is whole."""
    if dtype.kind == "b":
        return averages >= 0.5
    return np.rint(averages).astype(dtype) if dtype.kind in "ui" else averages.astype(dtype)
