"""The skeleton of a TIFF: its signature, its chain of directories, the tags of the first.

Source: TIFF 6.0 section 2; the BigTIFF proposal (AWare Systems).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio.storage import FetchCount, Storage

__all__ = ["check_directories", "is_ndpi", "is_tiff"]

SIGNATURES = (b"II\x2a\x00", b"MM\x00\x2a", b"II\x2b\x00", b"MM\x00\x2b")
NDPI_TAG = 65420
SUBIFDS_TAG = 330
PHOTOSHOP_TAG = 37724
"""Layers, gigabytes of them, which nobody asks for."""

MOST_TAGS = 4096
"""In one directory; real ones have some 20, those of cameras and of Hamamatsu 100."""

MOST_DIRECTORIES = 2**16
"""In a file, with those that others refer to. OME-TIFFs with some 10,000 planes exist. A parser
takes 0.1 ms and 4 kB for each."""

MOST_TAGS_IN_ALL = 2**20
"""As many directories of 16 tags. A parser takes 5 µs for each."""

MOST_REPEATS = 16
"""Of one tag in a directory. TIFF allows none, writers repeat descriptions."""

LARGEST_VALUE = 2**27
"""Bytes of one value: the offsets of 16 million tiles, which is a million pixels squared in tiles
of 256, or a description of 128 MiB, which is some 100 times the largest ones of OME-TIFF."""

LARGEST_VALUES = 2**28
"""Bytes of all values: the offsets and sizes of as many tiles, in one image or many."""

NUMBER_BYTES = 8
"""What a number counts, however few bytes it has in the file: parsed, it has more."""

WINDOW_BYTES = 4096
"""Read at once: most directories fit in."""

WIDTHS = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
"""Type → bytes of a value."""

OFFSET_TYPES = (4, 13, 16, 18)


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
    word
        Kind of a tag's number of values, and of the value or its offset.
    """

    first: int
    count: str
    offset: str
    tag_bytes: int
    word: str


def _flavour(head: bytes, *, ndpi: bool = False) -> Flavour:
    order = "<" if head[:1] == b"I" else ">"
    if 43 in head[2:4]:
        return Flavour(8, order + "Q", order + "Q", 20, "Q")
    return Flavour(4, order + "H", order + ("Q" if ndpi else "I"), 12, "I")


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
    """Walk all directories once, before a parser does that believes them.

    Raises
    ------
    CorruptFileError
        A directory lies outside the file, comes again, has no tags, too many, or one again and
        again; a value is absurdly large.
    UnsupportedFormatError
        There are more directories, tags or values than `MOST_DIRECTORIES`, `MOST_TAGS_IN_ALL` and
        `LARGEST_VALUES` allow.
    """
    path = storage.identity.path
    head = _read(storage, 0, 16)
    flavour = _flavour(head, ndpi=ndpi)
    if len(head) < flavour.first + struct.calcsize(flavour.offset):
        msg = f"{path!r} ends within its header of {len(head)} bytes"
        raise CorruptFileError(msg)
    directories = _Directories(storage, flavour)
    tags = directories.chain()
    if not ndpi:  # which has none below others, and parts of offsets elsewhere
        tags = np.concatenate([tags, directories.below(tags)])
    _check_repeats(tags, path)
    _check_values(tags, storage.identity.size, path)


class _Directories:
    """Reads the directories of a file, those that lie close together with one request.

    Parameters
    ----------
    storage
        The file.
    flavour
        Its layout.
    """

    def __init__(self, storage: Storage, flavour: Flavour) -> None:
        self._storage = storage
        self._path = storage.identity.path
        self._flavour = flavour
        self._count_bytes = struct.calcsize(flavour.count)
        self._window, self._window_at = b"", 0
        self._directories = self._tags = 0

    def chain(self) -> NDArray[Any]:
        """Return the tags of the directories that follow each other."""
        tables: list[bytes] = []
        seen: set[int] = set()
        offset = self._number(self._flavour.offset, self._flavour.first)
        while offset:
            if offset in seen:
                msg = f"{self._path!r}: the directory at {offset} follows itself; it is damaged"
                raise CorruptFileError(msg)
            seen.add(offset)
            count = self._number(self._flavour.count, offset)
            if not 0 < count <= MOST_TAGS:
                msg = f"{self._path!r}: the directory at {offset} has {count} tags; it is damaged"
                raise CorruptFileError(msg)
            self._spend(1, count)
            tables.append(self._table(offset, count))
            after = offset + self._count_bytes + count * self._flavour.tag_bytes
            offset = self._number(self._flavour.offset, after)
        return self._parsed(tables, 0)

    def below(self, tags: NDArray[Any]) -> NDArray[Any]:
        """Return the tags of the directories that those of the chain refer to.

        Damaged ones are left to the parser, which goes on without them.
        """
        tables: list[bytes] = []
        for offset in self._offsets_below(tags):
            head = self._at(offset, self._count_bytes)
            whole = len(head) == self._count_bytes
            count = struct.unpack(self._flavour.count, head)[0] if whole else 0
            if count <= MOST_TAGS:
                self._spend(0, count)
                tables.append(self._table(offset, count))
        return self._parsed(tables, self._directories)

    def _offsets_below(self, tags: NDArray[Any]) -> Iterator[int]:
        """Yield the offsets in the tags SubIFDs."""
        order = self._flavour.offset[0]
        for tag in tags[tags["code"] == SUBIFDS_TAG]:
            count, kind, value = (int(tag[field]) for field in ("count", "type", "value"))
            width = WIDTHS.get(kind, 0)
            if kind not in OFFSET_TYPES:
                msg = f"{self._path!r}: offsets of directories are of type {kind}; it is damaged"
                raise CorruptFileError(msg)
            self._spend(count, 0)
            inline = struct.pack(order + self._flavour.word, value)
            nbytes = count * width
            data = inline[:nbytes]
            if nbytes > len(inline):
                data = _read(self._storage, value, nbytes)
            if len(data) == nbytes:  # else there is no value
                yield from np.frombuffer(data, f"{order}u{width}").tolist()

    def _table(self, offset: int, count: int) -> bytes:
        """Return what there is of a directory's tags."""
        data = self._at(offset + self._count_bytes, count * self._flavour.tag_bytes)
        return data[: len(data) // self._flavour.tag_bytes * self._flavour.tag_bytes]

    def _parsed(self, tables: list[bytes], number: int) -> NDArray[Any]:
        """Return tags by their fields, with the numbers of their directories from `number` on."""
        order, word = self._flavour.offset[0], self._flavour.word
        layout = np.dtype([(field, order + "u2") for field in ("code", "type")])
        layout = np.dtype([*layout.descr, ("count", order + word), ("value", order + word)])
        raw = np.frombuffer(b"".join(tables), layout)
        tags = np.empty(len(raw), [*layout.descr, ("directory", "i8")])
        tags[list(layout.names or ())] = raw
        counts = [len(table) // self._flavour.tag_bytes for table in tables]
        tags["directory"] = np.repeat(np.arange(number, number + len(tables)), counts)
        return tags

    def _spend(self, directories: int, tags: int) -> None:
        """Raise when there have been too many."""
        self._directories += directories
        self._tags += tags
        if self._directories > MOST_DIRECTORIES or self._tags > MOST_TAGS_IN_ALL:
            msg = (
                f"{self._path!r} has more than {MOST_DIRECTORIES} directories or "
                f"{MOST_TAGS_IN_ALL} tags; regionio does not read so many"
            )
            raise UnsupportedFormatError(msg)

    def _number(self, code: str, offset: int) -> int:
        data = self._at(offset, struct.calcsize(code))
        if len(data) < struct.calcsize(code):
            msg = (
                f"{self._path!r} ends at byte {self._storage.identity.size}, "
                f"but a directory goes on at {offset}; it is damaged or not copied whole"
            )
            raise CorruptFileError(msg)
        value: int = struct.unpack(code, data)[0]
        return value

    def _at(self, offset: int, size: int) -> bytes:
        """Return what the file has of a range."""
        start = offset - self._window_at
        if start < 0 or start + size > len(self._window):
            self._window = _read(self._storage, offset, max(size, WINDOW_BYTES))
            self._window_at, start = offset, 0
        return self._window[start : start + size]


def _check_repeats(tags: NDArray[Any], path: str) -> None:
    """Raise where a directory has a tag so often that a parser is busy with finding room."""
    key = tags["directory"] << 16 | tags["code"]
    _, first, times = np.unique(key, return_index=True, return_counts=True)
    if len(times) and times.max() > MOST_REPEATS:
        code = tags["code"][first[times.argmax()]]
        msg = f"{path!r}: a directory has tag {code} {times.max()} times; it is damaged"
        raise CorruptFileError(msg)


def _check_values(tags: NDArray[Any], file_bytes: int, path: str) -> None:
    """Raise where a parser would read absurdly much."""
    widths = np.zeros(max(WIDTHS) + 2)
    widths[list(WIDTHS)] = list(WIDTHS.values())
    width = widths[np.minimum(tags["type"], len(widths) - 1)]  # 0 of unknown ones, not read
    count = tags["count"].astype(np.float64)  # a product of 64 bits may be larger
    cost = np.where(width > 1, NUMBER_BYTES, width) * count
    cost[(width * count > file_bytes) | (tags["code"] == PHOTOSHOP_TAG)] = 0  # not read either
    if len(cost) and cost.max() > LARGEST_VALUE:
        tag = tags[cost.argmax()]
        msg = (
            f"{path!r}: tag {tag['code']} has {tag['count']} values of type {tag['type']}, "
            "more than an image has use for; the file is damaged"
        )
        raise CorruptFileError(msg)
    if cost.sum() > LARGEST_VALUES:
        msg = (
            f"{path!r}: the directories' values take {cost.sum():.0f} bytes; "
            f"regionio does not read more than {LARGEST_VALUES}"
        )
        raise UnsupportedFormatError(msg)


def _read(storage: Storage, offset: int, size: int) -> bytes:
    """Return what the file has of a range."""
    size = min(size, storage.identity.size - offset)
    if size <= 0:
        return b""
    [data] = storage.read([offset], [size], FetchCount())
    return bytes(data)
