"""The first bytes of a TIFF.

Source: TIFF 6.0 section 2; the BigTIFF proposal (AWare Systems).
"""

from __future__ import annotations

import struct

from regionio.storage import FetchCount, Storage

__all__ = ["is_tiff", "tags_of_first_directory"]

SIGNATURES = (b"II\x2a\x00", b"MM\x00\x2a", b"II\x2b\x00", b"MM\x00\x2b")
MOST_TAGS = 4096


def is_tiff(head: bytes) -> bool:
    """Return whether a file that starts with these bytes is a TIFF or BigTIFF."""
    return head[:4] in SIGNATURES


def tags_of_first_directory(storage: Storage) -> frozenset[int]:
    """Return the tag numbers in the first directory of a little-endian classic TIFF.

    NDPI, the format that this is for, is written as nothing else. Its directory may lie beyond
    4 GB, at the 64-bit offset of which classic TIFF reads the lower half.
    """
    size = storage.identity.size
    if size < 16:
        return frozenset()
    head = _read(storage, 0, 16)
    if head[:4] != SIGNATURES[0]:
        return frozenset()
    (long_offset,) = struct.unpack_from("<Q", head, 4)
    (short_offset,) = struct.unpack_from("<I", head, 4)
    tags: set[int] = set()
    for offset in (long_offset, short_offset):
        if not 8 <= offset <= size - 2:
            continue
        (count,) = struct.unpack("<H", _read(storage, offset, 2))
        if count > MOST_TAGS or offset + 2 + 12 * count > size:
            continue
        table = _read(storage, offset + 2, 12 * count)
        tags.update(struct.unpack_from("<H", table, 12 * i)[0] for i in range(count))
    return frozenset(tags)


def _read(storage: Storage, offset: int, size: int) -> bytes:
    [data] = storage.read([offset], [size], FetchCount())
    return bytes(data)
