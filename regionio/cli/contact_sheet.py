"""A picture of what was extracted: the slide with the patches' outlines, beside some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regionio._resample import area_average

__all__ = ["LARGEST_CELL", "chosen_patches", "contact_sheet", "resized"]

MOST_PATCHES = 100
HEIGHT = 960
WIDEST = 1440
"""Size of the two panels at most, in pixels."""

LARGEST_CELL = 300
"""A patch in the mosaic is not shown larger."""

MARGIN, GAP, LINE = 32, 4, 2
SMALLEST_OUTLINED = 10
"""Smaller cells are outlined together, not each: else there would be nothing but lines."""

PAPER = (224, 226, 229)
FRAME = (150, 152, 156)
INK = (0, 140, 72)
FADED = 0.45
"""Part of its contrast that the slide keeps where no patch was taken."""


def chosen_patches(count: int) -> NDArray[np.int64]:
    """Return the numbers of the patches that the mosaic shows, evenly chosen, at most 100."""
    shown = min(count, MOST_PATCHES)
    return np.linspace(0, count - 1, shown).round().astype(np.int64)


def resized(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return gray or RGB as RGB of another size, averaged over areas.

    Parameters
    ----------
    picture
        ``uint8[h, w]`` or ``uint8[h, w, 3]``.
    width, height
        In pixels.
    """
    rows = area_average(picture, 0, np.linspace(0, picture.shape[0], height + 1))
    both = area_average(rows, 1, np.linspace(0, picture.shape[1], width + 1))
    pixels = np.rint(both).astype(np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def contact_sheet(
    overview: NDArray[np.uint8],
    boxes: NDArray[np.float64],
    patches: Sequence[NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """Draw the sheet.

    Parameters
    ----------
    overview
        The slide, ``uint8[h, w]`` or ``uint8[h, w, 3]``.
    boxes
        ``float64[n, 4]``: left, top, right, bottom of the patches, as parts of its width and
        height, from 0 to 1.
    patches
        Those to show, at most 100, each ``uint8[s, s]`` or ``uint8[s, s, 3]``.

    Returns
    -------
    ndarray
        ``uint8[h, w, 3]``.
    """
    panels = [_framed(_outlined(_fitted(overview), boxes))]
    if patches:
        panels.append(_mosaic(patches))
    height = max(len(panel) for panel in panels) + 2 * MARGIN
    width = sum(panel.shape[1] + MARGIN for panel in panels) + MARGIN
    sheet = np.full((height, width, 3), PAPER, dtype=np.uint8)
    left = MARGIN
    for panel in panels:
        sheet[MARGIN : MARGIN + len(panel), left : left + panel.shape[1]] = panel
        left += panel.shape[1] + MARGIN
    return sheet


def _fitted(overview: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = overview.shape[:2]
    scale = min(HEIGHT / height, WIDEST / width)
    return resized(overview, max(1, round(width * scale)), max(1, round(height * scale)))


def _outlined(picture: NDArray[np.uint8], boxes: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Fade what was left out, and draw the edges of the boxes or of all of them together."""
    height, width = picture.shape[:2]
    pixels = np.rint(boxes * [width, height, width, height]).astype(np.int64)
    kept = np.zeros((height, width), dtype=np.bool_)
    for left, top, right, bottom in pixels.tolist():
        kept[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    faded = 255 - (255 - picture.astype(np.float64)) * FADED
    result = np.where(kept[..., None], picture, np.rint(faded).astype(np.uint8))
    result[_edge(kept)] = INK
    sides = pixels[:, 2:] - pixels[:, :2]
    if len(pixels) and sides.min() >= SMALLEST_OUTLINED:
        for left, top, right, bottom in pixels.tolist():
            for edge in (top, bottom - LINE // 2):
                result[edge : edge + LINE // 2, left:right] = INK
            for edge in (left, right - LINE // 2):
                result[top:bottom, edge : edge + LINE // 2] = INK
    return result


def _edge(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of an area that lie less than `LINE` from what is outside it."""
    inner = np.pad(kept, LINE)
    for axis in (0, 1):
        for shift in (-LINE, LINE):
            inner &= np.roll(np.pad(kept, LINE), shift, axis)
    return kept & ~inner[LINE:-LINE, LINE:-LINE]


def _framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    framed = np.full((picture.shape[0] + 2, picture.shape[1] + 2, 3), FRAME, dtype=np.uint8)
    framed[1:-1, 1:-1] = picture
    return framed


def _mosaic(patches: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay patches out in rows, as near to a square as their number allows."""
    columns = math.ceil(math.sqrt(len(patches)))
    rows = math.ceil(len(patches) / columns)
    cell = min(LARGEST_CELL, (HEIGHT + 2 + GAP) // columns - GAP)
    step = cell + GAP
    mosaic = np.full((rows * step - GAP, columns * step - GAP, 3), PAPER, dtype=np.uint8)
    for number, patch in enumerate(patches):
        top, left = (step * place for place in divmod(number, columns))
        mosaic[top : top + cell, left : left + cell] = resized(patch, cell, cell)
    return mosaic
