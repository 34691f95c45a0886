"""Pixel size from the resolution tags."""

from __future__ import annotations

from typing import Any

from tifffile import TiffPage

__all__ = [
    "RESOLUTION_UNIT",
    "X_RESOLUTION",
    "Y_RESOLUTION",
    "rational",
    "resolution_spacing",
    "spacing_from_tags",
]

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
MICROMETERS = {2: 25_400.0, 3: 10_000.0}
"""ResolutionUnit → µm: inch and centimetre."""

PLACEHOLDERS_PER_INCH = (1.0, 72.0, 96.0, 300.0)
"""What software writes that knows no pixel size."""


def spacing_from_tags(page: TiffPage) -> dict[str, float]:
    """Return µm a pixel along X and Y, or nothing where the tags are absent or placeholders.

    Parameters
    ----------
    page
        The page.

    Returns
    -------
    dict
        Empty, or with keys ``"X"`` and ``"Y"``.
    """
    spacing = resolution_spacing(page)
    unit = MICROMETERS.get(int(page.tags.valueof(RESOLUTION_UNIT) or 0), 0.0)
    return {} if any(_is_placeholder(value, unit) for value in spacing.values()) else spacing


def resolution_spacing(page: TiffPage) -> dict[str, float]:
    """Return µm a pixel along X and Y as the tags have it, placeholder or not; as above."""
    unit = MICROMETERS.get(int(page.tags.valueof(RESOLUTION_UNIT) or 0))
    x = rational(page.tags.valueof(X_RESOLUTION))
    y = rational(page.tags.valueof(Y_RESOLUTION))
    if unit is None or not x or not y or x < 0 or y < 0:
        return {}
    return {"X": unit / x, "Y": unit / y}


def _is_placeholder(spacing: float, unit: float) -> bool:
    resolution = unit / spacing
    if abs(resolution - 1.0) < 1e-6:
        return True
    per_inch = 25_400.0 / spacing
    return any(abs(per_inch / value - 1) < 1e-3 for value in PLACEHOLDERS_PER_INCH)


def rational(value: Any) -> float | None:
    """Return a RATIONAL, which tifffile gives as (numerator, denominator), as a number, or None."""
    try:
        numerator, denominator = value
        return float(numerator) / float(denominator)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
