"""Averages over areas: what a smaller picture of the same thing looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["area_average"]


def area_average(
    pixels: NDArray[Any], axis: int, edges: NDArray[np.float64]
) -> NDArray[np.float64]:
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
        `n` averages along the axis.

    >>> area_average(np.array([0, 2, 4, 6]), 0, np.array([0.0, 1.5, 4.0]))
    array([0.66666667, 4.4       ])
    """
    moved = np.moveaxis(pixels, axis, 0)
    sums = np.zeros((len(moved) + 1, *moved.shape[1:]))
    np.cumsum(moved, axis=0, out=sums[1:])
    whole = np.minimum(np.floor(edges).astype(np.int64), len(moved) - 1)
    part = (edges - whole).reshape(-1, *[1] * (moved.ndim - 1))
    at_edges = sums[whole] + part * moved[whole]
    widths = np.diff(edges).reshape(part[1:].shape)
    return np.moveaxis(np.diff(at_edges, axis=0) / widths, 0, axis)
