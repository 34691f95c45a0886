"""Frames of plain samples that lie otherwise than row by row, pixel by pixel, in whole bytes.

Those of one plane after the other, of single bits, of YBR_FULL_422 and of 8-bit samples in
big-endian words are decoded here, and any that stand in items or are deflated; the rest is
uncompressed as in TIFF (`regionio.codecs.cpu.bytestream`).

Source: DICOM PS3.5, 8.1.1 and annex D (pixel cells), A.4.11 and A.4.13 (encapsulated uncompressed
and deflated frames); PS3.3, C.7.6.3.1.2 and C.7.6.3.1.3 (YBR_FULL_422, planar configuration).
"""

from __future__ import annotations

import math
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs.cpu.samples import decoded

__all__ = ["DeflatedFrameDecoder", "NativeDecoder"]


class NativeDecoder:
    """Unpack and rearrange samples.

    Parameters
    ----------
    encoding
        How frames are encoded. Options: ``"first_bit"``, the bit of the first byte at which the
        frame begins; ``"planar"``, samples lie in planes; ``"subsampled"``, two pixels share
        their chroma; ``"swapped"``, each two bytes stand in the opposite order.
    tile_shape
        (height, width) of a frame.
    """

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._shape = (*tile_shape, encoding.samples)
        self._bits = 1 if encoding.bits == 1 else 8 * encoding.itemsize
        self._cell = np.dtype(encoding.byteorder + np.dtype(encoding.dtype).char)
        self._first_bit = encoding.option("first_bit")
        self._planar = encoding.option("planar") == 1
        self._subsampled = encoding.option("subsampled") == 1
        self._swapped = encoding.option("swapped") == 1
        self._count = math.prod(self._shape)
        if self._subsampled:
            self._count = self._count // 3 * 2

    @property
    def nbytes(self) -> int:
        """Bytes that a frame has, from the byte on in which it begins."""
        return (self._first_bit + self._count * self._bits + 7) // 8

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        if len(data) < self.nbytes:
            msg = f"frame is cut short: it has {len(data)} bytes, {self.nbytes} expected"
            raise DecodeError(msg)
        cells = self._cells(data)
        if self._subsampled:
            _spread(cells, out)
        elif self._planar:
            height, width, samples = self._shape
            out[:] = np.moveaxis(cells.reshape(samples, height, width), 0, 2)
        else:
            out[:] = cells.reshape(self._shape)
        return out

    def _cells(self, data: memoryview) -> NDArray[Any]:
        """Return the samples in the order in which they are stored."""
        first, count = self._first_bit, self._count
        if self._bits == 1:
            packed = np.frombuffer(data, np.uint8)
            return np.unpackbits(packed, count=first + count, bitorder="little")[first:]
        if self._swapped:
            words = np.frombuffer(data, np.uint16, len(data) // 2).byteswap()
            cells = words.view(self._cell)[first // 8 :][:count]
            if len(cells) < count:
                msg = "frame is cut short: the last of its words is missing"
                raise DecodeError(msg)
            return cells
        return np.frombuffer(data, self._cell, count)


def _spread(cells: NDArray[Any], out: NDArray[Any]) -> None:
    """Write pixels of which two share their chroma, stored as Y Y B R."""
    pairs = cells.reshape(-1, 4)
    pixels = out.reshape(-1, 2, 3)
    pixels[:, :, 0] = pairs[:, :2]
    pixels[:, :, 1:] = pairs[:, None, 2:]


class DeflatedFrameDecoder:
    """Inflate, then decode as a native frame."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._decode = NativeDecoder(encoding, tile_shape)

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        inflate, size = imagecodecs.deflate_decode, self._decode.nbytes
        content = decoded("deflate", inflate, data, raw=True, out=size)
        return self._decode(memoryview(content), valid, rows, out)
