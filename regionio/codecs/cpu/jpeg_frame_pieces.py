"""8-bit JPEG frames of DICOM, one item each, decoded straight into pieces of regions.

Before the compiled part gets frames, the first bytes of each are looked at: whether it is one
whole item, and what its colours are. All others are left to `FrameJpegDecoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio._native import native
from regionio.codecs._contract import PieceDecoder, Target
from regionio.codecs.cpu.items import HEADER_BYTES, is_one_item
from regionio.codecs.cpu.jpeg_facts import JpegFacts
from regionio.codecs.cpu.jpeg_frame import JpegColors, plain_encoding
from regionio.codecs.cpu.jpeg_pieces import JpegPieceDecoder, is_compiled_for
from regionio.storage import FileRanges

__all__ = ["FramePieceDecoder", "frame_piece_decoder"]

HEAD_BYTES = 1024
"""Where a frame's size and colours mostly stand."""


def frame_piece_decoder(encoding: Encoding, tile_shape: tuple[int, int]) -> PieceDecoder | None:
    """Return the decoder for an encoding, None if only `Decoder` reads it."""
    if encoding.dtype != "uint8" or not is_compiled_for(tile_shape):
        return None
    return FramePieceDecoder(encoding, tile_shape)


class FramePieceDecoder:
    """Take frames out of their items and see to their colours."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        plain = plain_encoding(encoding)
        self._shape = (*tile_shape, encoding.samples)
        self._colors = JpegColors(encoding)
        self._by_itself = JpegPieceDecoder(plain, tile_shape)
        self._as_is = JpegPieceDecoder(replace(plain, stored_colorspace="rgb"), tile_shape)
        self._facts: JpegFacts | None = None

    def __call__(
        self,
        tiles: list[memoryview] | FileRanges,
        first: NDArray[np.int64],
        pieces: NDArray[np.int64],
        target: Target,
        keep: NDArray[np.int64] | None = None,
        threads: int = 1,
    ) -> tuple[Sequence[int], int, int]:
        heads, sizes = _heads(tiles, threads)
        ways = [self._way(head, size) for head, size in zip(heads, sizes, strict=True)]
        looked_at = sum(map(len, heads)) if isinstance(tiles, FileRanges) else 0
        decode = next((way for way in ways if way is not None), None)
        if decode is None:
            return bytes(len(ways)), 0, looked_at
        usable = [way is decode for way in ways]  # mostly all
        contents = _contents(tiles, usable)
        done, requests, nbytes = decode(contents, first, pieces, target, keep, threads)
        return done, requests, nbytes + looked_at

    def _way(self, head: memoryview, size: int) -> JpegPieceDecoder | None:
        """Return what decodes a frame, None if `FrameJpegDecoder` has to."""
        if not is_one_item(head, size):
            return None
        stream = head[HEADER_BYTES:]
        facts = self._facts
        if facts is None or not facts.begin(stream):
            try:
                facts = JpegFacts.of(stream)
                facts.check(self._shape)
            except DecodeError:
                return None
            self._facts = facts
        if facts.lossless or self._colors.overlooked(facts):
            return None
        return self._by_itself if self._colors.left_to_libjpeg(facts) else self._as_is


def _heads(
    tiles: list[memoryview] | FileRanges, threads: int
) -> tuple[list[memoryview], list[int]]:
    """Return the first bytes of each frame, and how many there are."""
    if not isinstance(tiles, FileRanges):
        return [tile[:HEAD_BYTES] for tile in tiles], [len(tile) for tile in tiles]
    assert native is not None
    count = len(tiles.ranges)
    nbytes = np.minimum(tiles.ranges[:, 1], HEAD_BYTES)
    place = HEAD_BYTES * np.arange(count)
    buffer = np.zeros(HEAD_BYTES * count, dtype=np.uint8)
    wanted = np.column_stack([tiles.ranges[:, 0], nbytes, place])
    done, _, _ = native.read_ranges(tiles.descriptor, wanted, buffer, threads)
    nbytes[done:] = 0  # who decodes them finds out why
    heads = buffer.data
    found = [
        heads[start : start + size]
        for start, size in zip(place.tolist(), nbytes.tolist(), strict=True)
    ]
    return found, tiles.ranges[:, 1].tolist()


def _contents(
    tiles: list[memoryview] | FileRanges, usable: list[bool]
) -> list[memoryview] | FileRanges:
    """Return frames without the headers of their items; nothing of those that are not usable."""
    if isinstance(tiles, FileRanges):
        ranges = tiles.ranges + np.array((HEADER_BYTES, -HEADER_BYTES))
        ranges[np.logical_not(usable), 1] = 0
        return replace(tiles, ranges=ranges)
    pairs = zip(tiles, usable, strict=True)
    return [tile[HEADER_BYTES:] if ok else tile[:0] for tile, ok in pairs]
