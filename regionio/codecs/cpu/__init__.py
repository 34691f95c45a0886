"""The CPU decoders, by compression name."""

from __future__ import annotations

from collections.abc import Callable

from regionio._index import Encoding
from regionio.codecs._contract import BoxDecoder, Decoder, PieceDecoder
from regionio.codecs.cpu.bytestream import ByteStreamDecoder
from regionio.codecs.cpu.ccitt import CcittDecoder
from regionio.codecs.cpu.items import ItemsDecoder
from regionio.codecs.cpu.jpeg import jpeg_decoder
from regionio.codecs.cpu.jpeg2000 import FrameJpeg2000Decoder, jpeg2000_decoder
from regionio.codecs.cpu.jpeg2000_box import jpeg2000_box_decoder
from regionio.codecs.cpu.jpeg_base64 import Base64JpegDecoder
from regionio.codecs.cpu.jpeg_frame import FrameJpegDecoder
from regionio.codecs.cpu.jpeg_frame_pieces import frame_piece_decoder
from regionio.codecs.cpu.jpeg_ls import JpegLsDecoder
from regionio.codecs.cpu.jpeg_pieces import jpeg_piece_decoder
from regionio.codecs.cpu.jpegxl import jpegxl_decoder
from regionio.codecs.cpu.native import DeflatedFrameDecoder, NativeDecoder
from regionio.codecs.cpu.rle import RleDecoder
from regionio.codecs.cpu.samples import RgbDecoder, UsedBitsDecoder
from regionio.codecs.cpu.still import StillImageDecoder

__all__ = ["BOX_DECODERS", "DECODERS", "PIECE_DECODERS"]

Maker = Callable[[Encoding, tuple[int, int]], Decoder]


def _jpeg_decoder(encoding: Encoding, tile_shape: tuple[int, int]) -> Decoder:
    """Return the decoder for tiles, or that for frames in items."""
    make: Maker = FrameJpegDecoder if encoding.option("items") else jpeg_decoder
    return make(encoding, tile_shape)


def _jpeg_piece_decoder(encoding: Encoding, tile_shape: tuple[int, int]) -> PieceDecoder | None:
    """Return the decoder into pieces for tiles, or that for frames in items."""
    make = frame_piece_decoder if encoding.option("items") else jpeg_piece_decoder
    return make(encoding, tile_shape)


def _for_frames(make: Maker) -> Maker:
    """Return what makes the same decoder with what frames of DICOM need before and behind it."""

    def made(encoding: Encoding, tile_shape: tuple[int, int]) -> Decoder:
        decode = make(encoding, tile_shape)
        if bits := encoding.option("used_bits"):
            decode = UsedBitsDecoder(decode, bits)
        if encoding.option("ybr_to_rgb"):
            decode = RgbDecoder(decode)
        return ItemsDecoder(decode) if encoding.option("items") else decode

    return made


DECODERS: dict[str, Maker] = {
    "none": _for_frames(ByteStreamDecoder),
    "lzw": ByteStreamDecoder,
    "deflate": ByteStreamDecoder,
    "zstd": ByteStreamDecoder,
    "lzma": ByteStreamDecoder,
    "packbits": ByteStreamDecoder,
    "ccitt": CcittDecoder,
    "jpeg": _for_frames(_jpeg_decoder),
    "jpeg-base64": Base64JpegDecoder,
    "jpeg-lossless": _for_frames(FrameJpegDecoder),
    "jpeg-ls": _for_frames(JpegLsDecoder),
    "jpeg2000": _for_frames(jpeg2000_decoder),
    "htj2k": _for_frames(FrameJpeg2000Decoder),
    "jpegxl": _for_frames(jpegxl_decoder),
    "jpegxr": StillImageDecoder,
    "webp": StillImageDecoder,
    "lerc": StillImageDecoder,
    "png": StillImageDecoder,
    "native": _for_frames(NativeDecoder),
    "deflated-frame": _for_frames(DeflatedFrameDecoder),
    "rle": _for_frames(RleDecoder),
}
"""Compression name → what makes the decoder for an encoding and a tile's (height, width)."""

PIECE_DECODERS: dict[str, Callable[[Encoding, tuple[int, int]], PieceDecoder | None]] = {
    "jpeg": _jpeg_piece_decoder,
}
"""Compression name → what makes the decoder into pieces, or None where it does not apply."""

BOX_DECODERS: dict[str, Callable[[Encoding, tuple[int, int]], BoxDecoder | None]] = {
    "jpeg2000": jpeg2000_box_decoder,
}
"""Compression name → what makes the decoder of rectangles, or None where it does not apply."""
