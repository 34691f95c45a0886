"""A region of any size in bands of rows, slice by slice, so that it need not fit into memory."""

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
from regionio.cli.opening import checked_arguments, level_of, reported, slice_of

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
    depth
        Of a volume, the number of slices from z on, 0 for all; None reads one without that axis.
    """

    location: tuple[int, int]
    size: tuple[int, int] | None
    level: int
    z: int
    t: int
    channels: Sequence[int | str] | None
    depth: int | None = None


@dataclass(frozen=True)
class Bands:
    """A region, whose rows come in order.

    Parameters
    ----------
    depth
        Number of slices, which follow each other; None where there is no such axis.
    plane_shape
        (height, width) or (height, width, channels).
    dtype
        Of the pixels.
    channel_names
        One a channel.
    spacing, spacing_unit
        As in `regionio.Region`.
    origin, direction
        As in `regionio.Image`, of the first pixel; None where they are not known.
    parts
        The rows, some at a time; all but the last of a slice have a multiple of `ROW_STEP`.
    """

    depth: int | None
    plane_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channel_names: tuple[str, ...]
    spacing: Mapping[str, float]
    spacing_unit: str
    origin: list[float] | None
    direction: list[list[float]] | None
    parts: Iterator[NDArray[Any]]

    @property
    def shape(self) -> tuple[int, ...]:
        """`plane_shape`, behind the depth where there is one."""
        return self.plane_shape if self.depth is None else (self.depth, *self.plane_shape)

    @property
    def rows(self) -> int:
        """Rows of all slices together."""
        return (self.depth or 1) * self.plane_shape[0]

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
    slices = _slices(image, place)
    names = [*(image.channel_names if place.channels is None else place.channels)]
    one = place.channels is not None and len(names) == 1
    with checked_arguments():
        loader = image.read_region(
            _locations(image, place, np.arange(0, height, rows), slices),
            (width, rows),
            place.level,
            z=0 if image.is_volume else place.z,
            t=place.t,
            channels=names[0] if one else names if place.channels is not None else None,
            prefetch_factor=0,  # a band keeps all threads busy; memory is for one
        )
    with loader, reported(image.path):
        first = next(loader)
        affine, direction = image.affine, image.direction
        start = [*place.location, slices.start if image.is_volume else 0, 1]
        yield Bands(
            depth=None if place.depth is None else len(slices),
            plane_shape=(height, *first.shape[1:]),
            dtype=first.dtype,
            channel_names=tuple(
                image.channel_names[name] if isinstance(name, int) else name for name in names
            ),
            spacing=first.spacing,
            spacing_unit=first.spacing_unit,
            origin=None if affine is None else (affine @ start)[:3].tolist(),
            direction=None if affine is None or direction is None else direction.tolist(),
            parts=_parts(image, loader, first.array, height, len(slices)),
        )


def _parts(
    image: Image, loader: Loader, first: NDArray[Any], height: int, slices: int
) -> Iterator[NDArray[Any]]:
    """Yield the bands of all slices, the last of each cut where the region ends."""
    part = first
    left, done = height, 0
    while True:
        yield part[:left]
        left -= len(part)
        if left <= 0:
            left, done = height, done + 1
        if done == slices:
            return
        with reported(image.path):
            part = next(loader).array


def _band_rows(image: Image, tile_height: int, width: int) -> int:
    row_bytes = width * image.size("C")[0] * image.dtype.itemsize
    rows = max(BAND_BYTES // row_bytes, tile_height)
    return math.ceil(rows / ROW_STEP) * ROW_STEP


def _slices(image: Image, place: Place) -> range:
    """Return the slices that are read: one, where the image is no volume."""
    if not image.is_volume:
        if place.depth is not None:
            msg = f"{image.path!r} is no volume; --depth counts the slices of one"
            raise typer.BadParameter(msg, param_hint="--depth")
        return range(1)
    first, most = slice_of(image, place.z), image.size("Z")[0] - place.z
    depth = 1 if place.depth is None else place.depth or most
    if depth > most:
        msg = f"{image.path!r} has {most} slices from {first} on, not {depth}"
        raise typer.BadParameter(msg, param_hint="--depth")
    return range(first, first + depth)


def _locations(
    image: Image, place: Place, rows: NDArray[np.int64], slices: range
) -> NDArray[np.int64]:
    """Return where the bands begin that have some first rows, slice by slice."""
    downsample = image.levels[place.level].downsample[1]
    starts = level0_positions(level_position(place.location[1], downsample) + rows, downsample)
    columns = [np.full(len(starts) * len(slices), place.location[0]), np.tile(starts, len(slices))]
    if image.is_volume:
        columns.append(np.repeat(np.array(slices), len(starts)))
    return np.stack(columns, axis=1).astype(np.int64)
