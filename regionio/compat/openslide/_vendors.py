"""What vendors say of a slide, under OpenSlide's names.

Source: openslide.org/formats.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from regionio._image import Image
from regionio.compat.openslide._dicom import dicom_properties

__all__ = ["vendor_of", "vendor_properties"]

Pairs = Iterator[tuple[str, Any]]

VENDORS = dict.fromkeys(("tiff", "ome-tiff", "akoya", "imagej", "written"), "generic-tiff")
"""OpenSlide's names of formats, where they are not regionio's."""

OBJECTIVE_KEYS = {
    "aperio": "AppMag",
    "hamamatsu": "SourceLens",
    "leica": "objective",
    "trestle": "Objective Power",
    "ventana": "Magnification",
}
BARCODE_KEYS = {"leica": "barcode", "philips": "PIM_DP_UFS_BARCODE"}
BACKGROUND_KEYS = {"trestle": "Background Color"}
HAMAMATSU_KEYS = {
    "SlideLabel": "Reference",
    "Magnification": "SourceLens",
    "XOffsetFromSlideCenter": "XOffsetFromSlideCentre",
    "YOffsetFromSlideCenter": "YOffsetFromSlideCentre",
    "ZOffsetFromSlideCenter": "ZOffsetFromSlideCentre",
}
"""tifffile's names of NDPI tags → OpenSlide's."""


def vendor_of(image: Image) -> str:
    """Return OpenSlide's name of the format."""
    return VENDORS.get(image.format, image.format)


def vendor_properties(image: Image) -> dict[str, str]:
    """Return what only the vendor's part of the metadata says.

    Parameters
    ----------
    image
        The slide.

    Returns
    -------
    dict
        Properties that begin with the vendor's name, and those of OpenSlide that follow from
        them: objective power, barcode, background colour; of DICOM also pixel size and quickhash.
    """
    vendor = vendor_of(image)
    if vendor == "dicom":
        return dicom_properties(image)
    metadata = image.metadata.get(vendor)
    if metadata is None:
        return {}
    if vendor == "leica":
        pairs = _leica(metadata, image.scenes[0].name)
    else:
        reader: Callable[[Mapping[str, Any]], Pairs] = READERS.get(vendor, _flat)
        pairs = reader(metadata)
    own = {key: _text(value) for key, value in pairs}
    properties = {f"{vendor}.{key}": value for key, value in own.items()}
    for name, keys in (
        ("openslide.objective-power", OBJECTIVE_KEYS),
        ("openslide.barcode", BARCODE_KEYS),
        ("openslide.background-color", BACKGROUND_KEYS),
    ):
        value = own.get(keys.get(vendor, ""))
        if value:
            properties[name] = value
    if vendor == "philips" and "openslide.barcode" in properties:
        properties["openslide.barcode"] = _decoded(properties["openslide.barcode"])
    return properties


def _flat(value: Any, name: str = "") -> Pairs:
    """Yield the single values of nested metadata as ``outer[2].inner``."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _flat(item, f"{name}[{number}]")
    elif isinstance(value, str | int | float):
        yield name, value


def _aperio(metadata: Mapping[str, Any]) -> Pairs:
    return ((key, value) for key, value in _flat(metadata) if key != "Header")


def _ventana(metadata: Mapping[str, Any]) -> Pairs:
    return ((key, value) for key, value in _flat(metadata) if not key.startswith("AOIs["))


def _hamamatsu(metadata: Mapping[str, Any]) -> Pairs:
    return ((HAMAMATSU_KEYS.get(key, key), value) for key, value in _flat(metadata))


def _philips(metadata: Mapping[str, Any]) -> Pairs:
    """Yield what stands at the top and what stands in the scan, leaving out its other images."""
    for key, value in metadata.items():
        if key != "PIM_DP_SCANNED_IMAGES":
            yield from _flat(value, key)
    for scanned in metadata.get("PIM_DP_SCANNED_IMAGES", []):
        if scanned.get("PIM_DP_IMAGE_TYPE") == "WSI":
            yield from _flat(scanned)


def _leica(metadata: Mapping[str, Any], name: str) -> Pairs:
    """Yield the settings with which the image of some name was scanned."""
    if "barcode" in metadata:
        yield "barcode", _decoded(metadata["barcode"])
    images = metadata["image"] if isinstance(metadata["image"], list) else [metadata["image"]]
    scan = next(image for image in images if image.get("name", "") == name)
    settings = scan.get("scanSettings", {})
    illumination = settings.get("illuminationSettings", {})
    device = scan.get("device", {})
    values = {
        "aperture": illumination.get("numericalAperture"),
        "creation-date": scan.get("creationDate"),
        "device-model": device.get("model"),
        "device-version": device.get("version"),
        "illumination-source": illumination.get("illuminationSource"),
        "objective": settings.get("objectiveSettings", {}).get("objective"),
    }
    yield from ((key, value) for key, value in values.items() if value is not None)


READERS: dict[str, Callable[[Mapping[str, Any]], Pairs]] = {
    "aperio": _aperio,
    "hamamatsu": _hamamatsu,
    "philips": _philips,
    "ventana": _ventana,
}


def _decoded(barcode: str) -> str:
    """Return a barcode that is written in base64; one that is not stays as it is."""
    try:
        return base64.b64decode(barcode, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return barcode


def _text(value: str | float) -> str:
    return f"{value:.17g}" if isinstance(value, float) else str(value)
