"""Regions in main memory, and pasting pieces of tiles into them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regionio.values import Conversion

__all__ = ["Canvas", "ChannelMap", "PieceTuple"]

PieceTuple: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"""One `regionio._window.PIECE` as plain integers."""


@dataclass(frozen=True)
class ChannelMap:
    """Which samples of a plane's tile go to which channels of the region.

    Parameters
    ----------
    samples, channels
        A slice or a list, of equal length.
    """

    samples: slice | list[int]
    channels: slice | list[int]

    @classmethod
    def of(cls, pairs: list[tuple[int, int]]) -> ChannelMap:
        """Return the map of (sample, channel) pairs, as slices where they are consecutive."""
        samples, channels = (list(column) for column in zip(*pairs, strict=True))
        return cls(_as_slice(samples), _as_slice(channels))


def _as_slice(numbers: list[int]) -> slice | list[int]:
    first = numbers[0]
    consecutive = numbers == list(range(first, first + len(numbers)))
    return slice(first, first + len(numbers)) if consecutive else numbers


class Canvas:
    """The batches of a reader that are not finished yet.

    Parameters
    ----------
    batch_size
        Regions a batch; the number of a region says its batch and its place there.
    conversion
        From stored values to the region's.
    planes
        The channel map of each of `View.planes`.
    """

    def __init__(self, batch_size: int, conversion: Conversion, planes: list[ChannelMap]) -> None:
        self._batch_size = batch_size
        self._planes = planes
        self._batches: dict[int, NDArray[Any]] = {}
        self._scale, self._offset = conversion.scale, conversion.offset
        self._plain = self._scale is None and self._offset is None
        whole = slice(0, None)
        self._whole = len(planes) == 1 and planes[0].channels == planes[0].samples == whole

    def add(self, batch: int, regions: NDArray[Any]) -> None:
        """Take in a batch's memory.

        Parameters
        ----------
        batch
            Its number.
        regions
            ``[regions, depth, height, width, channels]``, writable, of any strides.
        """
        self._batches[batch] = regions

    def remove(self, batch: int) -> None:
        """Let go of a finished batch."""
        del self._batches[batch]

    def paste(self, pixels: NDArray[Any], pieces: Iterable[PieceTuple], first_row: int = 0) -> None:
        """Write pieces of a tile where they belong.

        Parameters
        ----------
        pixels
            ``[rows, columns, samples]``, the decoded tile.
        pieces
            Its pieces.
        first_row
            Row of the tile at which `pixels` starts.
        """
        batch_size, batches = self._batch_size, self._batches
        for region, plane, z, y, x, tile_y, tile_x, height, width in pieces:
            batch, slot = divmod(region, batch_size)
            row = tile_y - first_row
            part = pixels[row : row + height, tile_x : tile_x + width]
            place = batches[batch][slot, z, y : y + height, x : x + width]
            if not self._whole:
                channel_map = self._planes[plane]
                self._write_channels(place, part[..., channel_map.samples], channel_map.channels)
            elif self._plain:
                place[...] = part
            else:
                self._write(place, part, self._scale, self._offset)

    def _write_channels(
        self, place: NDArray[Any], part: NDArray[Any], channels: slice | list[int]
    ) -> None:
        scale, offset = (_some(v, channels) for v in (self._scale, self._offset))
        if isinstance(channels, slice):
            self._write(place[..., channels], part, scale, offset)
            return
        converted = np.empty(part.shape, dtype=place.dtype)
        self._write(converted, part, scale, offset)
        place[..., channels] = converted

    @staticmethod
    def _write(
        place: NDArray[Any],
        part: NDArray[Any],
        scale: NDArray[Any] | None,
        offset: NDArray[Any] | None,
    ) -> None:
        if scale is None:
            place[...] = part
        else:
            np.multiply(part, scale, out=place, dtype=place.dtype, casting="unsafe")
        if offset is not None:
            np.add(place, offset, out=place)


def _some(values: NDArray[Any] | None, channels: slice | list[int]) -> NDArray[Any] | None:
    if values is None or len(values) == 1:
        return values
    chosen: NDArray[Any] = values[channels]
    return chosen
