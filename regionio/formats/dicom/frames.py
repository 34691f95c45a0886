"""Where each frame's bytes are.

Source: DICOM PS3.5, sections 8.1.1 (native pixels) and A.4 (encapsulated pixels, basic offset
table); PS3.3, C.7.6.3.1.8 (extended offset table).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError
from regionio._native import native
from regionio.formats.dicom.encoding import frame_bits, word_bits
from regionio.formats.dicom.header import EXTENDED_LENGTHS, EXTENDED_OFFSETS, Header
from regionio.formats.dicom.stream import ITEM, SEQUENCE_END, UNDEFINED, Element
from regionio.formats.dicom.syntaxes import is_encapsulated
from regionio.storage import NO_RANGES, FetchCount

__all__ = ["FrameTable", "frame_table"]

LARGEST_FRAME_COUNT = MOST_FRAGMENTS = 2**24
ITEM_BYTES = 8
END_OF_IMAGE = b"\xff\xd9"
TRAILING_BYTES = 10
"""How near to the end of a fragment the end of its picture is looked for."""


@dataclass(frozen=True, eq=False)
class FrameTable:
    """The bytes of every frame of a file.

    Parameters
    ----------
    offset, nbytes
        ``int64[n]``, ranges in the file. Those of encapsulated frames begin with an item's
        header and may hold several items: `regionio.codecs.cpu.items` takes the headers out.
    first_bit
        ``int64[n]``, the bit of the first byte at which each frame begins, 8 for the second byte
        of a word; None: all at 0.
    encapsulated
        Whether ranges are items.
    """

    offset: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    first_bit: NDArray[np.int64] | None = None
    encapsulated: bool = False

    def __len__(self) -> int:
        return len(self.offset)


def frame_table(header: Header) -> FrameTable:
    """Find the frames of a file.

    Parameters
    ----------
    header
        Of the file.

    Raises
    ------
    CorruptFileError
        There are no pixels, or fewer than the attributes say.
    UnsupportedFormatError
        Of native frames: their size can't be told.
    """
    pixels = header.pixels
    if pixels is None:
        msg = f"{header.path!r} has attributes of an image, but no pixels: it is cut short"
        raise CorruptFileError(msg)
    count = header.number("NumberOfFrames", 1)
    if not 1 <= count <= LARGEST_FRAME_COUNT:
        msg = f"{header.path!r}: NumberOfFrames is {count}"
        raise CorruptFileError(msg)
    if is_encapsulated(header.transfer_syntax):
        return _encapsulated(header, pixels, count)
    return _native(header, pixels, count, frame_bits(header))


def _native(header: Header, pixels: Element, count: int, bits: int) -> FrameTable:
    needed = (count * bits + 7) // 8
    present = min(pixels.length, header.stream.size - pixels.value)
    if present < needed:
        whole = present * 8 // bits
        msg = (
            f"{header.path!r} should have {count} frames, {needed} bytes of pixels, and has "
            f"{present}, enough for {whole}: copy it again from its source"
        )
        raise CorruptFileError(msg)
    word = word_bits(header)
    first = np.arange(count, dtype=np.int64) * bits
    first_bit = first % word
    nbytes = (first_bit + bits + word - 1) // word * (word // 8)
    offset = pixels.value + first // word * (word // 8)
    return FrameTable(offset, nbytes, first_bit if first_bit.any() else None)


def _encapsulated(header: Header, pixels: Element, count: int) -> FrameTable:
    stream = header.stream
    table = stream.element(pixels.value)
    if table.tag != ITEM or table.length == UNDEFINED or table.length % 4:
        stream.damaged(table, "stands where the offset table of encapsulated pixels should")
    begin = stream.after(table)
    starts = _extended_starts(header, count, begin)
    if starts is None and table.length == 4 * count:
        offsets = np.frombuffer(stream.bytes_at(table.value, table.length), stream.order + "u4")
        starts = _checked_starts(header, begin + offsets.astype(np.int64))
    if starts is None:
        starts = _tiff_starts(header, count, begin)
    if starts is not None:
        _, end = _items(header, pixels, int(starts[-1]))
    else:
        starts, end = _walked_starts(header, pixels, begin, count)
    nbytes = np.diff(starts, append=end)
    return FrameTable(starts, nbytes, encapsulated=True)


def _extended_starts(header: Header, count: int, begin: int) -> NDArray[np.int64] | None:
    """Return where frames begin by the extended offset table, if there is one that can be right."""
    offsets = header.elements.get(EXTENDED_OFFSETS)
    if offsets is None or offsets.length != 8 * count or EXTENDED_LENGTHS not in header.elements:
        return None
    values = np.frombuffer(
        header.stream.bytes_at(offsets.value, offsets.length), header.stream.order + "u8"
    )
    if (values > header.stream.size).any():
        return None
    return _checked_starts(header, begin + values.astype(np.int64))


def _tiff_starts(header: Header, count: int, begin: int) -> NDArray[np.int64] | None:
    """Return where frames begin by the tags of a file that is TIFF, too: one item a tile."""
    [head] = header.storage.read([0], [2], FetchCount())
    if bytes(head) not in {b"II", b"MM"}:
        return None
    from regionio.formats.dicom.tiff_tags import tile_ranges  # and with it tifffile

    ranges = tile_ranges(header, count)
    if ranges is None:
        return None
    offset, nbytes = ranges
    starts = offset - ITEM_BYTES
    padded = nbytes + nbytes % 2
    follow = starts[1:] == starts[:-1] + ITEM_BYTES + padded[:-1]
    if starts[0] != begin or not follow.all():
        return None
    return _checked_starts(header, starts)


def _checked_starts(header: Header, starts: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return a table's places if they rise and the first and the last of them are items.

    Tables of 32-bit offsets wrap around in files of more than 4 GiB; some are just wrong.
    """
    stream = header.stream
    if (np.diff(starts) < ITEM_BYTES).any() or starts[-1] + ITEM_BYTES > stream.size:
        return None
    for place in (int(starts[0]), int(starts[-1])):
        if stream.element(place).tag != ITEM:
            return None
    return starts


def _walked_starts(
    header: Header, pixels: Element, begin: int, count: int
) -> tuple[NDArray[np.int64], int]:
    """Find frames by walking the items: one a frame, or by where pictures end."""
    starts, end = _items(header, pixels, begin)
    if len(starts) == count:
        return starts, end
    if count == 1 and len(starts) > 1:
        return starts[:1], end
    if len(starts) > count:
        bounds = np.append(starts, end)
        last = _end_pictures(header, bounds[1:])
        ends = np.flatnonzero(last)
        if len(ends) == count and ends[-1] == len(starts) - 1:
            return starts[np.concatenate(([0], ends[:-1] + 1))], end
    msg = (
        f"{header.path!r} should have {count} frames, but its pixels are {len(starts)} fragments "
        "that cannot be told apart; write it again with an offset table"
    )
    raise CorruptFileError(msg)


def _items(header: Header, pixels: Element, place: int) -> tuple[NDArray[np.int64], int]:
    """Return where each item from a place on begins, and where the last one ends.

    Pixels of a defined length, right or wrong, and files without the closing delimiter exist.
    """
    stream, limit = header.stream, header.stream.size
    if pixels.length != UNDEFINED:
        limit = min(limit, pixels.value + pixels.length)
    walked, place = _walked_by_compiled_part(header, place, limit)
    starts: list[int] = []
    while place + ITEM_BYTES <= limit:
        item = stream.element(place, window=ITEM_BYTES)
        if item.tag == SEQUENCE_END:
            break
        if item.tag != ITEM or item.length == UNDEFINED:
            stream.damaged(item, "stands where a fragment of pixels should")
        if item.length == 0:
            stream.damaged(item, "is a fragment of no bytes")
        if len(walked) + len(starts) > MOST_FRAGMENTS:
            stream.damaged(item, f"is the {MOST_FRAGMENTS}th fragment: there can't be so many")
        starts.append(place)
        place = stream.after(item)
    return np.concatenate([walked, np.array(starts, dtype=np.int64)]), place


def _walked_by_compiled_part(
    header: Header, place: int, limit: int
) -> tuple[NDArray[np.int64], int]:
    """Return where items begin up to the first thing that is none, and its place."""
    file = header.storage.ranges(NO_RANGES)
    if native is None or file is None or header.stream.order != "<":
        return NO_RANGES[:, 0], place
    starts, place = native.walk_items(file.descriptor, place, limit)
    return np.frombuffer(starts, np.int64), place


def _end_pictures(header: Header, ends: NDArray[np.int64]) -> list[bool]:
    """Return which fragments, by where they end, are the last of a JPEG or JPEG 2000 picture."""
    tails = (ends - TRAILING_BYTES).tolist()
    read = header.storage.read(tails, [TRAILING_BYTES] * len(tails), FetchCount())
    return [END_OF_IMAGE in bytes(tail) for tail in read]
