"""What stands before the pixels of a DICOM file: its attributes, and where the rest begins.

Source: DICOM PS3.10 (file format), PS3.5 section 10 and annex A (transfer syntaxes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from regionio._errors import ChangedFileError, CorruptFileError, RegionIOError
from regionio.formats.dicom.stream import SEQUENCE_END, UNDEFINED, Element, ElementStream
from regionio.storage import FileIdentity, Storage, open_storage
from regionio.storage.memory import inflated

if TYPE_CHECKING:
    from pydicom import FileDataset

__all__ = ["Header", "parsing", "read_header", "read_series", "reopened"]

SOP_CLASS, SERIES = 0x00080016, 0x0020000E
PER_FRAME_GROUPS = 0x52009230
EXTENDED_OFFSETS, EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
PIXEL_TAGS = frozenset((FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS))
SEARCHED_BYTES = 1024 * 1024
STOP = frozenset((PER_FRAME_GROUPS, EXTENDED_OFFSETS, EXTENDED_LENGTHS, *PIXEL_TAGS))

DEFLATED = "1.2.840.10008.1.2.1.99"

META_START = 132


@dataclass(frozen=True, eq=False)
class Header:
    """A file's attributes, and the elements that are not read with them.

    Parameters
    ----------
    storage
        What the places of elements are in: the file, or its inflated content.
    identity
        Of the file, as it was when it was read.
    dataset
        Attributes before the per-frame functional groups.
    transfer_syntax
        UID.
    stream
        Walks the elements.
    elements
        Tag → the per-frame functional groups, the extended offset table and the pixels, of those
        that there are.
    deflated_from
        The byte of the file from which on its content is deflated, None where it is not.
    known
        Attributes that were asked for before.
    """

    storage: Storage
    identity: FileIdentity
    dataset: FileDataset
    transfer_syntax: str
    stream: ElementStream
    elements: dict[int, Element]
    deflated_from: int | None = None
    known: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> str:
        """Path of the file."""
        return self.storage.identity.path

    @property
    def pixels(self) -> Element | None:
        """The element of the pixels."""
        return next((self.elements[tag] for tag in PIXEL_TAGS if tag in self.elements), None)

    def value(self, keyword: str) -> Any:
        """Return an attribute, None where it is missing.

        Raises
        ------
        CorruptFileError
            Its value can't be parsed.
        """
        if keyword not in self.known:  # pydicom takes its time
            with parsing(self.path):
                self.known[keyword] = self.dataset.get(keyword)
        return self.known[keyword]

    def number(self, keyword: str, default: int | None = None) -> int:
        """Return an attribute that is one integer.

        Raises
        ------
        CorruptFileError
            It is missing without a default, or is no integer.
        """
        value = self.value(keyword)
        if value is None or value == "":
            if default is not None:
                return default
            msg = f"{self.path!r} lacks the attribute {keyword}, which its pixels need"
            raise CorruptFileError(msg)
        try:
            return int(value)
        except (TypeError, ValueError, OverflowError) as error:
            msg = f"{self.path!r}: {keyword} is {value!r}, an integer was expected"
            raise CorruptFileError(msg) from error


def read_header(storage: Storage) -> Header:
    """Read a file's attributes and find its pixels.

    Parameters
    ----------
    storage
        The file.

    Raises
    ------
    CorruptFileError
        It is cut short or damaged.
    """
    from pydicom.filereader import read_partial

    identity = storage.identity
    path = identity.path
    with storage.view() as view, parsing(path):
        dataset = read_partial(view, stop_when=_stops, force=True)
        syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
        place = view.tell()
    deflated_from = None
    if syntax == DEFLATED:
        deflated_from = _content_start(storage)
        storage = inflated(storage, deflated_from)
        with storage.view() as view, parsing(path):
            dataset, place = _inflated_dataset(view, dataset)
    stream = ElementStream(
        storage,
        explicit=not dataset.is_implicit_VR,
        big_endian=not dataset.is_little_endian,
    )
    elements = _elements(stream, place)
    return Header(storage, identity, dataset, syntax, stream, elements, deflated_from)


@contextmanager
def reopened(header: Header) -> Iterator[Header]:
    """Open a header's file anew, for as long as its frames are looked for."""
    if header.deflated_from is not None:  # all of it is in memory
        yield header
        return
    storage = open_storage(header.path)
    if storage.identity != header.identity:
        storage.close()
        msg = f"{header.path!r} has changed while it was opened; open it again"
        raise ChangedFileError(msg)
    old = header.stream
    stream = ElementStream(storage, explicit=old.explicit, big_endian=old.order == ">")
    try:
        yield replace(header, storage=storage, stream=stream)
    finally:
        storage.close()


@contextmanager
def parsing(path: str) -> Iterator[None]:
    """Turn whatever pydicom stumbles over into a `CorruptFileError` that names the file."""
    try:
        yield
    except RegionIOError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # pydicom's own have none
            raise
        what = f"{type(error).__name__}: {error}"
        msg = f"{path!r} is damaged or not copied whole: its attributes do not parse ({what})"
        raise CorruptFileError(msg) from error


def read_series(storage: Storage) -> tuple[str, str]:
    """Return SOPClassUID and SeriesInstanceUID of a file, reading no further than needed."""
    from pydicom.filereader import read_partial

    path = storage.identity.path
    with storage.view() as view, parsing(path):
        dataset = read_partial(
            view,
            stop_when=lambda tag, *_: tag > SERIES,
            force=True,
            specific_tags=[SOP_CLASS, SERIES],
        )
        if str(dataset.file_meta.get("TransferSyntaxUID", "")) == DEFLATED:
            dataset = read_header(storage).dataset
        return str(dataset.get("SOPClassUID", "")), str(dataset.get("SeriesInstanceUID", ""))


def _stops(tag: int, _vr: str | None, _length: int) -> bool:
    return tag in STOP


def _content_start(storage: Storage) -> int:
    """Return where the content behind the meta information begins."""
    meta = ElementStream(storage, explicit=True, big_endian=False)
    place = META_START
    while (element := meta.element(place)).tag >> 16 == 2:
        place = meta.after(element)
    return place


def _inflated_dataset(view: BinaryIO, deflated: FileDataset) -> tuple[FileDataset, int]:
    """Parse inflated content, whose places are those of the memory it is in."""
    from pydicom import FileDataset
    from pydicom.filereader import read_dataset

    content = read_dataset(view, is_implicit_VR=False, is_little_endian=True, stop_when=_stops)
    dataset = FileDataset(
        "", content, file_meta=deflated.file_meta, is_implicit_VR=False, is_little_endian=True
    )
    return dataset, view.tell()


def _elements(stream: ElementStream, place: int) -> dict[int, Element]:
    """Return the elements from a place on up to the pixels, of those that are looked for."""
    found: dict[int, Element] = {}
    while place < stream.size:
        element = stream.element(place)
        if element.tag in STOP:
            found[element.tag] = element
        if element.tag in PIXEL_TAGS or element.tag > PIXELS:
            break
        place = _end_of_frames(stream, element) or stream.after(element)
    return found


def _end_of_frames(stream: ElementStream, element: Element) -> int | None:
    """Return where a sequence of undefined length ends, if what follows can be told at a glance.

    To walk the items of ten thousand frames takes a fifth of a second; to look for the element
    behind them, a hundredth.
    """
    if element.tag != PER_FRAME_GROUPS or element.length != UNDEFINED:
        return None
    group = PIXELS.to_bytes(4, "big")[:2]
    ending = stream.tag_bytes(SEQUENCE_END) + bytes(4)
    pattern = re.compile(re.escape(ending + (group[::-1] if stream.order == "<" else group)))
    overlap = len(ending) + len(group) - 1
    place = element.value
    while place < stream.size:
        size = min(SEARCHED_BYTES, stream.size - place)
        found = pattern.search(stream.bytes_at(place, size))  # which needs no copy
        if found is not None:
            end = place + found.start() + len(ending)
            return end if stream.element(end).tag in STOP else None
        if size < SEARCHED_BYTES:
            return None
        place += size - overlap
    return None
