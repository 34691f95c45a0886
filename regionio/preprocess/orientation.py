"""Tomosynthesis that was stored upside down.

Source: DICOM PS3.3, C.7.6.1.1.1 (patient orientation); medcognetics/dicom-preprocessing 0.1, whose
rule this is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_upside_down"]

TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"

EXPECTED = {
    ("L", "CC"): ("A", "R"),
    ("R", "CC"): ("A", "L"),
    ("L", "MLO"): ("A", "FR"),
    ("R", "MLO"): ("A", "FL"),
}
"""Directions of rows and columns, by side and view."""

OPPOSITE = str.maketrans("ARLFHP", "PLRHFA")


def is_upside_down(dicom: Mapping[str, Any]) -> bool:
    """Return whether both directions of a tomosynthesis are the opposite of the usual ones.

    Parameters
    ----------
    dicom
        Attributes by keyword.

    Examples
    --------
    >>> is_upside_down({"SOPClassUID": TOMOSYNTHESIS, "ImageLaterality": "L", "ViewPosition": "CC",
    ...                 "PatientOrientation": ["P", "L"]})
    True
    """
    if dicom.get("SOPClassUID") != TOMOSYNTHESIS:
        return False
    side = dicom.get("ImageLaterality") or dicom.get("Laterality")
    usual = EXPECTED.get((str(side), str(dicom.get("ViewPosition"))))
    found = dicom.get("PatientOrientation")
    if usual is None or found is None or isinstance(found, str):
        return False
    return [str(direction) for direction in found] == [way.translate(OPPOSITE) for way in usual]
