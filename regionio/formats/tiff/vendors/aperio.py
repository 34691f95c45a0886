"""Aperio (Leica Biosystems) SVS.

Source: openslide.org/formats/aperio; Aperio "Digital Slides and Third-Party Data Interchange".
"""

from __future__ import annotations

from tifffile import TiffFile, TiffPage

from regionio.formats.tiff.draft import FileDraft, Page
from regionio.formats.tiff.vendors.generic import is_mask, pages_of, scenes_by_geometry

__all__ = ["describe", "recognises"]

REDUCED = 1
MACRO = 9
"""NewSubfileType of the macro image; that of the label is 1."""


def recognises(tiff: TiffFile) -> bool:
    """Return whether the first page's description is Aperio's and the page is tiled."""
    first = tiff.pages.first
    return str(first.description).startswith("Aperio") and first.is_tiled


def describe(tiff: TiffFile) -> FileDraft:
    """Tiled pages are levels, stripped ones associated images."""
    pages = pages_of(tiff)
    properties = description_properties(str(pages[0].description))
    scenes = scenes_by_geometry([page for page in pages if page.is_tiled and not is_mask(page)])
    scene = scenes[0]
    scene.spacing = _spacing(properties)
    scene.associated = _associated(pages)
    return FileDraft("aperio", [scene], {"aperio": properties}, white_background=True)


def description_properties(description: str) -> dict[str, str]:
    """Return the ``key = value`` pairs of a description; ``Header`` is what stands before them.

    >>> description_properties("Aperio Image Library|AppMag = 20|MPP = 0.4990")
    {'Header': 'Aperio Image Library', 'AppMag': '20', 'MPP': '0.4990'}
    """
    header, *fields = description.split("|")
    properties = {"Header": header}
    for entry in fields:
        key, _, value = entry.partition("=")
        properties[key.strip()] = value.strip()
    return properties


def _spacing(properties: dict[str, str]) -> dict[str, float]:
    try:
        spacing = float(properties["MPP"])
    except (KeyError, ValueError):
        return {}
    return {"X": spacing, "Y": spacing} if spacing > 0 else {}


def _associated(pages: list[TiffPage]) -> dict[str, Page]:
    associated: dict[str, Page] = {}
    for number, page in enumerate(pages):
        if page.is_tiled:
            continue
        name = _associated_name(page, number)
        if name is not None and name not in associated:
            associated[name] = page
    return associated


def _associated_name(page: TiffPage, number: int) -> str | None:
    """Return what a stripped page shows: its description's second line says it, else its type."""
    lines = str(page.description).splitlines()
    words = lines[1].split() if len(lines) > 1 else []
    if words and words[0] in {"label", "macro"}:
        return words[0]
    if int(page.subfiletype) == MACRO:
        return "macro"
    if int(page.subfiletype) == REDUCED:
        return "label"
    return "thumbnail" if number == 1 else None
