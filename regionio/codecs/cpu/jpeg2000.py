"""JPEG 2000 tiles (TIFF compressions 33003, 33005, 34712).

Source: ISO/IEC 15444-1, annex A (markers); Aperio's 33003 stores YCbCr and leaves the colour
transform to the reader (openslide.org/formats/aperio).
"""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs.cpu.still import fit

__all__ = ["Jpeg2000Decoder"]


class Jpeg2000Decoder:
    """Decode with imagecodecs (OpenJPEG) and convert YCbCr to RGB where the container says so."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._to_rgb = encoding.stored_colorspace == "ycbcr"

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        try:
            picture = imagecodecs.jpeg2k_decode(bytes(data))
        except (RuntimeError, ValueError) as error:
            msg = f"JPEG 2000 tile is damaged: {error}"
            raise DecodeError(msg) from error
        pixels = fit(picture, valid, out, "JPEG 2000")
        return _rgb_of_ycbcr(pixels) if self._to_rgb else pixels


# ITU-R BT.601 full range, as in JFIF; 16 fractional bits, rounded
_HALF = 1 << 15
_CHROMA = np.arange(256, dtype=np.int32) - 128
_RED_OF_CR = (91881 * _CHROMA + _HALF) >> 16
_BLUE_OF_CB = (116130 * _CHROMA + _HALF) >> 16
_GREEN_OF_CB = -22554 * _CHROMA + _HALF
_GREEN_OF_CR = -46802 * _CHROMA


def _rgb_of_ycbcr(pixels: NDArray[Any]) -> NDArray[Any]:
    luma = pixels[..., 0].astype(np.int32)
    blue, red = pixels[..., 1], pixels[..., 2]
    rgb = np.empty_like(pixels)
    rgb[..., 0] = np.clip(luma + _RED_OF_CR[red], 0, 255)
    rgb[..., 1] = np.clip(luma + ((_GREEN_OF_CB[blue] + _GREEN_OF_CR[red]) >> 16), 0, 255)
    rgb[..., 2] = np.clip(luma + _BLUE_OF_CB[blue], 0, 255)
    return rgb
