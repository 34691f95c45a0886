"""JPEG-LS frames, lossless and near-lossless.

Source: ITU-T T.87; DICOM PS3.5, 8.2.3 (streams do not know of signs).
"""

from __future__ import annotations

from typing import Any

import imagecodecs
from numpy.typing import NDArray

from regionio._index import Encoding
from regionio.codecs.cpu.jpeg_facts import JpegFacts, check_end
from regionio.codecs.cpu.samples import decoded, keep_bits, room_in, stored

__all__ = ["JpegLsDecoder"]


class JpegLsDecoder:
    """Decode with imagecodecs (CharLS), and find the sign in the highest bit of the stream's."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._signed = encoding.dtype.startswith("int")

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        check_end(data)
        facts = JpegFacts.of(data)
        facts.check(out.shape)
        # samples may come in planes, which does not show in what is stated
        room = room_in(out, facts.precision) if out.shape[2] == 1 else None
        picture = decoded("JPEG-LS", imagecodecs.jpegls_decode, data, out=room)
        pixels = stored(picture, out.shape, out.dtype, "JPEG-LS")
        return keep_bits(pixels, facts.precision, pixels) if self._signed else pixels
