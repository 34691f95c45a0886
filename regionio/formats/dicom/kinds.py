"""Which DICOM files are images; the others are refused by name.

Source: DICOM PS3.4, annex B.5 (storage SOP classes); PS3.3, annex F (DICOMDIR). Of the proprietary
containers: the private dictionary of pydicom (creator "HOLOGIC, Inc.").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from regionio._errors import UnsupportedFormatError
from regionio.formats.dicom.header import Header, parsing
from regionio.formats.dicom.metadata import FIRST_CREATOR, LAST_CREATOR, metadata_of

__all__ = ["check_image"]

DIRECTORY = "1.2.840.10008.1.3.10"
STORAGE = "1.2.840.10008.5.1.4.1.1."
CT, SECONDARY_CAPTURE = STORAGE + "2", STORAGE + "7"

IMAGES = frozenset(
    STORAGE + tail
    for tail in (
        "6.2",  # enhanced US volume
        "30",  # parametric map
        "66.4",  # segmentation
        "66.7",  # label map segmentation
        "66.8",  # height map segmentation
        "77.1.5.8",  # OCT B-scan volume analysis
        "81.1",  # ophthalmic thickness map
        "82.1",  # corneal topography map
        "481.2",  # RT dose
    )
)
"""Classes of images whose names do not say so."""

CONTAINER_GROUPS = (0x7E01, 0x7F01)
CONTAINER_CREATORS = ("HOLOGIC", "HXLC")
CONTAINER_ELEMENTS = (0x10, 0x11, 0x12)
"""Sequences of slices at high and low resolution, and their coded content."""

SIEMENS_MODEL = "MAMMOMAT"

SOFTWARE = "no software but its maker's reads it; export images from there"
REMEDIES = {
    "4.2": "it holds spectra, not pixels; read it with pydicom",
    "9": "it holds signals over time, not pixels; read it with pydicom's waveform_array",
    "11": "it says how to display images, and holds none",
    "66": f"it holds what a scanner measured, and {SOFTWARE}",
    "66.1": "it says how images lie to each other, and holds none",
    "66.2": "it holds points in images, not pixels",
    "66.3": "it says how images lie to each other, and holds none",
    "66.5": "it holds surfaces, not pixels; have the segmentation exported as Segmentation Storage",
    "66.6": "it holds tracks of fibers, not pixels",
    "67": "it says what the values of images mean, and holds none",
    "68": "it holds surfaces, not pixels",
    "77.1.5.3": "it says how images lie to each other, and holds none",
    "78": "it holds measurements, not pixels",
    "79": "it holds a report, not pixels",
    "80": "it holds measurements, not pixels",
    "88": "it holds a report, not pixels; read it with pydicom, or dsr2html of DCMTK",
    "88.59": "it holds a list of images, and no pixels",
    "90": "it holds a report, not pixels",
    "91": "it holds annotations, not pixels",
    "104": (
        "it holds a document; pydicom.dcmread(...).EncapsulatedDocument is its content, to be "
        "saved as a file"
    ),
    "481": "it holds a treatment's plan or record, not pixels",
    "481.3": "it holds contours, not pixels",
}
"""Tail of a SOP class, or of several with what follows a dot → what to do."""


def check_image(header: Header) -> None:
    """Raise an error that says what a file is if it is no image that can be read.

    Image classes without pixels are damaged files, and pass: `regionio.formats.dicom.frames` says
    what is wrong with them.

    Parameters
    ----------
    header
        Of the file.

    Raises
    ------
    UnsupportedFormatError
        It is a directory, a report, contours or anything else without pixels; or a container of
        which only its maker's software knows how pixels are coded.
    """
    uid = _class_of(header)
    if uid == DIRECTORY or "DirectoryRecordSequence" in header.dataset:
        what = "a DICOMDIR, a list of files"
        _refuse(header, what, "open one of the files that it lists, or the folder of a series")
    _check_container(header, uid)
    if header.pixels is not None or _is_image(header, uid):
        return
    if not uid:
        remedy = "it has no SOP class, no rows and no pixels: copy it again, or open another file"
        _refuse(header, "no image", remedy)
    remedy = _remedy(uid) or "it holds no pixels; open a file that does"
    name = _name(uid)
    what = name if name != uid else f"an object of the class {uid}"
    _refuse(header, f"no image, but {what}", remedy + _referred(header))


def _refuse(header: Header, what: str, remedy: str) -> None:
    msg = f"{header.path!r} is {what}: {remedy}"
    raise UnsupportedFormatError(msg)


def _class_of(header: Header) -> str:
    """Return the UID of the SOP class, which DICOMDIR has in its meta information only."""
    meta = getattr(header.dataset, "file_meta", None)
    with parsing(header.path):
        stated = header.value("SOPClassUID") or (meta and meta.get("MediaStorageSOPClassUID"))
        return str(stated or "")


def _name(uid: str) -> str:
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    return str(UID(uid, validation_mode=IGNORE).name)


def _is_image(header: Header, uid: str) -> bool:
    """Return whether a file without pixels should have some."""
    name = _name(uid)
    if uid and name != uid:
        return uid in IMAGES or "Image Storage" in name
    # classes of makers, and later ones than pydicom's
    return uid in IMAGES or "Rows" in header.dataset


def _remedy(uid: str) -> str:
    """Return what the longest known beginning of a class says."""
    parts = uid.removeprefix(STORAGE).split(".") if uid.startswith(STORAGE) else []
    known = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((REMEDIES[tail] for tail in known if tail in REMEDIES), "")


def _referred(header: Header) -> str:
    """Return which series a file without pixels refers to, as far as it tells."""
    series = dict.fromkeys(_series_in(metadata_of(header)["dicom"], outermost=True))
    if not series:
        return ""
    first, more = next(iter(series)), len(series) - 1
    others = f" or one of {more} more" if more else ""
    return f"; open the images that it refers to, those of the series {first}{others}"


def _series_in(values: dict[str, Any], *, outermost: bool = False) -> Iterator[str]:
    """Yield the UIDs of series in the sequences of a data set."""
    for key, value in values.items():
        if key == "SeriesInstanceUID" and isinstance(value, str) and not outermost:
            yield value
        for item in value if isinstance(value, list) else ():
            if isinstance(item, dict):
                yield from _series_in(item)


def _check_container(header: Header, uid: str) -> None:
    """Refuse tomosynthesis in the proprietary forms of before its own SOP class, or beside it."""
    export = "have it exported or sent as Breast Tomosynthesis Image Storage (BTO)"
    if uid == SECONDARY_CAPTURE or uid.startswith(SECONDARY_CAPTURE + "."):
        if _holds_container(header):
            what = "Hologic's container of tomosynthesis as Secondary Capture (SCO)"
            where = "its slices are in private attributes that only Hologic's software decodes"
            _refuse(header, what, f"{where}; {export}")
    elif uid == CT and _is_mammogram_of_siemens(header):
        what = "Siemens's tomosynthesis as CT Image Storage (CTO)"
        _refuse(header, what, f"it is of a mammography device, and CT in name only; {export}")


def _holds_container(header: Header) -> bool:
    """Return whether there are private attributes that Hologic's secondary captures alone have."""
    if not any(tag >> 16 in CONTAINER_GROUPS for tag in header.dataset.keys()):  # noqa: SIM118
        return False
    dicom = metadata_of(header)["dicom"]
    for group in CONTAINER_GROUPS:
        for block in range(FIRST_CREATOR, LAST_CREATOR + 1):
            creator = str(dicom.get(f"({group:04X},{block:04X})")).upper()
            elements = (f"({group:04X},{block:02X}{number:02X})" for number in CONTAINER_ELEMENTS)
            if creator.startswith(CONTAINER_CREATORS) and any(key in dicom for key in elements):
                return True
    return False


def _is_mammogram_of_siemens(header: Header) -> bool:
    """Return whether a CT image is of a mammography device; breasts in real CT are no sign."""
    manufacturer = str(header.value("Manufacturer") or "").upper()
    model = str(header.value("ManufacturerModelName") or "").upper()
    modality = str(header.value("Modality") or "").upper()
    return "SIEMENS" in manufacturer and (SIEMENS_MODEL in model or modality == "MG")
