"""Regions and patches of a DICOM slide of JPEG tiles."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import regionio
from benchmarks.dicom_elements import compressed_frames
from benchmarks.dicom_slides import TILE, DicomSlide
from benchmarks.measure import Row, UnableError, compare, library
from benchmarks.works import (
    FASTEST,
    PATCH,
    in_threads,
    random_locations,
    tiles_touched,
    touch_memory,
    warm,
    windows,
)

Place = tuple[int, int]
BATCH = 64


class Peers:
    """WsiDicom and OpenSlide on one slide, opened anew before every round so that caches are empty.

    Parameters
    ----------
    path
        Level 0 of the slide.
    cache
        Bytes for decoded tiles of each; 0 turns every cache off, those of compressed tiles too.
    pool
        Has wsidicom read a region by several threads.
    """

    def __init__(self, path: Path, cache: int, pool: ThreadPoolExecutor | None = None) -> None:
        self._path, self._cache, self._pool = path, cache, pool
        self._opened: list[Any] = []
        self.open()

    def open(self) -> None:
        """Close both and open them again."""
        wsidicom, openslide = library("wsidicom"), library("openslide")
        self.close()
        sizes = library("wsidicom.config").Settings(
            decoded_frame_cache_size=self._cache, encoded_frame_cache_size=0
        )
        self.wsidicom = wsidicom.WsiDicom.open(self._path, read_executor=self._pool, settings=sizes)
        self.openslide = openslide.OpenSlide(self._path)
        self.openslide.set_cache(openslide.OpenSlideCache(self._cache))
        self._opened = [self.wsidicom, self.openslide]

    def close(self) -> None:
        """Close both."""
        for slide in self._opened:
            slide.close()
        self._opened = []

    def readers(
        self, locations: np.ndarray, shape: tuple[int, int], workers: int
    ) -> dict[str, Callable[[], None]]:
        """Return what reads a region at every location with each, one at a time in a thread."""

        def wsidicom() -> None:
            slide = self.wsidicom
            spread(lambda at: slide.read_region(at, 0, shape, as_array=True), locations, workers)

        def openslide() -> None:
            slide = self.openslide
            spread(lambda at: slide.read_region(at, 0, shape), locations, workers)

        return {"wsidicom": wsidicom, "openslide": openslide}

    def prepare(self) -> None:
        """Get ready for what is timed next."""
        self.open()
        warm(self._path)
        touch_memory(self._cache)


def spread(read: Callable[[Place], object], locations: np.ndarray, workers: int) -> None:
    """Read every place, shared out among threads."""
    places: list[Place] = [(x, y) for x, y in locations.tolist()]
    if workers == 1:
        for place in places:
            read(place)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(read, places))


def regions_by_threads(
    slide: DicomSlide, path: Path, workers: int, rounds: int, size: int = 2048, count: int = 16
) -> Row:
    """Compare large regions that several threads ask for, each reading one at a time."""
    row = Row(f"{size}² regions, one a thread", slide.name, workers, count, "regions")
    locations = random_locations(slide.side, count, size)
    image, peers = regionio.open(path), Peers(path, 0)
    shape = size, size

    def ours() -> None:
        spread(lambda place: image.read_region(place, shape, num_workers=0), locations, workers)

    contestants = {"regionio": ours, **peers.readers(locations, shape, workers)}
    windows = [locations[n : n + 1] for n in range(count)]
    floor = decode_floor(slide, path, windows, size, workers)
    compare(row, contestants, rounds, floor, peers.prepare)
    peers.close()
    return row


def regions_one_at_a_time(
    slide: DicomSlide, path: Path, workers: int, rounds: int, size: int = 2048, count: int = 16
) -> Row:
    """Compare large regions, one after the other, each read by several threads."""
    row = Row(f"{size}² regions, one at a time", slide.name, workers, count, "regions")
    locations = random_locations(slide.side, count, size)
    image, shape = regionio.open(path), (size, size)

    def ours() -> None:
        spread(lambda place: image.read_region(place, shape, num_workers=workers), locations, 1)

    def openslide() -> None:
        msg = "it reads a region by one thread"
        raise UnableError(msg)

    with ThreadPoolExecutor(workers) as pool:
        peers = Peers(path, 0, pool)

        def wsidicom() -> None:
            slide = peers.wsidicom
            spread(
                lambda place: slide.read_region(place, 0, shape, threads=workers, as_array=True),
                locations,
                1,
            )

        contestants = {"regionio": ours, "wsidicom": wsidicom, "openslide": openslide}
        windows = [locations[n : n + 1] for n in range(count)]
        floor = decode_floor(slide, path, windows, size, workers)
        compare(row, contestants, rounds, floor, peers.prepare)
        peers.close()
    return row


def patches(
    slide: DicomSlide, path: Path, workers: int, rounds: int, cache: int, count: int = 1024
) -> Row:
    """Compare random patches: regionio's in batches, of the others one at a time in a thread."""
    row = Row(f"random {PATCH}² patches", slide.name, workers, count, "patches", cache)
    locations = random_locations(slide.side, count)
    image, peers = regionio.open(path), Peers(path, cache)
    shape = PATCH, PATCH

    def ours() -> None:
        loader = image.read_region(locations, shape, batch_size=BATCH, num_workers=workers)
        assert sum(len(batch) for batch in loader) == count
        row.tiles_decoded, row.bytes_read = loader.stats.tiles_decoded, loader.stats.bytes_read

    contestants = {"regionio": ours, **peers.readers(locations, shape, workers)}
    parts = [locations] if cache else list(windows(locations, BATCH))
    floor = decode_floor(slide, path, parts, PATCH, workers)
    compare(row, contestants, rounds, floor, peers.prepare)
    peers.close()
    return row


def decode_floor(
    slide: DicomSlide, path: Path, parts: list[np.ndarray], size: int, workers: int
) -> Callable[[], None]:
    """Return what decodes the distinct tiles of each part of the locations and does nothing else."""
    frames = compressed_frames(path)
    touched = [tiles_touched(part, size, slide.as_slide()) for part in parts]
    numbers = np.concatenate(touched).tolist()
    decode = FASTEST["jpeg420"]

    def decode_part(part: range) -> None:
        buffer = np.empty((TILE, TILE, 3), np.uint8)
        for position in part:
            decode(frames[numbers[position]], buffer)

    return lambda: in_threads(decode_part, len(numbers), workers)
