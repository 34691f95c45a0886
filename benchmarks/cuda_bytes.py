"""Tiles whose bytes are the work: uncompressed, deflate and zstd, into the memory of a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

import regionio
from benchmarks.cuda_kvikio import RunReader, coalesced
from benchmarks.cuda_measure import CudaRow, Job, Scale, compare_on_gpu, copied, cupy, whole_image
from benchmarks.slides import Slide, real_pixels
from benchmarks.works import PATCH, random_locations, tiles_touched

TILE, BATCH = 256, 256
WINDOW_BATCHES = 4
GOALS = {"regionio cpu + copy": 2, "kvikio": 0.8}
ENCODE: dict[str, Callable[[np.ndarray], bytes]] = {
    "none": lambda tile: tile.tobytes(),
    "deflate": lambda tile: bytes(imagecodecs.zlib_encode(tile.tobytes(), level=6)),
    "zstd": lambda tile: bytes(imagecodecs.zstd_encode(tile.tobytes(), level=9)),
}
COMPRESSION = {"none": None, "deflate": "zlib", "zstd": "zstd"}


@dataclass(frozen=True)
class ByteSlide:
    """One slide to generate, of compressed tiles of the real one that are repeated.

    Parameters
    ----------
    codec
        ``none``, ``deflate`` or ``zstd``.
    dtype
        ``uint8``: the slide's RGB; ``uint16``: a weighted sum of its channels, 12 bits.
    predictor
        2 or 1, horizontal differences or none.
    side
        Width and height in pixels.
    """

    codec: str
    dtype: str
    predictor: int
    side: int

    @property
    def name(self) -> str:
        differences = "-differences" if self.predictor == 2 else ""
        return f"{self.codec}{differences}-{self.dtype}-{self.side}"

    @property
    def samples(self) -> int:
        return 3 if self.dtype == "uint8" else 1

    @property
    def nbytes(self) -> int:
        return self.side**2 * self.samples * np.dtype(self.dtype).itemsize

    def as_slide(self) -> Slide:
        """Return what the helpers of other slides ask for."""
        return Slide(self.codec, self.side, TILE)

    def path(self, folder: Path) -> Path:
        """Return the slide's path, having written it if it is not there."""
        path = folder / f"{self.name}.tif"
        if not path.exists():
            part = path.with_suffix(".part")
            _write(self, part)
            part.rename(path)
        return path


def _pixels(dtype: str) -> np.ndarray:
    colors = real_pixels()
    if dtype == "uint8":
        return colors
    return colors.astype(np.uint16) @ np.array([4, 8, 4], np.uint16)


def _write(slide: ByteSlide, path: Path) -> None:
    pixels = _pixels(slide.dtype)
    rows, columns = (size // TILE for size in pixels.shape[:2])
    cells = [(y, x) for y in range(0, rows * TILE, TILE) for x in range(0, columns * TILE, TILE)]

    def encoded(cell: tuple[int, int]) -> bytes:
        y, x = cell
        tile = np.ascontiguousarray(pixels[y : y + TILE, x : x + TILE])
        if slide.predictor == 2:
            tile = imagecodecs.delta_encode(tile, axis=1)
        return ENCODE[slide.codec](tile)

    with ThreadPoolExecutor() as pool:
        tiles = list(pool.map(encoded, cells))
    order = np.random.default_rng(7).integers(0, len(tiles), (slide.side // TILE) ** 2)

    def repeated() -> Iterator[bytes]:
        for number in order:
            yield tiles[number]

    tifffile.imwrite(
        path,
        repeated(),
        shape=(slide.side, slide.side, 3) if slide.samples == 3 else (slide.side, slide.side),
        dtype=slide.dtype,
        tile=(TILE, TILE),
        bigtiff=True,
        metadata=None,
        photometric="rgb" if slide.samples == 3 else "minisblack",
        compression=COMPRESSION[slide.codec],
        predictor=slide.predictor if slide.predictor == 2 else None,
    )


def jobs(folder: Path, workers: int, rounds: int, scale: Scale) -> dict[str, Job]:
    """Return what measures each row."""
    slides = [
        ByteSlide(codec, dtype, predictor, scale.side)
        for codec in COMPRESSION
        for dtype in ("uint16", "uint8")
        for predictor in ((1,) if codec == "none" else (1, 2))
    ]
    return {
        f"{work.__name__} {slide.name}": partial(work, slide, folder, workers, rounds)
        for slide in slides
        for work in (whole_level, patches)
    }


def tile_ranges(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return where each tile begins, and how long it is."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        return np.array(page.dataoffsets), np.array(page.databytecounts)


def whole_level(slide: ByteSlide, folder: Path, workers: int, rounds: int) -> CudaRow:
    """Compare reading level 0 as one array."""
    path = slide.path(folder)
    row = CudaRow("whole level 0", slide.name, workers, slide.nbytes / 1e6, "MB", goals=GOALS)
    image = regionio.open(path)
    reader = RunReader(path, coalesced(*tile_ranges(path)))

    def ours(device: str) -> Any:
        return image.read_region(num_workers=workers, device=device)

    def kvikio() -> object:
        memory = reader.read(row.bytes_read)
        row.note_form("kvikio", reader.form, reader.rates)
        return memory

    found = cupy().asnumpy(whole_image(row, image, workers))
    np.testing.assert_array_equal(found, tifffile.imread(path, maxworkers=workers))
    row.note("pixels equal tifffile's")
    contestants = {
        "regionio": lambda: ours("cuda"),
        "kvikio": kvikio,
        "regionio cpu + copy": lambda: copied(ours("cpu")),
    }
    return compare_on_gpu(row, contestants, rounds, path, int(1.1 * slide.nbytes))


def row_ranges(slide: ByteSlide, path: Path, locations: np.ndarray) -> np.ndarray:
    """Return where the rows begin and end that patches need of uncompressed tiles, sorted."""
    offset, nbytes = tile_ranges(path)
    tiles = tiles_touched(locations, PATCH, slide.as_slide())
    first, last = np.full(len(offset), TILE), np.zeros(len(offset), int)
    per_row = slide.side // TILE
    for down in (0, PATCH - 1):
        for across in (0, PATCH - 1):
            x, y = (locations + np.array((across, down))).T
            number, top = y // TILE * per_row + x // TILE, y // TILE * TILE
            np.minimum.at(first, number, np.maximum(locations[:, 1] - top, 0))
            np.maximum.at(last, number, np.minimum(locations[:, 1] + PATCH - top, TILE))
    row_bytes = nbytes[0] // TILE
    begin = offset[tiles] + first[tiles] * row_bytes
    return coalesced(begin, (last - first)[tiles] * row_bytes)


def patches(slide: ByteSlide, folder: Path, workers: int, rounds: int) -> CudaRow:
    """Compare random patches, half as many as tiles.

    KvikIO reads as many bytes as regionio did: of the same ranges, and of whole tiles, which are
    fewer and longer runs.
    """
    path = slide.path(folder)
    locations = random_locations(slide.side, (slide.side // TILE) ** 2 // 2)
    row = CudaRow("random patches", slide.name, workers, len(locations), "patches", goals=GOALS)
    image = regionio.open(path)
    offset, nbytes = tile_ranges(path)
    step = WINDOW_BATCHES * BATCH
    parts = (locations[start : start + step] for start in range(0, len(locations), step))
    touched = [tiles_touched(part, PATCH, slide.as_slide()) for part in parts]
    runs = np.concatenate([coalesced(offset[tiles], nbytes[tiles]) for tiles in touched])
    readers = {"kvikio, whole tiles": RunReader(path, runs)}
    if slide.codec == "none":
        parts = (locations[start : start + step] for start in range(0, len(locations), step))
        same = np.concatenate([row_ranges(slide, path, part) for part in parts])
        readers = {"kvikio": RunReader(path, same), **readers}

    def loader(device: str) -> Any:
        return image.read_region(
            locations, (PATCH, PATCH), batch_size=BATCH, num_workers=workers, device=device
        )

    def ours() -> None:
        batches = loader("cuda")
        assert sum(len(batch) for batch in batches) == len(locations)
        row.note_stats(batches.stats)

    def by_cpu() -> None:
        for batch in loader("cpu"):
            copied(batch)

    def kvikio(name: str) -> object:
        memory = readers[name].read(row.bytes_read)
        row.note_form(name, readers[name].form, readers[name].rates)
        return memory

    for found, expected in zip(loader("cuda"), loader("cpu"), strict=True):
        np.testing.assert_array_equal(cupy().asnumpy(found.array), np.asarray(expected))
    row.note("pixels equal the CPU's")
    contestants: dict[str, Callable[[], object]] = {"regionio": ours}
    contestants.update({name: partial(kvikio, name) for name in readers})
    contestants["regionio cpu + copy"] = by_cpu
    return compare_on_gpu(row, contestants, rounds, path)
