"""The attributes of a DICOM file that matter to somebody who wants to read its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

__all__ = ["dicom_rows"]

Attributes: TypeAlias = Mapping[str, Any]

HOW_TO_SEE = "names, dates, UIDs and paths; --phi shows them"


def dicom_rows(metadata: Attributes, *, phi: bool) -> dict[str, str]:
    """Return what is shown of a file's attributes, by the name of the row; empty ones left out.

    Parameters
    ----------
    metadata
        As `regionio.Image.metadata`, or without protected health information.
    phi
        Whether it is the former.
    """
    dicom = metadata["dicom"]
    rows = {
        "Kind": _joined(dicom.get("Modality"), _uid_name(dicom.get("SOPClassUID"))),
        "Breast": _breast(metadata.get("mammography")),
        "Body part": _text(dicom.get("BodyPartExamined")),
        "Syntax": _uid_name(dicom.get("FileMetaInformation", {}).get("TransferSyntaxUID")),
        "Pixels": _pixels(dicom),
        "Rescale": _rescale(dicom),
        "Windows": _windows(dicom),
        "Device": _joined(dicom.get("Manufacturer"), dicom.get("ManufacturerModelName")),
    }
    rows |= _confidential(dicom) if phi else {"Hidden": HOW_TO_SEE}
    return {name: value for name, value in rows.items() if value}


def _confidential(dicom: Attributes) -> dict[str, str]:
    patient = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge")
    return {
        "Patient": _joined(*(dicom.get(key) for key in patient)),
        "Study": _joined(*(dicom.get(f"Study{key}") for key in ("Date", "Description"))),
        "Series": _joined(*(dicom.get(f"Series{key}") for key in ("Description", "InstanceUID"))),
        "Slide": _text(dicom.get("ContainerIdentifier")),
    }


def _text(value: Any) -> str:
    """Return a value as one line; nothing in it moves the terminal's cursor."""
    if value is None:
        return ""
    text = "\\".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _joined(*values: Any) -> str:
    return ", ".join(text for text in map(_text, values) if text)


def _uid_name(value: Any) -> str:
    """Return the name that the standard gives to a UID; one that it does not know as it is."""
    from pydicom.uid import UID

    return _text(UID(value).name) if isinstance(value, str) else ""


def _breast(mammography: Attributes | None) -> str:
    if mammography is None:
        return ""
    place = " ".join(mammography[key] for key in ("laterality", "view") if mammography[key])
    implant = "implant" if mammography["implant"] else None
    return _joined(place or "side and view not known", *mammography["view_modifiers"], implant)


def _pixels(dicom: Attributes) -> str:
    allocated, stored = dicom.get("BitsAllocated"), dicom.get("BitsStored")
    if allocated is None:
        bits = None
    else:
        bits = (
            f"{allocated} bits" if stored in {None, allocated} else f"{stored} of {allocated} bits"
        )
    signed = "signed" if dicom.get("PixelRepresentation") == 1 else None
    return _joined(dicom.get("PhotometricInterpretation"), bits, signed)


def _items(value: Any) -> list[Attributes]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _holders(dicom: Attributes, sequence: str) -> Iterator[Attributes]:
    """Yield where an attribute stands: at the top, and in a shared functional group."""
    yield dicom
    for groups in _items(dicom.get("SharedFunctionalGroupsSequence")):
        yield from _items(groups.get(sequence))


def _rescale(dicom: Attributes) -> str:
    for holder in _holders(dicom, "PixelValueTransformationSequence"):
        if _items(holder.get("ModalityLUTSequence")):
            return "by a modality LUT"
        slope, intercept = holder.get("RescaleSlope"), holder.get("RescaleIntercept")
        if isinstance(slope, int | float) and isinstance(intercept, int | float):
            sign = "-" if intercept < 0 else "+"
            unit = _text(holder.get("RescaleType"))
            return f"stored × {slope:g} {sign} {abs(intercept):g}" + (f"  ({unit})" if unit else "")
    return ""


def _windows(dicom: Attributes) -> str:
    for holder in _holders(dicom, "FrameVOILUTSequence"):
        if _items(holder.get("VOILUTSequence")):
            return "a VOI LUT"
        names = ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation")
        centers, widths, explanations = (_listed(holder.get(name)) for name in names)
        explanations += [None] * len(centers)
        windows = [
            f"{_number(center)} / {_number(width)}" + (f"  ({_text(why)})" if why else "")
            for center, width, why in zip(centers, widths, explanations, strict=False)
        ]
        if windows:
            return ", ".join(windows) + "  center / width"
    return ""


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else _text(value)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list):
        return list(value)
    return [] if value is None else [value]
