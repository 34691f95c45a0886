"""Hamamatsu NDPI.

A level is one JPEG picture of any size with restart markers; a table says where each piece between
two of them starts, and each piece decodes on its own as a tile.

Source: openslide.org/formats/hamamatsu.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tifffile import TIFF, TiffFile, TiffPage

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio.formats.tiff.draft import FileDraft, LevelDraft, Page, SceneDraft
from regionio.formats.tiff.resolution import spacing_from_tags
from regionio.formats.tiff.vendors.generic import pages_of

__all__ = ["describe", "recognises"]

FORMAT = 65420
LENS = 65421
"""Magnification; -1 is the macro, -2 a map of where tissue is."""

MACRO_LENS = -1
FOCUS = 65424
"""Nanometres from the slide's surface to the focal plane."""

COMMENTS = 65449
LONGEST_ARRAY = 64
RESTART_INTERVAL = b"\xff\xdd\x00\x04"


def recognises(tiff: TiffFile) -> bool:
    """Return whether the first page has NDPI's tag of the format."""
    return FORMAT in tiff.pages.first.tags


def describe(tiff: TiffFile) -> FileDraft:
    """Pages of the same magnification are the focal planes of a level."""
    pages = pages_of(tiff)
    by_lens: dict[float, dict[int, TiffPage]] = {}
    for page in pages:
        if _lens(page) > 0:
            by_lens.setdefault(_lens(page), {}).setdefault(_focus(page), page)
    if not by_lens:
        msg = f"{tiff.filehandle.path!r} is an NDPI without any page of a magnification above 0"
        raise CorruptFileError(msg)
    groups = [by_lens[lens] for lens in sorted(by_lens, reverse=True)]
    planes = sorted(groups[0])
    for page in pages:
        _check_segments(page)
    levels = [
        LevelDraft([group.get(plane) for plane in planes], (1, 1, len(planes))) for group in groups
    ]
    scene = SceneDraft(
        levels,
        spacing={**spacing_from_tags(groups[0][planes[0]]), **_spacing_z(planes)},
        associated=_associated(pages),
    )
    metadata = {"hamamatsu": _properties(pages[0])}
    return FileDraft("hamamatsu", [scene], metadata, white_background=True)


def _lens(page: TiffPage) -> float:
    return float(page.tags.valueof(LENS) or 0)


def _focus(page: TiffPage) -> int:
    return int(page.tags.valueof(FOCUS) or 0)


def _check_segments(page: TiffPage) -> None:
    """Raise where restart markers do not come at the ends of rows: pieces are no tiles then."""
    header = page.jpegheader or b""
    found = header.find(RESTART_INTERVAL)
    if found < 0:
        return
    start = found + len(RESTART_INTERVAL)
    interval = int.from_bytes(header[start : start + 2], "big")
    block_width = int(page.tilewidth) // interval
    blocks = -(-int(page.imagewidth) // block_width)
    if blocks % interval:
        msg = (
            f"{page.parent.filehandle.path!r}, page {page.index}: restart markers every {interval} "
            f"blocks of rows of {blocks} blocks are not supported"
        )
        raise UnsupportedFormatError(msg)


def _spacing_z(planes: Sequence[int]) -> dict[str, float]:
    """Return µm between focal planes, where that is the same for all."""
    steps = set(np.diff(planes).tolist())
    return {"Z": steps.pop() / 1000} if len(steps) == 1 else {}


def _associated(pages: Sequence[TiffPage]) -> dict[str, Page]:
    macros = [page for page in pages if _lens(page) == MACRO_LENS]
    return {"macro": macros[0]} if macros else {}


def _properties(page: TiffPage) -> dict[str, Any]:
    """Return the ``key=value`` lines of the comments, and the short ones of NDPI's own tags."""
    properties: dict[str, Any] = {}
    for line in str(page.tags.valueof(COMMENTS) or "").splitlines():
        key, separator, value = line.partition("=")
        if separator:
            properties[key.strip()] = value.strip()
    for tag in page.tags:
        is_short = tag.dtype == 2 or tag.count <= LONGEST_ARRAY
        if tag.code in TIFF.NDPI_TAGS and tag.code != COMMENTS and is_short:
            properties[TIFF.NDPI_TAGS[tag.code]] = np.asarray(tag.value).tolist()
    return properties
