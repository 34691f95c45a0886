"""Reading at a spacing that no level has: the next finer level, averaged over areas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._index import ImageIndex
from regionio._resample import area_average, rounded_to

__all__ = ["Resampling", "level_and_factors", "pair"]

SAME = 0.01
"""A level whose spacing differs by no more than this share is read as it is: scanners' 0.499 for 0.5
is common, and averaging would cost much and blur more than so small a difference of scale is worth."""

COVERED = 0.999
"""Share of a pixel that must lie inside for all of it to count as inside."""

FINER = 0.1
"""How much finer than the largest level a spacing may be: more would be invented detail."""


def pair(spacing: float | Sequence[float]) -> tuple[float, float]:
    """Return a spacing as (x, y).

    Raises
    ------
    ValueError
        It is no positive number or pair of such.
    """
    values = np.atleast_1d(np.asarray(spacing))
    numbers = values.dtype.kind in "uif" and values.shape in {(1,), (2,)}
    if not numbers or not np.isfinite(values).all() or (values <= 0).any():
        msg = (
            f"spacing is a positive number or a pair of them, not {spacing!r}: planes of a volume "
            "are resampled along X and Y, not along Z"
        )
        raise ValueError(msg)
    return float(values[0]), float(values[-1])


def level_and_factors(
    index: ImageIndex, spacing: float | Sequence[float]
) -> tuple[int, tuple[float, float]]:
    """Choose the level to read for a spacing.

    Parameters
    ----------
    index
        The image.
    spacing
        Distance of neighbouring pixels, one number or (x, y), in the image's unit.

    Returns
    -------
    level
        The smallest level that is no coarser.
    factors
        (x, y): pixels of that level along one pixel of the result; (1, 1) where the level has that
        spacing.

    Raises
    ------
    ValueError
        The image's spacing is not known, or is coarser.
    """
    wanted = np.array(pair(spacing))
    known = [index.spacing.get(axis) for axis in "XY"]
    if None in known:
        msg = f"{index.sources[0]!r} does not tell its spacing: choose a level instead"
        raise ValueError(msg)
    of_levels = np.array([level.downsample for level in index.levels]) * known
    factors = wanted / of_levels
    factors[np.abs(factors - 1) <= SAME] = 1.0
    fine = np.flatnonzero((factors >= 1).all(axis=1))
    number = int(fine[-1]) if len(fine) else 0
    if (factors[number] < 1 - FINER).any():
        have = " × ".join(f"{value:g}" for value in of_levels[0])
        msg = (
            f"spacing {spacing!r} is finer than what {index.sources[0]!r} has: {have} "
            f"{index.spacing_unit}s; read level 0 and interpolate as you see fit"
        )
        raise ValueError(msg)
    return number, (float(factors[number][0]), float(factors[number][1]))


@dataclass(frozen=True)
class Resampling:
    """How regions are made of larger ones.

    Parameters
    ----------
    factors
        (x, y): pixels read along one pixel of the result.
    size
        (height, width) of the result.
    spacing
        (x, y) of its pixels.
    """

    factors: tuple[float, float]
    size: tuple[int, int]
    spacing: tuple[float, float]

    @property
    def source_size(self) -> tuple[int, int]:
        """(height, width) to read, with one pixel more for regions that begin inside a pixel."""
        height, width = (
            math.ceil(min(n * factor, 2.0**60) - 1e-6) + 1
            for n, factor in zip(self.size, reversed(self.factors), strict=True)
        )
        return height, width

    def average(self, source: NDArray[Any], begin: NDArray[np.float64], out: NDArray[Any]) -> None:
        """Make one region.

        Parameters
        ----------
        source
            ``[depth, height, width, channels]``, what was read.
        begin
            ``float64[2]``, (x, y) within its first pixel where the region begins.
        out
            Of the same axes, for the result.
        """
        out[...] = rounded_to(self._average(source, begin), out.dtype)

    def cover(
        self, mask: NDArray[np.bool_], begin: NDArray[np.float64], out: NDArray[np.bool_]
    ) -> None:
        """Make a region's mask: which of its pixels lie wholly inside; parameters as in `average`."""
        out[...] = self._average(mask, begin) > COVERED

    def _average(self, source: NDArray[Any], begin: NDArray[np.float64]) -> NDArray[Any]:
        rows, columns = self.edges(begin)
        return area_average(area_average(source, 1, rows), 2, columns)

    def edges(self, begin: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where pixels of the result begin and end, in pixels of what was read.

        Parameters
        ----------
        begin
            ``float64[..., 2]``, as of `average`.

        Returns
        -------
        rows, columns
            ``float64[..., n + 1]``.
        """
        found = []
        for axis, (factor, count) in enumerate(zip(reversed(self.factors), self.size, strict=True)):
            edges = begin[..., 1 - axis, None] + factor * np.arange(count + 1)
            edges[..., -1] = np.minimum(edges[..., -1], self.source_size[axis])
            found.append(edges)
        return found[0], found[1]
