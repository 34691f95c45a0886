"""``regionio thumbnail``: a slide, its label or a slice of a volume as a small picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import imagecodecs
import typer
from numpy.typing import NDArray

from regionio import Image
from regionio._transform import GrayTransform
from regionio.cli import options
from regionio.cli.display import DisplayRange
from regionio.cli.opening import checked_arguments, holds_dicom, opened, reported, slice_of
from regionio.cli.outputs import refuse_source, replacing

__all__ = ["thumbnail"]

ENCODERS: Mapping[str, Callable[[NDArray[Any]], bytes | bytearray]] = {
    ".png": imagecodecs.png_encode,
    ".jpg": partial(imagecodecs.jpeg8_encode, level=90),
    ".jpeg": partial(imagecodecs.jpeg8_encode, level=90),
}
"""By the file name's suffix."""


def thumbnail(
    file: options.File,
    output: Annotated[Path, typer.Argument(metavar="OUT.{png,jpg}", help="The picture to write.")],
    *,
    max_size: Annotated[
        int, typer.Option(min=1, max=8192, metavar="PIXELS", help="Longer side at most.")
    ] = 512,
    associated: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An associated image: label, macro or thumbnail."),
    ] = None,
    scene: options.Scene = "0",
    z: Annotated[
        int | None,
        typer.Option(
            "--z", min=0, metavar="N", help="Slice of a volume.", show_default="the middle one"
        ),
    ] = None,
    window: options.Window = None,
    index_folder: options.IndexFolder = None,
) -> None:
    """Write a whole slide, a picture or a slice of a volume as a small PNG or JPEG of 8 bits.

    Gray of DICOM is shown by the window or VOI LUT of the file, high values bright. Without one,
    and of other files, pixels of other types than uint8 are scaled, from the least to the greatest
    value. Of three channels or more the first three are shown as RGB, of fewer the first as gray.
    What stood at OUT is replaced.
    """
    encode = ENCODERS.get(output.suffix.lower())
    if encode is None:
        msg = f"{str(output)!r} must end in one of {', '.join(ENCODERS)}"
        raise typer.BadParameter(msg, param_hint="OUT")
    refuse_source([file], output)
    with _shown(file, scene, window, index_folder) as image:
        refuse_source(image.files, output)
        with checked_arguments():
            picture = image if associated is None else image.associated_image(associated)
        with picture:
            pixels = _small(picture, max_size, z)
        with checked_arguments():
            shown_range = DisplayRange.of(pixels)
        shown = shown_range.shown(pixels)
        with reported(str(output)), replacing(output) as temporary:
            temporary.write_bytes(encode(shown))
        typer.echo(f"{output}: {shown.shape[1]} × {shown.shape[0]} pixels, {_channels(shown.ndim)}")
        if pixels.dtype != shown.dtype:
            low, high = shown_range.low, shown_range.high
            typer.echo(f"{pixels.dtype} scaled to 8 bits: {low:g} is black, {high:g} is white")


@contextmanager
def _shown(
    file: str, scene: str, window: tuple[float, float] | None, index_folder: str | None
) -> Iterator[Image]:
    """Open a file with values for the eye, as far as it tells them."""
    dicom = holds_dicom(file)
    view: dict[str, Any] = {"values": "display"} if dicom or window else {}
    with opened(file, scene, index_folder, **view, window=window) as image:
        if not (dicom and _fills_a_part(image)):
            yield image
            return
    with opened(file, scene, index_folder, **view, display_bits=16) as image:
        yield image


def _fills_a_part(image: Image) -> bool:
    """Return whether gray levels stand for all values that there can be, of which few may occur."""
    index = image._index  # noqa: SLF001
    return index.encodings[0].itemsize > 1 and any(
        isinstance(transform, GrayTransform) and transform.window is None
        for transform in index.transforms
    )


def _small(image: Image, max_size: int, z: int | None) -> NDArray[Any]:
    """Return a small picture, of a volume that of a slice."""
    if z is None:
        return image.thumbnail(max_size).array
    if not image.is_volume:
        msg = f"{image.path!r} is no volume, of which a slice could be shown"
        raise typer.BadParameter(msg, param_hint="--z")
    return image.thumbnail(max_size, z=slice_of(image, z)).array


def _channels(ndim: int) -> str:
    return "RGB" if ndim == 3 else "gray"
