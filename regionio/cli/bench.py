"""``regionio bench``: how fast random patches of a slide or volume are read here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, repeat
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

import regionio
from regionio import Image
from regionio._workers import default_num_workers
from regionio.cli import options
from regionio.cli.grid import level0_positions
from regionio.cli.opening import checked_arguments, level_of, opened

__all__ = ["bench"]

PATCHES = 2**16
"""Places that are drawn; a run that outlasts them begins again."""

SEED = 0


@dataclass(frozen=True)
class Run:
    """What was measured with one number of threads.

    Parameters
    ----------
    threads
        Most concurrent tasks; 0 is the main thread alone.
    seconds
        From the first request to the last batch.
    patches
        Delivered in that time.
    patches_per_second, decoded_megabytes_per_second
        Delivered patches, and decoded tiles in 10⁶ bytes.
    tiles_decoded, cache_hits, requests, bytes_read
        As in `regionio.ReadStats`.
    """

    threads: int
    seconds: float
    patches: int
    patches_per_second: float
    decoded_megabytes_per_second: float
    tiles_decoded: int
    cache_hits: int
    requests: int
    bytes_read: int


def bench(
    file: options.File,
    *,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…",
            help="Numbers of threads, one run each; 0 reads in the main thread.",
            show_default="1, 2, 4 … up to the CPUs here",
        ),
    ] = None,
    patch: Annotated[
        int, typer.Option(min=1, metavar="PIXELS", help="Width and height of a patch.")
    ] = 224,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Patches a batch.")] = 64,
    seconds: Annotated[
        float, typer.Option(min=0.0, metavar="S", help="Time of a run; at least one batch is read.")
    ] = 3.0,
    level: options.Level = 0,
    scene: options.Scene = "0",
    cache: Annotated[
        int, typer.Option(min=0, metavar="MIB", help="Room for decoded tiles; 0 keeps none.")
    ] = 128,
    as_json: options.AsJson = False,
    index_folder: options.IndexFolder = None,
) -> None:
    """Read random patches of a slide or of a volume's slices, and count them.

    Every run reads the same patches in the same order, with the cache of decoded tiles empty at
    its start. What the operating system has of the file in memory is not dropped; one batch is
    read before the first run.
    """
    counts = _thread_counts(threads)
    with opened(file, scene, index_folder) as image, _cache_of(cache * 2**20):
        locations = _random_locations(image, level, patch)
        _measure(image, locations, patch, level, batch, max(counts), 0.0)
        runs = [_measure(image, locations, patch, level, batch, count, seconds) for count in counts]
        path = image.path
    if as_json:
        facts = {
            "path": path,
            "level": level,
            "patch": patch,
            "batch": batch,
            "seconds": seconds,
            "cache_mib": cache,
            "runs": [asdict(run) for run in runs],
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    console = Console(highlight=False)
    title = (
        f"{patch} × {patch} patches at random, level {level}, {batch} a batch, {cache} MiB cache"
    )
    console.print(Text(path), soft_wrap=True)
    console.print(_table(title, runs))


@contextmanager
def _cache_of(capacity: int) -> Iterator[None]:
    """Give the process's tile cache another capacity for the block."""
    before = regionio.cache.capacity
    regionio.cache.capacity = capacity
    try:
        yield
    finally:
        regionio.cache.capacity = before


def _thread_counts(text: str | None) -> list[int]:
    if text is None:
        most = default_num_workers()
        return sorted({*(2**power for power in range(most.bit_length())), most})
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        msg = f"numbers with commas between them, not {text!r}"
        raise typer.BadParameter(msg, param_hint="--threads")
    return [int(part) for part in parts]


def _random_locations(image: Image, number: int, patch: int) -> NDArray[np.int64]:
    """Return ``int64[n, 2]`` (volume: 3) places, such that patches lie inside where they fit."""
    level = level_of(image, number)
    generator = np.random.default_rng(SEED)
    columns = [
        level0_positions(generator.integers(0, max(1, side - patch + 1), PATCHES), downsample)
        for side, downsample in zip((level.width, level.height), level.downsample, strict=True)
    ]
    if image.is_volume:
        columns.append(generator.integers(0, image.size("Z")[0], PATCHES))
    return np.stack(columns, axis=1)


def _measure(
    image: Image,
    locations: NDArray[np.int64],
    patch: int,
    level: int,
    batch: int,
    threads: int,
    seconds: float,
) -> Run:
    regionio.cache.clear()
    with checked_arguments():
        loader = image.read_region(
            locations, (patch, patch), level, batch_size=batch, num_workers=threads
        )
    with loader:
        delivered = 0
        start = time.perf_counter()
        for region in chain.from_iterable(repeat(loader)):
            delivered += len(region) if batch > 1 else 1
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                break
        stats = loader.stats
    width, height = image.levels[level].tile_size
    tile_bytes = width * height * image.dtype.itemsize * image._index.samples  # noqa: SLF001
    return Run(
        threads=threads,
        seconds=elapsed,
        patches=delivered,
        patches_per_second=delivered / elapsed,
        decoded_megabytes_per_second=stats.tiles_decoded * tile_bytes / 1e6 / elapsed,
        tiles_decoded=stats.tiles_decoded,
        cache_hits=stats.cache_hits,
        requests=stats.requests,
        bytes_read=stats.bytes_read,
    )


def _table(title: str, runs: list[Run]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    names = ["Threads", "Patches/s", "Decoded MB/s", "Tiles decoded", "Cache hits", "Bytes read"]
    for name in names:
        table.add_column(name, justify="right")
    for run in runs:
        table.add_row(
            str(run.threads),
            f"{run.patches_per_second:,.0f}",
            f"{run.decoded_megabytes_per_second:,.0f}",
            f"{run.tiles_decoded:,}",
            f"{run.cache_hits:,}",
            decimal(run.bytes_read),
        )
    return table
