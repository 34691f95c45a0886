"""JPEG tiles: 8 and 12 bit, whole or abbreviated streams, any subsampling.

8-bit gray, RGB and YCbCr streams go to simplejpeg (libjpeg-turbo), which reports warnings and
decodes into memory that is there already. The rest goes to imagecodecs.

Source: ITU-T T.81; TIFF Technical Note 2; Adobe Technical Note 5116 (APP14 marker).
"""

from __future__ import annotations

from typing import Any

import imagecodecs
import simplejpeg
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs._contract import Decoder
from regionio.codecs.cpu.jpeg_header import Header
from regionio.codecs.cpu.still import fit

__all__ = ["END", "START", "is_plain", "jpeg_decoder"]

START = b"\xff\xd8"
END = b"\xff\xd9"
# Adobe marker with transform 0: components are RGB
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"

# libjpeg warnings about streams whose pixels are all there
BENIGN_WARNINGS = ("Unknown Adobe color transform code", "JFIF APP0 marker: revision")

# what libjpeg says of a stream that goes on after the last row that its header promises
LEFTOVER_WARNING = "extraneous bytes before marker"

LEAST_ROWS_SAVED = 16
CONTEXT_ROWS = 4
"""Rows below the last one wanted that its chroma is interpolated from, and some to spare."""


def jpeg_decoder(encoding: Encoding, tile_shape: tuple[int, int]) -> Decoder:
    """Return the faster decoder that reads this encoding."""
    kind = TurboDecoder if is_plain(encoding) else GeneralDecoder
    return kind(encoding, tile_shape)


def is_plain(encoding: Encoding) -> bool:
    """Return whether streams are 8-bit gray, RGB or YCbCr."""
    gray = encoding.samples == 1
    color = encoding.samples == 3 and encoding.photometric in {"rgb", "ycbcr"}
    return encoding.dtype == "uint8" and (gray or color)


class TurboDecoder:
    """8-bit gray, RGB and YCbCr streams. Rows below the last one wanted are not decoded."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._general = GeneralDecoder(encoding, tile_shape)
        self._colorspace = "GRAY" if encoding.samples == 1 else "RGB"
        self._is_rgb = encoding.stored_colorspace == "rgb"
        marker = ADOBE_RGB if self._is_rgb else b""
        self._whole_header = encoding.option("whole_header") == 1
        if self._whole_header:
            self._prefix = START + marker + encoding.prefix[2:]
        else:
            self._prefix = (encoding.prefix[:-2] or START) + marker
        self._header = Header.nothing()

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        if self._whole_header:
            pixels = self._decode(b"".join((self._prefix, data, END)), out)
        elif data[:2] != START:
            msg = f"JPEG tile starts with {bytes(data[:2]).hex()}, ffd8 expected"
            raise DecodeError(msg)
        elif self._is_rgb and b"Adobe" in bytes(data[:64]):
            return self._general(data, valid, rows, out)  # its marker would come after ours
        elif rows + CONTEXT_ROWS + LEAST_ROWS_SAVED <= len(out):
            pixels = self._decode_top(data, rows + CONTEXT_ROWS, out)
        else:
            pixels = self._decode(b"".join((self._prefix, data[2:])), out)
        wanted = min(rows, valid[0])
        if pixels.shape[0] < wanted or pixels.shape[1] < valid[1]:
            msg = f"JPEG tile has {pixels.shape[:2]} pixels, {(wanted, valid[1])} expected"
            raise DecodeError(msg)
        return pixels

    def _decode(self, stream: bytes, out: NDArray[Any]) -> NDArray[Any]:
        try:
            pixels: NDArray[Any] = simplejpeg.decode_jpeg(stream, self._colorspace, buffer=out)
        except ValueError as error:
            message = str(error)
            if not any(benign in message for benign in BENIGN_WARNINGS):
                msg = f"JPEG tile is damaged: {message}"
                raise DecodeError(msg) from error
            pixels = simplejpeg.decode_jpeg(stream, self._colorspace, buffer=out, strict=False)
        return pixels

    def _decode_top(self, data: memoryview, rows: int, out: NDArray[Any]) -> NDArray[Any]:
        """Decode the first rows: under a header that promises no more, libjpeg stops there."""
        header = self._header
        if not header.begins(data):  # mostly all tiles of a level have the same
            header = self._header = Header.of(data)
        if header.height < rows + LEAST_ROWS_SAVED or header.width > out.shape[1]:
            return self._decode(b"".join((self._prefix, data[2:])), out)
        place = header.height_at
        fewer = rows.to_bytes(2, "big")
        stream = b"".join((self._prefix, data[2:place], fewer, data[place + 2 :]))
        try:
            simplejpeg.decode_jpeg(stream, self._colorspace, buffer=out)
        except ValueError as error:
            # the first warning is the one reported: this one means that there was no other
            if LEFTOVER_WARNING not in str(error):
                msg = f"JPEG tile is damaged: {error}"
                raise DecodeError(msg) from error
        samples = out.shape[2]
        return out.reshape(-1)[: rows * header.width * samples].reshape(rows, -1, samples)


class GeneralDecoder:
    """12-bit, CMYK, lossless and other streams, decoded as tifffile does."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._encoding = encoding
        self._whole_header = encoding.option("whole_header") == 1
        self._tile_shape = tile_shape
        self._colorspace = "RGB" if encoding.stored_colorspace == "rgb" else None
        self._out_colorspace = _out_colorspace(encoding)

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        prefix = self._encoding.prefix
        if not self._whole_header:
            self._check_complete(data)
        try:
            pixels = imagecodecs.jpeg_decode(
                bytes(data),
                tables=None if self._whole_header else prefix or None,
                header=prefix if self._whole_header else None,
                colorspace=self._colorspace,
                outcolorspace=self._out_colorspace,
                shape=self._tile_shape,
            )
        except (RuntimeError, ValueError) as error:
            msg = f"JPEG tile is damaged: {error}"
            raise DecodeError(msg) from error
        return fit(pixels, valid, out, "JPEG")

    @staticmethod
    def _check_complete(data: memoryview) -> None:
        """Raise where the stream lacks its end: imagecodecs keeps libjpeg's warning to itself."""
        end = bytes(data[-64:]).rstrip(b"\x00")
        if data[:2] != START or not end.endswith(END):
            msg = "JPEG tile is cut short: it has no end marker"
            raise DecodeError(msg)


def _out_colorspace(encoding: Encoding) -> str | int | None:
    """Return what tifffile asks of imagecodecs for this photometric interpretation."""
    if encoding.separate:
        return 1
    if encoding.option("extra_samples"):
        return None
    named = {"ycbcr": "RGB", "rgb": "RGB", "separated": "CMYK"}
    return named.get(encoding.photometric)
