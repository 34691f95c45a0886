"""TIFFs of slices that `regionio read` writes: volumes again, with their spacing and their place."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from tifffile import TiffFile

from regionio._index import Placement
from regionio.formats.tiff.draft import FileDraft
from regionio.formats.tiff.vendors import generic

__all__ = ["KEY", "describe", "recognises"]

KEY = "regionio.read"
"""Of the JSON object in the first page's description."""

UNITS = {"micrometer", "millimeter"}


def recognises(tiff: TiffFile) -> bool:
    """Return whether the description is ours."""
    return str(tiff.pages.first.description).startswith(f'{{"{KEY}"')


def describe(tiff: TiffFile) -> FileDraft:
    """Return the pages as slices of a volume, of what is stated as far as it can be read."""
    draft = generic.describe(tiff)
    stated = _stated(str(tiff.pages.first.description))
    for scene in draft.scenes:
        scene.is_volume = scene.levels[0].counts[2] > 1
        unit = stated.get("spacing_unit")
        if isinstance(unit, str) and unit in UNITS:
            scene.spacing, scene.spacing_unit = _lengths(stated.get("spacing")), unit
        scene.placement = _placement(stated)
    draft.format = "written"
    return draft


def _stated(description: str) -> dict[str, Any]:
    try:
        stated = json.loads(description)[KEY]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return stated if isinstance(stated, dict) else {}


def _lengths(stated: Any) -> dict[str, float]:
    """Return a spacing, as far as it is one."""
    try:
        return {axis: float(stated[axis]) for axis in "XYZ" if 0 < float(stated.get(axis, 0)) < 1e6}
    except (ValueError, TypeError, AttributeError, OverflowError):
        return {}


def _placement(stated: dict[str, Any]) -> Placement | None:
    try:
        origin = np.array(stated["origin"], dtype=np.float64)
        direction = np.array(stated["direction"], dtype=np.float64)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    are_whole = origin.shape == (3,) and direction.shape == (3, 3)
    if not are_whole or not (np.isfinite(origin).all() and np.isfinite(direction).all()):
        return None
    return Placement(origin, direction)
