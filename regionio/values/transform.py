"""Stored values to modality values, gray levels and colours.

Source: DICOM PS3.3, C.11.1 (modality LUT), C.11.2 (VOI LUT; windows in C.11.2.1.2 and C.11.2.1.3),
C.7.6.3.1.5 (palettes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._native import native_pixels
from regionio._transform import (
    ColorTransform,
    GrayTransform,
    LookupTable,
    PaletteTransform,
    Rescale,
    Transform,
    Window,
)

__all__ = ["TileConversion", "lowest_value", "transformed"]

MOST_TABLES = 64
SMALL_TILE = 2**14
"""Values that are computed one by one in less time than a table of all that there can be."""


class TileConversion:
    """What happens to the stored values of each tile of a table before they are pasted.

    Parameters
    ----------
    transforms
        `ImageIndex.transforms`.
    number_of
        `TileTable.transform`.
    colors
        Colour conversion of what comes out, or None.
    """

    def __init__(
        self,
        transforms: Sequence[Transform],
        number_of: NDArray[np.int32] | None,
        colors: Callable[[NDArray[Any]], NDArray[Any]] | None,
    ) -> None:
        self._transforms = transforms
        self._number_of = number_of
        self._colors = colors

    def __call__(self, pixels: NDArray[Any], tile: int) -> NDArray[Any]:
        """Convert the pixels ``[rows, columns, samples]`` of one tile, given by its number."""
        if self._transforms:
            number = 0 if self._number_of is None else int(self._number_of[tile])
            pixels = transformed(self._transforms[number], pixels)
        return pixels if self._colors is None else self._colors(pixels)

    def numbers_of(self, tiles: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return which of the transforms each tile takes."""
        if self._number_of is None:
            return np.zeros(len(tiles), dtype=np.int32)
        return self._number_of[tiles]

    def is_tabular(self, stored: np.dtype[Any]) -> bool:
        """Return whether `table` gives all that this does to values of a stored dtype."""
        kinds = {isinstance(transform, PaletteTransform) for transform in self._transforms}
        return self._colors is None and len(kinds) == 1 and _has_tables(stored)

    def table(self, number: int, stored: np.dtype[Any]) -> NDArray[Any]:
        """Return what becomes of every stored value.

        Parameters
        ----------
        number
            Of the transform.
        stored
            Dtype of stored values, integers of one or two bytes.

        Returns
        -------
        ndarray
            ``[2**bits, n]``, in the order of the values' bits: the `n` samples of a palette's colour,
            or the one that becomes of each sample.
        """
        transform = self._transforms[number]
        if isinstance(transform, GrayTransform):
            return _table(transform, stored.str)[:, None]
        return transformed(transform, _every_value(stored)[:, None])


def transformed(transform: Transform, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return converted pixels.

    Parameters
    ----------
    transform
        How.
    pixels
        Stored values, ``[..., samples]``, of native byte order.

    Returns
    -------
    ndarray
        ``[..., transform.samples]`` of `Transform.dtype`.
    """
    if isinstance(transform, PaletteTransform):
        entry = pixels[..., 0].astype(np.int64) - transform.first
        colors: NDArray[Any] = transform.colors[np.clip(entry, 0, len(transform.colors) - 1)]
        return colors
    if isinstance(transform, ColorTransform):
        return _rescaled_colors(transform, pixels)
    if _has_tables(pixels.dtype) and pixels.size >= SMALL_TILE:
        table = _table(transform, pixels.dtype.str)
        # as unsigned numbers, values are places in the table
        places = np.ascontiguousarray(pixels).view(f"u{pixels.itemsize}")
        return _entries(table, places)
    return _computed(transform, pixels)


def _entries(table: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """Return a table's entries at places, of which each has one."""
    found: NDArray[Any]
    if native_pixels is not None:
        found = np.empty(places.shape, table.dtype)
        native_pixels.look_up(table, places, found, places.size)
    else:
        found = np.take(table, places, mode="clip")  # "raise" would copy
    return found


def lowest_value(transform: Transform) -> float:
    """Return the lowest value that a transform can give.

    It is 0, or black, of colours and gray levels, and 0 where stored values are floats.
    """
    if not isinstance(transform, GrayTransform) or transform.display is not None:
        return 0.0
    if isinstance(transform.modality, LookupTable):
        return float(transform.modality.values.min())
    lowest = float(np.float32(_range(transform)[0]))
    return lowest if np.isfinite(lowest) else 0.0  # floats have no end


@lru_cache(maxsize=MOST_TABLES)
def _table(transform: GrayTransform, dtype: str) -> NDArray[Any]:
    """Return what becomes of every value of an integer dtype, in the order of its bits."""
    return _computed(transform, _every_value(np.dtype(dtype)))


def _has_tables(stored: np.dtype[Any]) -> bool:
    return stored.kind in "ui" and stored.itemsize <= 2


def _every_value(stored: np.dtype[Any]) -> NDArray[Any]:
    """Return all values of an integer dtype, in the order of their bits."""
    count = 1 << 8 * stored.itemsize
    return np.arange(count).astype(f"u{stored.itemsize}").view(stored)


def _computed(transform: GrayTransform, values: NDArray[Any]) -> NDArray[Any]:
    modality = _modality(transform.modality, values)
    if transform.display is None:
        return modality.astype(np.float32)
    whitest = np.iinfo(transform.display).max
    if isinstance(transform.window, LookupTable):
        share = _looked_up(transform.window, modality) / (2**transform.window.bits - 1)
    elif transform.window is not None:
        share = _windowed(transform.window, modality)
    else:
        low, high = _range(transform)
        share = (modality - low) / (high - low) if high > low else np.zeros_like(modality)
    share = np.nan_to_num(np.clip(share, 0, 1))
    levels = np.rint((1 - share if transform.inverted else share) * whitest)
    gray: NDArray[Any] = levels.astype(transform.display)
    return gray


def _modality(step: Rescale | LookupTable | None, values: NDArray[Any]) -> NDArray[Any]:
    """Return modality values as float64."""
    if isinstance(step, LookupTable):
        return _looked_up(step, values)
    exact = values.astype(np.float64)
    return exact if step is None else exact * step.slope + step.intercept


def _range(transform: GrayTransform) -> tuple[float, float]:
    """Return the lowest and the highest modality value that there can be."""
    if isinstance(transform.modality, LookupTable):
        return 0.0, float(2**transform.modality.bits - 1)
    ends = np.array([transform.lowest, transform.highest])
    values = _modality(transform.modality, ends)
    return float(values.min()), float(values.max())


def _looked_up(table: LookupTable, values: NDArray[Any]) -> NDArray[Any]:
    place = np.floor(np.subtract(values, table.first, dtype=np.float64))
    entry = np.clip(np.nan_to_num(place), 0, len(table.values) - 1).astype(np.int64)
    found: NDArray[Any] = table.values[entry].astype(np.float64)
    return found


def _windowed(window: Window, values: NDArray[Any]) -> NDArray[Any]:
    """Return values spread over 0 to 1; what is beyond may be beyond."""
    center, width = window.center, window.width
    if window.function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width <= 0:
        step: NDArray[Any] = (values > center).astype(np.float64)
        return step
    if window.function == "SIGMOID":
        with np.errstate(over="ignore"):
            sigmoid: NDArray[Any] = 1 / (1 + np.exp(-4 * (values - center) / width))
        return sigmoid
    spread: NDArray[Any] = (values - center) / width + 0.5
    return spread


def _rescaled_colors(transform: ColorTransform, pixels: NDArray[Any]) -> NDArray[Any]:
    target = np.dtype(transform.dtype)
    if target.kind == "f" or (pixels.dtype == target and transform.bits == 8 * target.itemsize):
        same: NDArray[Any] = pixels.astype(target, copy=False)
        return same
    share = np.minimum(pixels / float(2**transform.bits - 1), 1)
    scaled: NDArray[Any] = np.rint(share * np.iinfo(target).max).astype(target)
    return scaled
