"""JPEG 2000 tiles (TIFF compressions 33003, 33005, 34712) and frames of DICOM, HTJ2K included.

HTJ2K goes to OpenJPEG, too: OpenJPH is twice as fast, but lossy values that overshoot wrap around in
it, and through imagecodecs it returns what it has of a damaged stream as if nothing were wrong.

Source: ISO/IEC 15444-1, annex A (markers); 15444-15 (high throughput); Aperio's 33003 stores YCbCr
and leaves the colour transform to the reader (openslide.org/formats/aperio); DICOM PS3.5, 8.2.4.
"""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs._contract import Decoder
from regionio.codecs.cpu.picture_size import check_size
from regionio.codecs.cpu.samples import decoded, keep_bits, room_in, stored
from regionio.codecs.cpu.still import fit

__all__ = [
    "FrameJpeg2000Decoder",
    "Jpeg2000Decoder",
    "checked_depth",
    "frame_values",
    "jpeg2000_decoder",
]

SIZE_SEGMENT = b"\xff\x4f\xff\x51"
"""Start of a codestream and of the segment that states its size, which comes first."""

SIZE = struct.Struct(">8x4I16xHB")
"""From there on: width, height, left, top, number of components, depth and sign of the first."""

BOXES_BYTES = 4096


def jpeg2000_decoder(encoding: Encoding, tile_shape: tuple[int, int]) -> Decoder:
    """Return the decoder for tiles, or that for frames in items."""
    kind = FrameJpeg2000Decoder if encoding.option("items") else Jpeg2000Decoder
    return kind(encoding, tile_shape)


class Jpeg2000Decoder:
    """Decode with imagecodecs (OpenJPEG) and convert YCbCr to RGB where the container says so."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._to_rgb = encoding.stored_colorspace == "ycbcr"

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        check_size("jpeg2000", data, out.shape[:2], out.shape[2])
        try:
            picture = imagecodecs.jpeg2k_decode(bytes(data))
        except (RuntimeError, ValueError) as error:
            msg = f"JPEG 2000 tile is damaged: {error}"
            raise DecodeError(msg) from error
        pixels = fit(picture, valid, out, "JPEG 2000")
        return _rgb_of_ycbcr(pixels) if self._to_rgb else pixels


class FrameJpeg2000Decoder:
    """Decode a codestream, raw or boxed, whatever depth and sign it states.

    Values of a gray stream that states another sign than the attributes are read again with the
    attributes' sign, as pydicom does.
    """

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._encoding = encoding

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        precision, signed = checked_depth(data, out.shape)
        check_size("jpeg2000", data, out.shape[:2], out.shape[2])
        room = room_in(out, precision, signed=signed)
        picture = decoded("JPEG 2000", imagecodecs.jpeg2k_decode, data, out=room)
        return frame_values(picture, self._encoding, precision, out.shape)


def frame_values(
    picture: NDArray[Any], encoding: Encoding, precision: int, shape: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """Return a decoded picture as stored values.

    Parameters
    ----------
    picture
        ``[rows, columns]`` or ``[rows, columns, samples]``, as the stream has it.
    encoding
        How the frame is encoded.
    precision
        Bits of a sample that the stream states.
    shape
        ``[rows, columns, samples]`` that is expected; None is that of the picture.
    """
    pixels = stored(picture, shape or picture.shape, np.dtype(encoding.dtype), "JPEG 2000")
    is_gray = encoding.photometric in {"minisblack", "miniswhite"}
    if is_gray and picture.dtype.kind != pixels.dtype.kind:
        return keep_bits(pixels, precision, pixels)
    return pixels


def checked_depth(data: memoryview, shape: tuple[int, ...]) -> tuple[int, bool]:
    """Return the bits of a sample, and whether it has a sign, as a stream states them.

    Raises
    ------
    DecodeError
        It states another (height, width, samples), or none.
    """
    size = b""
    for part in (data[:BOXES_BYTES], data):  # boxes before the codestream are mostly short
        stream = bytes(part)
        place = stream.find(SIZE_SEGMENT)
        size = stream[place : place + SIZE.size] if place >= 0 else b""
        if len(size) == SIZE.size:
            break
    else:
        msg = "JPEG 2000 stream does not state its size: it is damaged or cut short"
        raise DecodeError(msg)
    fields: tuple[int, ...] = SIZE.unpack(size)
    width, height, left, top, count, depth = fields
    found = height - top, width - left, count
    if found != shape:
        msg = f"JPEG 2000 stream holds {found} samples, but the attributes of the image say {shape}"
        raise DecodeError(msg)
    return (depth & 0x7F) + 1, depth & 0x80 != 0


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
