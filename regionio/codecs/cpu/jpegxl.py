"""JPEG XL frames of DICOM.

Source: ISO/IEC 18181; DICOM PS3.5, 8.2.17 (JPEG XL).
"""

from __future__ import annotations

from typing import Any

import imagecodecs
from numpy.typing import NDArray

from regionio._index import Encoding
from regionio.codecs._contract import Decoder
from regionio.codecs.cpu.samples import decoded
from regionio.codecs.cpu.still import StillImageDecoder

__all__ = ["FrameJpegXlDecoder", "jpegxl_decoder"]


def jpegxl_decoder(encoding: Encoding, tile_shape: tuple[int, int]) -> Decoder:
    """Return the decoder for tiles of TIFF, or that for frames in items."""
    kind = FrameJpegXlDecoder if encoding.option("items") else StillImageDecoder
    return kind(encoding, tile_shape)


class FrameJpegXlDecoder:
    """Decode with imagecodecs (libjxl), which complains of missing bytes and of damage.

    Streams do not know of signs; values of 16 bits are read as signed ones as they are.
    """

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        """Nothing of the encoding matters: the stream states it all, but for the sign."""

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        target = out[:, :, 0] if out.shape[2] == 1 else out  # checked against the stream's shape
        decoded("JPEG XL", imagecodecs.jpegxl_decode, data, keeporientation=True, out=target)
        return out
