"""How large pixels are, and how files of one slide relate: as levels, or as parts of the slide.

Source: DICOM PS3.3, C.7.6.16.2.1 (pixel measures), C.8.12.4 (whole slide microscopy image, total
pixel matrix origin).
"""

from __future__ import annotations

from collections.abc import Sequence

from regionio._index import Level
from regionio.formats.dicom.instance import SHARED_GROUPS, SLIDE_CLASS, Instance
from regionio.formats.pyramid import downsample_factor, explained_by_one_factor

__all__ = ["CLOSE", "level_downsample", "micrometers", "pixel_size", "shows_the_same"]

CLOSE = 0.01
"""Share by which sizes may differ from what spacings say, if spacings are to be believed."""

ROUNDING = 1e-5
"""Share by which quotients of spacings differ from an integer because both were rounded."""

NEAR_MILLIMETERS = 0.02
NEAR_PIXELS = 2.0
"""How far apart origins of one view may be: files state them of corners or of centres of pixels."""


def micrometers(millimeters: float) -> float:
    """Return µm of mm without the noise of the multiplication.

    >>> micrometers(0.016783)
    16.783
    """
    return float(f"{millimeters * 1000:.12g}")


def pixel_size(file: Instance) -> dict[str, float]:
    """Return µm a pixel along X and Y, as stated, else of the imaged volume; none if not told."""
    stated = _stated(file)
    if stated or file.text("SOPClassUID") != SLIDE_CLASS:
        return stated
    sides = [file.numbers(f"ImagedVolume{side}") for side in ("Width", "Height")]
    if not all(len(side) == 1 and side[0] > 0 for side in sides) or min(file.matrix) < 1:
        return {}
    sizes = (side[0] / count for side, count in zip(sides, file.matrix, strict=True))
    return {axis: micrometers(size) for axis, size in zip("XY", sizes, strict=True)}


def _stated(file: Instance) -> dict[str, float]:
    pair = file.numbers(SHARED_GROUPS, "PixelMeasuresSequence", "PixelSpacing")
    if len(pair) != 2 or min(pair) <= 0:
        return {}
    return {axis: micrometers(value) for axis, value in zip("YX", pair, strict=True)}


def level_downsample(
    file: Instance, largest: Instance, larger: Sequence[Level]
) -> tuple[float, float]:
    """Return the (x, y) factors of a level to level 0.

    Parameters
    ----------
    file, largest
        A file of the level, and one of level 0.
    larger
        The levels before it, at least one.
    """
    base = larger[0].width, larger[0].height
    factors = _factors(file, largest)
    if factors is not None and _explains(factors, base, file):
        return factors
    return downsample_factor(base, file.matrix, larger[-1].downsample[0])


def shows_the_same(base: Instance, file: Instance) -> bool:
    """Return whether a file that is not larger than another shows what that shows.

    It does if it has the same size, and is not said to lie elsewhere; or if it is smaller by one
    factor, as spacings or sizes have it.
    """
    if file.matrix == base.matrix:
        return _same_origin(base, file)
    factors = _factors(file, base)
    if factors is not None and min(factors) > 1 and _explains(factors, base.matrix, file):
        return True
    return explained_by_one_factor(base.matrix, file.matrix)


def _factors(file: Instance, largest: Instance) -> tuple[float, float] | None:
    """Return the factors that spacings give, None where one is not known."""
    fine, coarse = _stated(largest), _stated(file)
    if not fine or not coarse:
        return None
    return _exact(coarse["X"] / fine["X"]), _exact(coarse["Y"] / fine["Y"])


def _exact(factor: float) -> float:
    """Return the integer that a quotient of rounded decimals stands for, else the quotient."""
    nearest = float(round(factor))
    return nearest if nearest and abs(factor - nearest) <= ROUNDING * factor else factor


def _explains(factors: tuple[float, float], base: tuple[int, int], file: Instance) -> bool:
    """Return whether a size is that of level 0 by some factors, perhaps padded to whole tiles."""
    for factor, whole, part, tile in zip(factors, base, file.matrix, file.size, strict=True):
        padded = -(-whole // (factor * max(tile, 1))) * tile
        if abs(whole / factor - part) > 1 + CLOSE * part and part != padded:
            return False
    return True


def _same_origin(base: Instance, file: Instance) -> bool:
    """Return whether two files of one size lie at one place of the slide, as far as they tell."""
    for axis in "XY":
        keywords = "TotalPixelMatrixOriginSequence", f"{axis}OffsetInSlideCoordinateSystem"
        places = [one.numbers(*keywords)[:1] for one in (base, file)]
        near = max(NEAR_MILLIMETERS, NEAR_PIXELS * pixel_size(base).get(axis, 0.0) / 1000)
        if all(places) and abs(places[0][0] - places[1][0]) > near:
            return False
    return True
