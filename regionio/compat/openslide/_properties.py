"""A slide's properties: what regionio knows of it, under OpenSlide's names.

Source: openslide.org/properties, openslide.org/formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from regionio._image import Image
from regionio.compat.openslide._canvas import Canvas
from regionio.compat.openslide._vendors import vendor_of, vendor_properties

__all__ = [
    "PROPERTY_NAME_BACKGROUND_COLOR",
    "PROPERTY_NAME_BARCODE",
    "PROPERTY_NAME_BOUNDS_HEIGHT",
    "PROPERTY_NAME_BOUNDS_WIDTH",
    "PROPERTY_NAME_BOUNDS_X",
    "PROPERTY_NAME_BOUNDS_Y",
    "PROPERTY_NAME_COMMENT",
    "PROPERTY_NAME_MPP_X",
    "PROPERTY_NAME_MPP_Y",
    "PROPERTY_NAME_OBJECTIVE_POWER",
    "PROPERTY_NAME_QUICKHASH1",
    "PROPERTY_NAME_VENDOR",
    "slide_properties",
]

Pairs: TypeAlias = Iterator[tuple[str, str]]

PROPERTY_NAME_BACKGROUND_COLOR = "openslide.background-color"
PROPERTY_NAME_BARCODE = "openslide.barcode"
PROPERTY_NAME_BOUNDS_HEIGHT = "openslide.bounds-height"
PROPERTY_NAME_BOUNDS_WIDTH = "openslide.bounds-width"
PROPERTY_NAME_BOUNDS_X = "openslide.bounds-x"
PROPERTY_NAME_BOUNDS_Y = "openslide.bounds-y"
PROPERTY_NAME_COMMENT = "openslide.comment"
PROPERTY_NAME_MPP_X = "openslide.mpp-x"
PROPERTY_NAME_MPP_Y = "openslide.mpp-y"
PROPERTY_NAME_OBJECTIVE_POWER = "openslide.objective-power"
PROPERTY_NAME_QUICKHASH1 = "openslide.quickhash-1"
PROPERTY_NAME_VENDOR = "openslide.vendor"

NO_COMMENT = {"leica", "philips", "ventana"}
"""Vendors whose first ImageDescription is no comment: XML, or that of an associated image."""

TIFF_TEXTS = (
    "Artist",
    "Copyright",
    "DateTime",
    "DocumentName",
    "HostComputer",
    "ImageDescription",
    "Make",
    "Model",
    "Software",
)
TIFF_NUMBERS = ("XPosition", "XResolution", "YPosition", "YResolution")
RESOLUTION_UNITS = {1: "none", 2: "inch", 3: "centimeter"}
INCH = 2
"""Unit of resolutions where the file gives none (TIFF 6.0)."""


def slide_properties(canvas: Canvas) -> dict[str, str]:
    """Return all properties, by name in alphabetical order.

    Parameters
    ----------
    canvas
        The slide.
    """
    image = canvas.image
    properties = dict((*_general(image), *_levels(canvas), *_areas(canvas), *_tiff(image)))
    return dict(sorted({**properties, **vendor_properties(image)}.items()))


def _general(image: Image) -> Pairs:
    vendor = vendor_of(image)
    yield PROPERTY_NAME_VENDOR, vendor
    if image.raw_metadata and vendor not in NO_COMMENT:
        yield PROPERTY_NAME_COMMENT, image.raw_metadata
    for axis, name in (("X", PROPERTY_NAME_MPP_X), ("Y", PROPERTY_NAME_MPP_Y)):
        [spacing] = image.spacing(axis)
        if spacing is not None and image.spacing_units(axis) == ("micrometer",):
            yield name, _number(spacing)
    if image.icc_profile is not None:
        yield "openslide.icc-size", str(len(image.icc_profile))
    for name in image.associated_images:
        with image.associated_image(name) as associated:
            width, height = associated.size("XY")
            profile = associated.icc_profile
        yield f"openslide.associated.{name}.width", str(width)
        yield f"openslide.associated.{name}.height", str(height)
        if profile is not None:
            yield f"openslide.associated.{name}.icc-size", str(len(profile))


def _levels(canvas: Canvas) -> Pairs:
    yield "openslide.level-count", str(len(canvas.level_dimensions))
    for number, (width, height) in enumerate(canvas.level_dimensions):
        prefix = f"openslide.level[{number}]"
        yield f"{prefix}.width", str(width)
        yield f"{prefix}.height", str(height)
        yield f"{prefix}.downsample", _number(canvas.level_downsamples[number])
        if canvas.is_one_image:
            tile_width, tile_height = canvas.image.levels[number].tile_size
            yield f"{prefix}.tile-width", str(tile_width)
            yield f"{prefix}.tile-height", str(tile_height)


def _areas(canvas: Canvas) -> Pairs:
    """Yield where on the canvas something was scanned."""
    if canvas.is_one_image:
        return
    boxes = [area.box for area in canvas.areas]
    for number, box in enumerate(boxes):
        for name, value in zip(("x", "y", "width", "height"), box, strict=True):
            yield f"openslide.region[{number}].{name}", str(value)
    left, top = (min(box[axis] for box in boxes) for axis in (0, 1))
    right, bottom = (max(box[axis] + box[axis + 2] for box in boxes) for axis in (0, 1))
    yield PROPERTY_NAME_BOUNDS_X, str(left)
    yield PROPERTY_NAME_BOUNDS_Y, str(top)
    yield PROPERTY_NAME_BOUNDS_WIDTH, str(right - left)
    yield PROPERTY_NAME_BOUNDS_HEIGHT, str(bottom - top)


def _tiff(image: Image) -> Pairs:
    tags: Mapping[str, Any] | None = image.metadata.get("tiff")
    if tags is None:
        return
    for name in TIFF_TEXTS:
        is_comment = name != "ImageDescription" or vendor_of(image) not in NO_COMMENT
        if tags.get(name) and is_comment:
            yield f"tiff.{name}", str(tags[name])
    for name in TIFF_NUMBERS:
        match tags.get(name):
            case [int(numerator), int(denominator)] if denominator != 0:
                yield f"tiff.{name}", _number(numerator / denominator)
    unit = tags.get("ResolutionUnit", INCH)
    yield "tiff.ResolutionUnit", RESOLUTION_UNITS.get(unit, "unknown")


def _number(value: float) -> str:
    """Return a number with all its digits, as OpenSlide prints it."""
    return f"{value:.17g}"
