"""What turns the stored values of frames into those that the caller wants.

Source: DICOM PS3.3, C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.16.2.9 (pixel value
transformation), C.7.6.16.2.10 (frame VOI LUT), C.7.6.3.1.5 (palettes).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio._index import Encoding
from regionio._interpretation import Interpretation
from regionio._transform import (
    ColorTransform,
    GrayTransform,
    LookupTable,
    PaletteTransform,
    Rescale,
    Transform,
    Window,
)
from regionio.formats.dicom.groups import PerFrameGroups
from regionio.formats.dicom.header import PER_FRAME_GROUPS, Header, parsing

__all__ = ["transforms_of"]

INTERCEPT, SLOPE = 0x00281052, 0x00281053
CENTER, WIDTH, EXPLANATION, FUNCTION = 0x00281050, 0x00281051, 0x00281055, 0x00281056
TABLES = 0x00283010
KEYWORDS = {
    INTERCEPT: ("PixelValueTransformationSequence", "RescaleIntercept"),
    SLOPE: ("PixelValueTransformationSequence", "RescaleSlope"),
    CENTER: ("FrameVOILUTSequence", "WindowCenter"),
    WIDTH: ("FrameVOILUTSequence", "WindowWidth"),
    EXPLANATION: ("FrameVOILUTSequence", "WindowCenterWidthExplanation"),
    FUNCTION: ("FrameVOILUTSequence", "VOILUTFunction"),
}
"""Tag → the shared functional group that may hold it, and its keyword."""

TEXTS = (EXPLANATION, FUNCTION)

COLORS = ("Red", "Green", "Blue")
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def transforms_of(
    header: Header, count: int, encoding: Encoding, interpretation: Interpretation
) -> list[tuple[NDArray[np.int64], Transform]]:
    """Return the transforms of a file's frames, each with the numbers of the frames it is for.

    Parameters
    ----------
    header
        Of the file.
    count
        Number of frames.
    encoding
        Of the frames.
    interpretation
        What the caller wants to see.

    Returns
    -------
    list
        Empty where the stored values are what is wanted.

    Raises
    ------
    CorruptFileError
        An attribute is damaged.
    UnsupportedFormatError, ValueError
        What the caller wants can't be told from the file.
    """
    if interpretation.values not in {"modality", "display"}:
        return []
    every = np.arange(count)
    display = f"uint{interpretation.display_bits}" if interpretation.values == "display" else None
    is_color = encoding.samples == 3 or (encoding.photometric == "palette" and display is not None)
    if is_color and interpretation.window is not None:
        msg = f"{header.path!r} is in colour: window= is for gray values"
        raise ValueError(msg)
    if encoding.samples == 3:
        color = _color(header, encoding, display)
        return [] if color is None else [(every, color)]
    if encoding.photometric == "palette" and display is not None:
        return [(every, _palette(header, display))]
    return _gray(header, count, encoding, interpretation, display)


def _color(header: Header, encoding: Encoding, display: str | None) -> Transform | None:
    bits = header.number("BitsStored")
    if display is None:
        return ColorTransform(bits, "float32")
    if np.dtype(encoding.dtype).kind != "u":
        msg = f"{header.path!r}: colours of {encoding.dtype} have no display values"
        raise UnsupportedFormatError(msg)
    same = np.dtype(display).itemsize * 8 == bits and display == encoding.dtype
    return None if same else ColorTransform(bits, display)


def _palette(header: Header, display: str) -> PaletteTransform:
    with parsing(header.path):
        count, first, bits = header.dataset.RedPaletteColorLookupTableDescriptor
        count = int(count) or 2**16
        colors = np.stack([_entries(header, color, count) for color in COLORS], axis=1)
    # entries of 8 bits may stand in words of 16
    bits = 8 if bits == 8 else 8 * colors.itemsize
    target = np.dtype(display)
    share = np.minimum(colors / float(2**bits - 1), 1)
    scaled = np.rint(share * np.iinfo(target).max).astype(target)
    return PaletteTransform(int(first), np.ascontiguousarray(scaled))


def _entries(header: Header, color: str, count: int) -> NDArray[Any]:
    """Return one colour's entries of a palette."""
    data = header.dataset.get(f"{color}PaletteColorLookupTableData")
    if data is None:
        return _expanded_entries(header, color, count)
    wide = len(data) >= 2 * count
    values = np.frombuffer(data, header.stream.order + "u2" if wide else "u1")
    _check_length(header, len(values), count)
    return values[:count]


def _expanded_entries(header: Header, color: str, count: int) -> NDArray[Any]:
    """Return the entries that pydicom makes of a segmented palette."""
    from pydicom.pixels.processing import apply_color_lut

    _, first, bits = header.dataset.RedPaletteColorLookupTableDescriptor
    if bits == 8 and count > 2**8:
        msg = f"{header.path!r} has a segmented palette of {count} entries of 8 bits, which is not supported"
        raise UnsupportedFormatError(msg)
    entries = np.arange(count) + int(first)
    colors: NDArray[Any] = apply_color_lut(entries[None], header.dataset)[0]
    return colors[:, COLORS.index(color)]


def _gray(
    header: Header,
    count: int,
    encoding: Encoding,
    interpretation: Interpretation,
    display: str | None,
) -> list[tuple[NDArray[np.int64], Transform]]:
    lowest, highest = _stored_range(header, encoding)
    found = _values(header, count, display is not None)
    tables = None if display is None else _VoiTables(header, found.pop(TABLES))
    modality_table = _modality_table(header)
    inverted = encoding.photometric == "miniswhite"
    made: dict[Any, tuple[Transform, list[int]]] = {}
    for number in range(count):
        own = {tag: values[number] for tag, values in found.items()}
        own_tables = [] if tables is None else tables.of_frame(number)
        key = repr(own), id(own_tables) if own_tables else 0
        if key not in made:
            modality = modality_table or _rescale(own)
            window = None
            if display is not None:
                window = _window(header.path, own, own_tables, interpretation.window)
            if display is not None and window is None and not np.isfinite(lowest + highest):
                msg = f"{header.path!r} states no window for its {encoding.dtype} values: give window="
                raise ValueError(msg)
            made[key] = (
                GrayTransform(
                    encoding.dtype, lowest, highest, modality, display, window,
                    inverted and display is not None,
                ),
                [],
            )  # fmt: skip
        made[key][1].append(number)
    return [(np.array(numbers), transform) for transform, numbers in made.values()]


def _stored_range(header: Header, encoding: Encoding) -> tuple[float, float]:
    """Return the lowest and highest stored value that the bits allow; of floats, infinite."""
    kind = np.dtype(encoding.dtype).kind
    if kind == "f":
        return -np.inf, np.inf
    bits = header.number("BitsStored")
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if kind == "i" else (0.0, 2.0**bits - 1)


def _values(header: Header, count: int, windows: bool) -> dict[int, list[Any]]:  # noqa: FBT001
    """Return what each frame says: its own groups, else the shared ones, else the whole file.

    Raises
    ------
    CorruptFileError
        A number is none, or not finite.
    """
    tags = [INTERCEPT, SLOPE]
    if windows:
        tags += [CENTER, WIDTH, EXPLANATION, FUNCTION, TABLES]
    found: dict[int, list[Any]] = {tag: [None] * count for tag in tags}
    if PER_FRAME_GROUPS in header.elements:
        found = PerFrameGroups(header, count).values(tags)
    for tag, values in found.items():
        if tag == TABLES:
            continue
        common = _common(header, *KEYWORDS[tag])
        if common is not None:
            found[tag] = [common if value is None else value for value in values]
        if tag not in TEXTS:
            _check_numbers(header, KEYWORDS[tag][1], found[tag])
    return found


def _check_numbers(header: Header, keyword: str, found: Sequence[list[Any] | None]) -> None:
    for value in found:
        if value and not all(isinstance(n, int | float) and np.isfinite(n) for n in value):
            msg = f"{header.path!r}: {keyword} is {value!r}, finite numbers were expected"
            raise CorruptFileError(msg)


def _common(header: Header, sequence: str, keyword: str) -> list[Any] | None:
    """Return the values of an attribute that stands in the shared groups or at the top."""
    with parsing(header.path):
        shared = header.dataset.get("SharedFunctionalGroupsSequence")
        items = shared[0].get(sequence) if shared else None
        value = items[0].get(keyword) if items else None
        if value is None or value == "":
            value = header.dataset.get(keyword)
        if value is None or value == "":
            return None
        values = [value] if isinstance(value, str | int | float) else list(value)
    if keyword in {KEYWORDS[tag][1] for tag in TEXTS}:
        return [str(part) for part in values]
    try:
        return [float(part) for part in values]
    except (TypeError, ValueError) as error:
        msg = f"{header.path!r}: {keyword} is {value!r}, numbers were expected"
        raise CorruptFileError(msg) from error


def _rescale(own: dict[int, Any]) -> Rescale | None:
    slope, intercept = own[SLOPE], own[INTERCEPT]
    return Rescale(slope[0], intercept[0]) if slope and intercept else None


def _window(
    path: str,
    own: dict[int, Any],
    tables: Sequence[tuple[str, LookupTable]],
    wanted: tuple[float, float] | int | str | None,
) -> Window | LookupTable | None:
    """Return the window or the table that the caller wants, or that the file has."""
    names = [name.strip().upper() for name in own[FUNCTION] or []]
    function = names[0] if names and names[0] in FUNCTIONS else "LINEAR"
    if isinstance(wanted, tuple):
        return Window(*wanted, function)
    pairs = list(zip(own[CENTER] or [], own[WIDTH] or [], strict=False))
    windows = [Window(center, width, function) for center, width in pairs]
    if wanted is None:
        return tables[0][1] if tables else (windows[0] if windows else None)
    explanations = [text.strip() for text in own[EXPLANATION] or []]
    if isinstance(wanted, str):
        known: Iterable[tuple[str, Window | LookupTable]] = [
            *zip(explanations, windows, strict=False),
            *tables,
        ]
        for name, window in known:
            if name == wanted:
                return window
        names = [name for name, _ in known]
        msg = f"{path!r} has no window {wanted!r}; it has {names}"
        raise ValueError(msg)
    if not 0 <= wanted < len(windows):
        msg = f"{path!r} has {len(windows)} windows, numbered from 0: there is no window {wanted}"
        raise ValueError(msg)
    return windows[wanted]


def _modality_table(header: Header) -> LookupTable | None:
    with parsing(header.path):
        items = header.dataset.get("ModalityLUTSequence")
        return _table(header, items[0]) if items else None


class _VoiTables:
    """The VOI LUTs of a file, each with its explanation.

    Parameters
    ----------
    header
        Of the file.
    own
        What is not None for each frame that has tables of its own.
    """

    def __init__(self, header: Header, own: Sequence[Any]) -> None:
        self._header = header
        with parsing(header.path):
            shared = header.dataset.get("SharedFunctionalGroupsSequence")
            common = _group_tables(shared[0]) if shared else None
            self._common = self._read(common or header.dataset.get("VOILUTSequence"))
            having = [number for number, tables in enumerate(own) if tables is not None]
            groups = _per_frame_groups(header) if having else []
            self._own = {n: self._read(_group_tables(groups[n])) for n in having}

    def of_frame(self, number: int) -> list[tuple[str, LookupTable]]:
        """Return the tables of a frame: its own, else those of all."""
        return self._own.get(number, self._common)

    def _read(self, items: Any) -> list[tuple[str, LookupTable]]:
        return [
            (str(item.get("LUTExplanation") or "").strip(), _table(self._header, item))
            for item in items or []
        ]


def _group_tables(group: Any) -> Any:
    """Return the VOI LUT sequence of a frame's groups."""
    items = group.get("FrameVOILUTSequence")
    return items[0].get("VOILUTSequence") if items else None


def _per_frame_groups(header: Header) -> Any:
    """Return the per-frame functional groups as pydicom's objects."""
    from pydicom import Dataset
    from pydicom.filereader import read_sequence

    element = header.elements[PER_FRAME_GROUPS]
    implicit, little = not header.stream.explicit, header.stream.order == "<"
    with header.storage.view() as view:
        view.seek(element.value)
        groups = read_sequence(view, implicit, little, element.length, "iso8859")
    dataset = Dataset()
    dataset.set_original_encoding(implicit, little, "iso8859")
    # tells whether entries are signed where their value representation does not
    dataset.PixelRepresentation = header.number("PixelRepresentation", 0)
    dataset.PerFrameFunctionalGroupsSequence = groups
    return dataset.PerFrameFunctionalGroupsSequence


def _table(header: Header, item: Any) -> LookupTable:
    """Return the table of an item of a LUT sequence."""
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count = count or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        wide = len(data) >= 2 * count
        values = np.frombuffer(data, header.stream.order + "u2" if wide else "u1")
    else:
        values = np.atleast_1d(np.asarray(data))
    _check_length(header, len(values), count)
    if not 1 <= bits <= 16:
        msg = f"{header.path!r}: a lookup table has entries of {bits} bits"
        raise CorruptFileError(msg)
    return LookupTable(first, values[:count].astype(np.uint16), bits)


def _check_length(header: Header, length: int, count: int) -> None:
    if length < count:
        msg = f"{header.path!r}: a lookup table of {count} entries has {length}"
        raise CorruptFileError(msg)
