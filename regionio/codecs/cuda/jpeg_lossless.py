"""Frames of lossless JPEG as streams for nvJPEG, of those that it decodes.

Source: ITU-T T.81, annex H; DICOM PS3.5, A.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs.cpu.items import HEADER_BYTES, is_one_item
from regionio.codecs.cpu.jpeg_facts import JpegFacts, has_end
from regionio.codecs.cuda.jpeg import Colors

__all__ = ["LosslessJpegStreams", "lossless_jpeg_streams", "scan_of"]

HUFFMAN_FRAME, HUFFMAN_TABLES, SCAN = 0xC3, 0xC4, 0xDA
RESTARTS = b"\xff\xdd"
PREDICTORS = {1, 2}
"""The sample to the left, and the one above; nvJPEG refuses the others."""

LEAST_PRECISION, MOST_PRECISION = 9, 16


def lossless_jpeg_streams(
    encoding: Encoding, tile_shape: tuple[int, int]
) -> LosslessJpegStreams | None:
    """Return what makes streams of an encoding's tiles, None if the CPU has to decode them."""
    is_ours = encoding.compression == "jpeg-lossless" and encoding.samples == 1
    is_frame = encoding.option("items") == 1 and encoding.dtype in {"uint16", "int16"}
    is_usual = encoding.has_options("items", "used_bits", "ybr", "to_rgb")
    return LosslessJpegStreams(tile_shape) if is_ours and is_frame and is_usual else None


class LosslessJpegStreams:
    """Tells which frames can be decoded.

    Parameters
    ----------
    tile_shape
        (height, width) of a frame.

    Attributes
    ----------
    prefix, skipped
        As of `JpegStreams`.
    """

    prefix = b""
    skipped = HEADER_BYTES

    def __init__(self, tile_shape: tuple[int, int]) -> None:
        self._shape = (*tile_shape, 1)

    def colors(self, data: memoryview) -> Colors | None:
        """Return what nvJPEG has to do with a frame's samples, None if it may not be given it."""
        if not is_one_item(data, len(data)) or not has_end(data):
            return None
        stream = data[HEADER_BYTES:]
        try:
            facts = JpegFacts.of(stream)
            facts.check(self._shape)
        except DecodeError:
            return None
        is_usual = facts.process == HUFFMAN_FRAME and facts.sampling == (0x11,)
        has_depth = LEAST_PRECISION <= facts.precision <= MOST_PRECISION
        scan = scan_of(stream, len(facts.head)) if RESTARTS not in facts.head else None
        is_plain = scan is not None and scan[0] in PREDICTORS and scan[1] == 0
        return "as is" if is_usual and has_depth and is_plain else None

    def alike(self, buffer: NDArray[np.uint8], ranges: NDArray[np.int64]) -> None:
        """Return None: frames are few, and each is looked at."""


def scan_of(stream: memoryview, place: int) -> tuple[int, int] | None:
    """Return predictor and point transform of the scan that follows the frame's header.

    Parameters
    ----------
    stream
        The stream.
    place
        Where the header ends. Nothing but Huffman tables may stand before the scan, else the
        result is None.

    Examples
    --------
    >>> import imagecodecs, numpy
    >>> picture = numpy.zeros((24, 32), numpy.uint16)
    >>> stream = imagecodecs.jpeg8_encode(picture, lossless=True, predictor=2, bitspersample=12)
    >>> scan_of(memoryview(stream), len(JpegFacts.of(memoryview(stream)).head))
    (2, 0)
    """
    while place + 4 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        content = stream[
            place + 4 : place + 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
        ]
        if marker == SCAN:
            return (content[3], content[5] & 15) if len(content) == 6 else None
        if marker != HUFFMAN_TABLES:
            return None
        place += 4 + len(content)
    return None
