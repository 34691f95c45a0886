"""Rectangles of JPEG 2000 frames: only the code blocks that they need are decoded.

The compiled part (`regionio/compiled/jpeg2000.c`, over OpenJPEG) does it, of lossless streams: of
others, parts would differ by 1 from the whole here and there. Where it is missing, or leaves a
stream alone, frames are decoded whole.

Source: ISO/IEC 15444-1, annexes A (markers) and B (precincts and code blocks).
"""

from __future__ import annotations

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
        if bits > 16 or max(self._shape) > LARGEST_SIDE:
            return None
        top, left, bottom, right = box
        kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
        picture = np.empty((bottom - top, right - left, self._shape[2]), kind)
        if not native_jpeg2000.decode_area(stream, self._shape, bits, signed, box, picture):
            return None
        pixels = frame_values(picture, self._encoding, bits)
        return rgb_of_ybr(pixels) if self._to_rgb else pixels
