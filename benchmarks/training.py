"""What a training job meets: the first batch, cold files, many slides, epochs, a slow consumer."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import regionio
from benchmarks.measure import Row, compare
from benchmarks.slides import Slide
from benchmarks.works import PATCH, random_locations, warm

BATCH = 64
LARGE_SIDE = 65536
SLIDES, OPEN_SLIDES, BATCHES_A_SLIDE, SMALL_BATCH = 200, 64, 2, 8


def open_cucim(path: Path) -> Any:
    from cucim.clara import CuImage

    return CuImage(str(path))


def first_batch(slide: Slide, path: Path, workers: int, rounds: int) -> Row:
    """Compare the time from the call to the first of many batches, on an open slide."""
    row = Row("first batch of 64", slide.name, workers, 1, "batches")
    locations = random_locations(slide.side, 4096)
    flat = locations.ravel().tolist()
    image, other = regionio.open(path), open_cucim(path)
    options: dict[str, Any] = {"batch_size": BATCH, "num_workers": workers}

    def ours() -> None:
        with image.read_region(locations, (PATCH, PATCH), **options) as loader:
            assert next(loader).shape[0] == BATCH

    def cucim() -> None:
        batch = next(iter(other.read_region(flat, (PATCH, PATCH), **options)))
        assert batch.shape[0] == BATCH

    contestants = {"regionio": ours, "cucim": cucim}
    return compare(row, contestants, rounds, prepare=lambda: warm(path))


def cold_pages(slide: Slide, path: Path, workers: int, rounds: int) -> Row:
    """Compare sparse patches of a file that is not in the page cache."""
    row = Row("random sparse, cold page cache", slide.name, workers, 1024, "patches")
    locations = random_locations(slide.side, 1024)

    def forget() -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    return compare(row, _epochs(path, locations, workers, row), rounds, prepare=forget)


def second_epoch(slide: Slide, path: Path, workers: int, rounds: int, cache: int) -> Row:
    """Compare two epochs over as many patches as the cache can hold tiles of."""
    row = Row("two epochs of 512 patches", slide.name, workers, 1024, "patches", cache)
    locations = random_locations(slide.side, 512)
    runs = _epochs(path, locations, workers, row, epochs=2)
    return compare(row, runs, rounds, prepare=lambda: warm(path))


def busy_consumer(slide: Slide, path: Path, workers: int, rounds: int) -> Row:
    """Compare patches while another thread keeps Python busy."""
    row = Row("random sparse beside busy Python", slide.name, workers, 1024, "patches")
    locations = random_locations(slide.side, 1024)

    def beside(run: Callable[[], None]) -> Callable[[], None]:
        def both() -> None:
            with busy_python():
                run()

        return both

    runs = _epochs(path, locations, workers, row)
    contestants = {name: beside(run) for name, run in runs.items()}
    return compare(row, contestants, rounds, prepare=lambda: warm(path))


@contextmanager
def busy_python() -> Iterator[None]:
    """Have a thread run Python as long as the context lasts."""
    stop = threading.Event()

    def spin() -> None:
        number = 0
        while not stop.is_set():
            number = (number * 31 + 7) % 1000003

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _epochs(
    path: Path, locations: np.ndarray, workers: int, row: Row, epochs: int = 1
) -> dict[str, Callable[[], None]]:
    flat = locations.ravel().tolist()
    image = regionio.open(path)
    options: dict[str, Any] = {"batch_size": BATCH, "num_workers": workers}

    def ours() -> None:
        loader = image.read_region(locations, (PATCH, PATCH), **options)
        done = sum(len(batch) for _ in range(epochs) for batch in loader)
        assert done == epochs * len(locations)
        row.tiles_decoded, row.bytes_read = loader.stats.tiles_decoded, loader.stats.bytes_read

    def cucim() -> None:
        other = open_cucim(path)
        for _ in range(epochs):
            for _batch in other.read_region(flat, (PATCH, PATCH), **options):
                pass

    return {"regionio": ours, "cucim": cucim}


def many_slides(slide: Slide, path: Path, folder: Path, workers: int, rounds: int) -> Row:
    """Compare small batches of slides in random order, no more than 64 of 200 open at a time."""
    links = folder / "many"
    links.mkdir(exist_ok=True)
    paths = [links / f"{number}{path.suffix}" for number in range(SLIDES)]
    for link in paths:
        if not link.exists():
            link.hardlink_to(path)
    order = np.random.default_rng(2).permutation(SLIDES * BATCHES_A_SLIDE) % SLIDES
    places = random_locations(slide.side, SMALL_BATCH)
    flat = places.ravel().tolist()
    count = len(order) * SMALL_BATCH
    row = Row(f"{SLIDES} slides, {OPEN_SLIDES} open", slide.name, workers, count, "patches")
    options: dict[str, Any] = {"batch_size": SMALL_BATCH, "num_workers": workers}

    def visit(open_slide: Callable[[Path], Any], where: Any) -> None:
        opened: OrderedDict[int, Any] = OrderedDict()
        for number in order.tolist():
            image = opened.pop(number, None) or open_slide(paths[number])
            opened[number] = image
            if len(opened) > OPEN_SLIDES:
                opened.popitem(last=False)[1].close()
            for batch in image.read_region(where, (PATCH, PATCH), **options):
                assert batch.shape[0] == SMALL_BATCH
        for image in opened.values():
            image.close()

    contestants = {
        "regionio": lambda: visit(regionio.open, places),
        "cucim": lambda: visit(open_cucim, flat),
    }
    return compare(row, contestants, rounds, prepare=lambda: warm(path))


def paused_consumer(path: Path, workers: int) -> dict[str, float]:
    """Return how many MB each contestant holds once its consumer has paused after a batch.

    Each runs in a process of its own, whose memory nobody has used before.
    """
    fresh = multiprocessing.get_context("spawn")
    held = {}
    for name in ("regionio", "cucim"):
        with fresh.Pool(1) as pool:
            held[name] = pool.apply(_held_while_pausing, (name, path, workers))
    return held


def _held_while_pausing(name: str, path: Path, workers: int) -> float:
    import psutil

    regionio.cache.capacity = 0
    locations = random_locations(LARGE_SIDE, 100_000)
    image = regionio.open(path) if name == "regionio" else open_cucim(path)
    where: Any = locations if name == "regionio" else locations.ravel().tolist()
    next(iter(image.read_region(where[:2], (PATCH, PATCH))), None)  # libraries are loaded
    before = psutil.Process().memory_info().rss
    batches = iter(image.read_region(where, (PATCH, PATCH), batch_size=BATCH, num_workers=workers))
    next(batches)
    time.sleep(2)
    return float(psutil.Process().memory_info().rss - before) / 1e6
