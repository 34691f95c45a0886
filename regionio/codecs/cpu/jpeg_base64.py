"""JPEG pictures that stand as base64 text, as older Philips files have them in their XML.

Source: RFC 4648.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs.cpu.jpeg import jpeg_decoder

__all__ = ["Base64JpegDecoder"]


class Base64JpegDecoder:
    """Decode the text, then the stream."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._decode = jpeg_decoder(encoding, tile_shape)

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        try:
            stream = base64.b64decode(data)
        except binascii.Error as error:
            msg = f"base64 text of a JPEG picture is damaged: {error}"
            raise DecodeError(msg) from error
        return self._decode(memoryview(stream), valid, rows, out)
