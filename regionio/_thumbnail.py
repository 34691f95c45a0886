"""The whole image, small."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regionio._region import Region
from regionio._resample import area_average, rounded_to

if TYPE_CHECKING:
    from regionio._image import Image

__all__ = ["make_thumbnail"]

BAND_PIXELS = 2**21
"""Pixels of a level that are held at a time."""


def make_thumbnail(image: Image, max_size: int, z: int | None = None) -> Region:
    """Average the smallest level that is large enough over areas, band by band.

    Parameters
    ----------
    image
        The image: of several times, the first.
    max_size
        Most pixels along the longer side of the result.
    z
        Slice or focal plane; None is the middle one of a volume, else the first.

    Returns
    -------
    Region
        Of the image's dtype. Its spacing is that of its pixels.

    Raises
    ------
    ValueError
        `max_size` is less than 1.
    IndexError
        There is no such slice.
    """
    if max_size < 1:
        msg = f"max_size is at least 1 pixel, not {max_size}"
        raise ValueError(msg)
    depth = image.size("Z")[0]
    if z is not None and not 0 <= z < depth:
        msg = f"z={z}: {image.path!r} has {depth} slices or focal planes, numbered from 0"
        raise IndexError(msg)
    number = _level_for(image, max_size)
    level = image.levels[number]
    scale = min(1.0, max_size / max(level.width, level.height))
    width = max(1, round(level.width * scale))
    height = max(1, round(level.height * scale))
    x_edges = np.linspace(0, level.width, width + 1)
    y_edges = np.linspace(0, level.height, height + 1)
    rows = max(1, int(BAND_PIXELS / level.width * height / level.height))
    bands = [
        _band(image, number, z, x_edges, y_edges[start : start + rows + 1])
        for start in range(0, height, rows)
    ]
    pixels = rounded_to(np.concatenate(bands), image.dtype)
    factors = (
        level.downsample[0] * level.width / width,
        level.downsample[1] * level.height / height,
    )
    return Region(
        pixels,
        dims="YXC" if pixels.ndim == 3 else "YX",
        locations=np.zeros(2, dtype=np.int64),
        indices=np.zeros((), dtype=np.int64),
        level=number,
        spacing={
            axis: spacing * factor
            for axis, spacing, factor in zip("XY", image.spacing("XY"), factors, strict=True)
            if spacing is not None
        },
        spacing_unit=next((unit for unit in image.spacing_units("XY") if unit), "micrometer"),
    )


def _level_for(image: Image, max_size: int) -> int:
    """Return the smallest level with a side of at least `max_size`, else the largest."""
    large = [
        n for n, level in enumerate(image.levels) if max(level.width, level.height) >= max_size
    ]
    return large[-1] if large else 0


def _band(
    image: Image,
    number: int,
    z: int | None,
    x_edges: NDArray[np.float64],
    y_edges: NDArray[np.float64],
) -> NDArray[Any]:
    """Average the rows of a level between the first and the last of `y_edges`."""
    level = image.levels[number]
    first, last = math.floor(y_edges[0]), min(math.ceil(y_edges[-1]), level.height)
    location: tuple[int, ...] = (0, math.ceil(first * level.downsample[1] - 1e-9))
    plane = z or 0
    if image.is_volume:
        location, plane = (*location, image.size("Z")[0] // 2 if z is None else z), 0
    region = image.read_region(location, (level.width, last - first), number, z=plane)
    pixels = np.asarray(region)
    return area_average(area_average(pixels, 1, x_edges), 0, y_edges - first)
