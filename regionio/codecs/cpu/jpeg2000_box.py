"""Rectangles of JPEG 2000 frames: only the code blocks that they need are decoded.

The compiled part (`regionio/compiled/jpeg2000.c`, over OpenJPEG) does it, of lossless streams: of
others, parts would differ by 1 from the whole here and there. Where it is missing, or leaves a
stream alone, frames are decoded whole.

Source: ISO/IEC 15444-1, annexes A (markers) and B (precincts and code blocks).
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio._native import native_jpeg2000
from regionio.codecs._contract import BoxDecoder
from regionio.codecs.cpu.items import content_of
from regionio.codecs.cpu.jpeg2000 import checked_depth, frame_values
from regionio.codecs.cpu.picture_size import check_size
from regionio.codecs.cpu.samples import rgb_of_ybr

__all__ = ["Jpeg2000BoxDecoder", "jpeg2000_box_decoder"]

LARGEST_SIDE = 2**30
BOXES_BYTES = 4096
CODESTREAM = b"\xff\x4f\xff\x51"
COLOR_BOXES = (b"pclr", b"cmap", b"cdef")
PLAIN_SPACES = {16, 17}
"""Enumerated colour spaces that change nothing: sRGB and gray."""

MARKER, PART_LENGTH = struct.Struct(">HH"), struct.Struct(">I")
TILE_PART, DATA, END = 0xFF90, 0xFF93, 0xFFD9
CODINGS = {0xFF52, 0xFF53}


def jpeg2000_box_decoder(encoding: Encoding, tile_shape: tuple[int, int]) -> BoxDecoder | None:
    """Return the decoder for frames, None for tiles of TIFF or without the compiled part."""
    if native_jpeg2000 is None or not encoding.option("items"):
        return None
    return Jpeg2000BoxDecoder(encoding, tile_shape)


class Jpeg2000BoxDecoder:
    """Decode what is wanted of frames in items."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._encoding = encoding
        self._shape = (*tile_shape, encoding.samples)
        self._dtype = np.dtype(encoding.dtype)
        self._to_rgb = encoding.option("ybr_to_rgb") == 1

    def __call__(self, data: memoryview, box: tuple[int, int, int, int]) -> NDArray[Any] | None:
        assert native_jpeg2000 is not None
        try:
            stream = content_of(data)
            bits, signed = checked_depth(stream, self._shape)
            check_size("jpeg2000", stream, self._shape[:2], self._shape[2])
        except DecodeError:
            return None  # whoever decodes the whole frame says what is wrong
        if bits > 16 or max(self._shape) > LARGEST_SIDE or not _is_plain(stream):
            return None
        top, left, bottom, right = box
        kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
        picture = np.empty((bottom - top, right - left, self._shape[2]), kind)
        if not native_jpeg2000.decode_area(stream, self._shape, bits, signed, box, picture):
            return None
        pixels = frame_values(picture, self._encoding, bits)
        return rgb_of_ybr(pixels) if self._to_rgb else pixels


def _is_plain(data: memoryview) -> bool:
    """Return whether decoding does nothing to a codestream's components but what it says itself.

    Boxes around it may have palettes and colour spaces applied to the whole picture; tile parts may
    have another coding than the main header says.
    """
    begin = bytes(data[:BOXES_BYTES]).find(CODESTREAM)
    if begin < 0:
        return False
    boxes = bytes(data[:begin])
    if any(name in boxes for name in COLOR_BOXES):
        return False
    color = boxes.find(b"colr")
    if color >= 0:
        method, space = boxes[color + 4 : color + 5], boxes[color + 7 : color + 11]
        if method != b"\1" or int.from_bytes(space, "big") not in PLAIN_SPACES:
            return False
    return _has_one_coding(data[begin:])


def _has_one_coding(stream: memoryview) -> bool:
    """Return whether no tile part states a coding of its own."""
    place, in_tile = 2, False
    try:
        while True:
            marker, length = MARKER.unpack_from(stream, place)
            if marker == END:
                return True
            if marker == TILE_PART:
                (size,) = PART_LENGTH.unpack_from(stream, place + 6)
                end = place + size if size else len(stream)
                in_tile = True
            elif in_tile and marker in CODINGS:
                return False
            if marker == DATA:
                if end >= len(stream) or end <= place:
                    return True
                place = end
            else:
                place += 2 + length
    except struct.error:  # the stream ends: decoding it says so
        return True
