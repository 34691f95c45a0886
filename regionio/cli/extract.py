"""``regionio extract``: the patches of a slide that show tissue, as a Zarr group."""

from __future__ import annotations

import errno
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import imagecodecs
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.filesize import decimal

import regionio
from regionio import Image
from regionio.cli import options
from regionio.cli.contact_sheet import LARGEST_CELL, chosen_patches, contact_sheet, resized
from regionio.cli.display import DisplayRange
from regionio.cli.grid import PatchGrid
from regionio.cli.opening import checked_arguments, level_of, opened, reported
from regionio.cli.outputs import replacing
from regionio.cli.progress import progress_bar
from regionio.cli.tissue import box_fractions, tissue_mask

if TYPE_CHECKING:
    from regionio.cli.patch_store import PatchStore

__all__ = ["extract"]

GROUP = "patches.zarr"
SHEET = "contact_sheet.png"
DEFAULT_TISSUE = 0.1
NEARLY = 1e-6
"""Of a pixel, which is missing where a spacing is that of a level but for rounding."""

MASK_PIXELS = 16
"""Pixels of the overview along a patch, as far as the overview's size allows it."""

OVERVIEW = (1440, 4096)
"""Least and most pixels along the longer side of the overview."""


@dataclass(frozen=True)
class Selection:
    """Which patches are taken.

    Parameters
    ----------
    grid
        All positions.
    kept
        ``int64[n]``: numbers of those that are taken.
    overview
        The slide, small: ``uint8[h, w]`` or ``uint8[h, w, 3]``.
    display
        How its pixels and those of patches are shown.
    """

    grid: PatchGrid
    kept: NDArray[np.int64]
    overview: NDArray[np.uint8]
    display: DisplayRange


@dataclass(frozen=True)
class Resolution:
    """At which resolution patches are taken.

    Parameters
    ----------
    level
        Number of the level.
    spacing
        Distance of pixels instead of it, or None.
    """

    level: int
    spacing: float | None

    def measures(self, image: Image) -> tuple[int, int, tuple[float, float]]:
        """Return width, height and downsample of an image at this resolution."""
        level = level_of(image, self.level)
        if self.spacing is None:
            return level.width, level.height, level.downsample
        known = image.spacing("XY")
        if self.level != 0 or self.spacing == 0 or known[0] is None or known[1] is None:
            msg = f"{image.path!r} does not tell its spacing: choose a level"
            if self.level != 0 or self.spacing == 0:
                msg = "give a spacing above 0, without --level"
            raise typer.BadParameter(msg, param_hint="--spacing")
        with checked_arguments():  # a level that is near is read as it is
            read = image.read_region((0, 0), (1, 1), spacing=self.spacing).spacing
        x, y = read["X"] / known[0], read["Y"] / known[1]
        return int(level.width / x + NEARLY), int(level.height / y + NEARLY), (x, y)

    def __str__(self) -> str:
        return f"level {self.level}" if self.spacing is None else f"the slide at {self.spacing}"


def extract(
    file: options.File,
    output: Annotated[
        Path, typer.Argument(metavar="OUT_DIR", help="Folder to write to; it is made if need be.")
    ],
    *,
    size: Annotated[
        int, typer.Option(min=1, metavar="PIXELS", help="Width and height of a patch.")
    ] = 224,
    stride: Annotated[
        int | None,
        typer.Option(min=1, metavar="PIXELS", help="Distance of patches.", show_default="the size"),
    ] = None,
    level: options.Level = 0,
    spacing: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="UNITS",
            help="Distance of pixels, mostly in µm, instead of a level.",
            show_default="that of the level",
        ),
    ] = None,
    scene: options.Scene = "0",
    tissue: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="PART",
            help="Least part of a patch that is tissue.",
            show_default=str(DEFAULT_TISSUE),
        ),
    ] = None,
    no_tissue: Annotated[
        bool, typer.Option("--no-tissue", help="Take all patches; look for no tissue.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Patches read together.")] = 64,
    threads: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Threads that read.", show_default="the CPUs here"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")
    ] = False,
    index_folder: options.IndexFolder = None,
) -> None:
    """Write the patches of a slide that show tissue to OUT_DIR/patches.zarr.

    Patches lie on a grid from the upper left corner, wholly inside the level. Tissue is where
    colour is saturated (Otsu's threshold, on a small picture of the slide). OUT_DIR/contact_sheet.png
    shows the slide with the kept patches outlined, and up to 100 of them. Both appear when all is
    done.
    """
    from regionio.cli.patch_store import PatchStore  # zarr takes a second

    if no_tissue and tissue is not None:
        msg = "--tissue and --no-tissue exclude each other"
        raise typer.BadParameter(msg)
    least = None if no_tissue else DEFAULT_TISSUE if tissue is None else tissue
    group, sheet = output / GROUP, output / SHEET
    with opened(file, scene, index_folder) as image:
        with reported(str(output)):
            _refuse_existing([group, sheet], overwrite=overwrite)
        resolution = Resolution(level, spacing)
        grid = _grid(image, resolution, size, stride or size)
        with Console(stderr=True).status("Reading an overview of the slide"):
            selection = _select(image, grid, least)
        attributes = {
            **_attributes(image, resolution, grid),
            "tissue": least,
            "regionio_version": regionio.__version__,
        }
        with reported(str(output)):
            output.mkdir(parents=True, exist_ok=True)
            with replacing(group) as new_group, replacing(sheet) as new_sheet:
                store = PatchStore(
                    new_group,
                    len(selection.kept),
                    (size, size, len(image.channel_names)),
                    image.dtype,
                    batch,
                    attributes,
                )
                shown = _write_patches(image, selection, resolution, batch, threads, store)
                boxes = grid.boxes(1, 1)[selection.kept]
                picture = contact_sheet(selection.overview, boxes, shown)
                new_sheet.write_bytes(imagecodecs.png_encode(picture))
    _print_result(selection, least, group, sheet)


def _refuse_existing(targets: list[Path], *, overwrite: bool) -> None:
    for target in targets:
        if target.exists() and not overwrite:
            raise FileExistsError(
                errno.EEXIST, "it exists; give --overwrite to replace it", str(target)
            )


def _grid(image: Image, resolution: Resolution, size: int, stride: int) -> PatchGrid:
    if image.is_volume:
        msg = (
            f"{image.path!r} is a volume, and patches are taken from slides: write slices with "
            "'regionio read --z N', or take patches in Python with "
            "regionio.open(path).read_region([(x, y, z), …], (width, height), batch_size=64)"
        )
        raise typer.BadParameter(msg)
    width, height, downsample = resolution.measures(image)
    grid = PatchGrid(width, height, downsample, size, stride)
    if len(grid) == 0:
        msg = f"{resolution} has {width} × {height} pixels, "
        msg += f"less than a patch of {size} × {size}"
        raise typer.BadParameter(msg, param_hint="--size")
    return grid


def _select(image: Image, grid: PatchGrid, least: float | None) -> Selection:
    """Find the patches with enough tissue on a small picture of the slide."""
    if least is not None and image.channel_names[:3] != ("R", "G", "B"):
        msg = f"tissue is told from glass by its colour, and {image.path!r} has no RGB channels; "
        msg += "give --no-tissue"
        raise typer.BadParameter(msg)
    longest = math.ceil(MASK_PIXELS * max(grid.width, grid.height) / grid.size)
    pixels = image.thumbnail(min(max(longest, OVERVIEW[0]), OVERVIEW[1])).array
    with checked_arguments():
        display = DisplayRange.of(pixels)
    overview = display.shown(pixels)
    kept = np.arange(len(grid))
    if least is not None:
        height, width = overview.shape[:2]
        fractions = box_fractions(tissue_mask(overview), grid.boxes(width, height))
        kept = np.flatnonzero(fractions >= least)
    return Selection(grid, kept, overview, display)


def _attributes(image: Image, resolution: Resolution, grid: PatchGrid) -> dict[str, Any]:
    """Return what the Zarr group says of its origin."""
    spacing = {
        axis: None if value is None else value * factor
        for axis, value, factor in zip("XY", image.spacing("XY"), grid.downsample, strict=True)
    }
    units = [unit for unit in image.spacing_units("XY") if unit is not None]
    return {
        "source": Path(image.path).name,
        "scene": image.scene,
        "level": resolution.level if resolution.spacing is None else None,
        "downsample": list(grid.downsample),
        "size": grid.size,
        "stride": grid.stride,
        "spacing": spacing,
        "spacing_unit": units[0] if units else None,
        "channel_names": list(image.channel_names),
    }


def _write_patches(
    image: Image,
    selection: Selection,
    resolution: Resolution,
    batch: int,
    threads: int | None,
    store: PatchStore,
) -> list[NDArray[np.uint8]]:
    """Read and write batch by batch; return the patches of the contact sheet."""
    size, count = selection.grid.size, len(selection.kept)
    if count == 0:
        return []
    locations = selection.grid.locations[selection.kept]
    store.write_locations(locations)
    with checked_arguments():
        loader = image.read_region(
            locations,
            (size, size),
            resolution.level,
            spacing=resolution.spacing,
            batch_size=max(1, batch // store.chunk) * store.chunk,  # none is written twice
            num_workers=threads,
            layout="YXC",
        )
    chosen = chosen_patches(count)
    shown: list[NDArray[np.uint8]] = []
    done = 0
    with loader, progress_bar("Extracting", count, "patches") as advance:
        for region in loader:
            patches = region.array.reshape(-1, *store.shape)
            store.append(patches)
            here = chosen[(chosen >= done) & (chosen < done + len(patches))] - done
            shown.extend(_small(selection.display.shown(patches[place])) for place in here)
            done += len(patches)
            advance(len(patches))
    return shown


def _small(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a patch no larger than it is shown."""
    side = min(len(patch), LARGEST_CELL)
    return resized(patch, side, side)


def _print_result(selection: Selection, least: float | None, group: Path, sheet: Path) -> None:
    grid, kept = selection.grid, len(selection.kept)
    why = "" if least is None else f" (tissue on {least:.0%} of the patch or more)"
    nbytes = sum(path.stat().st_size for path in group.rglob("*") if path.is_file())
    typer.echo(f"Kept {kept:,} of {len(grid):,} grid positions{why}")
    typer.echo(f"  {group}  {decimal(nbytes)}")
    typer.echo(f"  {sheet}")
    typer.echo("Open it with:")
    typer.echo(f"  group = zarr.open_group({str(group)!r}, mode='r')")
    typer.echo("  group['patches'], group['locations']  # level-0 (x, y) of each patch")
