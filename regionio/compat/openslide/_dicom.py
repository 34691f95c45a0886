"""What a DICOM file says of a slide, under OpenSlide's names.

Every attribute before those of single frames is a property, with the text that stands in the file.

Source: openslide.org/formats/dicom; DICOM PS3.5, section 6 (value encoding).
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from regionio._image import Image
from regionio.formats.dicom.header import read_header
from regionio.formats.dicom.instance import SLIDE_CLASS
from regionio.storage import open_storage

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

__all__ = ["dicom_properties"]

Pairs: TypeAlias = Iterator[tuple[str, str]]

BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
NUMBERS = frozenset(("AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))
"""Value representations that say nothing where they are empty; texts are empty then."""

UNSPLIT = frozenset(("AS", "DA", "IS", "LO"))
"""Value representations whose values OpenSlide leaves in one text, with backslashes in between."""

SPACING = "dicom.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing"
OBJECTIVE = "dicom.OpticalPathSequence[0].ObjectiveLensPower"
BARCODE = "dicom.BarcodeValue"
MICROMETERS = 1000.0


def dicom_properties(image: Image) -> dict[str, str]:
    """Return the properties ``dicom.*`` of the largest level, and those that follow from them.

    Parameters
    ----------
    image
        The slide.

    Returns
    -------
    dict
        Also pixel size, objective power, barcode and quickhash, as OpenSlide derives them.
    """
    storage = open_storage(image.files[0])
    try:
        header = read_header(storage)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of values that are not as they should be
            found = dict(
                (*_texts(header.dataset.file_meta, "dicom"), *_texts(header.dataset, "dicom"))
            )
    finally:
        storage.close()
    for name, key in (("mpp-x", f"{SPACING}[1]"), ("mpp-y", f"{SPACING}[0]")):
        with contextlib.suppress(KeyError, ValueError):
            found[f"openslide.{name}"] = _number(float(found[key]) * MICROMETERS)
    with contextlib.suppress(KeyError, ValueError):
        found["openslide.objective-power"] = _number(float(found[OBJECTIVE]))
    if found.get(BARCODE):
        found["openslide.barcode"] = found[BARCODE]
    if found.get("dicom.SOPClassUID") == SLIDE_CLASS:
        series = found.get("dicom.SeriesInstanceUID", "")
        # a text as it is in C, with the zero that ends it
        found["openslide.quickhash-1"] = hashlib.sha256(series.encode() + b"\0").hexdigest()
    return found


def _texts(dataset: Dataset, prefix: str) -> Pairs:
    """Yield the attributes that have a keyword, those of sequences as ``outer[2].inner``."""
    from pydicom.datadict import keyword_for_tag

    for tag in dataset.keys():  # noqa: SIM118  a data set iterates over converted elements
        keyword = keyword_for_tag(tag)
        if not keyword or not tag & 0xFFFF:  # private, or the length of a group
            continue
        with contextlib.suppress(Exception):  # whatever pydicom stumbles over is left out
            element = dataset[tag]
            yield from _texts_of(element, f"{prefix}.{keyword}")


def _texts_of(element: DataElement, name: str) -> Pairs:
    if element.VR == "SQ":
        for number, item in enumerate(element.value):
            yield from _texts(item, f"{name}[{number}]")
        return
    if element.VR in BINARY:
        return
    values = _values(element.value)
    if element.VR == "AT":
        values = [half for tag in values for half in (int(tag) >> 16, int(tag) & 0xFFFF)]
    if element.VR in UNSPLIT and values:
        values = ["\\".join(map(str, values))]
    if not values:
        if element.VR not in NUMBERS:
            yield name, ""
    elif len(values) == 1:
        yield name, _text(values[0])
    else:
        yield from ((f"{name}[{number}]", _text(value)) for number, value in enumerate(values))


def _values(value: Any) -> list[Any]:
    from pydicom.multival import MultiValue

    if isinstance(value, MultiValue | list):
        return list(value)
    return [] if value is None or value == "" else [value]


def _text(value: Any) -> str:
    if type(value) is float:
        return _number(value)
    return str(value)  # of DICOM's decimals and integers as they stand in the file


def _number(value: float) -> str:
    return f"{value:.17g}"
