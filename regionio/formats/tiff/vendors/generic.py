"""TIFF of no known vendor: pyramids are found by geometry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tifffile import TiffFile, TiffPage

from regionio.formats.pyramid import explained_by_one_factor
from regionio.formats.tiff.draft import FileDraft, LevelDraft, SceneDraft

__all__ = ["describe", "pages_of", "scenes_by_geometry"]

MASK = 4
"""Bit of NewSubfileType: transparency mask."""


def describe(tiff: TiffFile) -> FileDraft:
    """Group all pages and their SubIFDs into scenes."""
    pages = [page for page in pages_of(tiff) if not is_mask(page)]
    return FileDraft("tiff", scenes_by_geometry(pages))


def pages_of(tiff: TiffFile) -> list[TiffPage]:
    """Return all pages in file order, each followed by its SubIFDs."""
    tiff.pages.useframes = False
    pages: list[TiffPage] = []
    for page in tiff.pages:
        assert isinstance(page, TiffPage)
        pages.append(page)
        if page.subifds:
            pages.extend(sub for sub in page.pages or () if isinstance(sub, TiffPage))
    return pages


def is_mask(page: TiffPage) -> bool:
    """Return whether a page is the transparency mask of another one."""
    return bool(int(page.subfiletype) & MASK) or int(page.photometric) == MASK


def scenes_by_geometry(pages: Sequence[TiffPage]) -> list[SceneDraft]:
    """Group pages: same size and type are focal planes, smaller by one factor are levels.

    Parameters
    ----------
    pages
        In file order.

    Returns
    -------
    list of SceneDraft
        In the order of their first pages.
    """
    groups: dict[tuple[object, ...], list[TiffPage]] = {}
    for page in pages:
        groups.setdefault((_size(page), *_kind(page), *_tiling(page)), []).append(page)
    planes = sorted(groups.values(), key=lambda group: -_size(group[0])[0] * _size(group[0])[1])
    scenes: list[tuple[int, SceneDraft]] = []
    while planes:
        base = planes.pop(0)
        family = [group for group in planes if _is_level(base, group)]
        levels = [base, *_distinct(family)]
        planes = [group for group in planes if group not in levels]
        draft = SceneDraft([LevelDraft(group, (1, 1, len(group))) for group in levels])
        scenes.append((min(pages.index(group[0]) for group in levels), draft))
    return [draft for _, draft in sorted(scenes, key=lambda pair: pair[0])]


def _size(page: TiffPage) -> tuple[int, int]:
    return int(page.imagewidth), int(page.imagelength)


def _kind(page: TiffPage) -> tuple[object, ...]:
    """Return what the pages of one image have in common."""
    return page.dtype, page.samplesperpixel, page.planarconfig, _is_color(page)


def _tiling(page: TiffPage) -> tuple[int, ...]:
    """Return what planes must have in common to share one tile table."""
    return page.tilewidth, page.tilelength, page.rowsperstrip


def _is_color(page: TiffPage) -> bool:
    return int(page.photometric) in {2, 6}


def _is_level(base: Sequence[TiffPage], group: Sequence[TiffPage]) -> bool:
    same_kind = len(base) == len(group) and _kind(base[0]) == _kind(group[0])
    return same_kind and explained_by_one_factor(_size(base[0]), _size(group[0]))


def _distinct(groups: Iterable[list[TiffPage]]) -> list[list[TiffPage]]:
    """Keep groups that are each smaller than the one before."""
    kept: list[list[TiffPage]] = []
    for group in groups:
        if not kept or _size(group[0])[0] < _size(kept[-1][0])[0]:
            kept.append(group)
    return kept
