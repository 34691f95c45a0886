"""One module a vendor. Each has `recognises(tiff)` and `describe(tiff)`."""

from __future__ import annotations

from types import ModuleType

from tifffile import TiffFile

from regionio.formats.tiff.draft import FileDraft
from regionio.formats.tiff.vendors import (
    akoya,
    aperio,
    generic,
    hamamatsu,
    imagej,
    leica,
    ome,
    philips,
    preprocessed,
    trestle,
    ventana,
    written,
)

__all__ = ["VENDORS", "describe"]

VENDORS: tuple[ModuleType, ...] = (
    aperio,
    akoya,
    ventana,
    trestle,
    hamamatsu,
    leica,
    philips,
    preprocessed,
    written,
    ome,
    imagej,
)
"""Asked in this order."""


def describe(tiff: TiffFile) -> FileDraft:
    """Return what a TIFF holds, as the first vendor's module that knows it sees it."""
    for vendor in VENDORS:
        if vendor.recognises(tiff):
            draft: FileDraft = vendor.describe(tiff)
            return draft
    return generic.describe(tiff)
