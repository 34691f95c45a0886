"""``regionio read``: a region a whole level or slices as TIFF, NPY or PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regionio import Image
from regionio.cli import options
from regionio.cli.bands import Bands, Place, banded
from regionio.cli.opening import opened, reported
from regionio.cli.outputs import refuse_source, replacing
from regionio.cli.progress import progress_bar
from regionio.cli.writers import WRITERS

__all__ = ["read"]


def read(
    file: options.File,
    output: Annotated[
        Path, typer.Argument(metavar="OUT.{png,tif,tiff,npy}", help="The file to write.")
    ],
    *,
    location: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="X Y",
            help="First pixel, in level-0 pixels whatever the level. It may lie outside.",
            show_default="0 0",
        ),
    ] = None,
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="W H",
            help="Width and height, in pixels of the level.",
            show_default="the whole level",
        ),
    ] = None,
    level: options.Level = 0,
    scene: options.Scene = "0",
    z: Annotated[
        int,
        typer.Option("--z", min=0, metavar="N", help="Focal plane, or first slice of a volume."),
    ] = 0,
    depth: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Slices of a volume from --z on, as pages or first axis; 0 is all of them.",
            show_default="one slice, as a picture",
        ),
    ] = None,
    t: Annotated[int, typer.Option("--t", min=0, metavar="N", help="Time.")] = 0,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|N",
            help="Name or number of a channel; may be given several times.",
            show_default="all",
        ),
    ] = None,
    values: options.Values = None,
    window: options.Window = None,
    display_bits: Annotated[
        int, typer.Option(metavar="8|16", help="Of display values.", show_default=True)
    ] = 8,
    frame_order: options.FrameOrder = options.FrameOrders.GEOMETRY,
    index_folder: options.IndexFolder = None,
) -> None:
    """Write a region, a whole level or slices, with pixels as they are stored or --values says.

    TIFF is tiled and losslessly compressed, and keeps spacing and ICC profile; NPY is a NumPy
    array. Both may be larger than memory. PNG takes gray, RGB and RGBA of 8 or 16 bits, up to
    512 MiB. What stood at OUT is replaced.
    """
    writer = WRITERS.get(output.suffix.lower())
    if writer is None:
        msg = f"{str(output)!r} must end in one of {', '.join(WRITERS)}"
        raise typer.BadParameter(msg, param_hint="OUT")
    if location is not None and size is None:
        msg = "--location needs --size; without both, the whole level is read"
        raise typer.BadParameter(msg, param_hint="--location")
    if size is not None and min(size) < 1:
        msg = f"width and height are at least 1, not {size[0]} and {size[1]}"
        raise typer.BadParameter(msg, param_hint="--size")
    refuse_source([file], output)
    channels = None if channel is None else [int(c) if c.isdigit() else c for c in channel]
    place = Place(location or (0, 0), size, level, z, t, channels, depth)
    interpretation = {
        "values": values.value if values else "auto" if window is None else "display",
        "window": window,
        "display_bits": display_bits,
        "frame_order": frame_order.value,
    }
    with opened(file, scene, index_folder, **interpretation) as image:
        refuse_source(image.files, output)
        with banded(image, place) as bands:
            icc_profile = image.icc_profile if channels is None else None
            with (
                reported(str(output)),
                replacing(output) as temporary,
                progress_bar(f"Writing {output.name}", bands.rows, "rows") as advance,
            ):
                writer(temporary, bands, icc_profile, advance)
            typer.echo(f"{output}: {_described(bands, place, image)} of {image.path}")


def _described(bands: Bands, place: Place, image: Image) -> str:
    height, width = bands.plane_shape[:2]
    slices = "" if bands.depth is None else f" × {bands.depth}"
    where = f"slice {place.z}" if image.is_volume else f"level {place.level}"
    if bands.depth is not None:
        where = f"slices {place.z} to {place.z + bands.depth - 1}"
    names = ", ".join(bands.channel_names)
    return f"{width} × {height}{slices} pixels, {bands.dtype}, channels {names}, {where}"
