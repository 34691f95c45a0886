"""Regions as RGBA pictures, transparent where the image has no pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image as Picture

from regionio._image import Image
from regionio.compat.openslide._errors import OpenSlideUnsupportedFormatError

__all__ = ["check_pixels", "rgba"]

WHITE_IS_ZERO, PALETTE = 0, 3
"""TIFF's PhotometricInterpretation."""

DICOM_PHOTOMETRIC = {"MONOCHROME1": WHITE_IS_ZERO, "PALETTE COLOR": PALETTE}

SMALL_REGION = 256 * 256
"""Pixels that are read faster in the caller's thread than with the help of others."""

MOST_NAMED = 4
"""Channels that a message names."""

COLORS = (("R", "G", "B"), ("R", "G", "B", "A"))


def check_pixels(image: Image) -> None:
    """Refuse an image that `rgba` can't convert.

    Parameters
    ----------
    image
        A slide or an associated image.

    Raises
    ------
    OpenSlideUnsupportedFormatError
        It is a volume, or its pixels are not gray, RGB or RGBA of 8 bits.
    """
    channels = image.channel_names
    gray = len(channels) == 1 and _photometric(image) != PALETTE
    if image.is_volume or image.dtype != np.uint8 or not (gray or channels in COLORS):
        names = list(channels) if len(channels) <= MOST_NAMED else f"{len(channels)} channels"
        what = "is a volume of" if image.is_volume else "has"
        msg = (
            f"{image.path!r} {what} pixels of type {image.dtype}, {names}; "
            "OpenSlide's are a picture, gray, RGB or RGBA of 8 bits: use regionio.open"
        )
        raise OpenSlideUnsupportedFormatError(msg)


def rgba(
    image: Image, location: tuple[int, int], size: tuple[int, int], level: int
) -> Picture.Image:
    """Read a region in RGBA.

    Parameters
    ----------
    image
        One that `check_pixels` let pass.
    location, size, level
        As in `Image.read_region`.
    """
    width, height = size
    pixels = np.empty((height, width, 4), dtype=np.uint8)
    channels = len(image.channel_names)
    colors = pixels[..., : max(channels, 3)]
    region = image.read_region(
        location,
        size,
        level,
        num_workers=0 if width * height <= SMALL_REGION else None,
        fill=0,
        return_mask=True,
        out=colors if channels > 1 else None,
    )
    mask = region.mask
    assert mask is not None
    if channels == 1:
        gray = ~region.array if _photometric(image) == WHITE_IS_ZERO else region.array
        np.multiply(gray, mask, out=gray)
        colors[...] = gray[..., None]
    if channels < 4:
        np.multiply(mask, np.uint8(255), out=pixels[..., 3])
    return Picture.fromarray(pixels)


def _photometric(image: Image) -> int | None:
    metadata = image.metadata
    value: int | None = metadata.get("tiff", {}).get("PhotometricInterpretation")
    if value is None:
        return DICOM_PHOTOMETRIC.get(metadata.get("dicom", {}).get("PhotometricInterpretation"))
    return value
