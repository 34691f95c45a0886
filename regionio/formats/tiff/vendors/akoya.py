"""Akoya (PerkinElmer) QPTIFF: Vectra, Phenoptics, PhenoCycler-Fusion; inForm component images.

Every page has an XML description that says what it shows; a channel of fluorescence is a page of
its own at every level, brightfield is one RGB page a level. Lower levels may lack descriptions:
pages are sorted into levels by their size.

Source: PerkinElmer "Image Format" description of QPTIFF; docs.openmicroscopy.org/bio-formats
(PerkinElmer Vectra QPTIFF).
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from tifffile import TiffFile, TiffPage

from regionio._errors import CorruptFileError
from regionio.formats.pyramid import explained_by_one_factor
from regionio.formats.tiff.draft import FileDraft, LevelDraft, Page, SceneDraft
from regionio.formats.tiff.vendors.generic import pages_of

__all__ = ["describe", "recognises"]

ROOT = "PerkinElmer-QPI-ImageDescription"
HEAD = 200
"""Characters within which the root element starts; other XML may quote it further down."""

ASSOCIATED = {"Thumbnail": "thumbnail", "Overview": "macro", "Label": "label"}
NAMES = ("Biomarker", "Name", "Color")
"""What may tell channels apart, best first: several stains may share a filter's name."""


def recognises(tiff: TiffFile) -> bool:
    """Return whether the first page has a description of this kind."""
    return _is_description(str(tiff.pages.first.description))


def describe(tiff: TiffFile) -> FileDraft:
    """Full-resolution pages are the channels; reduced ones are levels if all channels have them."""
    pages = pages_of(tiff)
    told = [_description(page) for page in pages]
    kinds = [None if xml is None else xml.findtext("ImageType") for xml in told]
    channels = [
        xml for xml, kind in zip(told, kinds, strict=True) if xml is not None and _is_full(kind)
    ]
    full = [page for page, kind in zip(pages, kinds, strict=True) if _is_full(kind)]
    if not full or any(_kind(page) != _kind(full[0]) for page in full):
        msg = f"{tiff.filename!r}: there are no full-resolution pages, or they differ in size"
        raise CorruptFileError(msg)
    others = [
        page
        for page, kind in zip(pages, kinds, strict=True)
        if kind in {None, "ReducedResolution"} and _kind(page)[2:] == _kind(full[0])[2:]
    ]
    scene = SceneDraft(
        [LevelDraft(level, (1, len(level), 1)) for level in [full, *_reduced(full, others)]],
        associated=_associated(pages, kinds),
        channel_names=_channel_names(channels),
    )
    metadata = {**_leaves(channels[0]), "Channels": [_leaves(channel) for channel in channels]}
    return FileDraft("akoya", [scene], {"akoya": metadata}, white_background=True)


def _description(page: TiffPage) -> ET.Element | None:
    text = str(page.description)
    if not _is_description(text):
        return None
    # expat bounds what entities expand to
    return ET.fromstring(text.strip("\ufeff\0 \r\n"))  # noqa: S314


def _is_description(text: str) -> bool:
    return f"<{ROOT}" in text[:HEAD]


def _is_full(kind: str | None) -> bool:
    return kind == "FullResolution"


def _kind(page: TiffPage) -> tuple[object, ...]:
    return int(page.imagewidth), int(page.imagelength), page.dtype, page.samplesperpixel


def _reduced(full: list[TiffPage], pages: list[TiffPage]) -> list[list[TiffPage]]:
    """Group pages by size; a level has as many as there are channels."""
    by_size: dict[tuple[int, int], list[TiffPage]] = {}
    for page in pages:
        by_size.setdefault((int(page.imagewidth), int(page.imagelength)), []).append(page)
    base = (int(full[0].imagewidth), int(full[0].imagelength))
    levels = []
    for size, level in sorted(by_size.items(), reverse=True):
        if not explained_by_one_factor(base, size):
            continue
        if len(level) != len(full):
            msg = (
                f"{full[0].parent.filehandle.path!r}: {len(level)} pages of {size[0]}×{size[1]} "
                f"pixels, but {len(full)} channels; a level is incomplete"
            )
            raise CorruptFileError(msg)
        levels.append(level)
    return levels


def _associated(pages: list[TiffPage], kinds: list[str | None]) -> dict[str, Page]:
    associated: dict[str, Page] = {}
    for page, kind in zip(pages, kinds, strict=True):
        if kind in ASSOCIATED:
            associated.setdefault(ASSOCIATED[kind], page)
    return associated


def _channel_names(channels: list[ET.Element]) -> tuple[str, ...]:
    """Return the first of `NAMES` that all channels have and no two share."""
    for key in NAMES:
        names = tuple((channel.findtext(key) or "").strip() for channel in channels)
        if all(names) and len(set(names)) == len(names):
            return names
    return ()


def _leaves(element: ET.Element) -> dict[str, Any]:
    """Return what a description says in plain text, without what it nests."""
    return {child.tag: child.text for child in element if len(child) == 0 and child.text}
