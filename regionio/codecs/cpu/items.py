"""Frames that stand in items, as DICOM encapsulates them: their headers are taken out.

Source: DICOM PS3.5, A.4 (a frame is one or several fragments, each an item of its own).
"""

from __future__ import annotations

import struct
from typing import Any

from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio.codecs._contract import Decoder

__all__ = ["HEADER_BYTES", "ITEM", "ItemsDecoder", "content_of", "is_one_item"]

ITEM = b"\xfe\xff\x00\xe0"
HEADER_BYTES = 8


class ItemsDecoder:
    """Take a frame out of its items, then decode it.

    Parameters
    ----------
    decode
        What decodes the content.
    """

    def __init__(self, decode: Decoder) -> None:
        self._decode = decode

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        return self._decode(content_of(data), valid, rows, out)


def content_of(data: memoryview) -> memoryview:
    r"""Return the content of items: of one without a copy, of several joined.

    Parameters
    ----------
    data
        Whole items, header and content, one behind the other.

    Raises
    ------
    DecodeError
        Something else than an item is there, or an item that is longer than `data`.

    Examples
    --------
    >>> header = b"\xfe\xff\x00\xe0\x02\x00\x00\x00"
    >>> bytes(content_of(memoryview(header + b"ab" + header + b"cd")))
    b'abcd'
    """
    parts: list[memoryview] = []
    place, end = 0, len(data)
    while place < end or not parts:
        header = bytes(data[place : place + HEADER_BYTES])
        if len(header) < HEADER_BYTES or header[:4] != ITEM:
            msg = (
                f"byte {place} of the frame should begin an item, but {header.hex() or 'nothing'} "
                "stands there: the offset table or the length of an item is wrong"
            )
            raise DecodeError(msg)
        (length,) = struct.unpack_from("<I", header, 4)
        place += HEADER_BYTES
        if length > end - place:
            msg = f"an item of {length} bytes is cut short: only {end - place} bytes are left"
            raise DecodeError(msg)
        parts.append(data[place : place + length])
        place += length
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def is_one_item(head: memoryview, size: int) -> bool:
    """Return whether a frame of that many bytes is one item, by its first bytes."""
    if len(head) < HEADER_BYTES or bytes(head[:4]) != ITEM:
        return False
    length: int
    (length,) = struct.unpack_from("<I", head, 4)
    return length == size - HEADER_BYTES
