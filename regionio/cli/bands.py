"""A region of any size in bands of rows, so that it need not fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from regionio import Image, Loader
from regionio.cli.grid import level0_positions, level_position
from regionio.cli.opening import checked_arguments, level_of, reported

__all__ = ["ROW_STEP", "Bands", "Place", "banded"]

ROW_STEP = 256
"""Bands begin at multiples of so many rows of the region."""

BAND_BYTES = 2**25
"""About the bytes of a band, unless `ROW_STEP` rows or a row of the file's tiles are more."""


@dataclass(frozen=True)
class Place:
    """Which pixels of an image are read.

    Parameters
    ----------
    location
        (x, y) in level-0 pixels.
    size
        (width, height) in pixels of the level; None is the whole level.
    level, z, t
        Numbers.
    channels
        Numbers or names; None is all.
    """

    location: tuple[int, int]
    size: tuple[int, int] | None
    level: int
    z: int
    t: int
    channels: Sequence[int | str] | None


@dataclass(frozen=True)
class Bands:
    """A region, whose rows come in order.

    Parameters
    ----------
    shape
        (height, width) or (height, width, channels).
    dtype
        Of the pixels.
    channel_names
        One a channel.
    spacing, spacing_unit
        As in `regionio.Region`.
    parts
        The rows, some at a time; all but the last have a multiple of `ROW_STEP`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channel_names: tuple[str, ...]
    spacing: Mapping[str, float]
    spacing_unit: str
    parts: Iterator[NDArray[Any]]

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def banded(image: Image, place: Place) -> Iterator[Bands]:
    """Begin to read a region; what fails while it is read is reported as the image's.

    Parameters
    ----------
    image
        To read from.
    place
        What to read.

    Raises
    ------
    typer.BadParameter
        There is no such level, plane or channel.
    """
    level = level_of(image, place.level)
    width, height = place.size or (level.width, level.height)
    rows = min(_band_rows(image, level.tile_size[1], width), height)
    downsample = level.downsample[1]
    starts = level_position(place.location[1], downsample) + np.arange(0, height, rows)
    locations = np.empty((len(starts), 2), dtype=np.int64)
    locations[:, 0] = place.location[0]
    locations[:, 1] = level0_positions(starts, downsample)
    names = [*(image.channel_names if place.channels is None else place.channels)]
    one = place.channels is not None and len(names) == 1
    with checked_arguments():
        loader = image.read_region(
            _with_depth(image, locations, place.z),
            (width, rows),
            place.level,
            z=0 if image.is_volume else place.z,
            t=place.t,
            channels=names[0] if one else names if place.channels is not None else None,
            prefetch_factor=0,  # a band keeps all threads busy; memory is for one
        )
    with loader, reported(image.path):
        first = next(loader)
        yield Bands(
            shape=(height, *first.shape[1:]),
            dtype=first.dtype,
            channel_names=tuple(
                image.channel_names[name] if isinstance(name, int) else name for name in names
            ),
            spacing=first.spacing,
            spacing_unit=first.spacing_unit,
            parts=_parts(image, loader, first.array, height),
        )


def _parts(
    image: Image, loader: Loader, first: NDArray[Any], height: int
) -> Iterator[NDArray[Any]]:
    """Yield the bands, the last one cut where the region ends."""
    left = height
    part: NDArray[Any] | None = first
    while part is not None:
        yield part[:left]
        left -= len(part)
        part = None
        if left > 0:
            with reported(image.path):
                part = next(loader).array


def _band_rows(image: Image, tile_height: int, width: int) -> int:
    row_bytes = width * image.size("C")[0] * image.dtype.itemsize
    rows = max(BAND_BYTES // row_bytes, tile_height)
    return math.ceil(rows / ROW_STEP) * ROW_STEP


def _with_depth(image: Image, locations: NDArray[np.int64], z: int) -> NDArray[np.int64]:
    """Return locations with a third number in a volume, where z is one of them."""
    if not image.is_volume:
        return locations
    depth = image.size("Z")[0]
    if z >= depth:
        msg = f"{image.path!r} has {depth} slices, counted from 0; there is no {z}"
        raise typer.BadParameter(msg, param_hint="--z")
    return np.concatenate([locations, np.full((len(locations), 1), z)], axis=1)
