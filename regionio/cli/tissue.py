"""Where the tissue is on a stained slide: it has colour, glass has not.

Saturation of a small picture of the slide is split in two by Otsu's method: of all thresholds the
one that makes the two classes differ most (largest variance between them).

Source: N. Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on
Systems, Man, and Cybernetics 9(1), 1979, pages 62-66.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["box_fractions", "otsu_threshold", "saturation", "tissue_mask"]

BINS = 256
DARKEST = 1 / 8
"""Darker pixels are taken for so bright: the noise of black borders is no colour."""

LEAST, MOST = 0.05, 0.25
"""Saturation below is glass and above is tissue, whatever the histogram: Otsu's method always
splits, also a slide that is all glass or all tissue."""


def saturation(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how far pixels are from gray.

    Parameters
    ----------
    rgb
        ``uint8[h, w, 3]``.

    Returns
    -------
    ndarray
        ``float64[h, w]`` from 0 to 1: (largest - least) / largest of the three.

    Examples
    --------
    >>> saturation(np.array([[[200, 200, 200], [200, 100, 150]]], dtype=np.uint8))
    array([[0. , 0.5]])
    """
    largest = rgb.max(axis=-1).astype(np.float64)
    spread = largest - rgb.min(axis=-1)
    parts: NDArray[np.float64] = spread / np.maximum(largest, 255 * DARKEST)
    return parts


def otsu_threshold(values: NDArray[np.float64]) -> float:
    """Return the value that splits others in two as Otsu's method does.

    Parameters
    ----------
    values
        From 0 to 1, at least one.

    Returns
    -------
    float
        An edge between two of 256 bins; the middle one of those that split equally well.
    """
    counts, edges = np.histogram(values, bins=BINS, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sum_below = np.cumsum(counts * centres)[:-1]
    sum_above = (counts * centres).sum() - sum_below
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sum_below / below - sum_above / above
    between = np.nan_to_num(below * above * difference**2, posinf=0.0)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1 + best[len(best) // 2]])


def tissue_mask(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which pixels of a small picture of a slide are tissue.

    Parameters
    ----------
    rgb
        ``uint8[h, w, 3]``.

    Returns
    -------
    ndarray
        ``bool[h, w]``: saturation is above Otsu's threshold, which is kept from 0.05 to 0.25.
    """
    colour = saturation(rgb)
    return colour > min(max(otsu_threshold(colour), LEAST), MOST)


def box_fractions(mask: NDArray[np.bool_], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return which part of each box is set in a mask.

    Parameters
    ----------
    mask
        ``bool[h, w]``.
    boxes
        ``float64[n, 4]``: left, top, right, bottom edge in pixels of the mask, within it. A
        pixel counts for a box that touches it.

    Returns
    -------
    ndarray
        ``float64[n]`` from 0 to 1.
    """
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int64)
    sums[1:, 1:] = mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    left, top = (np.floor(edge + 1e-9).astype(np.int64) for edge in boxes.T[:2])
    right, bottom = (np.ceil(edge - 1e-9).astype(np.int64) for edge in boxes.T[2:])
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    fractions: NDArray[np.float64] = inside / ((right - left) * (bottom - top))
    return fractions
