"""8-bit JPEG tiles decoded straight into pieces of regions, many in one call without Python's lock.

The compiled part (`regionio/compiled/jpeg.c`, over libjpeg-turbo) transforms only the pixels that
are wanted. Where it is missing, tiles take the way of `regionio.codecs.cpu.jpeg`.

Source: ITU-T T.81; libjpeg-turbo's libjpeg.txt (partial decoding).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regionio._index import Encoding
from regionio._native import native
from regionio.codecs._contract import PieceDecoder, Target
from regionio.codecs.cpu.jpeg import END, START, is_plain, tables_of
from regionio.storage import FileRanges

__all__ = ["JpegPieceDecoder", "is_compiled_for", "jpeg_piece_decoder"]

LARGEST_SIDE = 65500
"""Of a picture that libjpeg reads."""

LEFT_BEFORE_GIVING_UP = 64
"""So many tiles in a row that were left mean that all will be: they need not be read twice."""

NOTHING_KEPT = np.zeros((0, 3), dtype=np.int64)


def jpeg_piece_decoder(encoding: Encoding, tile_shape: tuple[int, int]) -> PieceDecoder | None:
    """Return the decoder for an encoding, None if only `Decoder` reads it."""
    if not is_plain(encoding) or not is_compiled_for(tile_shape):
        return None
    return JpegPieceDecoder(encoding, tile_shape)


def is_compiled_for(tile_shape: tuple[int, int]) -> bool:
    """Return whether the compiled part is there and reads pictures of (height, width)."""
    return native is not None and max(tile_shape) <= LARGEST_SIDE


class JpegPieceDecoder:
    """Baseline streams, gray, RGB and YCbCr; it leaves others, and damaged ones, alone."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        if encoding.option("whole_header") == 1:
            around = encoding.prefix, END, 0
        else:
            around = tables_of(encoding) or START, b"", len(START)
        is_rgb = encoding.stored_colorspace == "rgb"
        self._left = 0
        self._encoding = *around, *tile_shape, encoding.samples, is_rgb

    def __call__(
        self,
        tiles: list[memoryview] | FileRanges,
        first: NDArray[np.int64],
        pieces: NDArray[np.int64],
        target: Target,
        keep: NDArray[np.int64] | None = None,
        threads: int = 1,
    ) -> tuple[Sequence[int], int, int]:
        assert native is not None
        source: object = tiles
        if isinstance(tiles, FileRanges):
            source = tiles.descriptor, tiles.ranges
        if self._left > LEFT_BEFORE_GIVING_UP:
            self._left -= 1  # of another file they may be usual
            return bytes(len(first) - 1), 0, 0
        kept = NOTHING_KEPT if keep is None else keep
        result: tuple[bytes, int, int] = native.decode_jpeg(
            source, *self._encoding, kept, threads, first, pieces, *target.fields
        )
        self._left = 0 if any(result[0]) else self._left + len(result[0])
        return result
