"""``regionio thumbnail``: the whole slide, its label or its macro as a small PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import imagecodecs
import typer

from regionio.cli import options
from regionio.cli.display import DisplayRange
from regionio.cli.opening import checked_arguments, opened, reported
from regionio.cli.outputs import refuse_source, replacing

__all__ = ["thumbnail"]


def thumbnail(
    file: options.File,
    output: Annotated[Path, typer.Argument(metavar="OUT.png", help="The PNG to write.")],
    *,
    max_size: Annotated[
        int, typer.Option(min=1, max=8192, metavar="PIXELS", help="Longer side at most.")
    ] = 512,
    associated: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An associated image: label, macro or thumbnail."),
    ] = None,
    scene: options.Scene = 0,
) -> None:
    """Write the whole slide as a small PNG of 8 bits.

    Pixels of other types than uint8 are scaled, from the least to the greatest value. Of three
    channels or more the first three are shown as RGB, of fewer the first as gray. What stood at
    OUT.png is replaced.
    """
    if output.suffix.lower() != ".png":
        msg = f"{str(output)!r} must end in .png"
        raise typer.BadParameter(msg, param_hint="OUT.png")
    refuse_source(file, output)
    with opened(file, scene) as image:
        with checked_arguments():
            picture = image if associated is None else image.associated_image(associated)
        with picture:
            pixels = picture.thumbnail(max_size).array
        with checked_arguments():
            shown_range = DisplayRange.of(pixels)
        shown = shown_range.shown(pixels)
        with reported(str(output)), replacing(output) as temporary:
            temporary.write_bytes(imagecodecs.png_encode(shown))
        typer.echo(f"{output}: {shown.shape[1]} × {shown.shape[0]} pixels, {_channels(shown.ndim)}")
        if pixels.dtype != shown.dtype:
            low, high = shown_range.low, shown_range.high
            typer.echo(f"{pixels.dtype} scaled to 8 bits: {low:g} is black, {high:g} is white")


def _channels(ndim: int) -> str:
    return "RGB" if ndim == 3 else "gray"
