"""The attributes of a DICOM file as plain values, and which of them say who the patient is.

Values are converted here and not by pydicom, which takes longer, warns of what it does not like,
and raises where a value can't be parsed.

Source: DICOM PS3.5, section 6 (value encoding) and 7.5 (nesting of data sets).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

from regionio._lazy import lazy_property
from regionio.formats.dicom.confidential import is_phi
from regionio.formats.dicom.header import Header
from regionio.formats.dicom.mammography import is_mammogram, mammography_of

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset
    from pydicom.dataelem import RawDataElement

    AnyElement: TypeAlias = DataElement | RawDataElement

__all__ = [
    "FIRST_CREATOR",
    "HIDDEN",
    "LAST_CREATOR",
    "FileMetadata",
    "hidden",
    "metadata_of",
]

HIDDEN = "(hidden)"

MOST_VALUES = 20_000
"""Attributes and items of sequences that are kept of a file; what comes later is left out."""

DEEPEST = 16
"""Sequences nested deeper than this are not looked into."""

LARGEST_BULK_BYTES = 1024
LARGEST_TEXT_BYTES = 64 * 1024
LARGEST_SEQUENCE_BYTES = 16 * 1024 * 1024
"""Larger values are replaced by a text that says their size."""

LARGEST_KEPT_BYTES = 1024 * 1024
"""Attributes that take more are not kept until somebody asks for the metadata."""

CHARACTER_SET, PIXEL_REPRESENTATION = 0x00080005, 0x00280103
FIRST_CREATOR, LAST_CREATOR = 0x10, 0xFF
"""Element numbers, in private groups, of who reserved a block of 256 elements."""

NUMBERS = {
    "US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d",
}  # fmt: skip
LOCAL_TEXTS = frozenset(("LO", "LT", "PC", "PN", "SH", "ST", "UC", "UT"))
"""Texts in the file's character set."""
ONE_TEXT = frozenset(("LT", "ST", "UR", "UT"))
"""Texts in which a backslash is just that."""
TEXTS = LOCAL_TEXTS | ONE_TEXT | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"}

LATIN = "iso8859"
ESCAPE = b"\x1b"
DELIMITERS = {0x0A, 0x0C, 0x0D, 0x3D, 0x5C, 0x5E}
"""Characters after which a text is in the first character set again."""
INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class FileMetadata(Mapping[str, Any]):
    """What a file's attributes say, found out when somebody asks for it.

    Parameters
    ----------
    header
        Of the file.
    """

    def __init__(self, header: Header) -> None:
        self._header: Header | None = header
        if header.deflated_from is not None or _is_large(header) or is_mammogram(header):
            # it would keep much memory, or the file be needed once more
            self._found = metadata_of(header)
            self._header = None

    @lazy_property
    def _found(self) -> dict[str, Any]:
        assert self._header is not None
        return metadata_of(self._header)

    def __getitem__(self, key: str) -> Any:
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _is_large(header: Header) -> bool:
    """Return whether an attribute takes more memory than what is told of it."""
    elements = (
        header.dataset.get_item(tag, keep_deferred=True)
        for tag in header.dataset.keys()  # noqa: SIM118
    )
    return any((getattr(element, "length", 0) or 0) > LARGEST_KEPT_BYTES for element in elements)


def metadata_of(header: Header) -> dict[str, Any]:
    """Return what a file's attributes say, without those of its frames.

    Parameters
    ----------
    header
        Of the file.

    Returns
    -------
    dict
        ``"dicom"``: attributes by keyword (``"PatientID"``), those that are private, repeating or
        unknown by tag (``"(0009,1001)"``, capital digits); the file meta information under
        ``"FileMetaInformation"``. Values are None (empty), str, int, float, bytes, a list of
        them where there are several, or a list of dicts for a sequence. Dates are DICOM's texts,
        tags the keys that they have here. What can't be parsed is the text or the bytes that
        stand in the file; what is large, a color profile or a table, is a text that says how
        large, ``"(3144 bytes)"``.
        ``"dicom_phi"``: sorted paths of those that are protected health information and not
        empty: ``"PatientID"``, ``"RequestAttributesSequence[0].RequestedProcedureID"``.
        ``"mammography"``: of mammograms and breast tomosynthesis, as
        `regionio.formats.dicom.mammography.mammography_of` returns it.
    """
    collector = _Collector(header.dataset)
    meta = getattr(header.dataset, "file_meta", None)
    dicom: dict[str, Any] = {}
    if meta is not None:
        dicom["FileMetaInformation"] = collector.values(
            meta, "FileMetaInformation.", encodings=[LATIN]
        )
    dicom |= collector.values(header.dataset, "", encodings=[LATIN])
    metadata: dict[str, Any] = {"dicom": dicom, "dicom_phi": sorted(collector.phi)}
    mammography = mammography_of(header, dicom)
    if mammography is not None:
        metadata["mammography"] = mammography
    return metadata


def hidden(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of an image's metadata without protected health information.

    Parameters
    ----------
    metadata
        As `metadata_of` returns it; of other files it is returned as it is.

    Returns
    -------
    dict
        The same, with `HIDDEN` for each value whose path is in ``"dicom_phi"``.

    Examples
    --------
    >>> dicom = {"PatientID": "1", "Modality": "CT", "OtherPatientIDsSequence": [{"PatientID": "2"}]}
    >>> phi = ["OtherPatientIDsSequence[0].PatientID", "PatientID"]
    >>> hidden({"dicom": dicom, "dicom_phi": phi})["dicom"]  # doctest: +NORMALIZE_WHITESPACE
    {'PatientID': '(hidden)', 'Modality': 'CT',
     'OtherPatientIDsSequence': [{'PatientID': '(hidden)'}]}
    """
    if "dicom" not in metadata:
        return dict(metadata)
    phi = frozenset(metadata.get("dicom_phi", ()))
    return metadata | {"dicom": _without(metadata["dicom"], "", phi)}


def _without(values: dict[str, Any], prefix: str, phi: frozenset[str]) -> dict[str, Any]:
    copied: dict[str, Any] = {}
    for key, value in values.items():
        path = prefix + key
        if path in phi:
            copied[key] = HIDDEN
        elif isinstance(value, dict):
            copied[key] = _without(value, path + ".", phi)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            copied[key] = [_without(item, f"{path}[{n}].", phi) for n, item in enumerate(value)]
        else:
            copied[key] = value
    return copied


@lru_cache(maxsize=4096)
def _known(tag: int) -> tuple[str, str]:
    """Return the key of an attribute, and its value representation as far as it is known."""
    from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

    keyword = keyword_for_tag(tag)
    if not keyword or tag_for_keyword(keyword) != tag:  # groups that repeat share keywords
        keyword = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    try:
        return keyword, dictionary_VR(tag)
    except KeyError:
        return keyword, "UN"


class _Collector:
    """Turns data sets into plain values, and notes which of them are confidential.

    Parameters
    ----------
    dataset
        The outermost one.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.phi: list[str] = []
        self._left = MOST_VALUES
        self._signed = False
        if PIXEL_REPRESENTATION in dataset:
            pixels = dataset.get_item(PIXEL_REPRESENTATION, keep_deferred=True)
            self._signed = _element_value(pixels, "US", [LATIN]) == 1

    def values(
        self,
        dataset: Dataset,
        prefix: str,
        *,
        encodings: list[str],
        depth: int = 0,
        confidential: bool = False,
    ) -> dict[str, Any]:
        """Return the values of a data set.

        Parameters
        ----------
        dataset
            The data set.
        prefix
            What the paths of its attributes begin with.
        encodings
            Character sets of the data set that it is in.
        depth
            How many sequences it is in.
        confidential
            Whether all in it is.
        """
        encodings = _encodings(dataset, encodings)
        creators: dict[int, str] = {}
        found: dict[str, Any] = {}
        for tag in dataset.keys():  # noqa: SIM118  a data set iterates over converted elements
            self._left -= 1
            if self._left < 0:
                break
            element = dataset.get_item(tag, keep_deferred=True)
            key, usual_vr = _known(int(tag))
            if not tag & 0xFFFF and key.startswith("("):
                continue  # lengths of groups, which are of the file and not of the image
            vr = self._representation(element, int(tag), creators)
            # a date stays a date where a file declares it a text
            marked = confidential or is_phi(tag, key, vr) or is_phi(tag, key, usual_vr)
            if vr == "SQ":
                value = self._sequence(
                    element, prefix + key, encodings=encodings, depth=depth, confidential=marked
                )
            else:
                value = _element_value(element, vr, encodings)
            if marked and not _is_empty(value) and not _holds_items(value):
                self.phi.append(prefix + key)
            found[key] = value
            if tag >> 16 & 1 and FIRST_CREATOR <= tag & 0xFFFF <= LAST_CREATOR:
                creators[tag >> 16 << 8 | tag & 0xFF] = str(value)
        return found

    def _representation(self, element: AnyElement, tag: int, creators: dict[int, str]) -> str:
        """Return the value representation of an element: its own, else by dictionary."""
        vr = element.VR or "UN"
        if vr == "UN":
            vr = _known(tag)[1]
            if tag >> 16 & 1:
                vr = _private_vr(tag, creators)
        if vr.startswith("US or"):
            return "SS" if self._signed and "SS" in vr else "US"
        return vr.partition(" or ")[0]

    def _sequence(
        self,
        element: AnyElement,
        path: str,
        *,
        encodings: list[str],
        depth: int,
        confidential: bool,
    ) -> Any:
        """Return the items of a sequence, or a text that says why they are left out."""
        if isinstance(element.value, bytes) and len(element.value) > LARGEST_SEQUENCE_BYTES:
            return _size(element.value)
        if depth >= DEEPEST:
            return f"(nested more than {DEEPEST} deep)"
        items: list[dict[str, Any]] = []
        try:
            for number, item in enumerate(_items(element)):
                if self._left <= 0:
                    break
                self._left -= 1
                items.append(
                    self.values(
                        item,
                        f"{path}[{number}].",
                        encodings=encodings,
                        depth=depth + 1,
                        confidential=confidential,
                    )
                )
        except Exception:  # noqa: BLE001  whatever pydicom stumbles over, RecursionError as well
            return items or _size(element.value)
        return items


def _items(element: AnyElement) -> Iterator[Dataset]:
    """Yield the items of a sequence, parsing each only when it is its turn."""
    from pydicom.dataelem import RawDataElement
    from pydicom.filereader import read_sequence_item

    if not isinstance(element, RawDataElement):
        yield from element.value or ()
        return
    content = element.value or b""
    # what is of unknown representation is encoded as if it had none: PS3.5, 6.2.2
    unknown = element.VR == "UN"
    stream = BytesIO(content)
    while stream.tell() < len(content):
        item = read_sequence_item(
            stream,
            is_implicit_VR=unknown or element.is_implicit_VR,
            is_little_endian=unknown or element.is_little_endian,
            encoding=LATIN,
        )
        if item is None:
            return
        yield item


def _private_vr(tag: int, creators: dict[int, str]) -> str:
    from pydicom.datadict import private_dictionary_VR

    if FIRST_CREATOR <= tag & 0xFFFF <= LAST_CREATOR:
        return "LO"
    try:
        return private_dictionary_VR(tag, creators[tag >> 8])
    except KeyError:
        return "UN"


def _encodings(dataset: Dataset, inherited: list[str]) -> list[str]:
    """Return Python's names of the character sets of a data set."""
    if CHARACTER_SET not in dataset:
        return inherited
    element = dataset.get_item(CHARACTER_SET, keep_deferred=True)
    names = _element_value(element, "CS", [LATIN])
    texts = names if isinstance(names, list) else [names]
    return list(_python_encodings(tuple(str(text or "") for text in texts)))


@lru_cache(maxsize=64)
def _python_encodings(names: tuple[str, ...]) -> list[str]:
    from pydicom.charset import convert_encodings

    try:
        return convert_encodings(list(names))
    except Exception:  # noqa: BLE001  of names that do not exist
        return [LATIN]


def _element_value(element: AnyElement, vr: str, encodings: list[str]) -> Any:
    """Return the value of an element that is no sequence."""
    from pydicom.dataelem import RawDataElement

    if not isinstance(element, RawDataElement):
        return _plain(element.value)
    raw = element.value
    if not raw:
        return None
    if len(raw) > (LARGEST_TEXT_BYTES if vr in TEXTS else LARGEST_BULK_BYTES):
        return _size(raw)
    if vr in TEXTS:
        return _text_value(raw, vr, encodings)
    return _binary_value(raw, vr, "<" if element.is_little_endian else ">")


def _binary_value(raw: bytes, vr: str, order: str) -> Any:
    """Return numbers or tags, and bytes where they are neither or too many or few for it."""
    code = "H" if vr == "AT" else NUMBERS.get(vr, "")
    each = 4 if vr == "AT" else struct.calcsize(code)
    if not code or len(raw) % each:
        return bytes(raw)
    numbers = struct.unpack(f"{order}{len(raw) // struct.calcsize(code)}{code}", raw)
    if vr == "AT":
        tags = zip(numbers[::2], numbers[1::2], strict=True)
        return _one_or_all(_known(group << 16 | number)[0] for group, number in tags)
    return _one_or_all(numbers)


def _text_value(raw: bytes, vr: str, encodings: list[str]) -> Any:
    text = _decoded(raw, encodings if vr in LOCAL_TEXTS else [LATIN]).rstrip(" \0")
    if vr in ONE_TEXT:
        return text or None
    parts = [part.strip(" \0") for part in text.split("\\")]
    if vr == "IS":
        return _one_or_all(_integer(part) for part in parts)
    if vr == "DS":
        return _one_or_all(_decimal(part) for part in parts)
    return _one_or_all(parts) or None


def _decoded(raw: bytes, encodings: list[str]) -> str:
    """Return a text; one that its character set does not have byte by byte."""
    from pydicom.charset import decode_bytes

    try:
        if ESCAPE in raw:
            return decode_bytes(raw, encodings, DELIMITERS)
        return raw.decode(encodings[0])
    except Exception:  # noqa: BLE001  codecs raise what they like
        return raw.decode(LATIN)


def _integer(text: str) -> Any:
    if INTEGER.fullmatch(text):
        return int(text)
    number = _decimal(text)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _decimal(text: str) -> Any:
    """Return the number that a text is; None for none, the text where it is something else."""
    if not text:
        return None
    number = float(text) if DECIMAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def _plain(value: Any) -> Any:
    """Return what pydicom has converted before as a plain value."""
    from pydicom.multival import MultiValue
    from pydicom.tag import BaseTag

    if isinstance(value, BaseTag):
        return _known(int(value))[0]
    if isinstance(value, MultiValue | list | tuple):
        if len(value) > LARGEST_BULK_BYTES:
            return f"({len(value)} values)"
        return [_plain(part) for part in value] or None
    if isinstance(value, bytes | bytearray):
        return _size(value) if len(value) > LARGEST_BULK_BYTES else bytes(value)
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return None if value is None else str(value)[:LARGEST_TEXT_BYTES] or None


def _one_or_all(values: Iterable[Any]) -> Any:
    """Return the value if there is one, else a list of them."""
    listed = list(values)
    return listed[0] if len(listed) == 1 else listed


def _size(value: Any) -> str:
    return f"({len(value)} bytes)" if isinstance(value, bytes | bytearray) else "(damaged)"


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [])


def _holds_items(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
