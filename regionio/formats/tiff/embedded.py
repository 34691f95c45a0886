"""Pictures that stand as base64 text in a TIFF's XML, as older Philips files keep label and macro."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import simplejpeg
from tifffile import TiffPage

from regionio._index import Encoding, Level, TileTable
from regionio.formats.tiff.draft import EmbeddedJpeg

__all__ = ["embedded_fields", "find_embedded_jpeg"]

DESCRIPTION_TAG = 270


def find_embedded_jpeg(page: TiffPage, text: str) -> EmbeddedJpeg | None:
    """Return the picture that a piece of a page's ImageDescription encodes.

    Parameters
    ----------
    page
        The page.
    text
        Base64, as it stands in the description.

    Returns
    -------
    EmbeddedJpeg or None
        None where the text is not base64 of a gray or colour JPEG.
    """
    tag = page.tags[DESCRIPTION_TAG]
    file = page.parent.filehandle
    file.seek(tag.valueoffset)
    description = file.read(tag.count)
    stored = text.encode()
    if stored not in description:
        stored = stored.replace(b"\n", b"\r\n")  # which XML parsers make one
    start = description.find(stored)
    try:
        header = simplejpeg.decode_jpeg_header(base64.b64decode(text))
    except (binascii.Error, ValueError):
        return None
    height, width, colorspace, _ = header
    if start < 0 or colorspace not in {"Gray", "RGB", "YCbCr"}:
        return None
    samples = 1 if colorspace == "Gray" else 3
    return EmbeddedJpeg(tag.valueoffset + start, len(stored), width, height, samples)


def embedded_fields(picture: EmbeddedJpeg) -> dict[str, Any]:
    """Return the fields of the picture's `ImageIndex` that describe its one tile."""
    table = TileTable(
        offset=np.array([picture.offset], dtype=np.int64),
        nbytes=np.array([picture.nbytes], dtype=np.int64),
        grid=(1, 1, 1, 1, 1),
        tile_shape=(picture.height, picture.width),
    )
    gray = picture.samples == 1
    encoding = Encoding(
        compression="jpeg-base64",
        dtype="uint8",
        samples=picture.samples,
        photometric="minisblack" if gray else "ycbcr",
    )
    return {
        "levels": (Level(picture.width, picture.height, (1.0, 1.0), table),),
        "encodings": (encoding,),
        "channel_names": ("0",) if gray else ("R", "G", "B"),
    }
