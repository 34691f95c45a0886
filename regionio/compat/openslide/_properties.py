"""A slide's properties: what regionio knows of it, under OpenSlide's names.

Source: openslide.org/properties, openslide.org/formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from regionio._image import Image

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
    "vendor_of",
]

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

VENDORS = {"tiff": "generic-tiff", "ome-tiff": "generic-tiff"}
"""OpenSlide's names of formats, where they are not regionio's."""

OBJECTIVE_KEYS = {"aperio": "AppMag"}
"""Vendor → where its metadata has the objective's magnification."""

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


def vendor_of(image: Image) -> str:
    """Return OpenSlide's name of the format."""
    return VENDORS.get(image.format, image.format)


def slide_properties(image: Image) -> dict[str, str]:
    """Return all properties, by name in alphabetical order.

    Parameters
    ----------
    image
        The slide.
    """
    return dict(sorted((*_general(image), *_levels(image), *_tiff(image), *_vendor(image))))


def _general(image: Image) -> Iterator[tuple[str, str]]:
    vendor = vendor_of(image)
    yield PROPERTY_NAME_VENDOR, vendor
    if image.raw_metadata:
        yield PROPERTY_NAME_COMMENT, image.raw_metadata
    for axis, name in (("X", PROPERTY_NAME_MPP_X), ("Y", PROPERTY_NAME_MPP_Y)):
        [spacing] = image.spacing(axis)
        if spacing is not None and image.spacing_units(axis) == ("micrometer",):
            yield name, _number(spacing)
    power = image.metadata.get(vendor, {}).get(OBJECTIVE_KEYS.get(vendor))
    if power is not None:
        yield PROPERTY_NAME_OBJECTIVE_POWER, str(power)
    if image.icc_profile is not None:
        yield "openslide.icc-size", str(len(image.icc_profile))
    for name in image.associated_images:
        with image.associated_image(name) as associated:
            width, height = associated.size("XY")
        yield f"openslide.associated.{name}.width", str(width)
        yield f"openslide.associated.{name}.height", str(height)


def _levels(image: Image) -> Iterator[tuple[str, str]]:
    yield "openslide.level-count", str(image.level_count)
    for number, level in enumerate(image.levels):
        prefix = f"openslide.level[{number}]"
        yield f"{prefix}.width", str(level.width)
        yield f"{prefix}.height", str(level.height)
        yield f"{prefix}.downsample", _number(sum(level.downsample) / 2)
        yield f"{prefix}.tile-width", str(level.tile_size[0])
        yield f"{prefix}.tile-height", str(level.tile_size[1])


def _tiff(image: Image) -> Iterator[tuple[str, str]]:
    tags: Mapping[str, Any] | None = image.metadata.get("tiff")
    if tags is None:
        return
    for name in TIFF_TEXTS:
        if tags.get(name):
            yield f"tiff.{name}", str(tags[name])
    for name in TIFF_NUMBERS:
        match tags.get(name):
            case [int(numerator), int(denominator)] if denominator != 0:
                yield f"tiff.{name}", _number(numerator / denominator)
    unit = tags.get("ResolutionUnit", INCH)
    yield "tiff.ResolutionUnit", RESOLUTION_UNITS.get(unit, "unknown")


def _vendor(image: Image) -> Iterator[tuple[str, str]]:
    vendor = vendor_of(image)
    for key, value in image.metadata.get(vendor, {}).items():
        if isinstance(value, str | int | float) and key != "Header":
            yield f"{vendor}.{key}", str(value)


def _number(value: float) -> str:
    """Return a number with all its digits, as OpenSlide prints it."""
    return f"{value:.17g}"
