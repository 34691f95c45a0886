"""What regionio's own TIFFs state of themselves: JSON in the first page's ImageDescription.

The object's only name says who wrote it.
"""

from __future__ import annotations

import json
from typing import Any

from tifffile import TiffFile

__all__ = ["is_stated", "lengths", "stated"]

MOST_LENGTH = 1e6


def is_stated(tiff: TiffFile, key: str) -> bool:
    """Return whether the description is what is written under a name."""
    return str(tiff.pages.first.description).startswith(f'{{"{key}"')


def stated(tiff: TiffFile, key: str) -> dict[str, Any]:
    """Return what stands under a name, nothing where it can't be read."""
    try:
        found = json.loads(str(tiff.pages.first.description))[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def lengths(spacing: Any) -> dict[str, float]:
    """Return a spacing, as far as it is one.

    >>> lengths({"X": 0.5, "Y": 0, "Z": "2"}), lengths(7)
    ({'X': 0.5, 'Z': 2.0}, {})
    """
    try:
        found = {axis: float(spacing[axis]) for axis in "XYZ" if axis in spacing}
    except (ValueError, TypeError, OverflowError):
        return {}
    return {axis: length for axis, length in found.items() if 0 < length < MOST_LENGTH}
