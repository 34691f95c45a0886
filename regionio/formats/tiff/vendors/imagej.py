"""ImageJ: hyperstacks, whose pages are channels, slices and times, the first the fastest.

Source: imagej.net/ij/docs (hyperstacks), ``ij.io.FileInfo`` and ``TiffEncoder`` of ImageJ 1.54.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio.formats.tiff.draft import FileDraft, LevelDraft, SceneDraft
from regionio.formats.tiff.vendors.generic import pages_of, scenes_by_geometry

__all__ = ["describe", "recognises"]

X_RESOLUTION, Y_RESOLUTION = 282, 283
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

    Raises
    ------
    UnsupportedFormatError
        Pictures follow each other behind a single page, as in stacks beyond 4 GB.
    CorruptFileError
        The file has other pages than it says.
    """
    first = tiff.pages.first
    path = str(tiff.filehandle.path)
    stated = description_values(str(first.description))
    pages = pages_of(tiff)
    frames, slices, channels = (_count(stated, key) for key in COUNTS)
    if int(first.samplesperpixel) == channels:
        channels = 1  # they stand in one page
    wanted = frames * slices * channels
    if wanted > 1 and len(pages) == 1:
        msg = (
            f"{path!r} holds {wanted} pictures behind a single page, as ImageJ writes large stacks: "
            "save it as OME-TIFF"
        )
        raise UnsupportedFormatError(msg)
    spacing = _spacing(first, stated)
    metadata = {"imagej": stated}
    if wanted == 1:
        scenes = scenes_by_geometry(pages)
        for scene in scenes:
            scene.spacing = scene.spacing or {
                axis: spacing[axis] for axis in spacing if axis != "Z"
            }
        return FileDraft("imagej", scenes, metadata)
    if wanted != len(pages):
        msg = (
            f"{path!r} has {len(pages)} pages, but says that it has {frames} frames of {slices} "
            f"slices of {channels} channels: save it anew"
        )
        raise CorruptFileError(msg)
    numbers = np.arange(wanted).reshape(frames, slices, channels)
    order = numbers.transpose(0, 2, 1).reshape(-1)
    level = LevelDraft([pages[number] for number in order.tolist()], (frames, channels, slices))
    return FileDraft("imagej", [SceneDraft([level], spacing=spacing)], metadata)


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
    found = {}
    for axis, tag in (("X", X_RESOLUTION), ("Y", Y_RESOLUTION)):
        numerator, denominator = page.tags.valueof(tag) or (0, 1)
        if numerator > 0 and denominator > 0:
            found[axis] = unit * denominator / numerator
    depth = stated.get("spacing")
    if isinstance(depth, int | float) and 0 < depth < math.inf:
        found["Z"] = unit * depth
    return found
