"""Tiles that are plain samples once they are decompressed: raw, LZW, deflate, zstd, LZMA, PackBits.

Source: TIFF 6.0 sections 9 (PackBits), 13 (LZW), 14 (differencing predictor); Adobe Photoshop
TIFF Technical Note 3 (floating-point predictor).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError, UnsupportedFormatError
from regionio._index import Encoding

__all__ = ["ByteStreamDecoder"]

XZ_END = b"YZ"
"""Last bytes of an xz stream; liblzma stops at the pixels it was asked for, before it sees them."""

# `out` of these is the number of bytes to expect: they allocate it once and stop there.
DECOMPRESSORS: dict[str, Callable[..., bytes | bytearray]] = {
    "lzw": imagecodecs.lzw_decode,
    "deflate": imagecodecs.deflate_decode,
    "zstd": imagecodecs.zstd_decode,
    "lzma": imagecodecs.lzma_decode,
    "packbits": imagecodecs.packbits_decode,
}


class ByteStreamDecoder:
    """Decompress, unpack, undo the predictor.

    Parameters
    ----------
    encoding
        How the tiles are encoded.
    tile_shape
        (height, width) of a full tile.
    """

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._encoding = encoding
        self._tile_shape = tile_shape
        self._decompress = DECOMPRESSORS.get(encoding.compression)
        self._unpack = _unpacker(encoding, tile_shape[1] * encoding.samples)
        self._unpredict = _unpredictor(encoding)
        native = np.dtype(encoding.byteorder + "u2").isnative or encoding.itemsize == 1
        # the floating-point predictor is not undone in place
        self._fits_out = native and encoding.predictor != 3

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        raw: memoryview | bytes | bytearray = data
        if self._encoding.compression == "lzma" and data[-2:] != XZ_END:
            msg = "lzma stream is cut short: it has no end marker"
            raise DecodeError(msg)
        if self._encoding.reverse_bits:
            raw = imagecodecs.bitorder_decode(bytes(raw))
        if self._decompress is not None:
            room: int | memoryview = self._packed_bytes(self._tile_shape)
            if self._fits_out and room == out.nbytes:
                room = out.reshape(-1).view(np.uint8).data
            try:
                raw = self._decompress(raw, out=room)
            except RuntimeError as error:
                msg = f"{self._encoding.compression} stream is damaged: {error}"
                raise DecodeError(msg) from error
        pixels = self._shaped(self._unpack(raw), valid)
        if pixels.dtype != out.dtype:
            pixels = pixels.astype(out.dtype)
        if self._unpredict is None:
            return pixels
        rows, columns = pixels.shape[:2]
        target = out[:rows, :columns]
        if target.shape != pixels.shape or not target.flags.c_contiguous:
            target = np.empty_like(pixels, dtype=out.dtype)
        return self._unpredict(pixels, axis=1, out=target)

    def _packed_bytes(self, shape: tuple[int, int]) -> int:
        """Return the bytes of that many rows and columns, rows padded to whole bytes."""
        rows, columns = shape
        bits = self._encoding.bits
        pixel_bits = sum(bits) if isinstance(bits, tuple) else bits * self._encoding.samples
        return rows * ((columns * pixel_bits + 7) // 8)

    def _shaped(self, values: NDArray[Any], valid: tuple[int, int]) -> NDArray[Any]:
        """Give rows and columns to decoded samples, which may leave out what is beyond the image."""
        samples = self._encoding.samples
        rows, columns = self._tile_shape
        if values.size >= rows * columns * samples:
            return values[: rows * columns * samples].reshape(rows, columns, samples)
        if values.size >= valid[0] * columns * samples:
            return values[: valid[0] * columns * samples].reshape(valid[0], columns, samples)
        if values.size == valid[0] * valid[1] * samples:
            return values.reshape(valid[0], valid[1], samples)
        msg = (
            f"{self._encoding.compression} tile is too short: {values.size} samples, "
            f"{valid[0]}×{columns}×{samples} expected"
        )
        raise DecodeError(msg)


def _unpacker(
    encoding: Encoding, row_samples: int
) -> Callable[[memoryview | bytes | bytearray], NDArray[Any]]:
    """Return the function that makes samples of decompressed bytes."""
    dtype = np.dtype(encoding.dtype)
    bits = encoding.bits
    # the floating-point predictor works on the bytes as they stand
    byteorder = "=" if encoding.predictor == 3 else encoding.byteorder
    stored = _ordered(dtype, byteorder)

    def whole(data: memoryview | bytes | bytearray) -> NDArray[Any]:
        return np.frombuffer(data, stored, len(data) // stored.itemsize)

    def packed(data: memoryview | bytes | bytearray) -> NDArray[Any]:
        return imagecodecs.packints_decode(bytes(data), stored, bits, runlen=row_samples)  # type: ignore[arg-type]

    def packed_pixels(data: memoryview | bytes | bytearray) -> NDArray[Any]:
        return _unpack_pixels(bytes(data), bits, dtype, encoding.byteorder)  # type: ignore[arg-type]

    def float24(data: memoryview | bytes | bytearray) -> NDArray[Any]:
        if encoding.byteorder == ">":
            return imagecodecs.float24_decode(bytes(data), byteorder=">")
        return imagecodecs.float24_decode(bytes(data), byteorder="<")

    if isinstance(bits, tuple):
        return packed_pixels
    if bits == 24 and dtype.kind == "f":
        return float24
    if bits == dtype.itemsize * 8 and dtype.kind != "b":
        return whole
    return packed


def _unpack_pixels(
    data: bytes, bits: tuple[int, ...], dtype: np.dtype[Any], byteorder: str
) -> NDArray[Any]:
    """Unpack pixels whose samples differ in depth (RGB 5-6-5), each scaled to the full dtype."""
    from tifffile.tifffile import unpack_rgb

    pixels: NDArray[Any] = unpack_rgb(data, _ordered(dtype, byteorder), bits)
    return pixels


def _ordered(dtype: np.dtype[Any], byteorder: str) -> np.dtype[Any]:
    return np.dtype(byteorder + dtype.char)


def _unpredictor(encoding: Encoding) -> Callable[..., NDArray[Any]] | None:
    if encoding.predictor == 1:
        return None
    if encoding.predictor == 2:
        return imagecodecs.delta_decode
    if encoding.predictor == 3:
        return imagecodecs.floatpred_decode
    msg = f"TIFF predictor {encoding.predictor} is not supported; 1, 2 and 3 are"
    raise UnsupportedFormatError(msg)
