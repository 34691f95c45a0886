"""Frames compressed by DICOM's run lengths.

Source: DICOM PS3.5, annex G: a segment for each byte of each sample, the most significant first.
"""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs.cpu.samples import decoded

__all__ = ["RleDecoder"]

HEADER = struct.Struct("<16I")
TOO_LONG = "OUTPUT_TOO_SMALL"
"""What imagecodecs says of segments that go on after the last pixel, which some writers pad."""


class RleDecoder:
    """Decode with imagecodecs, which gives one plane of samples after the other."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._planes = encoding.samples, *tile_shape
        self._cell = np.dtype(encoding.dtype).newbyteorder("<")

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        direct = out.shape[2] == 1 and self._cell.isnative
        room: int | memoryview = out.reshape(-1).view(np.uint8).data if direct else out.nbytes
        try:
            content = decoded("RLE", imagecodecs.dicomrle_decode, data, self._cell, out=room)
        except DecodeError as error:
            if TOO_LONG in str(error):
                return self._decode_padded(data, out)
            raise
        if len(content) != out.nbytes:
            msg = f"RLE stream holds {len(content)} bytes, {out.nbytes} expected"
            raise DecodeError(msg)
        if not direct:
            planes = np.frombuffer(content, self._cell).reshape(self._planes)
            out[:] = np.moveaxis(planes, 0, 2)
        return out

    def _decode_padded(self, data: memoryview, out: NDArray[Any]) -> NDArray[Any]:
        """Decode segment by segment, leaving out what comes after the last pixel of each."""
        samples, height, width = self._planes
        count, *starts = HEADER.unpack_from(data)
        if count != samples * self._cell.itemsize:
            msg = f"RLE stream has {count} segments, {samples * self._cell.itemsize} expected"
            raise DecodeError(msg)
        ends = [*starts[1:count], len(data)]
        planes = np.empty((count, height * width), np.uint8)
        for plane, start, end in zip(planes, starts, ends, strict=False):
            values = decoded("RLE", imagecodecs.packbits_decode, data[start:end])
            if len(values) < len(plane):
                msg = f"RLE segment holds {len(values)} bytes, {len(plane)} expected"
                raise DecodeError(msg)
            plane[:] = np.frombuffer(values, np.uint8, len(plane))
        cells = planes.reshape(samples, -1, height, width)[:, ::-1].transpose(2, 3, 0, 1)
        out[:] = np.ascontiguousarray(cells).view(self._cell)[..., 0]
        return out
