"""From the arguments of `Image.read_region` to a reader: each is obeyed or refused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from regionio._index import ImageIndex
from regionio._loader import Loader, LoaderOptions
from regionio._locations import parse_locations, single_location
from regionio._opened import OpenedFile
from regionio._reader import Reader, RegionLayout
from regionio._region import Region
from regionio._spacing import Resampling, level_and_factors, pair
from regionio._window import View
from regionio._work import read_region
from regionio._workers import MOST_THREADS, default_num_workers
from regionio.compose import ChannelMap
from regionio.compose.gather import C_TYPES
from regionio.engines.cpu import Source
from regionio.engines.cuda.device import device_number, opened_device
from regionio.values import Conversion, TileConversion, fill_values, lowest_value, selected_channels

__all__ = ["ReadOptions", "ReadRequest", "read_request"]

LARGEST_COORDINATE = 2**62
LARGEST_SOURCE_BYTES = 2**30
"""What may be held of one region that is resampled."""


class ReadOptions(TypedDict, total=False):
    """Keyword arguments of `Image.read_region`, for type checkers; it documents them."""

    z: int | slice
    t: int | slice
    channels: int | str | slice | Sequence[int | str] | None
    num_workers: int | None
    drop_last: bool
    prefetch_factor: int
    shuffle: bool
    seed: int
    device: str
    fill: ArrayLike | None
    out: NDArray[Any] | None
    return_mask: bool
    layout: str | None
    dtype: DTypeLike | None
    scale: ArrayLike | None
    offset: ArrayLike | None
    spacing: float | tuple[float, float] | None


@dataclass(frozen=True)
class ReadRequest:
    """The arguments of `Image.read_region`, as the caller gave them."""

    location: Any
    size: Any
    level: int
    z: int | slice
    t: int | slice
    channels: Any
    num_workers: int | None
    batch_size: int
    drop_last: bool
    prefetch_factor: int
    shuffle: bool
    seed: int
    device: str
    fill: Any
    out: Any
    return_mask: bool
    layout: str | None
    dtype: Any
    scale: Any
    offset: Any
    spacing: Any


def read_request(
    file: OpenedFile,
    index: ImageIndex,
    request: ReadRequest,
    cache_key: Hashable,
    colors: Callable[[NDArray[Any]], NDArray[Any]] | None,
) -> Region | Loader:
    """Check a request, and read it or make the loader that will.

    Parameters
    ----------
    file
        What to read from.
    index
        The image: the file's, or one of its associated images.
    request
        What the caller asks for.
    cache_key
        Identifies the image's decoded tiles.
    colors
        Colour conversion of decoded tiles, or None.
    """
    device = device_number(request.device)
    if device is not None:
        opened_device(device)
    axes = 3 if index.is_volume else 2
    batch_size = _integer(request.batch_size, "batch_size", 1)
    num_workers = request.num_workers
    workers = (
        default_num_workers() if num_workers is None else _integer(num_workers, "num_workers", 0)
    )
    workers = min(workers, MOST_THREADS)
    options = LoaderOptions(
        batch_size=batch_size,
        drop_last=bool(request.drop_last),
        prefetch_factor=_integer(request.prefetch_factor, "prefetch_factor", 0),
        shuffle=bool(request.shuffle),
        seed=_integer(request.seed, "seed", 0),
        num_workers=workers,
    )
    location = request.location
    if location is None:
        location = (0,) * axes
    single = single_location(location, axes) if batch_size == 1 else None
    reader = _reader(
        file, index, request, cache_key, colors, is_single=single is not None, device=device
    )
    if single is None:
        if request.out is not None:
            msg = "out= takes one region: give one location, without batch_size"
            raise ValueError(msg)
        return Loader(reader, parse_locations(location, axes), options, file)
    _check_single(single, request)
    return read_region(reader, single, workers, _checked_out(request.out, reader))


def _reader(
    file: OpenedFile,
    index: ImageIndex,
    request: ReadRequest,
    cache_key: Hashable,
    colors: Callable[[NDArray[Any]], NDArray[Any]] | None,
    *,
    is_single: bool,
    device: int | None,
) -> Reader:
    level = _below(request.level, len(index.levels), "level", index)
    factors = (1.0, 1.0)
    if request.spacing is not None:
        if level != 0:
            msg = "level= and spacing= say the same thing twice: give one of them"
            raise ValueError(msg)
        level, factors = level_and_factors(index, request.spacing)
    times, _, depth, _, _ = index.levels[level].tiles.grid
    z, planes_wanted = _planes(request.z, depth, index)
    if index.is_volume and request.z != 0:
        msg = "z= is for focal planes; in a volume, location and size have a third number"
        raise ValueError(msg)
    size, drops_z = _size(request.size, index, level, factors)
    if planes_wanted is not None:
        size, drops_z = (planes_wanted, *size[1:]), False
    time, depth_axis, layout = 0, "Z", request.layout
    if isinstance(request.t, slice):
        clip = _clip(request.t, index, level)
        index, z, size = index.over_time, clip.start, (len(clip), *size[1:])
        depth_axis, drops_z = "T", False
        layout = layout.upper().replace("T", "Z") if isinstance(layout, str) else layout
    else:
        time = _below(request.t, times, "t", index)
    channels, drops_c = _channels(request.channels, index)
    dims = _dims(index, layout, drops_z=drops_z, drops_c=drops_c)
    by_plane = selected_channels(channels, index.samples)
    whole = channels == list(range(index.channels)) and len(by_plane) == 1
    planes = [ChannelMap.of(pairs) for pairs in by_plane.values()]
    if whole:
        planes = [ChannelMap(slice(0, None), slice(0, None))]
    conversion = Conversion.of(
        index.dtype, len(channels), request.dtype, request.scale, request.offset
    )
    _check_dtype(conversion.dtype, index.dtype, device)
    background = _background(index)
    if background is not None:
        background = background[channels]
    fill = fill_values(request.fill, len(channels), conversion, background)
    resampling = None
    if factors != (1.0, 1.0):
        resampling = _resampling(request.spacing, factors, size, len(channels), conversion)
    table = index.levels[level].tiles
    convert = None
    if index.transforms or colors is not None:
        convert = TileConversion(index.transforms, table.transform, colors)
    level_bytes = index.levels[level].width * index.levels[level].height * index.samples
    covers_level = size[1] * size[2] * index.samples >= level_bytes
    source = Source(
        storages=file.storages(index.sources),
        cache_key=None if covers_level else (cache_key, level),
        convert=convert,
        keep_eagerly=is_single,
    )
    return Reader(
        View(index, level, time, tuple(by_plane)),
        source,
        planes,
        RegionLayout(dims, size, len(channels)),
        conversion,
        fill,
        resampling=resampling,
        return_mask=bool(request.return_mask),
        z=z,
        depth_axis=depth_axis,
        device=device,
        has_batch_axis=isinstance(layout, str) and layout[:1].upper() == "N",
    )


def _resampling(
    spacing: Any,
    factors: tuple[float, float],
    size: tuple[int, int, int],
    channels: int,
    conversion: Conversion,
) -> Resampling:
    """Return how regions are made of larger ones.

    Raises
    ------
    ValueError
        That would be too large, or values can't be averaged.
    """
    if conversion.dtype.kind == "c":
        msg = "complex values can't be averaged: give a level instead of a spacing"
        raise ValueError(msg)
    resampling = Resampling(factors, size[1:], pair(spacing))
    height, width = resampling.source_size
    nbytes = size[0] * height * width * channels * conversion.dtype.itemsize
    if nbytes > LARGEST_SOURCE_BYTES:
        msg = (
            f"spacing={spacing!r} would be averaged from {width}×{height} pixels, "
            f"{nbytes} bytes a region: read a smaller size, or use thumbnail()"
        )
        raise ValueError(msg)
    return resampling


def _background(index: ImageIndex) -> NDArray[Any] | None:
    """Return what stands outside the image, one value a channel; None: there is nothing."""
    values = index.background
    if not any(values) and not index.transforms:
        return None
    if index.transforms and index.samples == 1:
        values = (min(lowest_value(transform) for transform in index.transforms),)
    return np.broadcast_to(np.asarray(values, dtype=index.dtype), index.channels)


def _size(
    size: Any, index: ImageIndex, number: int, factors: tuple[float, float]
) -> tuple[tuple[int, int, int], bool]:
    """Return (depth, height, width) and whether the region has no Z axis."""
    level = index.levels[number]
    if size is None:
        depth = level.tiles.grid[2] if index.is_volume else 1
        width, height = int(level.width / factors[0]), int(level.height / factors[1])
        return (depth, max(1, height), max(1, width)), not index.is_volume
    if isinstance(size, str | bytes) or not np.iterable(size):
        msg = f"size is (width, height), not {size!r}"
        raise TypeError(msg)
    values = [_integer(value, "size", 1) for value in size]
    if len(values) == 2:
        return (1, values[1], values[0]), True
    if len(values) == 3 and index.is_volume:
        return (values[2], values[1], values[0]), False
    wanted = "(width, height) or (width, height, depth)" if index.is_volume else "(width, height)"
    msg = f"size is {wanted}, not {tuple(size)!r}"
    if level.tiles.grid[2] > 1 and not index.is_volume:
        msg += "; z=slice(first, end) chooses planes"
    raise ValueError(msg)


def _planes(z: Any, depth: int, index: ImageIndex) -> tuple[int, int | None]:
    """Return the first focal plane, and how many are wanted, None for one without an axis Z."""
    if index.is_volume:
        return 0, None
    if not isinstance(z, slice):
        return _below(z, depth, "z", index), None
    chosen = range(depth)[z]
    if len(chosen) == 0 or chosen.step != 1:
        msg = f"z={z!r} has to choose planes that follow each other, of {depth}"
        raise ValueError(msg)
    return chosen.start, len(chosen)


def _clip(times: slice, index: ImageIndex, number: int) -> range:
    """Return the times that a slice chooses."""
    count, planes, depth, _, _ = index.levels[number].tiles.grid
    clip = range(count)[times]
    if planes * depth > 1:
        msg = f"t={times!r}: {index.sources[0]!r} has several planes a time; read one time after another"
        raise ValueError(msg)
    if len(clip) == 0 or clip.step != 1:
        msg = f"t={times!r} has to choose times that follow each other, of {count}"
        raise ValueError(msg)
    return clip


def _channels(channels: Any, index: ImageIndex) -> tuple[list[int], bool]:
    """Return the numbers of the channels, and whether C is dropped."""
    count = index.channels
    if channels is None:
        return list(range(count)), False
    if isinstance(channels, slice):
        chosen = list(range(count))[channels]
    elif isinstance(channels, str) or np.ndim(channels) == 0:
        return [_channel(channels, index)], True
    else:
        chosen = [_channel(channel, index) for channel in channels]
    if not chosen:
        msg = f"channels={channels!r} selects none of {count} channels"
        raise ValueError(msg)
    return chosen, False


def _channel(channel: Any, index: ImageIndex) -> int:
    if isinstance(channel, str):
        if channel not in index.channel_names:
            msg = f"there is no channel {channel!r}; there are {list(index.channel_names)}"
            raise ValueError(msg)
        return index.channel_names.index(channel)
    return _below(channel, index.channels, "channels", index)


def _dims(index: ImageIndex, layout: Any, *, drops_z: bool, drops_c: bool) -> str:
    """Return the axes of a region in the order of memory."""
    natural = "" if drops_z else "Z"
    natural += "YX"
    if index.channels > 1 and not drops_c:
        natural += "C"
    if layout is None:
        return natural
    if not isinstance(layout, str):
        msg = f"layout is text such as 'NCHW', not {layout!r}"
        raise TypeError(msg)
    dims = layout.upper().translate(str.maketrans("DHW", "ZYX")).removeprefix("N")
    allowed = {"".join(sorted(natural)), "".join(sorted({*natural, "C"}))}
    if "".join(sorted(dims)) not in allowed or (drops_c and "C" in dims):
        msg = f"layout {layout!r} does not order the axes {natural} (N, C, D or Z, H or Y, W or X)"
        raise ValueError(msg)
    if "C" in natural and "C" not in dims:
        msg = f"layout {layout!r} has no C, but there are {index.channels} channels: choose one"
        raise ValueError(msg)
    return dims


def _checked_out(out: Any, reader: Reader) -> Any:
    if out is None:
        return None
    if reader.device is not None:
        _check_device(out, reader.device)
    elif not isinstance(out, np.ndarray):
        msg = f"out is a NumPy array, not {type(out).__name__}"
        raise TypeError(msg)
    shape, dtype = reader.layout.shape, reader.conversion.dtype
    if reader.has_batch_axis:
        shape = 1, *shape
    if out.shape != shape or out.dtype != dtype:
        msg = f"out has shape {out.shape} and dtype {out.dtype}; {shape} and {dtype} are needed"
        raise ValueError(msg)
    if reader.device is None and not out.flags.writeable:
        msg = "out is read-only"
        raise ValueError(msg)
    return out[0] if reader.has_batch_axis else out


def _check_dtype(wanted: np.dtype[Any], stored: np.dtype[Any], device: int | None) -> None:
    """Raise where the kernel that composes regions on a GPU does not make a dtype."""
    if device is None:
        return
    is_known = wanted.isnative and wanted.name in C_TYPES
    if not is_known or (wanted.kind == "c" and wanted != stored):
        msg = f"dtype {wanted} is not made of {stored} on a GPU: choose another, or read on the CPU"
        raise ValueError(msg)


def _check_device(out: Any, device: int) -> None:
    """Raise unless an array is CuPy's, on a certain GPU."""
    if not isinstance(out, opened_device(device).ndarray):
        msg = f"with device='cuda:{device}', out is a CuPy array, not {type(out).__name__}"
        raise TypeError(msg)
    if out.device.id != device:
        msg = f"out is on cuda:{out.device.id}, but device is 'cuda:{device}'"
        raise ValueError(msg)


def _check_single(location: NDArray[np.int64], request: ReadRequest) -> None:
    if request.shuffle or request.drop_last:
        msg = "shuffle and drop_last are for many locations: give a list of them"
        raise ValueError(msg)
    if (np.abs(location) > LARGEST_COORDINATE).any():
        msg = f"location {location.tolist()} is too far out"
        raise ValueError(msg)


def _integer(value: Any, name: str, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        order = ": the order is location, size, level" if name == "level" else ""
        msg = f"{name} is an integer, not {value!r}{order}"
        raise TypeError(msg) from None
    if number > LARGEST_COORDINATE:
        msg = f"{name} is too large: {number}"
        raise ValueError(msg)
    if number < least:
        msg = f"{name} is at least {least}, not {number}"
        raise ValueError(msg)
    return number


def _below(value: Any, count: int, name: str, index: ImageIndex) -> int:
    number = _integer(value, name, 0)
    if number >= count:
        msg = f"{name}={number}: {index.sources[0]!r} has {count}, numbered from 0"
        raise IndexError(msg)
    return number
