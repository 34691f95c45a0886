"""TIFFs of slices that `regionio read` writes: volumes again, with their spacing and their place."""

from __future__ import annotations

from typing import Any

import numpy as np
from tifffile import TiffFile

from regionio._index import Placement
from regionio.formats.tiff.draft import FileDraft
from regionio.formats.tiff.stated import is_stated, lengths, stated
from regionio.formats.tiff.vendors import generic

__all__ = ["KEY", "describe", "recognises"]

KEY = "regionio.read"
"""Of the JSON object in the first page's description."""

UNITS = {"micrometer", "millimeter"}


def recognises(tiff: TiffFile) -> bool:
    """Return whether the description is ours."""
    return is_stated(tiff, KEY)


def describe(tiff: TiffFile) -> FileDraft:
    """Return the pages as slices of a volume, of what is stated as far as it can be read."""
    draft = generic.describe(tiff)
    about = stated(tiff, KEY)
    for scene in draft.scenes:
        scene.is_volume = scene.levels[0].counts[2] > 1
        unit = about.get("spacing_unit")
        if isinstance(unit, str) and unit in UNITS:
            scene.spacing, scene.spacing_unit = lengths(about.get("spacing")), unit
        scene.placement = _placement(about)
    draft.format = "written"
    return draft


def _placement(about: dict[str, Any]) -> Placement | None:
    try:
        origin = np.array(about["origin"], dtype=np.float64)
        direction = np.array(about["direction"], dtype=np.float64)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    are_whole = origin.shape == (3,) and direction.shape == (3, 3)
    if not are_whole or not (np.isfinite(origin).all() and np.isfinite(direction).all()):
        return None
    return Placement(origin, direction)
