"""One TIFF page (image file directory): how its tiles are encoded and where they are.

Source: TIFF 6.0; BigTIFF; TIFF Technical Note 2 (JPEG).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffPage

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio._index import Encoding
from regionio.formats.tiff.draft import Page

__all__ = ["encoding_of", "keyframe_of", "ranges_of", "tile_grid"]

COMPRESSIONS = {
    1: "none",
    2: "ccitt",
    3: "ccitt",
    4: "ccitt",
    5: "lzw",
    6: "jpeg",
    7: "jpeg",
    8: "deflate",
    22610: "jpegxr",
    32773: "packbits",
    32946: "deflate",
    33003: "jpeg2000",
    33004: "jpeg2000",
    33005: "jpeg2000",
    33007: "jpeg",
    34712: "jpeg2000",
    34887: "lerc",
    34892: "jpeg",
    34925: "lzma",
    34926: "zstd",
    34927: "webp",
    34933: "png",
    34934: "jpegxr",
    50000: "zstd",
    50001: "webp",
    50002: "jpegxl",
    52546: "jpegxl",
}
APERIO_YCBCR = 33003
BYTE_STREAMS = {"none", "lzw", "deflate", "zstd", "lzma", "packbits"}
LARGEST_SIDE = 2**31 - 1


def keyframe_of(page: Page) -> TiffPage:
    """Return the page whose tags hold for this one too: mostly itself."""
    keyframe = page.keyframe
    assert isinstance(keyframe, TiffPage)
    return keyframe


def encoding_of(page: TiffPage) -> Encoding:
    """Return how the tiles of a page are encoded.

    Raises
    ------
    UnsupportedFormatError
        No decoder reads it: the message names the tag and its value.
    """
    compression = COMPRESSIONS.get(int(page.compression))
    if compression is None:
        msg = f"{_where(page)}: TIFF compression {int(page.compression)} is not supported"
        raise UnsupportedFormatError(msg)
    if page.dtype is None:
        msg = (
            f"{_where(page)}: samples of {page.bitspersample} bits and SampleFormat "
            f"{page.sampleformat} are not supported"
        )
        raise UnsupportedFormatError(msg)
    photometric = TIFF_PHOTOMETRICS.get(int(page.photometric), str(int(page.photometric)))
    separate = page.planarconfig == 2 and page.samplesperpixel > 1
    subsampled = page.tags.valueof(530) not in {None, (1, 1)}
    if compression != "jpeg" and photometric == "ycbcr" and subsampled:
        msg = f"{_where(page)}: subsampled YCbCr is supported in JPEG only, not in {compression}"
        raise UnsupportedFormatError(msg)
    formats = page.tags.valueof(339)
    if isinstance(formats, tuple) and len(set(formats[: page.samplesperpixel])) > 1:
        msg = f"{_where(page)}: samples of different formats {formats} are not supported"
        raise UnsupportedFormatError(msg)
    byte_stream = compression in BYTE_STREAMS
    return Encoding(
        compression=compression,
        dtype=np.dtype(page.dtype).newbyteorder("=").name,
        samples=1 if separate else page.samplesperpixel,
        bits=page.bitspersample,
        byteorder=page.parent.byteorder,
        photometric=photometric,
        predictor=int(page.predictor) if byte_stream else 1,
        reverse_bits=page.fillorder == 2 and (byte_stream or compression == "ccitt"),
        prefix=_jpeg_prefix(page) if compression == "jpeg" else b"",
        stored_colorspace=_stored_colorspace(page, compression, photometric),
        separate=separate,
        options=_options(page, compression),
    )


TIFF_PHOTOMETRICS = {
    0: "miniswhite",
    1: "minisblack",
    2: "rgb",
    3: "palette",
    4: "mask",
    5: "separated",
    6: "ycbcr",
    8: "cielab",
    9: "icclab",
    10: "itulab",
}


END_MARKER = 0xD9


def _jpeg_prefix(page: TiffPage) -> bytes:
    header: bytes | None = getattr(page, "jpegheader", None)
    if header:
        return header
    tables = page.jpegtables or b""
    if _is_cut(tables):
        msg = f"{_where(page)}: its tables for JPEG are cut short"
        raise CorruptFileError(msg)
    return tables


def _is_cut(tables: bytes) -> bool:
    """Return whether the last segment of tables goes on beyond them, into whatever follows."""
    place = 2
    while place + 4 <= len(tables) and tables[place] == 0xFF and tables[place + 1] != END_MARKER:
        place += 2 + int.from_bytes(tables[place + 2 : place + 4], "big")
    return place > max(2, len(tables))


def _stored_colorspace(page: TiffPage, compression: str, photometric: str) -> str | None:
    """Return the components' colour space where the stream itself does not tell it rightly."""
    if compression == "jpeg2000" and int(page.compression) == APERIO_YCBCR:
        return "ycbcr" if page.samplesperpixel == 3 else None
    plain_rgb = photometric == "rgb" and not page.extrasamples and page.planarconfig == 1
    if compression == "jpeg" and plain_rgb and not page.is_jfif:
        return "rgb"  # Aperio: no marker says so
    return None


def _options(page: TiffPage, compression: str) -> tuple[tuple[str, int], ...]:
    options: dict[str, int] = {}
    if compression == "jpeg":
        if getattr(page, "jpegheader", None):
            options["whole_header"] = 1
        if page.extrasamples:
            options["extra_samples"] = len(page.extrasamples)
    if compression == "ccitt":
        options["scheme"] = int(page.compression)
        options["t4options"] = int(page.tags.valueof(292) or 0)
    return tuple(sorted(options.items()))


def tile_grid(page: TiffPage) -> tuple[int, int, int, int]:
    """Return (rows, columns, tile height, tile width); strips are tiles as wide as the image.

    Raises
    ------
    CorruptFileError
        Sizes are zero, negative or absurd.
    UnsupportedFormatError
        Tiles are deeper than one plane.
    """
    width, height = int(page.imagewidth), int(page.imagelength)
    if page.is_tiled and page.tiledepth != 1:
        msg = f"{_where(page)}: tiles of depth {page.tiledepth} are not supported"
        raise UnsupportedFormatError(msg)
    if page.is_tiled:
        tile_height, tile_width = int(page.tilelength), int(page.tilewidth)
    else:
        tile_height, tile_width = int(page.rowsperstrip), width
    sizes = (width, height, tile_width, tile_height, int(page.imagedepth))
    if not all(0 < size <= LARGEST_SIDE for size in sizes):
        msg = (
            f"{_where(page)}: image of {width}×{height} pixels in tiles of "
            f"{tile_width}×{tile_height}; the directory is damaged"
        )
        raise CorruptFileError(msg)
    return -(-height // tile_height), -(-width // tile_width), tile_height, tile_width


def ranges_of(page: Page, tiles: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offset and size in bytes of each of `tiles` tiles of a page.

    Raises
    ------
    CorruptFileError
        The page's tables have fewer entries, or negative ones.
    """
    offset, nbytes = _int64(page.dataoffsets), _int64(page.databytecounts)
    if len(offset) < tiles or len(nbytes) < tiles:
        msg = (
            f"{_where(page)}: {tiles} tiles or strips expected, but the tables have "
            f"{len(offset)} offsets and {len(nbytes)} sizes; the directory is damaged"
        )
        raise CorruptFileError(msg)
    offset, nbytes = offset[:tiles], nbytes[:tiles]
    absent = (offset == 0) | (nbytes == 0)
    if (offset < 0).any() or (nbytes < 0).any():
        msg = f"{_where(page)}: the tile tables have negative entries; the directory is damaged"
        raise CorruptFileError(msg)
    return np.where(absent, 0, offset), np.where(absent, 0, nbytes)


def _int64(values: Any) -> NDArray[np.int64]:
    try:
        return np.array(values, dtype=np.uint64).astype(np.int64)
    except (OverflowError, ValueError):
        return np.full(len(values), -1, dtype=np.int64)


def _where(page: Page) -> str:
    return f"{page.parent.filehandle.path!r}, page {page.index}"
