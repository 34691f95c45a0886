"""Patches and whole levels of JPEG slides in the memory of a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

import regionio
from benchmarks.cuda_measure import (
    CudaRow,
    Job,
    Scale,
    compare_on_gpu,
    copied,
    cupy,
    synchronize,
)
from benchmarks.cuda_nvimgcodec import BareDecoder, tile_streams
from benchmarks.measure import report
from benchmarks.slides import Slide
from benchmarks.training import open_cucim
from benchmarks.works import PATCH, grid_locations, random_locations, warm

TILE, BATCH = 256, 256
DECODER_TILES, DECODER_BATCHES = 4096, (1024, 2048)
FIRST_OF = 16
"""Batches, where the time to the first counts."""


@dataclass(frozen=True)
class Patches:
    """Which patches are read of which slide.

    Parameters
    ----------
    work
        Names them.
    slide, folder
        The slide, and where it is, or is generated when it is wanted.
    locations
        (x, y) of each.
    workers
        Threads of every contestant.
    size, batch
        Width and height of a patch, and patches a batch.
    """

    work: str
    slide: Slide
    folder: Path
    locations: np.ndarray
    workers: int
    size: int = PATCH
    batch: int = BATCH

    @property
    def path(self) -> Path:
        return self.slide.path(self.folder)

    @property
    def options(self) -> dict[str, Any]:
        return {"batch_size": self.batch, "num_workers": self.workers}

    def row(self) -> CudaRow:
        return CudaRow(self.work, self.slide.name, self.workers, len(self.locations), "patches")

    def loader(self, image: regionio.Image, device: str) -> Any:
        """Return regionio's batches."""
        return image.read_region(
            self.locations, (self.size, self.size), device=device, **self.options
        )

    def cucim(self, image: Any, device: str) -> Any:
        """Return cuCIM's batches."""
        flat = self.locations.ravel().tolist()
        return image.read_region(flat, (self.size, self.size), device=device, **self.options)

    def count(self, batches: Any, *, copy: bool) -> None:
        """Go through all batches, copying them to the GPU if they are not there."""
        done = 0
        for batch in batches:
            pixels = copied(batch) if copy else batch
            done += pixels.shape[0] if self.batch > 1 else 1
        assert done == len(self.locations), f"{done} patches of {len(self.locations)}"


def jobs(folder: Path, workers: int, rounds: int, scale: Scale) -> dict[str, Job]:
    """Return what measures each row."""
    large, dense = (Slide("jpeg420", side, TILE) for side in (scale.large, scale.side))

    @cache
    def decoder() -> BareDecoder:
        streams = tile_streams(dense.path(folder), DECODER_TILES)
        return BareDecoder(streams, (TILE, TILE, 3), "SRGB", DECODER_BATCHES)

    def patches(work: str, slide: Slide, locations: np.ndarray, **settings: Any) -> Patches:
        return Patches(work, slide, folder, locations, workers, **settings)

    tiles = tile_locations(large.side, 4 * scale.patches)
    sparse = random_locations(large.side, scale.patches)
    random = random_locations(dense.side, dense.tiles)
    grid = grid_locations(dense.side)
    compared: list[tuple[Patches, dict[str, float]]] = [
        (patches("each tile once", large, tiles, size=TILE), {"nvimgcodec": 0.9}),
        (
            patches("each tile once, batch 1024", large, tiles, size=TILE, batch=1024),
            {"nvimgcodec": 0.9},
        ),
        (patches("random sparse", large, sparse), {"nvimgcodec": 0.85}),
        (patches("grid", dense, grid), {"nvimgcodec": 0.8, "cucim cuda": 3}),
        (patches("random dense", dense, random), {"cucim cuda": 2}),
        (patches("random dense, batch 8", dense, random[:1024], batch=8), {}),
        (patches("random dense, batch 1", dense, random[:256], batch=1), {}),
    ]
    first = patches("first batch of 256", dense, random[: FIRST_OF * BATCH])
    return {
        **{
            each.work: partial(all_batches, each, rounds, goals, decoder)
            for each, goals in compared
        },
        first.work: partial(first_batch, first, rounds),
        "whole level": partial(whole_level, dense, folder, workers, rounds, decoder),
    }


def tile_locations(side: int, most: int) -> np.ndarray:
    """Return (x, y) of the first tiles, row by row."""
    across = side // TILE
    numbers = np.arange(min(most, across**2))
    return np.column_stack([numbers % across, numbers // across]) * TILE


def all_batches(
    patches: Patches,
    rounds: int,
    goals: dict[str, float],
    decoder: Callable[[], BareDecoder],
) -> CudaRow:
    """Compare reading all patches with nvImageCodec alone, with cuCIM, and with the CPU."""
    row = patches.row()
    row.goals = goals
    image = regionio.open(patches.path)
    row.note(pixels_compared(image, patches))

    def ours() -> None:
        loader = patches.loader(image, "cuda")
        patches.count(loader, copy=False)
        row.note_stats(loader.stats)

    def nvimgcodec() -> object:
        found = decoder().fastest(row.tiles_decoded)
        row.note_form("nvimgcodec", decoder().form, decoder().rates)
        return found

    def cucim(device: str) -> None:
        batches = patches.cucim(open_cucim(patches.path), device)
        patches.count(batches, copy=device == "cpu")

    contestants = {
        "regionio": ours,
        "nvimgcodec": nvimgcodec,
        "cucim cuda": lambda: cucim("cuda"),
        "regionio cpu + copy": lambda: patches.count(patches.loader(image, "cpu"), copy=True),
        "cucim cpu + copy": lambda: cucim("cpu"),
    }
    compare_on_gpu(row, contestants, rounds, patches.path)
    per_patch = row.tiles_decoded / row.units
    row.note(f"{per_patch:.2f} tiles decoded a patch")
    return row


def pixels_compared(image: regionio.Image, patches: Patches, count: int = 64) -> str:
    """Return how far the first pixels are from those that the CPU decodes."""
    some = patches.locations[:count]
    size = patches.size, patches.size
    ours, cpus = (
        next(iter(image.read_region(some, size, batch_size=count, device=device)))
        for device in ("cuda", "cpu")
    )
    found = cupy().asnumpy(ours.array).astype(np.int16)
    return f"pixels within {np.abs(found - np.asarray(cpus)).max()} of the CPU's"


def first_batch(patches: Patches, rounds: int) -> CudaRow:
    """Compare the time from the call to the first of several batches, on an open slide.

    The rest is read, too, but not timed: cuCIM's batches on a GPU that are left in the middle
    keep the process from going on.
    """
    row = patches.row()
    row.units, row.unit = 1, "batches"
    image, other = regionio.open(patches.path), open_cucim(patches.path)
    contestants: dict[str, Callable[[], Any]] = {
        "regionio": lambda: patches.loader(image, "cuda"),
        "cucim cuda": lambda: patches.cucim(other, "cuda"),
        "regionio cpu + copy": lambda: patches.loader(image, "cpu"),
        "cucim cpu + copy": lambda: patches.cucim(other, "cpu"),
    }
    row.seconds = {name: [] for name in contestants}
    for number in range(1 + rounds):
        for name, batches in contestants.items():
            warm(patches.path)
            found = seconds_to_first(batches, patches.batch, copy=name.endswith("copy"))
            if number > 0:  # what is made once is made in a round that is not counted
                row.seconds[name].append(found)
    report(row)
    return row


def seconds_to_first(make: Callable[[], Any], size: int, *, copy: bool) -> float:
    """Return the time to a first batch of so many patches in the GPU's memory; read the rest."""
    regionio.cache.capacity = 0  # as in the other rows
    regionio.cache.clear()
    start = time.perf_counter()
    batches = iter(make())
    first = next(batches)
    pixels = copied(first) if copy else first
    synchronize()
    seconds = time.perf_counter() - start
    assert pixels.shape[0] == size
    for _ in batches:
        pass
    return seconds


def whole_level(
    slide: Slide, folder: Path, workers: int, rounds: int, decoder: Callable[[], BareDecoder]
) -> CudaRow:
    """Compare reading level 0 as one array."""
    path = slide.path(folder)
    megabytes = slide.side * slide.side * 3 / 1e6
    row = CudaRow("whole level 0", slide.name, workers, megabytes, "MB")
    image = regionio.open(path)
    row.tiles_decoded = slide.tiles

    def ours(device: str) -> Any:
        return image.read_region((0, 0), image.size("XY"), num_workers=workers, device=device)

    def cucim(device: str) -> Any:
        return open_cucim(path).read_region(num_workers=workers, device=device)

    contestants = {
        "regionio": lambda: ours("cuda"),
        "nvimgcodec": lambda: decoder().fastest(slide.tiles),
        "regionio cpu + copy": lambda: copied(ours("cpu")),
        "tifffile + copy": lambda: copied(tifffile.imread(path, maxworkers=workers)),
        "cucim cpu + copy": lambda: copied(cucim("cpu")),
        "cucim cuda": lambda: cucim("cuda"),  # last: where it can't, it may end the process
    }
    return compare_on_gpu(row, contestants, rounds, path, int(1.1e6 * megabytes))
