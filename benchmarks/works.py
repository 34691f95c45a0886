"""What is compared: patches, whole levels, single regions, opening."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import simplejpeg
import tifffile

import regionio
from benchmarks.measure import Row, UnableError, compare
from benchmarks.slides import Slide

PATCH = 224
WINDOW_BATCHES = 3
GIB = 2**30


def grid_locations(side: int, count: int | None = None) -> np.ndarray:
    """Return (x, y) of patches side by side, row by row."""
    per_row = side // PATCH
    total = per_row * per_row if count is None else min(count, per_row * per_row)
    number = np.arange(total)
    return np.column_stack([number % per_row, number // per_row]) * PATCH


def random_locations(side: int, count: int, size: int = PATCH) -> np.ndarray:
    return np.random.default_rng(1).integers(0, side - size, (count, 2))


def tiles_touched(locations: np.ndarray, size: int, slide: Slide) -> np.ndarray:
    """Return the numbers of the distinct tiles that square regions need."""
    per_row = -(-slide.side // slide.tile)
    first, last = locations // slide.tile, (locations + size - 1) // slide.tile
    numbers = []
    for row in range(int((last - first)[:, 1].max()) + 1):
        for column in range(int((last - first)[:, 0].max()) + 1):
            inside = (first[:, 1] + row <= last[:, 1]) & (first[:, 0] + column <= last[:, 0])
            numbers.append(((first[:, 1] + row) * per_row + first[:, 0] + column)[inside])
    return np.unique(np.concatenate(numbers))


ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"

FASTEST: dict[str, Callable[[bytes, np.ndarray], object]] = {
    "jpeg420": lambda data, out: simplejpeg.decode_jpeg(data, "RGB", buffer=out),
    "jpeg_rgb": lambda data, out: simplejpeg.decode_jpeg(data, "RGB", buffer=out),
    "j2k": lambda data, out: imagecodecs.jpeg2k_decode(data, out=out),
    "deflate": lambda data, out: imagecodecs.deflate_decode(data, out=out.nbytes),
    "zstd": lambda data, out: imagecodecs.zstd_decode(data, out=out.nbytes),
    "lzw": lambda data, out: imagecodecs.lzw_decode(data, out=out.nbytes),
}
"""The fastest installed decoder of each codec, into memory that is there already if it can."""


def decode_floor(
    slide: Slide, path: Path, tiles: list[np.ndarray], workers: int
) -> Callable[[], None]:
    """Return what decodes tiles into a reused buffer and does nothing else.

    Parameters
    ----------
    slide, path
        The slide.
    tiles
        Numbers of the distinct tiles of each window (cache off), or of the job (cache on).
    workers
        Threads.
    """
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        offsets, sizes = page.dataoffsets, page.databytecounts
        tables = page.jpegtables or b""
    marker = ADOBE_RGB if slide.codec == "jpeg_rgb" else b""
    prefix = (tables[:-2] or b"\xff\xd8") + marker
    decode = FASTEST[slide.codec]
    numbers = np.concatenate(tiles)
    with path.open("rb") as file:
        distinct = {int(n): os.pread(file.fileno(), sizes[n], offsets[n]) for n in numbers[:4096]}
    known = list(distinct.values())
    if slide.codec.startswith("jpeg"):
        known = [prefix + data[2:] for data in known]

    def decode_part(part: range) -> None:
        buffer = np.empty((slide.tile, slide.tile, 3), np.uint8)
        for number in part:
            decode(known[number % len(known)], buffer)

    return lambda: in_threads(decode_part, len(numbers), workers)


def in_threads(work: Callable[[range], None], count: int, workers: int) -> None:
    """Share out the numbers up to `count` among threads, every n-th to each."""
    threads = [
        threading.Thread(target=work, args=(range(n, count, workers),)) for n in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def windows(locations: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    step = batch * WINDOW_BATCHES
    for start in range(0, len(locations), step):
        yield locations[start : start + step]


def patches(
    work: str,
    slide: Slide,
    path: Path,
    locations: np.ndarray,
    workers: int,
    rounds: int,
    cache: int,
    batch: int = 64,
) -> Row:
    """Compare batches of patches with cuCIM."""
    row = Row(work, slide.name, workers, len(locations), "patches", cache)
    image = regionio.open(path)
    flat = locations.ravel().tolist()

    def ours() -> None:
        loader = image.read_region(locations, (PATCH, PATCH), batch_size=batch, num_workers=workers)
        done = sum(len(b) if batch > 1 else 1 for b in loader)
        assert done == len(locations)
        row.tiles_decoded, row.bytes_read = loader.stats.tiles_decoded, loader.stats.bytes_read

    def cucim() -> None:
        from cucim.clara import CuImage

        done = 0
        for regions in CuImage(str(path)).read_region(
            flat, (PATCH, PATCH), batch_size=batch, num_workers=workers
        ):
            done += regions.shape[0] if batch > 1 else 1
        assert done == len(locations)

    if cache:
        tiles = [tiles_touched(locations, PATCH, slide)]
    else:
        tiles = [tiles_touched(part, PATCH, slide) for part in windows(locations, batch)]
    floor = decode_floor(slide, path, tiles, workers)
    return compare(row, {"regionio": ours, "cucim": cucim}, rounds, floor, lambda: warm(path))


def touch_memory(nbytes: int) -> None:
    """Have the machine back as much memory as the next contestant will ask for.

    On virtual machines the first use of memory that was idle takes seconds a gigabyte, which
    would be counted against whoever happens to get it.
    """
    np.ones(nbytes, dtype=np.uint8)


def warm(path: Path) -> None:
    """Read a file, so that the page cache holds it: some machines drop idle pages within seconds."""
    with path.open("rb", buffering=0) as file:
        while file.read(2**24):
            pass


def whole_level(slide: Slide, path: Path, workers: int, rounds: int) -> Row:
    """Compare reading level 0 as one array with cuCIM and tifffile."""
    megabytes = slide.side * slide.side * 3 / 1e6
    row = Row("whole level 0", slide.name, workers, megabytes, "MB")
    image = regionio.open(path)

    def ours() -> None:
        array = image.read_region(num_workers=workers)
        assert array.shape[0] == slide.side

    def cucim() -> None:
        from cucim.clara import CuImage

        try:
            array = np.asarray(CuImage(str(path)).read_region(num_workers=workers))
        except RuntimeError as error:
            raise UnableError(str(error)) from error
        assert array.shape[0] == slide.side

    def with_tifffile() -> None:
        array = tifffile.imread(path, maxworkers=workers)
        assert array.shape[0] == slide.side

    count = slide.tiles
    floor = decode_floor(slide, path, [np.arange(count)], workers)
    contestants = {"regionio": ours, "cucim": cucim, "tifffile": with_tifffile}

    def prepare() -> None:
        warm(path)
        touch_memory(int(1.1e6 * megabytes))

    return compare(row, contestants, rounds, floor, prepare)


def single_regions(
    slide: Slide, path: Path, workers: int, rounds: int, count: int = 300, cache: int = 0
) -> Row:
    """Compare one 512² region at a time, from `workers` threads that each read their share."""
    locations = random_locations(slide.side, count, 512)
    row = Row("512² regions, one at a time", slide.name, workers, count, "reads", cache)
    image = regionio.open(path)

    def spread(read: Callable[[tuple[int, int]], object]) -> None:
        places = [tuple(place) for place in locations.tolist()]
        if workers == 1:
            for place in places:
                read(place)
            return
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(read, places))

    def ours() -> None:
        spread(lambda place: image.read_region(place, (512, 512), num_workers=0))

    def cucim() -> None:
        from cucim.clara import CuImage

        slide_image = CuImage(str(path))
        spread(lambda place: np.asarray(slide_image.read_region(place, (512, 512), num_workers=0)))

    def openslide() -> None:
        import openslide as library

        other = library.OpenSlide(path)
        if cache == 0:
            other.set_cache(library.OpenSlideCache(0))
        spread(lambda place: other.read_region(place, 0, (512, 512)))

    tiles = [tiles_touched(place[None], 512, slide) for place in locations]
    floor = decode_floor(slide, path, tiles, workers)
    contestants = {"regionio": ours, "cucim": cucim, "openslide": openslide}
    return compare(row, contestants, rounds, floor, lambda: warm(path))


def opening(slide: Slide, path: Path, rounds: int) -> Row:
    """Compare opening a slide whose index is not in memory."""
    from regionio import _opened

    row = Row("open", slide.name, 1, 1, "slides")

    def ours() -> None:
        _opened.indexes.clear()
        regionio.open(path).close()

    def with_tifffile() -> None:
        with tifffile.TiffFile(path) as tiff:
            len(tiff.pages)

    def cucim() -> None:
        from cucim.clara import CuImage

        CuImage(str(path)).close()

    def openslide() -> None:
        import openslide as library

        library.OpenSlide(path).close()

    contestants = {
        "regionio": ours,
        "cucim": cucim,
        "tifffile": with_tifffile,
        "openslide": openslide,
    }
    return compare(row, contestants, rounds)
