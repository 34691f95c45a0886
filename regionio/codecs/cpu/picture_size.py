"""The size that a whole picture states of itself, read before a decoder takes memory for it.

A tile is a stream of its own, and a few hundred bytes can promise 60,000 × 60,000 pixels. Decoders
take the memory that their stream asks for, so it has to be compared with the tile's before.

Source: PNG (W3C, 11.2.2 IHDR); ITU-T T.81, B.2.2 (JPEG frame header); ISO/IEC 15444-1, A.5.1
(SIZ) and annex I (boxes); RFC 9649 (WebP); RFC 6386, 9.1 (VP8); ITU-T T.832, 8.3 (JPEG XR image
header) and annex A (its file); ISO/IEC 18181-1, annex D (JPEG XL image header); 18181-2, clause 9
(its boxes); Esri's LERC specification (github.com/Esri/lerc, doc/LercFormat).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from regionio._errors import DecodeError

__all__ = ["PictureSize", "check_size", "picture_size"]


MOST_SAMPLES = 4
"""Of a pixel of a picture that is not taken apart: red, green, blue, alpha."""


class PictureSize(NamedTuple):
    """What a header promises.

    Parameters
    ----------
    width, height
        In pixels.
    samples
        How many components a pixel has at least, where the header lets a decoder take memory for
        thousands of them, else 1.
    is_film
        Whether there may be any number of such pictures.
    """

    width: int
    height: int
    samples: int = 1
    is_film: bool = False

    def fits(self, tile_shape: tuple[int, int], samples: int) -> bool:
        """Return whether a tile has room for it.

        imagecodecs, and so tifffile, writes pixels of more than `MOST_SAMPLES` samples to JPEG XL
        as a film: a frame is a row, with the samples side by side.
        """
        height, width = tile_shape
        if self.is_film:
            return samples > MOST_SAMPLES and (self.height, self.width) == (width, samples)
        return self.width <= width and self.height <= height and self.samples <= samples


def picture_size(codec: str, data: memoryview) -> PictureSize | None:
    r"""Return the size that a stream states, without decoding it.

    Parameters
    ----------
    codec
        ``"png"``, ``"webp"``, ``"jpeg"``, ``"jpeg2000"``, ``"jpegxr"``, ``"jpegxl"`` or
        ``"lerc"``.
    data
        The stream.

    Returns
    -------
    PictureSize or None
        None where it has no such header.

    Raises
    ------
    DecodeError
        It is divided into absurdly many pieces.

    Examples
    --------
    >>> header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x00\x80"
    >>> picture_size("png", memoryview(header))
    PictureSize(width=256, height=128, samples=1, is_film=False)
    """
    try:
        return READERS[codec](data)
    except (struct.error, IndexError):  # it ends before
        return None


def check_size(
    codec: str, data: memoryview, tile_shape: tuple[int, int], samples: int
) -> PictureSize:
    r"""Raise where a stream promises more pixels or components than its tile has.

    Parameters
    ----------
    codec, data
        As `picture_size` takes them.
    tile_shape
        (height, width) of the tile.
    samples
        Samples of a pixel of the tile.

    Returns
    -------
    PictureSize
        What the stream states.

    Raises
    ------
    DecodeError
        It does, or it does not say what it holds.

    Examples
    --------
    >>> header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x00\x80"
    >>> check_size("png", memoryview(header), (256, 256), 3).height
    128
    """
    size = picture_size(codec, data)
    if size is None:
        msg = f"{codec} tile is damaged: it has no header that states its size"
        raise DecodeError(msg)
    if not size.fits(tile_shape, samples):
        what = "several pictures" if size.is_film else f"{size.samples} or more samples"
        msg = (
            f"{codec} tile holds {size.height}×{size.width} pixels of {what}, "
            f"{tile_shape[0]}×{tile_shape[1]} of {samples} expected"
        )
        raise DecodeError(msg)
    return size


def _png(data: memoryview) -> PictureSize | None:
    if bytes(data[:8]) != b"\x89PNG\r\n\x1a\n" or bytes(data[12:16]) != b"IHDR":
        return None
    return PictureSize(*struct.unpack_from(">II", data, 16))


def _webp(data: memoryview) -> PictureSize | None:
    if bytes(data[:4]) != b"RIFF" or bytes(data[8:12]) != b"WEBP":
        return None
    kind, content = bytes(data[12:16]), data[20:]
    if kind == b"VP8X":
        width, wider, height, higher = struct.unpack_from("<HBHB", content, 4)
        return PictureSize((wider << 16 | width) + 1, (higher << 16 | height) + 1)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 1)
        return PictureSize((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 6)
        return PictureSize(width & 0x3FFF, height & 0x3FFF)
    return None


JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_START_OF_SCAN, JPEG_END = 0xDA, 0xD9
JPEG_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)


def _jpeg(data: memoryview) -> PictureSize | None:
    """Return the largest sides of all frame headers: decoders differ in which one they believe."""
    sizes: list[PictureSize] = []
    stream, place = bytes(data), 2
    while found := JPEG_MARKER.search(stream, place):
        marker, place = found[1][0], found.end()
        if marker in {JPEG_START_OF_SCAN, JPEG_END}:
            break
        if marker in JPEG_WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", stream, place)
        if marker in JPEG_FRAMES:
            height, width, samples = struct.unpack_from(">HHB", stream, place + 3)
            sizes.append(PictureSize(width, height, samples))
        place += length
    return _largest(sizes) if sizes else None


def _largest(sizes: list[PictureSize]) -> PictureSize:
    """Return what has room for all of them."""
    return PictureSize(
        max(size.width for size in sizes),
        max(size.height for size in sizes),
        max(size.samples for size in sizes),
    )


class _Box(NamedTuple):
    kind: bytes
    content: memoryview


def _boxes(data: memoryview) -> Iterator[_Box]:
    """Yield the boxes of an ISO file, as JPEG 2000 and JPEG XL have them."""
    place = 0
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, place + 8)
            header = 16
        elif length == 0:  # up to the end
            length = len(data) - place
        if length < header:
            return
        yield _Box(kind, data[place + header : place + length])
        place += length


CODESTREAM = b"\xff\x4f\xff\x51"
LEAST_TILE_PIXELS = 256
"""OpenJPEG takes 10 kB for a tile of a codestream, so they must not be a pixel each."""

FEW_TILES = 64


def _jpeg2000(data: memoryview) -> PictureSize | None:
    if bytes(data[:2]) != CODESTREAM[:2]:
        data = next((box.content for box in _boxes(data) if box.kind == b"jp2c"), data[:0])
    if bytes(data[:4]) != CODESTREAM:
        return None
    right, bottom, left, top, tile_width, tile_height, tiles_left, tiles_top, components = (
        struct.unpack_from(">8IH", data, 8)
    )
    if not tile_width or not tile_height or right <= left or bottom <= top:
        return None
    size = PictureSize(right - left, bottom - top, components)
    tiles = -(-(right - tiles_left) // tile_width) * -(-(bottom - tiles_top) // tile_height)
    if tiles > max(FEW_TILES, size.width * size.height // LEAST_TILE_PIXELS):
        msg = (
            f"jpeg2000 tile of {size.height}×{size.width} pixels is divided into {tiles} tiles "
            "of its own; it is damaged"
        )
        raise DecodeError(msg)
    return size


JPEGXR_SIDES = (0xBC80, 0xBC81)
JPEGXR_STREAMS = (0xBCC0, 0xBCC2)
"""Tags with the offsets of the picture and of its alpha channel."""

JPEGXR_SHORT = 0x80


def _jpegxr(data: memoryview) -> PictureSize | None:
    """Return the largest sides of directory, picture and alpha channel, which may differ."""
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    sides: dict[int, int] = {}
    streams: list[int] = []
    for place in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, _, value = struct.unpack_from("<HHII", data, place)
        if kind == 3:
            value &= 0xFFFF
        if tag in JPEGXR_SIDES:
            sides[tag] = max(value, sides.get(tag, 0))
        elif tag in JPEGXR_STREAMS:
            streams.append(value)
    sizes = [_jpegxr_image(data, place) for place in streams if place]
    found = [size for size in sizes if size is not None]
    if not found or len(found) < len(sizes) or len(sides) != 2:
        return None
    width, height = (sides[tag] for tag in JPEGXR_SIDES)
    return _largest([*found, PictureSize(width, height)])


def _jpegxr_image(data: memoryview, place: int) -> PictureSize | None:
    """Return the size that an image header states."""
    if bytes(data[place : place + 8]) != b"WMPHOTO\0":
        return None
    code = ">HH" if data[place + 10] & JPEGXR_SHORT else ">II"
    width, height = struct.unpack_from(code, data, place + 12)
    return PictureSize(width + 1, height + 1)


def _lerc(data: memoryview) -> PictureSize | None:
    if bytes(data[:10]) == b"CntZImage ":
        height, width = struct.unpack_from("<ii", data, 18)
        return PictureSize(width, height)
    size, place, samples = None, 0, 0
    while bytes(data[place : place + 6]) == b"Lerc2 ":  # one behind the other: bands
        (version,) = struct.unpack_from("<i", data, place + 6)
        at = place + (14 if version >= 3 else 10)  # a checksum came in version 3
        height, width, depth = struct.unpack_from("<iii", data, at)
        at += 12 if version >= 4 else 8  # and depth in version 4
        samples += max(1, depth) if version >= 4 else 1
        size = PictureSize(width, height, samples)
        (nbytes,) = struct.unpack_from("<i", data, at + 8)
        if nbytes <= 0:
            break
        place += nbytes
    return size


class _Bits:
    """Reads numbers of some bits each, lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, bits: int) -> int:
        """Return the next number.

        Raises
        ------
        IndexError
            There are no more.
        """
        self._left -= bits
        if self._left < 0:
            raise IndexError
        value = self._number & ((1 << bits) - 1)
        self._number >>= bits
        return value

    def choice(self, *offers: tuple[int, int]) -> int:
        """Return a number of one of four kinds, each (what is added, bits)."""
        offset, bits = offers[self.take(2)]
        return offset + self.take(bits)


JPEGXL_HEADER_BYTES = 64
"""More than the fields in front of the colour encoding can take."""

JPEGXL_SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))
JPEGXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def _jpegxl(data: memoryview) -> PictureSize | None:
    if bytes(data[:2]) == b"\xff\x0a":
        head = bytes(data[:JPEGXL_HEADER_BYTES])
    else:
        head = _jpegxl_codestream(data)
    if head[:2] != b"\xff\x0a":
        return None
    bits = _Bits(head[2:])
    width, height = _jpegxl_sides(bits)
    if bits.take(1):  # the rest is as by default
        return PictureSize(width, height)
    if bits.take(1):
        bits.take(3)  # orientation
        if bits.take(1):
            _jpegxl_sides(bits)  # for display
        if bits.take(1) or bits.take(1):  # a preview, or frames in time
            return PictureSize(width, height, is_film=True)
    return PictureSize(width, height, 1 + _jpegxl_extra_channels(bits))


def _jpegxl_codestream(data: memoryview) -> bytes:
    """Return the first bytes of a codestream that stands in boxes, whole or in parts."""
    head = b""
    for box in _boxes(data):
        if box.kind == b"jxlc":
            head += bytes(box.content[:JPEGXL_HEADER_BYTES])
        elif box.kind == b"jxlp":  # its number goes before each part
            head += bytes(box.content[4 : 4 + JPEGXL_HEADER_BYTES])
        if len(head) >= JPEGXL_HEADER_BYTES:
            break
    return head


def _jpegxl_sides(bits: _Bits) -> tuple[int, int]:
    """Return (width, height) of a size header."""
    small = bits.take(1)
    height = 8 * (1 + bits.take(5)) if small else bits.choice(*JPEGXL_SIDE)
    ratio = bits.take(3)
    if ratio:
        numerator, denominator = JPEGXL_RATIOS[ratio - 1]
        return height * numerator // denominator, height
    return 8 * (1 + bits.take(5)) if small else bits.choice(*JPEGXL_SIDE), height


def _jpegxl_extra_channels(bits: _Bits) -> int:
    """Return how many channels there are besides colours, from what tells the depth."""
    if bits.take(1):  # floating point
        bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
    else:
        bits.choice((8, 0), (10, 0), (12, 0), (1, 6))
    bits.take(1)  # whether 16 bits are enough for a decoder
    return bits.choice((0, 0), (1, 0), (2, 4), (1, 12))


READERS: dict[str, Callable[[memoryview], PictureSize | None]] = {
    "png": _png,
    "webp": _webp,
    "jpeg": _jpeg,
    "jpeg2000": _jpeg2000,
    "jpegxr": _jpegxr,
    "jpegxl": _jpegxl,
    "lerc": _lerc,
}
