"""ImageJ: hyperstacks, whose pages are channels, slices and times, the first the fastest.

Source: imagej.net/ij/docs (hyperstacks), ``ij.io.FileInfo`` and ``TiffEncoder`` of ImageJ 1.54.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage

from regionio._errors import UnsupportedFormatError
from regionio.formats.tiff.draft import FileDraft
from regionio.formats.tiff.resolution import (
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    rational,
    resolution_spacing,
)
from regionio.formats.tiff.vendors import generic

__all__ = ["describe", "recognises"]

CENTIMETER = 3
"""ResolutionUnit."""

MOST_SPACING = 1e9

MICROMETERS = {
    "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00B5m": 1.0, "micron": 1.0, "microns": 1.0,
    "mm": 1e3, "cm": 1e4, "inch": 25_400.0,
}  # fmt: skip
"""ImageJ's unit → µm."""

COUNTS = ("frames", "slices", "channels")
"""In the order in which pages change, the last the fastest."""


def recognises(tiff: TiffFile) -> bool:
    """Return whether ImageJ wrote the file, or other software in its manner."""
    return str(tiff.pages.first.description).startswith("ImageJ=")


def describe(tiff: TiffFile) -> FileDraft:
    """Sort pages by what the first page's description says of them.

    What it says may be of another file, from which this was cut: where pages are not so many, they
    are focal planes, and a warning says so.

    Raises
    ------
    UnsupportedFormatError
        Pictures follow each other behind a single page, as in stacks beyond 4 GB.
    """
    first = tiff.pages.first
    stated = description_values(str(first.description))
    draft = generic.describe(tiff)
    for scene in draft.scenes:
        scene.spacing = _spacing(first, stated)
    levels = draft.scenes[0].levels
    pages, samples = len(levels[0].pages), int(first.samplesperpixel)
    frames, slices, channels = (_count(stated, key) for key in COUNTS)
    if samples > 1 and frames * slices == pages:
        channels = 1  # they stand in each page
    wanted = frames * slices * channels
    if wanted != pages:
        _check_whole(tiff, wanted, pages)
    elif samples == 1 or channels == 1:
        numbers = np.arange(wanted).reshape(frames, slices, channels)
        order = numbers.transpose(0, 2, 1).reshape(-1).tolist()
        for level in levels:
            level.pages = [level.pages[number] for number in order]
            level.counts = frames, channels, slices
    draft.format, draft.metadata = "imagej", {"imagej": stated}
    return draft


def _check_whole(tiff: TiffFile, wanted: int, pages: int) -> None:
    """Refuse a file that has pictures behind its only page; warn of one that is described wrongly."""
    first, path = tiff.pages.first, str(tiff.filehandle.path)
    if len(first.dataoffsets) and pages == 1 < wanted and int(first.compression) == 1:
        end = int(first.dataoffsets[0]) + wanted * int(first.nbytes)
        if end <= int(tiff.filehandle.size):
            msg = (
                f"{path!r} holds {wanted} pictures behind a single page, as ImageJ writes large "
                "stacks: save it as OME-TIFF"
            )
            raise UnsupportedFormatError(msg)
    if wanted > 1:
        msg = f"{path!r} has {pages} pages, not the {wanted} of its description: read as they stand"
        warnings.warn(msg, stacklevel=2)


def description_values(description: str) -> dict[str, Any]:
    r"""Return the ``key=value`` lines of a description.

    >>> description_values("ImageJ=1.54f\nimages=6\nunit=um\nspacing=1.5\nhyperstack=true")
    {'ImageJ': '1.54f', 'images': 6, 'unit': 'um', 'spacing': 1.5, 'hyperstack': True}
    """
    pairs = [line.partition("=") for line in description.splitlines() if "=" in line]
    return {key.strip(): _plain(value.strip()) for key, _, value in pairs}


def _plain(text: str) -> Any:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _count(stated: dict[str, Any], key: str) -> int:
    value = stated.get(key, 1)
    return value if isinstance(value, int) and value > 0 else 1


def _spacing(page: TiffPage, stated: dict[str, Any]) -> dict[str, float]:
    """Return µm a pixel, as far as the file states it in a unit of length."""
    unit = MICROMETERS.get(str(stated.get("unit")))
    if unit is None:
        return {}
    found, depth = {}, stated.get("spacing")
    if isinstance(depth, int | float) and 0 < depth < MOST_SPACING:
        found["Z"] = unit * depth
    if unit == 1.0 and int(page.tags.valueof(RESOLUTION_UNIT) or 0) == CENTIMETER:
        return {**resolution_spacing(page), **found}  # as ImageJ has it
    for axis, tag in (("X", X_RESOLUTION), ("Y", Y_RESOLUTION)):
        per_unit = rational(page.tags.valueof(tag))
        if per_unit and per_unit > 0:
            found[axis] = unit / per_unit
    return found
