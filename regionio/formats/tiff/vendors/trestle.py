"""Trestle MedScan: every tile overlaps its neighbours by as many pixels as the level says.

A tile lies over those before it, row by row. Files beside the slide, which may hold an overlap of
their own for every tile (``.tif-Nb``) and a macro image (``.Full``), are not read.

Source: openslide.org/formats/trestle.
"""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from regionio._errors import CorruptFileError
from regionio.formats.tiff.draft import FileDraft, LevelDraft, SceneDraft
from regionio.formats.tiff.page import tile_grid
from regionio.formats.tiff.vendors.generic import pages_of

__all__ = ["describe", "recognises"]

X_RESOLUTION = 282
COARSEST_SPACING = 50.0
"""µm a pixel; what is coarser is a resolution of other software, in pixels per inch."""


def recognises(tiff: TiffFile) -> bool:
    """Return whether MedScan wrote the file: described, and nothing but tiled pages."""
    first = tiff.pages.first
    named = first.software.startswith("MedScan") and bool(first.description)
    return named and all(page.is_tiled for page in pages_of(tiff))


def describe(tiff: TiffFile) -> FileDraft:
    """Every page is a level; the first page's description says how much tiles overlap in each."""
    pages = pages_of(tiff)
    properties = description_properties(str(pages[0].description))
    numbers = [int(word) for word in properties.get("OverlapsXY", "").split()]
    overlaps = list(zip(numbers[::2], numbers[1::2], strict=False))[: len(pages)]
    levels = [
        _level(page, *overlap)
        for page, overlap in zip_longest(pages, overlaps, fillvalue=(0, 0))
        if isinstance(page, TiffPage)
    ]
    scene = SceneDraft(levels, spacing=_spacing(pages[0]))
    return FileDraft("trestle", [scene], {"trestle": properties}, white_background=True)


def description_properties(description: str) -> dict[str, str]:
    """Return the ``key=value`` pairs of a description.

    >>> description_properties("Background Color=E6E6E6;Objective Power=10;OverlapsXY= 64 64")
    {'Background Color': 'E6E6E6', 'Objective Power': '10', 'OverlapsXY': '64 64'}
    """
    pairs = [entry.partition("=") for entry in description.split(";") if "=" in entry]
    return {key.strip(): value.strip() for key, _, value in pairs}


def _level(page: TiffPage, overlap_x: int, overlap_y: int) -> LevelDraft:
    if overlap_x == overlap_y == 0:
        return LevelDraft([page])
    rows, columns, tile_height, tile_width = tile_grid(page)
    if not (0 <= 2 * overlap_x <= tile_width and 0 <= 2 * overlap_y <= tile_height):
        msg = (
            f"{page.parent.filehandle.path!r}: tiles of {tile_width}×{tile_height} pixels can't "
            f"overlap by {overlap_x}×{overlap_y}; OverlapsXY in the description is damaged"
        )
        raise CorruptFileError(msg)
    step = np.array([tile_height - overlap_y, tile_width - overlap_x])
    positions: NDArray[np.int64] = np.indices((rows, columns)).reshape(2, -1).T * step
    return LevelDraft(
        [page],
        width=int(page.imagewidth) - (columns - 1) * overlap_x,
        height=int(page.imagelength) - (rows - 1) * overlap_y,
        positions=positions,
    )


def _spacing(page: TiffPage) -> dict[str, float]:
    """Return the resolution tags as they are: MedScan writes µm a pixel into them."""
    if X_RESOLUTION not in page.tags:
        return {}
    x, y = page.resolution
    return {"X": x, "Y": y} if 0 < x < COARSEST_SPACING and 0 < y < COARSEST_SPACING else {}
