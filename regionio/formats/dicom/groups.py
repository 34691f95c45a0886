"""What the per-frame functional groups say, without parsing each of them into objects.

Source: DICOM PS3.3, C.7.6.16 (multi-frame functional groups), C.8.12.6.1 (plane position, slide).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError
from regionio._lazy import lazy_property
from regionio.formats.dicom.header import PER_FRAME_GROUPS, Header, parsing
from regionio.formats.dicom.stream import ITEM, UNDEFINED, Element, ElementStream

__all__ = ["FirstValues", "PerFrameGroups"]

COLUMN_POSITION, ROW_POSITION = 0x0048021E, 0x0048021F

FRAME_MARK = ROW_POSITION
"""What every frame of a slide has once: it tells the frames apart."""

HEAD_BYTES = 8
"""Tag and length of an element, with a short value representation or with none."""

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
        what = "position in the total pixel matrix"
        row, column = (self.first_values(tag, what) for tag in (ROW_POSITION, COLUMN_POSITION))
        if row is None and column is None:
            return None
        if row is None or column is None:
            self._lacks(0, what)
        with parsing(self._header.path):
            return np.stack([row.spread(), column.spread()], axis=1).astype(np.int64) - 1

    def first_values(self, tag: int, what: str) -> FirstValues | None:
        """Return the first value that an attribute has in every frame.

        It is looked for by its bytes, a hundred times as fast as `values`. Where they are not
        found once a frame, or not at all, items are walked after all.

        Parameters
        ----------
        tag
            Of the attribute.
        what
            What it is, for the message.

        Returns
        -------
        FirstValues or None
            None where no frame has any.

        Raises
        ------
        CorruptFileError
            Some frames have it, and one does not.
        """
        found = self._search.first_values(tag, self._frames)
        if found is not None:
            return found if len(found.distinct) else None
        values = self.values((tag,))[tag]
        missing = next((number for number, value in enumerate(values) if not value), None)
        if missing is None:
            return FirstValues(*np.unique([value[0] for value in values], return_inverse=True))
        if any(values):
            self._lacks(missing, what)
        return None

    def _lacks(self, frame: int, what: str) -> NoReturn:
        msg = f"{self._header.path!r}: frame {frame + 1} has no {what}, unlike others"
        raise CorruptFileError(msg)

    @lazy_property
    def _search(self) -> _Search:
        sequence = self._sequence
        end = self._end(sequence)
        content = self._header.stream.bytes_at(sequence.value, end - sequence.value)
        return _Search(self._header.stream, sequence, content)

    def _end(self, sequence: Element) -> int:
        if sequence.length != UNDEFINED:
            return self._header.stream.after(sequence)
        later = [e.start for e in self._header.elements.values() if e.start > sequence.start]
        return min(later) if later else self._header.stream.after(sequence)


@dataclass(frozen=True, eq=False)
class FirstValues:
    """One value a frame.

    Parameters
    ----------
    distinct
        Values that occur, some perhaps more than once.
    which
        ``int64[frames]``, index into `distinct` of each frame's.
    """

    distinct: NDArray[Any]
    which: NDArray[np.int64]

    def spread(self) -> NDArray[Any]:
        """Return the value of each frame."""
        values: NDArray[Any] = self.distinct[self.which]
        return values


class _Search:
    """Looks for attributes in the bytes of a sequence.

    Parameters
    ----------
    stream, sequence
        Where the bytes are from.
    content
        The bytes.
    """

    def __init__(self, stream: ElementStream, sequence: Element, content: memoryview) -> None:
        self._stream = stream
        self._sequence = sequence
        self._bytes = np.frombuffer(content, np.uint8)
        # elements have even lengths, so that tags begin at even places
        self._words = np.frombuffer(content, stream.order + "u2", len(content) // 2)
        self._groups: dict[int, NDArray[np.int64]] = {}
        self._found: dict[int, NDArray[np.int64]] = {}

    def first_values(self, tag: int, frames: int) -> FirstValues | None:
        """Return an attribute's first value in every frame, none at all where it is nowhere.

        None where that can't be told this way.
        """
        places = self._places(tag)
        if len(places) == 0:
            return FirstValues(np.zeros(0), places)
        if len(places) != frames or not self._alternate(places, frames):
            return None
        lengths = self._lengths(places)
        least = np.dtype(NUMBERS.get(KNOWN_VRS[tag], "u1")).itemsize
        if (lengths < least).any() or (places + HEAD_BYTES + lengths > len(self._bytes)).any():
            return None
        which = np.zeros(frames, dtype=np.int64)
        parts: list[NDArray[Any]] = []
        count = 0
        for length in np.unique(lengths).tolist():  # of numbers there is one, of texts are few
            chosen = np.flatnonzero(lengths == length)
            part = self._first_of(tag, places[chosen], length)
            which[chosen] = part.which + count
            count += len(part.distinct)
            parts.append(part.distinct)
        return FirstValues(np.concatenate(parts), which)

    def _first_of(self, tag: int, places: NDArray[np.int64], length: int) -> FirstValues:
        """Return the first values of elements that have the same length."""
        vr = KNOWN_VRS[tag]
        begin = (places + HEAD_BYTES)[:, None]
        if vr in NUMBERS:
            dtype = np.dtype(self._stream.order + NUMBERS[vr])
            raw = self._bytes[begin + np.arange(dtype.itemsize)]
            return FirstValues(raw.view(dtype)[:, 0], np.arange(len(places)))
        raw = self._bytes[begin + np.arange(length)]
        if (raw == raw[0]).all():
            raw, which = raw[:1], np.zeros(len(raw), dtype=np.int64)
        else:
            texts, which = np.unique(raw.view(f"V{length}")[:, 0], return_inverse=True)
            raw = texts[:, None].view(np.uint8)
        start = int(places[0])
        element = Element(tag, vr, self._sequence.value + start, start + HEAD_BYTES, length)
        values = [_parsed(self._stream, element, text.tobytes()) or [""] for text in raw]
        return FirstValues(np.array([value[0] for value in values]), which)

    def _lengths(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what elements state as their length."""
        word = places // 2
        if self._stream.explicit:
            return self._words[word + 3].astype(np.int64)
        halves = self._words[word + 2].astype(np.int64), self._words[word + 3].astype(np.int64)
        low, high = halves if self._stream.order == "<" else halves[::-1]
        return high << 16 | low

    def _places(self, tag: int) -> NDArray[np.int64]:
        """Return where an attribute's elements seem to begin."""
        if tag in self._found:
            return self._found[tag]
        group, words = tag >> 16, self._words
        if group not in self._groups:
            # behind the last places there is no room for an element
            self._groups[group] = np.flatnonzero(words[: max(0, len(words) - 3)] == group)
        at = self._groups[group]
        at = at[words[at + 1] == tag & 0xFFFF]
        if self._stream.explicit:
            at = at[words[at + 2] == np.frombuffer(KNOWN_VRS[tag], self._stream.order + "u2")]
        places: NDArray[np.int64] = at * 2
        self._found[tag] = places
        return places

    def _alternate(self, places: NDArray[np.int64], frames: int) -> bool:
        """Return whether there is one place a frame, by another attribute that each frame has."""
        marks = self._places(FRAME_MARK)
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
