"""``regionio read``: a region or a whole level as TIFF, NPY or PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regionio.cli import options
from regionio.cli.bands import Place, banded
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
    scene: options.Scene = 0,
    z: Annotated[int, typer.Option("--z", min=0, metavar="N", help="Focal plane or slice.")] = 0,
    t: Annotated[int, typer.Option("--t", min=0, metavar="N", help="Time.")] = 0,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|N",
            help="Name or number of a channel; may be given several times.",
            show_default="all",
        ),
    ] = None,
) -> None:
    """Write a region, or a whole level, with its pixels as they are stored.

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
    refuse_source(file, output)
    channels = None if channel is None else [int(c) if c.isdigit() else c for c in channel]
    place = Place(location or (0, 0), size, level, z, t, channels)
    with opened(file, scene) as image, banded(image, place) as bands:
        icc_profile = image.icc_profile if channels is None else None
        height, width = bands.shape[:2]
        with (
            reported(str(output)),
            replacing(output) as temporary,
            progress_bar(f"Writing {output.name}", height, "rows") as advance,
        ):
            writer(temporary, bands, icc_profile, advance)
        channel_names = ", ".join(bands.channel_names)
        typer.echo(
            f"{output}: {width} × {height} pixels, {bands.dtype}, channels {channel_names}, "
            f"level {level} of {image.path}"
        )
