"""Which breast a mammogram shows, and from where.

Source: DICOM PS3.3, C.8.11.7 (mammography image), C.8.21.6 (breast view), C.7.6.16.2.8 (frame
anatomy); PS3.16, CID 4014 (view for mammography), CID 4015 (view modifier for mammography).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from regionio._errors import RegionIOError
from regionio.formats.dicom.groups import PerFrameGroups
from regionio.formats.dicom.header import PER_FRAME_GROUPS, Header, reopened

__all__ = ["is_mammogram", "mammography_of"]

STORAGE = "1.2.840.10008.5.1.4.1.1."
CLASSES = frozenset(STORAGE + tail for tail in ("1.2", "1.2.1", "13.1.3", "13.1.4", "13.1.5"))
"""Digital mammography, breast tomosynthesis and breast projections."""

FRAME_LATERALITY = 0x00209072
LATERALITIES = ("ImageLaterality", "FrameLaterality", "Laterality")
SIDES = frozenset("LRB")

VIEWS = {
    "399260004": "ML", "R-10224": "ML",
    "399368009": "MLO", "R-10226": "MLO",
    "399352003": "LM", "R-10228": "LM",
    "399099002": "LMO", "R-10230": "LMO",
    "399162004": "CC", "R-10242": "CC",
    "399196006": "FB", "R-10244": "FB",
    "399188001": "SIO", "R-102D0": "SIO",
    "441555000": "ISO", "R-40AAA": "ISO",
    "399192008": "XCCL", "R-1024A": "XCCL",
    "399101009": "XCCM", "R-1024B": "XCCM",
}  # fmt: skip
"""Codes of SNOMED CT and of the older SNOMED RT → abbreviations of the ACR."""

MODIFIERS = {
    "399161006": "cleavage", "R-102D2": "cleavage",
    "399011000": "axillary tail", "R-102D1": "axillary tail",
    "399197002": "rolled lateral", "R-102D3": "rolled lateral",
    "399226006": "rolled medial", "R-102D4": "rolled medial",
    "414493004": "rolled inferior", "R-102CA": "rolled inferior",
    "415670009": "rolled superior", "R-102C9": "rolled superior",
    "399209000": "implant displaced", "R-102D5": "implant displaced",
    "399163009": "magnification", "R-102D6": "magnification",
    "399055006": "spot compression", "R-102D7": "spot compression",
    "399110001": "tangential", "R-102C2": "tangential",
    "442581004": "nipple in profile", "R-40AB3": "nipple in profile",
    "441752004": "anterior compression", "P2-00161": "anterior compression",
    "442593008": "infra-mammary fold", "R-40ABE": "infra-mammary fold",
    "442580003": "axillary tissue", "R-40AB2": "axillary tissue",
}  # fmt: skip


def is_mammogram(header: Header) -> bool:
    """Return whether a file is of mammography or breast tomosynthesis."""
    found = (header.value("SOPClassUID"), header.value("Modality"))
    return str(found[0]) in CLASSES or found[1] == "MG"


def mammography_of(header: Header, dicom: dict[str, Any]) -> dict[str, Any] | None:
    """Return side and view of a mammogram or of breast tomosynthesis.

    Each is looked for among the attributes of the image, then in the shared functional groups,
    then, the side, in those of the first frame.

    Parameters
    ----------
    header
        Of the file.
    dicom
        Its attributes as `regionio.formats.dicom.metadata.metadata_of` returns them.

    Returns
    -------
    dict
        ``"laterality"``: ``"L"``, ``"R"``, ``"B"`` (both) or None. ``"view"``: ``"CC"``,
        ``"MLO"`` or another abbreviation of the ACR, or None. ``"view_modifiers"``: names of
        CID 4015 in lower case, ``["implant displaced"]``. ``"implant"``: whether there is one,
        None if the file does not tell. ``"magnification"``: how much larger than the breast its
        shadow on the detector is estimated to be, None if the file does not tell: divide a spacing
        by it that is the detector's (ImagerPixelSpacing).
    None
        For anything else.
    """
    if str(dicom.get("SOPClassUID")) not in CLASSES and dicom.get("Modality") != "MG":
        return None
    groups = [dicom, *_nested(dicom.get("SharedFunctionalGroupsSequence"))]
    modifiers = _modifiers(groups)
    return {
        "laterality": _laterality(groups) or _side(_of_first_frame(header)),
        "view": _view(groups),
        "view_modifiers": modifiers,
        "implant": _implant(groups, modifiers),
        "magnification": _magnification(groups),
    }


def _nested(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the items of a sequence and of all sequences in them."""
    for item in _items(value):
        yield item
        for inner in item.values():
            yield from _nested(inner)


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _laterality(groups: list[dict[str, Any]]) -> str | None:
    found = (_side(group.get(keyword)) for group in groups for keyword in LATERALITIES)
    return next((side for side in found if side), None)


def _side(value: Any) -> str | None:
    text = _capitals(value)
    return text if text in SIDES else None


def _capitals(value: Any) -> str | None:
    """Return the first of the texts that an attribute may be."""
    first = value[0] if isinstance(value, list) and value else value
    return first.strip().upper() or None if isinstance(first, str) else None


def _of_first_frame(header: Header) -> Any:
    if PER_FRAME_GROUPS not in header.elements:
        return None
    try:
        with reopened(header) as opened:
            groups = PerFrameGroups(opened, header.number("NumberOfFrames", 1))
            return groups.values((FRAME_LATERALITY,))[FRAME_LATERALITY][0]
    except (OSError, RegionIOError):  # who reads pixels hears of the damage
        return None


def _view(groups: list[dict[str, Any]]) -> str | None:
    """Return the coded view, which mammograms must have, else the abbreviation, which they may."""
    codes = (code for group in groups for code in _items(group.get("ViewCodeSequence")))
    coded = (VIEWS.get(str(code.get("CodeValue")).strip()) for code in codes)
    written = (_capitals(group.get("ViewPosition")) for group in groups)
    return next((view for views in (coded, written) for view in views if view), None)


def _modifiers(groups: list[dict[str, Any]]) -> list[str]:
    """Return the names of view modifiers, which stand in the view's code or beside it."""
    holders = [code for group in groups for code in _items(group.get("ViewCodeSequence"))]
    found: dict[str, None] = {}
    for holder in (*groups, *holders):
        for code in _items(holder.get("ViewModifierCodeSequence")):
            meaning = str(code.get("CodeMeaning") or "").lower()
            name = MODIFIERS.get(str(code.get("CodeValue")).strip(), meaning)
            if name:
                found[name] = None
    return list(found)


def _magnification(groups: list[dict[str, Any]]) -> float | None:
    for group in groups:
        value = group.get("EstimatedRadiographicMagnificationFactor")
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return None


def _implant(groups: list[dict[str, Any]], modifiers: list[str]) -> bool | None:
    for group in groups:
        stated = {"YES": True, "NO": False}.get(_capitals(group.get("BreastImplantPresent")) or "")
        if stated is not None:
            return stated
    return True if "implant displaced" in modifiers else None
