"""What the per-frame functional groups say, without parsing each of them into objects.

Source: DICOM PS3.3, C.7.6.16 (multi-frame functional groups), C.8.12.6.1 (plane position, slide).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError
from regionio.formats.dicom.header import PER_FRAME_GROUPS, Header, parsing
from regionio.formats.dicom.stream import ITEM, UNDEFINED, Element, ElementStream

__all__ = ["PerFrameGroups"]

COLUMN_POSITION, ROW_POSITION = 0x0048021E, 0x0048021F

FRAME_MARK = ROW_POSITION
"""What every frame of a slide has once: it tells the frames apart."""

SEQUENCE_TAGS = frozenset(
    (
        0x00209111,  # frame content
        0x00209113,  # plane position
        0x00209116,  # plane orientation
        0x00209071,  # frame anatomy
        0x00289110,  # pixel measures
        0x00289132,  # frame VOI LUT
        0x00289145,  # pixel value transformation
        0x0048021A,  # plane position, slide
        0x00480207,  # optical path identification
        0x0062000A,  # segment identification
    )
)
"""Sequences that are looked into; those of implicit value representation do not say what they are."""

NUMBERS = {b"SL": "i4", b"UL": "u4", b"SS": "i2", b"US": "u2", b"FD": "f8", b"FL": "f4"}

KNOWN_VRS = {
    0x00180050: b"DS", 0x00180088: b"DS", 0x00200032: b"DS", 0x00200037: b"DS",
    0x00209056: b"SH", 0x00209057: b"UL", 0x00209072: b"CS", 0x00209128: b"UL",
    0x00209157: b"UL", 0x00280030: b"DS", 0x00281050: b"DS", 0x00281051: b"DS",
    0x00281052: b"DS", 0x00281053: b"DS", 0x00281055: b"LO", 0x00281056: b"CS",
    0x0040072A: b"DS", 0x0040073A: b"DS", 0x0040074A: b"DS", 0x00480106: b"SH",
    COLUMN_POSITION: b"SL", ROW_POSITION: b"SL", 0x0062000B: b"US",
}  # fmt: skip
"""Value representations of what is looked for, for files that do not state them."""


class PerFrameGroups:
    """The per-frame functional groups of a file.

    Parameters
    ----------
    header
        Of the file, which has such groups.
    frames
        How many frames the file has.
    """

    def __init__(self, header: Header, frames: int) -> None:
        self._header = header
        self._frames = frames
        self._sequence = header.elements[PER_FRAME_GROUPS]

    def values(self, tags: Iterable[int]) -> dict[int, list[Any]]:
        """Return, for each of some attributes, its value in every frame.

        Parameters
        ----------
        tags
            Tags of attributes that stand in the groups' macros.

        Returns
        -------
        dict
            Tag → one value a frame: a list of numbers, or a list of texts; None where the frame's
            groups do not have it.

        Raises
        ------
        CorruptFileError
            The sequence is damaged, or has fewer items than there are frames.
        """
        wanted = frozenset(tags)
        found: dict[int, list[Any]] = {tag: [None] * self._frames for tag in wanted}
        stream, count = self._header.stream, 0
        for item in _items(stream, self._sequence):
            if count < self._frames:  # what is surplus says nothing of any frame
                for element in _leaves(stream, item, wanted):
                    found[element.tag][count] = _value(stream, element)
            count += 1
        if count > self._frames:
            msg = (
                f"{self._header.path!r} has {self._frames} frames, but functional groups of {count}: "
                "those of the others are ignored"
            )
            warnings.warn(msg, stacklevel=2)
        if count < self._frames:
            msg = (
                f"{self._header.path!r} has {self._frames} frames, but functional groups of only "
                f"{count}: it is damaged or was not written whole"
            )
            raise CorruptFileError(msg)
        return found

    def tile_positions(self) -> NDArray[np.int64] | None:
        """Return the places of tiles in the total pixel matrix.

        Returns
        -------
        ndarray
            ``int64[frames, 2]``, (y, x) of each tile's first pixel, counted from 0; None where no
            frame says where it lies.

        Raises
        ------
        CorruptFileError
            Some frames say it, and one does not.
        """
        found = self.searched((ROW_POSITION, COLUMN_POSITION))
        if not any(value for values in found.values() for value in values):
            return None
        placed = []
        for tag in (ROW_POSITION, COLUMN_POSITION):
            values = found[tag]
            missing = next((n for n, value in enumerate(values) if not value), None)
            if missing is not None:
                msg = (
                    f"{self._header.path!r}: frame {missing + 1} has no position in the total "
                    "pixel matrix"
                )
                raise CorruptFileError(msg)
            placed.append([value[0] for value in values])
        with parsing(self._header.path):
            return np.array(placed, dtype=np.int64).T - 1

    def searched(self, tags: Iterable[int]) -> dict[int, list[Any]]:
        """Return the same as `values`, looked for by their bytes, a hundred times as fast.

        Where the bytes of an attribute are not found once a frame, or not at all, its items are
        walked after all.
        """
        wanted = tuple(tags)
        found = {tag: self._search.values(tag, self._frames) for tag in wanted}
        unsure = [tag for tag, values in found.items() if values is None]
        walked = self.values(unsure) if unsure else {}
        return {tag: walked.get(tag) or found[tag] or [] for tag in wanted}

    @cached_property
    def _search(self) -> _Search:
        sequence = self._sequence
        end = self._end(sequence)
        content = self._header.stream.bytes_at(sequence.value, end - sequence.value)
        return _Search(self._header.stream, sequence, bytes(content))

    def _end(self, sequence: Element) -> int:
        if sequence.length != UNDEFINED:
            return self._header.stream.after(sequence)
        later = [e.start for e in self._header.elements.values() if e.start > sequence.start]
        return min(later) if later else self._header.stream.after(sequence)


class _Search:
    """Looks for attributes in the bytes of a sequence.

    Parameters
    ----------
    stream, sequence
        Where the bytes are from.
    content
        The bytes.
    """

    def __init__(self, stream: ElementStream, sequence: Element, content: bytes) -> None:
        self._stream = stream
        self._sequence = sequence
        self._content = content
        self._bytes = np.frombuffer(content, np.uint8)
        self._frame_marks = self._places(FRAME_MARK)

    def values(self, tag: int, frames: int) -> list[Any] | None:
        """Return an attribute's value in every frame, None where it can't be told this way."""
        places = self._places(tag)
        if len(places) == 0:
            return [None] * frames
        if len(places) != frames or not self._alternate(places, frames):
            return None
        vr = KNOWN_VRS[tag]
        head = 8  # tag and length, with a short value representation or with none
        kind = "u2" if self._stream.explicit else "u4"
        at = places + (6 if self._stream.explicit else 4)
        size = np.dtype(kind).itemsize
        lengths = self._bytes[at[:, None] + np.arange(size)].copy().view(self._stream.order + kind)
        lengths = lengths[:, 0].astype(np.int64)
        if (places + head + lengths > len(self._content)).any():
            return None
        parsed: dict[bytes, list[Any]] = {}
        result = []
        for place, length in zip((places + head).tolist(), lengths.tolist(), strict=True):
            raw = self._content[place : place + length]
            value = parsed.get(raw)
            if value is None:
                start = self._sequence.value + place
                element = Element(tag, vr, start - head, start, length)
                value = parsed[raw] = _parsed(self._stream, element, raw)
            result.append(value)
        return result

    def _places(self, tag: int) -> NDArray[np.int64]:
        """Return where an attribute's elements seem to begin."""
        pattern = self._stream.tag_bytes(tag)
        if self._stream.explicit:
            pattern += KNOWN_VRS[tag]
        found = [match.start() for match in re.finditer(re.escape(pattern), self._content)]
        return np.array(found, dtype=np.int64)

    def _alternate(self, places: NDArray[np.int64], frames: int) -> bool:
        """Return whether there is one place a frame, by another attribute that each frame has."""
        marks = self._frame_marks
        if len(marks) != frames:
            return False
        before = (places <= marks).all() and (marks[:-1] < places[1:]).all()
        behind = (marks <= places).all() and (places[:-1] < marks[1:]).all()
        return bool(before or behind)


def _items(stream: ElementStream, sequence: Element) -> Iterator[Element]:
    """Yield the items of a sequence."""
    place = sequence.value
    end = stream.size if sequence.length == UNDEFINED else stream.after(sequence)
    while place < end:
        item = stream.element(place)
        if item.tag != ITEM:
            return
        yield item
        place = stream.after(item)


def _leaves(stream: ElementStream, item: Element, wanted: frozenset[int]) -> Iterator[Element]:
    """Yield the wanted elements of a frame's item, which stand in items of macros."""
    place = item.value
    end = stream.after(item)
    while place < end:
        element = stream.element(place)
        if element.tag >> 16 == 0xFFFE:
            return
        if element.tag in wanted:
            yield element
        elif element.tag in SEQUENCE_TAGS:
            for inner in _items(stream, element):
                yield from _leaves(stream, inner, wanted)
        place = stream.after(element)


def _value(stream: ElementStream, element: Element) -> list[Any]:
    """Return the numbers or texts of an element."""
    if element.length == UNDEFINED:  # a sequence: only that it is there matters
        return []
    return _parsed(stream, element, bytes(stream.bytes_at(element.value, element.length)))


def _parsed(stream: ElementStream, element: Element, raw: bytes) -> list[Any]:
    vr = element.vr if element.vr not in {b"", b"UN"} else KNOWN_VRS.get(element.tag, b"UN")
    if vr in NUMBERS:
        dtype = np.dtype(stream.order + NUMBERS[vr])
        return list(np.frombuffer(raw, dtype, len(raw) // dtype.itemsize).tolist())
    texts = raw.decode("ascii", "replace").strip(" \0").split("\\")
    if vr not in {b"DS", b"IS"}:
        return [text.strip() for text in texts]
    try:
        return [float(text) for text in texts if text.strip()]
    except ValueError:
        stream.damaged(element, f"holds {texts!r}, numbers were expected")
        raise
