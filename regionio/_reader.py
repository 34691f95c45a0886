"""Reads regions of one size: plans batches, lays out their memory, has them rendered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._cache import cache
from regionio._lazy import lazy_property
from regionio._plan import plan_region, plan_regions
from regionio._region import Region
from regionio._schedule import Schedule
from regionio._spacing import Resampling
from regionio._window import View, Window
from regionio.compose import Canvas, ChannelMap
from regionio.engines import CpuEngine, ReadStats
from regionio.engines.cpu import Source
from regionio.values import Conversion

__all__ = [
    "Batch",
    "Reader",
    "RegionLayout",
    "Work",
    "incomplete_regions",
    "paint_masks",
    "planned",
]


@dataclass(frozen=True)
class RegionLayout:
    """Axes of what is returned.

    Parameters
    ----------
    dims
        Letters of a region's axes out of Z, Y, X, C, in the order they have in memory.
    size
        (depth, height, width).
    channels
        Number of channels.
    """

    dims: str
    size: tuple[int, int, int]
    channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each of `dims`."""
        sizes = dict(zip("ZYXC", (*self.size, self.channels), strict=True))
        return tuple(sizes[axis] for axis in self.dims)

    @lazy_property
    def without_channels(self) -> RegionLayout:
        """The layout of a region's mask."""
        return replace(self, dims=self.dims.replace("C", ""), channels=1)

    def ordered(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a batch of such regions as a view ``[n, depth, height, width, channels]``."""
        axes, present = self._order
        ordered: NDArray[Any] = array.transpose(axes)[present]
        return ordered

    @lazy_property
    def _order(self) -> tuple[tuple[int, ...], tuple[slice | None, ...]]:
        """Return the axes in the order of N, Z, Y, X, C, and an index that adds missing ones."""
        axes = [1 + self.dims.index(axis) for axis in "ZYXC" if axis in self.dims]
        present = [slice(None) if axis in self.dims else None for axis in "ZYXC"]
        return (0, *axes), (slice(None), *present)


@dataclass
class Batch:
    """Regions that are being read.

    Parameters
    ----------
    number
        Of the batch.
    source, source_mask
        Memory that tiles are pasted into, with a leading axis of regions.
    array, mask
        What the caller gets: the same, unless regions are resampled.
    locations, indices
        As in `Region`.
    begin
        ``float64[n, 2]``, where in its first pixel (x, y) each region begins.
    """

    number: int
    source: NDArray[Any]
    source_mask: NDArray[np.bool_] | None
    array: NDArray[Any]
    mask: NDArray[np.bool_] | None
    locations: NDArray[np.int64]
    indices: NDArray[np.int64]
    begin: NDArray[np.float64]


class Reader:
    """What all regions of one call have in common.

    Parameters
    ----------
    view
        The level and planes.
    source
        What to read them from.
    planes
        Channel map of each plane of the view.
    layout
        Axes and sizes of a region.
    resampling
        How regions are made of what is read, or None: they are what is read.
    conversion, fill
        From stored values to the region's, and what is put where the image has none.
    return_mask
        Whether regions get a mask.
    z
        Index along Z of regions whose locations have none.
    depth_axis
        What users call the axis Z of regions.
    device
        Number of the GPU where regions are wanted, None for main memory.
    has_batch_axis
        Whether batches of one region have an axis N, too.
    """

    def __init__(
        self,
        view: View,
        source: Source,
        planes: list[ChannelMap],
        layout: RegionLayout,
        conversion: Conversion,
        fill: NDArray[Any],
        *,
        resampling: Resampling | None = None,
        return_mask: bool = False,
        z: int = 0,
        depth_axis: str = "Z",
        device: int | None = None,
        has_batch_axis: bool = False,
    ) -> None:
        self.device = device
        self.has_batch_axis = has_batch_axis
        self._depth_axis = depth_axis
        self.view = view
        self.source = source
        self.planes = planes
        self.layout = self.source_layout = layout
        self.resampling = resampling
        if resampling is not None:
            size = layout.size[0], *resampling.source_size
            self.source_layout = replace(layout, size=size)
        self.conversion = conversion
        self.fill = fill
        self.return_mask = return_mask
        self.z = z

    @property
    def region_bytes(self) -> int:
        """Bytes that are read for one region."""
        return math.prod(self.source_layout.shape) * self.conversion.dtype.itemsize

    @property
    def tiles_per_region(self) -> float:
        """How many tiles a region touches on average."""
        depth, height, width = self.source_layout.size
        tile_height, tile_width = self.view.table.tile_shape
        across = (1 + (height - 1) / tile_height) * (1 + (width - 1) / tile_width)
        return across * depth * len(self.planes)

    def level_location(self, locations: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (z, y, x) in level pixels of (x, y[, z]) in level-0 pixels.

        Positions are rounded down, after a quotient within rounding error of an integer has
        been taken for it.
        """
        placed = np.zeros((len(locations), 3), dtype=np.int64)
        down_x, down_y = self.view.level.downsample
        placed[:, 2] = _floor_divide(locations[:, 0], down_x)
        placed[:, 1] = _floor_divide(locations[:, 1], down_y)
        if locations.shape[1] == 3:
            placed[:, 0] = locations[:, 2]
        else:
            placed[:, 0] = self.z
        return placed

    def begin_in_pixel(
        self, locations: NDArray[np.int64], placed: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return where in the level pixels of `level_location` locations lie, (x, y) below 1."""
        exact = locations[:, :2] / np.array(self.view.level.downsample)
        begin: NDArray[np.float64] = np.clip(exact - placed[:, :0:-1], 0, 1)
        return begin

    @property
    def spacing(self) -> dict[str, float]:
        """Spacing of the regions' pixels, for axes where it is known."""
        known = dict(self.view.index.spacing)
        if self.resampling is not None:
            return {**known, **dict(zip("XY", self.resampling.spacing, strict=True))}
        scale = dict(zip("XY", self.view.level.downsample, strict=True))
        return {axis: value * scale.get(axis, 1.0) for axis, value in known.items()}

    def region(
        self,
        array: Any,
        mask: Any,
        locations: NDArray[np.int64],
        indices: NDArray[np.int64],
        *,
        batch_size: int,
        memory: Any = None,
    ) -> Region:
        """Return a finished batch as what users get.

        Parameters
        ----------
        array, mask
            Of the whole batch; the mask may be None.
        locations, indices
            As in `Region`, of the whole batch.
        batch_size
            1 gives the batch's only region, without a leading axis unless that is asked for.
        memory
            As in `Region`.
        """
        dims = self.layout.dims.replace("Z", self._depth_axis)
        single = batch_size == 1 and not self.has_batch_axis
        return Region(
            array[0] if single else array,
            dims=dims if single else "N" + dims,
            locations=locations[0] if single else locations,
            indices=np.asarray(indices[0]) if single else indices,
            level=self.view.number,
            spacing=self.spacing,
            spacing_unit=self.view.index.spacing_unit,
            mask=mask[0] if single and mask is not None else mask,
            memory=memory,
        )

    def __repr__(self) -> str:
        return f"{self.view.index.sources[0]!r} level {self.view.number}"


def _floor_divide(values: NDArray[np.int64], divisor: float) -> NDArray[np.int64]:
    if divisor == 1:
        return values
    if float(divisor).is_integer():
        return values // int(divisor)
    quotient = values / divisor
    nearest = np.rint(quotient)
    close = np.abs(quotient - nearest) <= 1e-9 * np.maximum(1, np.abs(quotient))
    return np.where(close, nearest, np.floor(quotient)).astype(np.int64)


class Work:
    """Batches on their way from locations to pixels.

    Parameters
    ----------
    reader
        What they have in common.
    batch_size
        1 gives regions without a leading axis.
    num_workers
        Most threads; 0 renders in the thread that waits.
    out
        Memory for a single region.
    is_helped
        The thread that waits is one of them.
    """

    def __init__(
        self,
        reader: Reader,
        batch_size: int,
        num_workers: int,
        out: NDArray[Any] | None = None,
        *,
        is_helped: bool = False,
    ) -> None:
        self._reader = reader
        self._batch_size = batch_size
        self._out = out
        self._next_region = 0
        self._regions = 0
        self._canvas = Canvas(batch_size, reader.conversion, reader.planes)
        engine = CpuEngine([reader.source], cache)
        self._unfinished: dict[int, Batch] = {}
        complete = self._resample if reader.resampling is not None else None
        self._schedule = Schedule(
            engine, self._canvas, batch_size, num_workers, complete, is_helped=is_helped
        )

    @property
    def stats(self) -> ReadStats:
        """What it has cost so far."""
        return replace(self._schedule.stats, regions=self._regions)

    def add(self, locations: NDArray[np.int64], indices: NDArray[np.int64]) -> list[Batch]:
        """Plan one or more batches and hand their tiles to the threads.

        Parameters
        ----------
        locations, indices
            Of all regions; the last batch may be short.
        """
        reader, size = self._reader, self._batch_size
        first = self._next_region
        self._next_region += -(-len(locations) // size) * size
        placed = reader.level_location(locations)
        window = planned(reader, placed, first, size)
        incomplete = incomplete_regions(reader, window, first, len(locations))
        batches = []
        for start in range(0, len(locations), size):
            part = slice(start, start + size)
            number = (first + start) // size
            batch = self._batch(number, locations[part], indices[part], incomplete[part])
            if reader.resampling is not None:
                batch.begin = reader.begin_in_pixel(locations[part], placed[part])
                self._unfinished[number] = batch
            batches.append(batch)
        if reader.return_mask:
            plain = reader.source_layout.without_channels
            masks = [plain.ordered(b.source_mask) for b in batches if b.source_mask is not None]
            paint_masks(reader, window, batches[0].number, size, masks)
        self._schedule.add(window)
        return batches

    def finish(self, batch: Batch, *, help_render: bool = False) -> Region:
        """Wait for a batch and return it."""
        if help_render:
            self._schedule.help_finish(batch.number)
        else:
            self._schedule.finish(batch.number)
        if batch.number in self._unfinished:  # it needed no tile
            self._resample(batch.number)
        self._canvas.remove(batch.number)
        self._regions += len(batch.locations)
        return self._reader.region(
            batch.array, batch.mask, batch.locations, batch.indices, batch_size=self._batch_size
        )

    def cancel(self) -> None:
        """Drop what is not finished."""
        self._schedule.cancel()

    def _batch(
        self,
        number: int,
        locations: NDArray[np.int64],
        indices: NDArray[np.int64],
        incomplete: NDArray[np.bool_],
    ) -> Batch:
        """Allocate a batch and fill the regions that will not be covered."""
        reader, count = self._reader, len(locations)
        shape, source_shape = reader.layout.shape, reader.source_layout.shape
        dtype = reader.conversion.dtype
        array = np.empty((count, *shape), dtype) if self._out is None else self._out[None]
        source = array
        if reader.resampling is not None:
            source = np.empty((count, *source_shape), dtype)
        ordered = reader.source_layout.ordered(source)
        for slot in np.flatnonzero(incomplete):
            ordered[slot] = reader.fill
        self._canvas.add(number, ordered)
        mask = source_mask = None
        if reader.return_mask:
            mask = np.zeros((count, *reader.layout.without_channels.shape), np.bool_)
            source_mask = mask
            if reader.resampling is not None:
                mask_shape = reader.source_layout.without_channels.shape
                source_mask = np.zeros((count, *mask_shape), np.bool_)
        begin = np.zeros((count, 2))
        return Batch(number, source, source_mask, array, mask, locations, indices, begin)

    def _resample(self, number: int) -> None:
        """Make the regions of a batch of what was read for them."""
        batch = self._unfinished.pop(number)
        resampling, layout = self._reader.resampling, self._reader.layout
        assert resampling is not None
        source = self._reader.source_layout.ordered(batch.source)
        for part, begin, out in zip(source, batch.begin, layout.ordered(batch.array), strict=True):
            resampling.average(part, begin, out)
        if batch.mask is not None and batch.source_mask is not None:
            source = self._reader.source_layout.without_channels.ordered(batch.source_mask)
            masks = layout.without_channels.ordered(batch.mask)
            for part, begin, out in zip(source, batch.begin, masks, strict=True):
                resampling.cover(part, begin, out)


def planned(reader: Reader, placed: NDArray[np.int64], first: int, batch_size: int) -> Window:
    """Plan regions.

    Parameters
    ----------
    reader
        What they have in common.
    placed
        ``int64[n, 3]``, (z, y, x) in pixels of the level.
    first
        Number of the first region.
    batch_size
        Regions a batch.
    """
    size = reader.source_layout.size
    if len(placed) == 1 and batch_size == 1:
        return plan_region(reader.view, tuple(placed[0].tolist()), size, first)
    view_of = np.zeros(len(placed), dtype=np.int64)
    return plan_regions([reader.view], view_of, placed, size, first, batch_size)


def incomplete_regions(reader: Reader, window: Window, first: int, count: int) -> NDArray[np.bool_]:
    """Return which of `count` regions from number `first` on have pixels that no piece covers."""
    area = window.pieces["height"] * window.pieces["width"]
    covered = np.bincount(window.pieces["region"] - first, area, minlength=count)
    missing: NDArray[np.bool_] = covered < math.prod(reader.source_layout.size) * len(reader.planes)
    return missing


def paint_masks(
    reader: Reader, window: Window, first_batch: int, size: int, masks: Sequence[NDArray[np.bool_]]
) -> None:
    """Set the masks of batches where the pieces of all planes lie.

    Parameters
    ----------
    reader, window
        What was planned.
    first_batch, size
        Number of the first batch, regions a batch.
    masks
        ``[regions, depth, height, width, 1]`` of each batch, all False.
    """
    planes = len(reader.planes)
    if planes == 1 or reader.view.table.complete:
        for region, plane, z, y, x, _, _, height, width in window.pieces.tolist():
            if plane == 0:
                batch, slot = divmod(region, size)
                masks[batch - first_batch][slot, z, y : y + height, x : x + width] = True
        return
    covers = [np.zeros(mask.shape, dtype=np.int32) for mask in masks]
    for region, _, z, y, x, _, _, height, width in window.pieces.tolist():
        batch, slot = divmod(region, size)
        covers[batch - first_batch][slot, z, y : y + height, x : x + width] += 1
    for mask, cover in zip(masks, covers, strict=True):
        mask[...] = (cover == planes).reshape(mask.shape)
