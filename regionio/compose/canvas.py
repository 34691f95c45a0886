"""Regions in main memory, and pasting pieces of tiles into them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regionio._native import native
from regionio.codecs import Target
from regionio.values import Conversion

__all__ = ["Canvas", "ChannelMap", "PieceTuple", "Targets"]

PieceTuple: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"""One `regionio._window.PIECE` as plain integers."""


TARGET_ITEM_BYTES = {1, 2, 4, 8}


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


@dataclass(frozen=True, eq=False)
class Targets:
    """Where pieces go.

    Parameters
    ----------
    boxes
        ``int64[n, 5]``, the pieces as a `PieceDecoder` takes them.
    layout
        How pixels lie there.
    memory
        The arrays that the addresses are in; they must be held as long as anybody writes.
    """

    boxes: NDArray[np.int64]
    layout: Target
    memory: list[NDArray[Any]]


def _address(array: NDArray[Any]) -> int:
    """Return where an array's first element lies."""
    address: int = array.__array_interface__["data"][0]
    return address


def _numbers(chosen: slice | list[int], count: int) -> NDArray[np.int64]:
    """Return the numbers that a slice or a list chooses; a slice without end has `count`."""
    if isinstance(chosen, slice):
        chosen = list(range(chosen.start, count if chosen.stop is None else chosen.stop))
    return np.array(chosen, dtype=np.int64)


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
        self._working = conversion.working
        self._plain = self._scale is None and self._offset is None
        self._target: Target | None = None
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

    def targets(self, pieces: NDArray[Any]) -> Targets | None:
        """Say where pieces of 8-bit tiles go, for a decoder that writes them itself.

        Parameters
        ----------
        pieces
            ``PIECE[n]``.

        Returns
        -------
        Targets or None
            None if pixels take a way that only `paste` knows.
        """
        if len(self._planes) > 1:
            return None
        batch, slot = np.divmod(pieces["region"], self._batch_size)
        numbers = [int(batch[0])]
        which: NDArray[np.int64] | int = 0
        if (batch != numbers[0]).any():
            every, which = np.unique(batch, return_inverse=True)
            numbers = every.tolist()
        memory = [self._batches[number] for number in numbers]
        if memory[0].itemsize not in TARGET_ITEM_BYTES:
            return None
        boxes = np.empty((len(pieces), 5), dtype=np.int64)
        for column, name in enumerate(("tile_y", "tile_x", "height", "width")):
            boxes[:, column] = pieces[name]
        address = boxes[:, 4]
        address[:] = np.array([_address(regions) for regions in memory], dtype=np.int64)[which]
        strides = memory[0].strides
        for place, stride in zip((slot, *(pieces[axis] for axis in "zyx")), strides, strict=False):
            address += place * stride
        if self._target is None:
            self._target = self._make_target(memory[0])
        return Targets(boxes, self._target, memory)

    def _make_target(self, regions: NDArray[Any]) -> Target:
        """Return the layout of the batches' memory, which is the same for all of them."""
        _, _, row_stride, pixel_stride, channel_stride = regions.strides
        chosen = self._planes[0]
        count = regions.shape[4]
        samples, channels = (_numbers(some, count) for some in (chosen.samples, chosen.channels))
        packed = pixel_stride == len(channels) and (channel_stride == 1 or len(channels) == 1)
        table: NDArray[Any] = np.zeros(0, dtype=np.uint8)
        if not (self._whole and self._plain and regions.dtype == np.uint8 and packed):
            values = np.arange(256, dtype=np.uint8)[None, :, None]
            lookup = np.empty((1, 256, count), dtype=regions.dtype)
            part = np.broadcast_to(values, (1, 256, len(channels)))
            self._write_channels(lookup, part, channels.tolist())
            table = np.ascontiguousarray(lookup[0].T[channels])
        pairs = np.array([samples, channels * channel_stride], dtype=np.int64).T.copy()
        return Target(row_stride, pixel_stride, pairs, table)

    def place_of(
        self, pieces: list[PieceTuple], shape: tuple[int, ...], dtype: np.dtype[Any], first_row: int
    ) -> NDArray[Any] | None:
        """Return the memory of a region that some rows of a tile go to as they are.

        Parameters
        ----------
        pieces
            Of the tile.
        shape
            (rows, columns, samples) of what is decoded.
        dtype
            Of the tile's samples.
        first_row
            Row of the tile at which what is decoded starts.

        Returns
        -------
        ndarray or None
            None where rows are not wanted whole, or not as they are, or not in one piece.
        """
        if len(pieces) != 1 or not (self._whole and self._plain):
            return None
        region, _, z, y, x, tile_y, tile_x, height, width = pieces[0]
        if (tile_y, tile_x, height, width) != (first_row, 0, *shape[:2]):
            return None
        batch, slot = divmod(region, self._batch_size)
        place = self._batches[batch][slot, z, y : y + height, x : x + width]
        fits = place.shape == shape and place.dtype == dtype and place.flags.c_contiguous
        return place if fits else None

    def remove(self, batch: int) -> None:
        """Let go of a finished batch."""
        del self._batches[batch]

    def paste_tiles(
        self, tiles: list[NDArray[Any]], first: NDArray[np.int64], pieces: NDArray[Any]
    ) -> None:
        """Write pieces of several whole tiles, without Python's lock if that can be.

        Parameters
        ----------
        tiles
            ``[rows, columns, samples]`` each, of one dtype.
        first, pieces
            ``int64[len(tiles) + 1]`` and ``PIECE[n]``: pieces of tile i are
            ``pieces[first[i]:first[i + 1]]``.
        """
        _, columns, samples = tiles[0].shape
        strides = columns * samples, samples, 1
        alike = all(tile.dtype == np.uint8 and tile.strides == strides for tile in tiles)
        targets = self.targets(pieces) if native is not None and alike else None
        if native is None or targets is None:
            every = pieces.tolist()
            for tile, start, stop in zip(tiles, first[:-1], first[1:], strict=True):
                self.paste(tile, every[start:stop])
            return
        addresses = np.array([_address(tile) for tile in tiles], dtype=np.int64)
        native.paste(addresses, strides[0], samples, first, targets.boxes, *targets.layout.fields)

    def paste(
        self,
        pixels: NDArray[Any],
        pieces: Iterable[PieceTuple],
        first_row: int = 0,
        first_column: int = 0,
    ) -> None:
        """Write pieces of a tile where they belong.

        Parameters
        ----------
        pixels
            ``[rows, columns, samples]``, the decoded tile.
        pieces
            Its pieces.
        first_row, first_column
            Row and column of the tile at which `pixels` starts.
        """
        batch_size, batches = self._batch_size, self._batches
        for region, plane, z, y, x, tile_y, tile_x, height, width in pieces:
            batch, slot = divmod(region, batch_size)
            row, column = tile_y - first_row, tile_x - first_column
            part = pixels[row : row + height, column : column + width]
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

    def _write(
        self,
        place: NDArray[Any],
        part: NDArray[Any],
        scale: NDArray[Any] | None,
        offset: NDArray[Any] | None,
    ) -> None:
        if scale is None and offset is None:
            place[...] = part
            return
        out = place if place.dtype == self._working else np.empty(place.shape, self._working)
        if scale is None:
            out[...] = part
        else:
            np.multiply(part, scale, out=out, dtype=self._working, casting="unsafe")
        if offset is not None:
            np.add(out, offset, out=out)
        if out is not place:
            place[...] = out


def _some(values: NDArray[Any] | None, channels: slice | list[int]) -> NDArray[Any] | None:
    if values is None or len(values) == 1:
        return values
    chosen: NDArray[Any] = values[channels]
    return chosen
