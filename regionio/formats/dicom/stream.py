"""The data elements of a DICOM stream, walked without reading their values.

Source: DICOM PS3.5, sections 7.1 (elements), 7.5 (sequences), A.4 (encapsulation).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from regionio._errors import CorruptFileError
from regionio.storage import FetchCount, Storage

__all__ = ["ITEM", "ITEM_END", "SEQUENCE_END", "UNDEFINED", "Element", "ElementStream"]

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF

LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""Value representations with a length of four bytes after two reserved ones."""

WINDOW_BYTES = 256 * 1024
DEEPEST = 64
"""Sequences nested deeper than this are taken for damage."""


@dataclass(frozen=True, slots=True)
class Element:
    """One data element, or an item of a sequence.

    Parameters
    ----------
    tag
        Group and element number in one.
    vr
        Value representation; empty for items and where it is implicit.
    start, value
        Where the element and its value begin in the file.
    length
        Bytes of the value, or `UNDEFINED`.
    """

    tag: int
    vr: bytes
    start: int
    value: int
    length: int


class ElementStream:
    """Reads the headers of elements of one file, through a window of its bytes.

    Parameters
    ----------
    storage
        The file.
    explicit, big_endian
        How the transfer syntax encodes elements.
    """

    def __init__(self, storage: Storage, *, explicit: bool, big_endian: bool) -> None:
        self._storage = storage
        self._size = storage.identity.size
        self.explicit = explicit
        self.order = ">" if big_endian else "<"
        self._tag = struct.Struct(self.order + "HH")
        self._short = struct.Struct(self.order + "H")
        self._long = struct.Struct(self.order + "I")
        self._window, self._window_at = memoryview(b""), 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    def bytes_at(self, place: int, count: int, window: int = WINDOW_BYTES) -> memoryview:
        """Return some bytes of the file; `window` bytes are read where more may be wanted soon.

        Raises
        ------
        CorruptFileError
            The file ends before.
        """
        begin = place - self._window_at
        if begin < 0 or begin + count > len(self._window):
            if place + count > self._size:
                path = self._storage.identity.path
                msg = (
                    f"{path!r} ends at byte {self._size}, in the middle of its data elements; "
                    f"{count} bytes from {place} on are missing: copy it again from its source"
                )
                raise CorruptFileError(msg)
            size = min(max(count, window), self._size - place)
            [self._window] = self._storage.read([place], [size], FetchCount())
            self._window_at, begin = place, 0
        return self._window[begin : begin + count]

    def tag_bytes(self, tag: int) -> bytes:
        """Return a tag as the file writes it."""
        return self._tag.pack(tag >> 16, tag & 0xFFFF)

    def element(self, place: int, window: int = WINDOW_BYTES) -> Element:
        """Return the element that begins at a place."""
        head = self.bytes_at(place, 8, window)
        group, number = self._tag.unpack_from(head)
        tag = group << 16 | number
        if group == 0xFFFE or not self.explicit:
            return Element(tag, b"", place, place + 8, self._long.unpack_from(head, 4)[0])
        vr = bytes(head[4:6])
        if vr not in LONG_VRS:
            return Element(tag, vr, place, place + 8, self._short.unpack_from(head, 6)[0])
        length = self._long.unpack(self.bytes_at(place + 8, 4))[0]
        return Element(tag, vr, place, place + 12, length)

    def after(self, element: Element, depth: int = 0) -> int:
        """Return the place behind an element, whose end may have to be searched.

        Raises
        ------
        CorruptFileError
            It does not end, or ends beyond the file.
        """
        if element.length != UNDEFINED:
            end = element.value + element.length
            if end > self._size:
                self.damaged(element, f"ends at {end}, beyond the file's {self._size} bytes")
            return end
        if depth > DEEPEST:
            self.damaged(element, f"is nested more than {DEEPEST} deep")
        closing = ITEM_END if element.tag == ITEM else SEQUENCE_END
        place = element.value
        while True:
            inner = self.element(place)
            if inner.tag == closing:
                return inner.value
            place = self.after(inner, depth + 1)

    def damaged(self, element: Element, what: str) -> None:
        """Raise the error that says what is wrong with an element."""
        tag = f"({element.tag >> 16:04X},{element.tag & 0xFFFF:04X})"
        path = self._storage.identity.path
        msg = f"{path!r}: element {tag} at byte {element.start} {what}"
        raise CorruptFileError(msg)
