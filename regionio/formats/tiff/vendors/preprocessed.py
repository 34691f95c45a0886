"""TIFFs that `regionio preprocess` writes, and medcognetics/dicom-preprocessing: pixels in millimetres."""

from __future__ import annotations

from tifffile import TiffFile

from regionio.formats.tiff.draft import FileDraft
from regionio.formats.tiff.resolution import resolution_spacing
from regionio.formats.tiff.stated import is_stated, lengths, stated
from regionio.formats.tiff.vendors import generic

__all__ = ["KEY", "ORIGINAL_NAME", "describe", "recognises"]

KEY = "regionio.preprocess"
"""Of the JSON object in the first page's description."""

ORIGINAL_NAME = b"dicom-preprocessing"
"""What the original's Software begins with, which are bytes and no text."""

SOFTWARE = 305


def recognises(tiff: TiffFile) -> bool:
    """Return whether the description is ours, or the software the original."""
    first = tiff.pages.first
    if is_stated(tiff, KEY):
        return True
    software = first.tags.valueof(SOFTWARE)
    return isinstance(software, bytes) and software.startswith(ORIGINAL_NAME)


def describe(tiff: TiffFile) -> FileDraft:
    """Return the pages as frames of a volume.

    Their spacing is that of the resolution, and along Z what is stated.
    """
    draft = generic.describe(tiff)
    first = tiff.pages.first
    spacing = {axis: value / 1000 for axis, value in resolution_spacing(first).items()}
    spacing.update(lengths(stated(tiff, KEY).get("spacing")))
    for scene in draft.scenes:
        scene.spacing, scene.spacing_unit = spacing, "millimeter"
        scene.is_volume = scene.levels[0].counts[2] > 1
    draft.format = "preprocessed"
    return draft
