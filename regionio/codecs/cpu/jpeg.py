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
from regionio.codecs.cpu.picture_size import check_size
from regionio.codecs.cpu.still import fit

__all__ = ["END", "START", "is_plain", "jpeg_decoder", "tables_of"]

START = b"\xff\xd8"
END = b"\xff\xd9"
START_OF_SCAN = b"\xff\xda"
# Adobe marker with transform 0: components are RGB
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"

# by which a stream tells libjpeg its colour space itself
OWN_MARKERS = (b"Adobe", b"JFIF")

# libjpeg warnings about streams whose pixels are all there
BENIGN_WARNINGS = ("Unknown Adobe color transform code", "JFIF APP0 marker: revision")

# what libjpeg says of a stream that goes on after the last row that its header promises
LEFTOVER_WARNING = "extraneous bytes before marker 0xd9"

UNKNOWN_SUBSAMPLING = "Could not determine subsampling"

LARGEST_SCAN_COUNT = 500
"""Scans of a progressive picture beyond which it is taken for a bomb; ten are usual."""

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


def tables_of(encoding: Encoding) -> bytes:
    """Return the tables that go before a stream, without an end marker behind them."""
    return encoding.prefix.rstrip(b"\0").removesuffix(END)


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
            self._prefix = (tables_of(encoding) or START) + marker
        self._header = Header.nothing()

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        if self._whole_header:
            stream = b"".join((self._prefix, data, END))
        elif data[:2] != START:
            msg = f"JPEG tile starts with {bytes(data[:2]).hex()}, ffd8 expected"
            raise DecodeError(msg)
        elif self._is_rgb and any(marker in bytes(data[:64]) for marker in OWN_MARKERS):
            return self._general(data, valid, rows, out)  # they speak louder than ours
        else:
            self._check_components(data, out.shape[2])
            stream = b"".join((self._prefix, data[2:]))
        try:
            if not self._whole_header and rows + CONTEXT_ROWS + LEAST_ROWS_SAVED <= len(out):
                pixels = self._decode_top(data, stream, rows + CONTEXT_ROWS, out)
            else:
                pixels = self._decode(stream, out)
        except _UnusualError:
            return self._general(data, valid, rows, out)
        wanted = min(rows, valid[0])
        if pixels.shape[0] < wanted or pixels.shape[1] < valid[1]:
            msg = f"JPEG tile has {pixels.shape[:2]} pixels, {(wanted, valid[1])} expected"
            raise DecodeError(msg)
        return pixels

    def _check_components(self, data: memoryview, samples: int) -> None:
        """Raise where a stream holds other components than the directory says."""
        if not self._header.begins(data):  # mostly all tiles of a level have the same
            self._header = Header.of(data)
        if self._header.height == 0:
            _check_scans(data)
        if self._header.components not in {0, samples}:
            msg = f"JPEG tile has {self._header.components} components, {samples} expected"
            raise DecodeError(msg)

    def _decode(self, stream: bytes, out: NDArray[Any]) -> NDArray[Any]:
        try:
            pixels: NDArray[Any] = simplejpeg.decode_jpeg(stream, self._colorspace, buffer=out)
        except ValueError as error:
            message = str(error)
            if UNKNOWN_SUBSAMPLING in message:
                raise _UnusualError from error
            if any(benign in message for benign in BENIGN_WARNINGS):
                return self._decode_leniently(stream, out)
            msg = f"JPEG tile is damaged: {message}"
            raise DecodeError(msg) from error
        return pixels

    def _decode_leniently(self, stream: bytes, out: NDArray[Any]) -> NDArray[Any]:
        """Decode a stream that libjpeg has warned of."""
        try:
            pixels: NDArray[Any] = simplejpeg.decode_jpeg(
                stream, self._colorspace, buffer=out, strict=False
            )
        except ValueError as error:
            msg = f"JPEG tile is damaged: {error}"
            raise DecodeError(msg) from error
        return pixels

    def _decode_top(
        self, data: memoryview, stream: bytes, rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        """Decode the first rows: under a header that promises no more, libjpeg stops there."""
        header = self._header
        if header.height < rows + LEAST_ROWS_SAVED or header.width > out.shape[1]:
            return self._decode(stream, out)
        place = header.height_at
        fewer = rows.to_bytes(2, "big")
        short = b"".join((self._prefix, data[2:place], fewer, data[place + 2 :]))
        try:
            simplejpeg.decode_jpeg(short, self._colorspace, buffer=out)
        except ValueError as error:
            # the first warning is the one reported: this one means that there was no other
            if LEFTOVER_WARNING not in str(error):
                return self._decode(stream, out)
        samples = out.shape[2]
        return out.reshape(-1)[: rows * header.width * samples].reshape(rows, -1, samples)


class _UnusualError(Exception):
    """simplejpeg does not know what kind of stream it is."""


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
        _check_scans(data)
        stated = memoryview(prefix) if self._whole_header else data
        check_size("jpeg", stated, self._tile_shape, out.shape[2])
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


def _check_scans(data: memoryview) -> None:
    """Raise where a picture has so many scans that decoding them is what they are for."""
    if bytes(data).count(START_OF_SCAN) > LARGEST_SCAN_COUNT:
        msg = f"JPEG tile has more than {LARGEST_SCAN_COUNT} scans"
        raise DecodeError(msg)


def _out_colorspace(encoding: Encoding) -> str | int | None:
    """Return what tifffile asks of imagecodecs for this photometric interpretation."""
    if encoding.separate:
        return 1
    if encoding.option("extra_samples"):
        return None
    named = {"ycbcr": "RGB", "rgb": "RGB", "separated": "CMYK"}
    return named.get(encoding.photometric)
