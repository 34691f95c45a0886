"""Philips TIFF (IntelliSite, UFS scanners).

Levels are stored in whole tiles. Where a level really ends follows from its pixel spacing; level 0
is taken as it is stored, for nothing tells its own end.

Source: openslide.org/formats/philips; Philips "TIFF export" of the IMS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

from tifffile import TiffFile, TiffPage

from regionio._errors import CorruptFileError
from regionio.formats.tiff.draft import EmbeddedJpeg, FileDraft, LevelDraft, Page, SceneDraft
from regionio.formats.tiff.embedded import find_embedded_jpeg
from regionio.formats.tiff.markup import parse_xml
from regionio.formats.tiff.vendors.generic import pages_of

__all__ = ["describe", "recognises"]

IMAGES = "PIM_DP_SCANNED_IMAGES"
IMAGE_TYPE = "PIM_DP_IMAGE_TYPE"
IMAGE_DATA = "PIM_DP_IMAGE_DATA"
LEVELS = "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"
SPACING = "DICOM_PIXEL_SPACING"
"""Millimetres between rows, then between columns."""

ASSOCIATED_TYPES = {"LABELIMAGE": "label", "MACROIMAGE": "macro"}


def recognises(tiff: TiffFile) -> bool:
    """Return whether the first page says that Philips software wrote it."""
    first = tiff.pages.first
    return str(first.software).startswith("Philips") and "DPUfsImport" in str(first.description)


def describe(tiff: TiffFile) -> FileDraft:
    """Tiled pages are levels; label and macro are pages of their own, or stand in the XML."""
    pages = pages_of(tiff)
    root = parse_xml(str(pages[0].description), tiff.filehandle.path)
    properties = _properties(root)
    slide = _slide(properties)
    representations = slide.get(LEVELS)
    if not isinstance(representations, list):
        representations = []
    spacings = [_spacing(representation) for representation in representations]
    levels = [page for page in pages if page.is_tiled and _name(page) is None]
    if not levels:
        msg = f"{tiff.filehandle.path!r}: a Philips file without tiled pages has no levels"
        raise CorruptFileError(msg)
    own_spacing = _spacing(slide) or next(iter(spacings), None)
    scene = SceneDraft(
        _levels(levels, spacings),
        spacing=dict(zip("XY", own_spacing, strict=True)) if own_spacing else {},
        associated=_associated(pages),
        embedded=_embedded(pages[0], root),
    )
    return FileDraft("philips", [scene], {"philips": properties}, white_background=True)


def _properties(data_object: ET.Element) -> dict[str, Any]:
    """Return name → value of a DataObject; arrays are lists of such dicts, pictures left out."""
    properties: dict[str, Any] = {}
    for attribute in data_object.findall("Attribute"):
        name = attribute.get("Name", "")
        array = attribute.find("Array")
        if array is not None:
            properties[name] = [_properties(item) for item in array.findall("DataObject")]
        elif name != IMAGE_DATA:
            properties[name] = (attribute.text or "").strip()
    return properties


def _slide(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of the whole-slide image among the scanned images."""
    images = properties.get(IMAGES)
    found = [] if not isinstance(images, list) else images
    return next((image for image in found if image.get(IMAGE_TYPE) == "WSI"), {})


def _spacing(properties: dict[str, Any]) -> tuple[float, float] | None:
    """Return µm a pixel along x and y."""
    try:
        row, column = (float(mm) for mm in properties[SPACING].replace('"', " ").split())
    except (KeyError, ValueError, AttributeError):
        return None
    return (column * 1000, row * 1000) if 0 < row < 1 and 0 < column < 1 else None


def _levels(
    pages: Sequence[TiffPage], spacings: Sequence[tuple[float, float] | None]
) -> list[LevelDraft]:
    """Cut from each level but the first what its spacing says is padding."""
    levels = [LevelDraft(pages[:1])]
    base = pages[0]
    known = [*spacings, *[None] * len(pages)]
    for page, spacing in zip(pages[1:], known[1:], strict=False):
        if known[0] is None or spacing is None:
            levels.append(LevelDraft([page]))
            continue
        x, y = (max(1.0, float(round(s / s0))) for s, s0 in zip(spacing, known[0], strict=True))
        width = min(int(page.imagewidth), max(1, int(base.imagewidth // x)))
        height = min(int(page.imagelength), max(1, int(base.imagelength // y)))
        levels.append(LevelDraft([page], width=width, height=height, downsample=(x, y)))
    return levels


def _associated(pages: Sequence[TiffPage]) -> dict[str, Page]:
    named = ((_name(page), page) for page in reversed(pages))
    return {name: page for name, page in named if name is not None}


def _name(page: TiffPage) -> str | None:
    """Return what an associated image's page shows."""
    description = str(page.description)
    return next((n for n in ("label", "macro") if description.startswith(n.title())), None)


def _embedded(page: TiffPage, root: ET.Element) -> dict[str, EmbeddedJpeg]:
    """Return label and macro as they stand in the XML."""
    embedded: dict[str, EmbeddedJpeg] = {}
    for image in root.iterfind(f"Attribute[@Name='{IMAGES}']/Array/DataObject"):
        name = ASSOCIATED_TYPES.get(image.findtext(f"Attribute[@Name='{IMAGE_TYPE}']", ""))
        text = image.findtext(f"Attribute[@Name='{IMAGE_DATA}']", "")
        picture = find_embedded_jpeg(page, text) if name and text else None
        if name and picture:
            embedded[name] = picture
    return embedded
