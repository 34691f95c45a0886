"""The CPU decoders, by compression name."""

from __future__ import annotations

from collections.abc import Callable

from regionio._index import Encoding
from regionio.codecs._contract import Decoder, PieceDecoder
from regionio.codecs.cpu.bytestream import ByteStreamDecoder
from regionio.codecs.cpu.ccitt import CcittDecoder
from regionio.codecs.cpu.jpeg import jpeg_decoder
from regionio.codecs.cpu.jpeg2000 import Jpeg2000Decoder
from regionio.codecs.cpu.jpeg_base64 import Base64JpegDecoder
from regionio.codecs.cpu.jpeg_pieces import jpeg_piece_decoder
from regionio.codecs.cpu.still import StillImageDecoder

__all__ = ["DECODERS", "PIECE_DECODERS"]

DECODERS: dict[str, Callable[[Encoding, tuple[int, int]], Decoder]] = {
    "none": ByteStreamDecoder,
    "lzw": ByteStreamDecoder,
    "deflate": ByteStreamDecoder,
    "zstd": ByteStreamDecoder,
    "lzma": ByteStreamDecoder,
    "packbits": ByteStreamDecoder,
    "ccitt": CcittDecoder,
    "jpeg": jpeg_decoder,
    "jpeg-base64": Base64JpegDecoder,
    "jpeg2000": Jpeg2000Decoder,
    "jpegxl": StillImageDecoder,
    "jpegxr": StillImageDecoder,
    "webp": StillImageDecoder,
    "lerc": StillImageDecoder,
    "png": StillImageDecoder,
}
"""Compression name → what makes the decoder for an encoding and a tile's (height, width)."""

PIECE_DECODERS: dict[str, Callable[[Encoding, tuple[int, int]], PieceDecoder | None]] = {
    "jpeg": jpeg_piece_decoder,
}
"""Compression name → what makes the decoder into pieces, or None where it does not apply."""
