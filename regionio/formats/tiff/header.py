"""The skeleton of a TIFF: its signature, its chain of directories, the tags of the first.

Source: TIFF 6.0 section 2; the BigTIFF proposal (AWare Systems).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from regionio._errors import CorruptFileError
from regionio.storage import FetchCount, Storage

__all__ = ["check_directories", "is_ndpi", "is_tiff"]

SIGNATURES = (b"II\x2a\x00", b"MM\x00\x2a", b"II\x2b\x00", b"MM\x00\x2b")
MOST_TAGS = 4096
NDPI_TAG = 65420


def is_tiff(head: bytes) -> bool:
    """Return whether a file that starts with these bytes is a TIFF or BigTIFF."""
    return head[:4] in SIGNATURES


@dataclass(frozen=True)
class Flavour:
    """How a directory is laid out.

    Parameters
    ----------
    first
        Where the header holds the offset of the first directory.
    count, offset
        `struct` formats of the number of tags and of an offset.
    tag_bytes
        Size of one tag.
    """

    first: int
    count: str
    offset: str
    tag_bytes: int


def _flavour(head: bytes, *, ndpi: bool = False) -> Flavour:
    order = "<" if head[:1] == b"I" else ">"
    if 43 in head[2:4]:
        return Flavour(8, order + "Q", order + "Q", 20)
    return Flavour(4, order + "H", order + ("Q" if ndpi else "I"), 12)


def is_ndpi(storage: Storage) -> bool:
    """Return whether a TIFF is Hamamatsu's: classic, with 64-bit offsets between the lines.

    Its first directory may lie beyond 4 GB, at the 64-bit offset of which classic TIFF reads the
    lower half.
    """
    head = _read(storage, 0, 16)
    if head[:4] != SIGNATURES[0] or len(head) < 16:
        return False
    offsets = {struct.unpack_from(code, head, 4)[0] for code in ("<Q", "<I")}
    return any(NDPI_TAG in _tags(storage, offset) for offset in offsets)


def _tags(storage: Storage, offset: int) -> set[int]:
    """Return the tag numbers of a little-endian classic directory, if there is one."""
    start = _read(storage, offset, 2)
    if offset < 8 or len(start) < 2:
        return set()
    (count,) = struct.unpack("<H", start)
    table = _read(storage, offset + 2, 12 * min(count, MOST_TAGS))
    return {struct.unpack_from("<H", table, place)[0] for place in range(0, len(table) - 1, 12)}


def check_directories(storage: Storage, *, ndpi: bool) -> None:
    """Walk the chain of directories once, before a parser does that believes it to end.

    Raises
    ------
    CorruptFileError
        A directory lies outside the file, has no tags or absurdly many, or comes again.
    """
    path = storage.identity.path
    head = _read(storage, 0, 16)
    flavour = _flavour(head, ndpi=ndpi)
    offset_bytes = struct.calcsize(flavour.offset)
    if len(head) < flavour.first + offset_bytes:
        msg = f"{path!r} ends within its header of {len(head)} bytes"
        raise CorruptFileError(msg)
    (offset,) = struct.unpack_from(flavour.offset, head, flavour.first)
    seen: set[int] = set()
    count_bytes = struct.calcsize(flavour.count)
    while offset:
        if offset in seen:
            msg = f"{path!r}: the directory at {offset} follows itself; the file is damaged"
            raise CorruptFileError(msg)
        seen.add(offset)
        count = _unpacked(storage, flavour.count, offset)
        if not 0 < count <= MOST_TAGS:
            msg = f"{path!r}: the directory at {offset} has {count} tags; the file is damaged"
            raise CorruptFileError(msg)
        offset = _unpacked(
            storage, flavour.offset, offset + count_bytes + count * flavour.tag_bytes
        )


def _unpacked(storage: Storage, code: str, offset: int) -> int:
    data = _read(storage, offset, struct.calcsize(code))
    if len(data) < struct.calcsize(code):
        msg = (
            f"{storage.identity.path!r} ends at byte {storage.identity.size}, "
            f"but a directory goes on at {offset}; it is damaged or not copied whole"
        )
        raise CorruptFileError(msg)
    value: int = struct.unpack(code, data)[0]
    return value


def _read(storage: Storage, offset: int, size: int) -> bytes:
    """Return what the file has of a range."""
    size = min(size, storage.identity.size - offset)
    if size <= 0:
        return b""
    [data] = storage.read([offset], [size], FetchCount())
    return bytes(data)
