"""Leica SCN (SCN400 scanners).

A collection is the slide; its images are areas of it. An image that covers the whole slide is the
macro, every other one a scene.

Source: openslide.org/formats/leica; the schema http://www.leica-microsystems.com/scn/2010/10/01.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

from tifffile import TiffFile, TiffPage

from regionio._errors import CorruptFileError
from regionio.formats.tiff.draft import FileDraft, LevelDraft, SceneDraft
from regionio.formats.tiff.markup import as_plain, parse_xml
from regionio.formats.tiff.vendors.generic import pages_of

__all__ = ["describe", "recognises"]


def recognises(tiff: TiffFile) -> bool:
    """Return whether the first page's description is Leica's XML."""
    return str(tiff.pages.first.description).rstrip("\0 \t\r\n").endswith("</scn>")


def describe(tiff: TiffFile) -> FileDraft:
    """Read scenes and macro from the XML, which gives the page of each of their planes."""
    path = tiff.filehandle.path
    pages = [page for page in pages_of(tiff) if not page.is_subifd]
    collection = parse_xml(str(pages[0].description), path).find("collection")
    images = [] if collection is None else collection.findall("image")
    if collection is None or not images:
        msg = f"{path!r}: Leica's XML lists no images"
        raise CorruptFileError(msg)
    drafts = {image: _scene(image, pages, path) for image in images}
    macro = _macro(collection, images)
    scenes = [scene for image, scene in drafts.items() if image is not macro]
    if macro is not None:
        page = drafts[macro].levels[0].pages[0]
        for scene in scenes:
            scene.associated = {} if page is None else {"macro": page}
    return FileDraft("leica", scenes, {"leica": as_plain(collection)}, white_background=True)


def _macro(collection: ET.Element, images: Sequence[ET.Element]) -> ET.Element | None:
    """Return the image of the whole slide: the coarsest that covers it, if there are others."""
    slide = (0.0, 0.0, _number(collection, "sizeX"), _number(collection, "sizeY"))
    covering = [image for image in images if _view(image) == slide]
    if not covering or len(images) == 1:
        return None
    return min(covering, key=lambda image: _number(_child(image, "pixels"), "sizeX"))


def _view(image: ET.Element) -> tuple[float, ...]:
    """Return x, y, width and height in nanometres."""
    view = _child(image, "view")
    return tuple(_number(view, key) for key in ("offsetX", "offsetY", "sizeX", "sizeY"))


def _scene(image: ET.Element, pages: Sequence[TiffPage], path: str) -> SceneDraft:
    levels: dict[int, dict[tuple[int, int], TiffPage]] = {}
    for dimension in image.iterfind("pixels/dimension"):
        r, c, z = (int(dimension.get(key, 0)) for key in "rcz")
        ifd = int(dimension.get("ifd", -1))
        if not 0 <= ifd < len(pages):
            msg = f"{path!r}: Leica's XML names page {ifd}, but the file has {len(pages)}"
            raise CorruptFileError(msg)
        levels.setdefault(r, {})[c, z] = pages[ifd]
    if not levels:
        msg = f"{path!r}: Leica's XML lists no pages for image {image.get('name')!r}"
        raise CorruptFileError(msg)
    planes = {plane for level in levels.values() for plane in level}
    channels, depth = (1 + max(plane[axis] for plane in planes) for axis in (0, 1))
    if channels * depth != len(planes):
        msg = (
            f"{path!r}: Leica's XML lists {len(planes)} planes of image {image.get('name')!r}, "
            f"but numbers {channels} channels and {depth} focal planes"
        )
        raise CorruptFileError(msg)
    order = [(c, z) for c in range(channels) for z in range(depth)]
    pixels = _child(image, "pixels")
    x, y, width, height = _view(image)
    columns, rows = _number(pixels, "sizeX"), _number(pixels, "sizeY")
    spacing = {"X": width / columns / 1000, "Y": height / rows / 1000}
    spacing_z = float(_child(image, "view").get("spacingZ", 0)) / 1000
    if depth > 1 and spacing_z > 0:
        spacing["Z"] = spacing_z
    return SceneDraft(
        [
            LevelDraft([levels[r].get(plane) for plane in order], (1, channels, depth))
            for r in sorted(levels)
        ],
        name=image.get("name", ""),
        spacing=spacing,
        channel_names=_channel_names(image),
        offset=(int(x * columns // width), int(y * rows // height)),
    )


def _channel_names(image: ET.Element) -> tuple[str, ...]:
    channels = image.findall("scanSettings/channelSettings/channel")
    channels.sort(key=lambda channel: int(channel.get("index", 0)))
    return tuple(channel.get("name", "") for channel in channels)


def _child(element: ET.Element, tag: str) -> Any:
    child = element.find(tag)
    if child is None:
        msg = f"Leica's XML has no {tag!r} in {element.tag!r}"
        raise ValueError(msg)
    return child


def _number(element: ET.Element, key: str) -> float:
    """Return an attribute that must be there."""
    return float(element.attrib[key])
