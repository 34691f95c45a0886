"""JPEG 2000 and HTJ2K tiles as streams for nvJPEG2000, of those that it decodes as OpenJPEG does.

Source: ISO/IEC 15444-1, annexes A (markers) and I (boxes); 15444-15 (high throughput).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regionio._index import Encoding
from regionio.codecs.cpu.items import HEADER_BYTES, is_one_item
from regionio.codecs.cpu.jpeg_facts import has_end
from regionio.codecs.cuda.jpeg import Colors

__all__ = ["Jpeg2000Facts", "Jpeg2000Streams", "jpeg2000_streams"]

CODESTREAM = b"\xff\x4f\xff\x51"
SIZE = struct.Struct(">2xHH8IH")
CODING = b"\xff\x52"
BOXES_BYTES = 1024
HIGH_THROUGHPUT = 1 << 14
"""Bit of the capabilities in the size segment."""

MOST_LAYERS = 32
PLAIN_COLORS = {b"\0\0\0\x10", b"\0\0\0\x11"}
"""sRGB and gray, as the box of colours counts them."""


@dataclass(frozen=True, slots=True)
class Jpeg2000Facts:
    """What a stream says of its picture.

    Parameters
    ----------
    height, width, samples
        Of the picture.
    precision
        Bits of every sample, 0 if components differ in it or in anything else, or have a sign.
    is_high_throughput
        Whether blocks may be coded as in part 15.
    layers
        Quality layers.
    transformed
        Whether the first three components are those of a colour transform.
    """

    height: int
    width: int
    samples: int
    precision: int
    is_high_throughput: bool
    layers: int
    transformed: bool

    @classmethod
    def of(cls, stream: bytes) -> Jpeg2000Facts | None:
        """Read them from the first bytes of a codestream; None if they are not all there.

        >>> import imagecodecs, numpy
        >>> stream = imagecodecs.jpeg2k_encode(numpy.zeros((24, 32), numpy.uint16), codecformat="j2k")
        >>> facts = Jpeg2000Facts.of(stream)
        >>> facts.height, facts.width, facts.samples, facts.precision, facts.is_high_throughput
        (24, 32, 1, 16, False)
        """
        if stream[:4] != CODESTREAM or len(stream) < 2 + SIZE.size:
            return None
        length, capabilities, *sides, count = SIZE.unpack_from(stream, 2)
        right, bottom, left, top, _, _, tiles_left, tiles_top = sides
        components = [stream[i : i + 3] for i in range(42, 42 + 3 * count, 3)]
        is_plain = len(set(components)) == 1 and components[0][1:] == b"\1\1"
        is_plain = is_plain and not (left or top or tiles_left or tiles_top)
        place = stream.find(CODING, 4 + length)
        coding = stream[place + 4 : place + 9]
        if place < 0 or len(coding) < 5 or not components or len(components[0]) < 3:
            return None
        depth = components[0][0]
        return cls(
            height=bottom - top,
            width=right - left,
            samples=count,
            precision=depth + 1 if is_plain and depth < 0x80 else 0,
            is_high_throughput=bool(capabilities & HIGH_THROUGHPUT),
            layers=int.from_bytes(coding[2:4], "big"),
            transformed=coding[4] == 1,
        )


def jpeg2000_streams(encoding: Encoding, tile_shape: tuple[int, int]) -> Jpeg2000Streams | None:
    """Return what makes streams of an encoding's tiles, None if the CPU has to decode them."""
    is_ours = encoding.compression in {"jpeg2000", "htj2k"}
    is_ours = is_ours and encoding.stored_colorspace != "ycbcr"
    is_usual = encoding.samples in {1, 3} and encoding.dtype in {"uint8", "uint16"}
    if not is_ours or not is_usual or not encoding.has_options("items"):
        return None
    return Jpeg2000Streams(encoding, tile_shape)


class Jpeg2000Streams:
    """Tells which tiles can be decoded.

    Parameters
    ----------
    encoding, tile_shape
        Of the tiles.

    Attributes
    ----------
    prefix, skipped
        As of `JpegStreams`.
    """

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._shape = (*tile_shape, encoding.samples)
        self._itemsize = 1 if encoding.dtype == "uint8" else 2
        self._is_item = bool(encoding.option("items"))
        self.prefix = b""
        self.skipped = HEADER_BYTES if self._is_item else 0

    def facts(self, data: memoryview) -> Jpeg2000Facts | None:
        """Return what a tile, as it stands in the file, says of its picture."""
        head = bytes(data[self.skipped : self.skipped + BOXES_BYTES])
        place = head.find(CODESTREAM)
        return Jpeg2000Facts.of(head[place:]) if place >= 0 else None

    def colors(self, data: memoryview) -> Colors | None:
        """Return what nvJPEG2000 has to make of a tile, None if it may not be given it."""
        if self._is_item and not is_one_item(data, len(data)):
            return None
        facts = self.facts(data)
        if facts is None or not has_end(data):  # the CPU says what is wrong
            return None
        head = bytes(data[self.skipped : self.skipped + BOXES_BYTES])
        if not self._is_usual(facts) or not _is_plain_container(head[: head.find(CODESTREAM)]):
            return None
        return "gray" if facts.samples == 1 else "rgb"

    def alike(self, buffer: NDArray[np.uint8], ranges: NDArray[np.int64]) -> None:
        """Return None: tiles are few, and each is looked at."""

    def _is_usual(self, facts: Jpeg2000Facts) -> bool:
        itemsize = (facts.precision + 7) // 8
        return (
            (facts.height, facts.width, facts.samples) == self._shape
            and itemsize == self._itemsize
            and facts.layers <= MOST_LAYERS
            and (facts.samples == 1 or facts.transformed)
        )


def _is_plain_container(boxes: bytes) -> bool:
    """Return whether what stands before a codestream changes nothing of its samples."""
    if not boxes:
        return True
    place = boxes.find(b"colr")
    is_listed = place >= 0 and boxes[place + 4 : place + 5] == b"\1"
    is_plain = is_listed and boxes[place + 7 : place + 11] in PLAIN_COLORS
    return is_plain and not any(name in boxes for name in (b"pclr", b"cmap", b"cdef"))
