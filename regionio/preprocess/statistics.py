"""Mean and standard deviation of many TIFFs, channel by channel, to normalise by."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, product

import numpy as np

import regionio
from regionio._workers import default_num_workers
from regionio.preprocess.source import index_of

__all__ = ["ChannelStatistics", "statistics_of"]

FILES_AT_A_TIME = 1000
BAND_BYTES = 2**24
"""Of a page, that are looked at together."""


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of one channel.

    Parameters
    ----------
    mean, std
        Of all pixels; the standard deviation is that of the population.
    count
        Of pixels.
    """

    mean: float
    std: float
    count: int


@dataclass
class _Sums:
    """Exact sums of integers."""

    most: int
    count: int
    first: list[int]
    second: list[int]

    def add(self, other: _Sums) -> None:
        """Add another's."""
        self.count += other.count
        self.first = [a + b for a, b in zip(self.first, other.first, strict=True)]
        self.second = [a + b for a, b in zip(self.second, other.second, strict=True)]


def statistics_of(
    paths: Iterable[str | os.PathLike[str]],
    *,
    normalized: bool = False,
    num_workers: int | None = None,
) -> list[ChannelStatistics]:
    """Return the statistics of each channel over all pages of all files.

    Sums are exact, whatever the order of files.

    Parameters
    ----------
    paths
        TIFFs of one dtype and number of channels.
    normalized
        Of values from 0 to 1: the dtype's largest value is 1.
    num_workers
        Files that are read at a time; None is as many as there are CPUs for this process.

    Raises
    ------
    ValueError
        There are none, or they differ in dtype or channels, or have pages of several sizes.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/a.tif", np.array([[1, 3]], np.uint8))
    ...     statistics_of([f"{folder}/a.tif"])
    [ChannelStatistics(mean=2.0, std=1.0, count=2)]
    """
    total: _Sums | None = None
    for name, found in _sums(paths, default_num_workers() if num_workers is None else num_workers):
        if total is None:
            total = found
        elif (total.most, len(total.first)) != (found.most, len(found.first)):
            msg = (
                f"{name!r} has {len(found.first)} channels up to {found.most}, those before it have "
                f"{len(total.first)} up to {total.most}"
            )
            raise ValueError(msg)
        else:
            total.add(found)
    if total is None:
        msg = "there are no files"
        raise ValueError(msg)
    scale = total.most if normalized else 1
    statistics = []
    for first, second in zip(total.first, total.second, strict=True):
        # the integers are too large for floats to be subtracted
        variance = (second * total.count - first * first) / (total.count * total.count)
        statistics.append(
            ChannelStatistics(first / total.count / scale, math.sqrt(variance) / scale, total.count)
        )
    return statistics


def _sums(paths: Iterable[str | os.PathLike[str]], workers: int) -> Iterator[tuple[str, _Sums]]:
    waiting = iter(paths)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        while chunk := list(islice(waiting, FILES_AT_A_TIME)):
            yield from zip(
                [os.fspath(path) for path in chunk], pool.map(_sums_of, chunk), strict=True
            )


def _band(image: regionio.Image, t: int, z: int, y: int, size: tuple[int, int]) -> regionio.Region:
    """Return some rows of a page, channels last."""
    layout = "YXC" if "C" in image.dims else "YX"
    if image.is_volume:
        return image.read_region((0, y, z), size, layout=layout, num_workers=0)
    return image.read_region((0, y), size, z=z, t=t, layout=layout, num_workers=0)


def _sums_of(path: str | os.PathLike[str]) -> _Sums:
    with regionio.open(path) as image:
        if image.dtype not in (np.uint8, np.uint16):
            msg = f"{os.fspath(path)!r} holds {image.dtype}, uint8 or uint16 is expected"
            raise ValueError(msg)
        if len(image.scenes) > 1 or len(image.levels) > 1:
            msg = f"{os.fspath(path)!r} has pages of several sizes, one is expected"
            raise ValueError(msg)
        sizes, (width, height) = index_of(image).sizes, image.size("XY")
        channels = sizes["C"]
        total = _Sums(int(np.iinfo(image.dtype).max), 0, [0] * channels, [0] * channels)
        rows = max(1, BAND_BYTES // (width * channels * image.dtype.itemsize))
        for t, z in product(range(sizes["T"]), range(sizes["Z"])):
            for y in range(0, height, rows):
                box = width, min(rows, height - y)
                pixels = np.asarray(_band(image, t, z, y, box))
                flat = pixels.reshape(-1, channels).astype(np.uint64)
                first = flat.sum(axis=0).tolist()
                second = (flat * flat).sum(axis=0).tolist()
                total.add(_Sums(total.most, len(flat), first, second))
        return total
