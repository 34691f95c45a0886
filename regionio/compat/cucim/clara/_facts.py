"""What an image or region says of itself, in cuCIM's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from regionio._image import Image
from regionio.compat.cucim.clara._dtype import DLDataType

__all__ = ["DIRECTION", "ORIGIN", "Facts", "facts_of_image"]

ORIGIN = (0.0, 0.0, 0.0)
DIRECTION = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
INCH, CENTIMETER = 2, 3
RESOLUTION_UNITS: dict[Any, str] = {INCH: "inch", CENTIMETER: "centimeter"}
AXIS_UNITS = {"C": "color", "N": "batch"}


@dataclass(frozen=True)
class Facts:
    """What is known of an image or region without its pixels.

    Parameters
    ----------
    path
        Of the file, as the caller gave it.
    dims
        Letters of its axes.
    shape
        Size along each.
    dtype
        Of the pixels.
    channel_names
        One a channel.
    spacing
        Axis letter → distance of neighbouring pixels, where it is known.
    spacing_unit
        Of `spacing`.
    resolutions
        As `CuImage.resolutions`.
    associated
        Names of associated images.
    raw_metadata
        ImageDescription.
    formats
        Name of a format → what the file says in it.
    origin, direction
        Where the first pixel lies and the axes run in the patient, where that is known.
    """

    path: str
    dims: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channel_names: tuple[str, ...]
    spacing: Mapping[str, float]
    spacing_unit: str
    resolutions: Mapping[str, Any]
    associated: tuple[str, ...] = ()
    raw_metadata: str = ""
    formats: Mapping[str, Any] = field(default_factory=dict)
    origin: Sequence[float] = ORIGIN
    direction: Sequence[Sequence[float]] = DIRECTION

    def sizes(self, dims: str) -> list[int]:
        """Return the sizes along some axes; those that are not there are left out."""
        known = dict(zip(self.dims, self.shape, strict=True))
        return [known[axis] for axis in dims or self.dims if axis in known]

    def spacings(self, dims: str) -> list[float]:
        """Return the spacings along some axes; 1.0 where there is none."""
        return [self.spacing.get(axis, 1.0) for axis in dims or self.dims]

    def units(self, dims: str) -> list[str]:
        """Return the units of `spacings`."""
        units = {**dict.fromkeys(self.spacing, self.spacing_unit), **AXIS_UNITS}
        return [units.get(axis, "") if axis in self.dims else "" for axis in dims or self.dims]

    def of_channels(self, channels: Sequence[int] | None) -> Facts:
        """Return the same of some channels only; None is all."""
        if channels is None:
            return self
        return replace(self, channel_names=tuple(self.channel_names[c] for c in channels))

    def of_pixels(
        self, dims: str, shape: tuple[int, ...], spacing: Mapping[str, float] | None = None
    ) -> Facts:
        """Return what is known of pixels of this image.

        Parameters
        ----------
        dims, shape
            Axes and sizes.
        spacing
            Of these pixels; None is that of this image.
        """
        *_, height, width, _ = shape
        size = (width, height)
        return replace(
            self,
            dims=dims,
            shape=shape,
            spacing=self.spacing if spacing is None else _known(spacing),
            resolutions={
                "level_count": 1,
                "level_dimensions": (size,),
                "level_downsamples": (1.0,),
                "level_tile_sizes": (size,),
            },
            associated=(),
            raw_metadata="",
            formats={},
            origin=ORIGIN,
            direction=DIRECTION,
        )

    def metadata(self) -> dict[str, Any]:
        """Return all of it, made of plain types: ``"cucim"``, and one entry a format."""
        dtype = DLDataType.of(self.dtype)
        cucim = {
            "path": self.path,
            "ndim": len(self.dims),
            "dims": self.dims,
            "shape": list(self.shape),
            "dtype": {"code": int(dtype.code), "bits": dtype.bits, "lanes": dtype.lanes},
            "typestr": self.dtype.str,
            "channel_names": list(self.channel_names),
            "spacing": self.spacings(""),
            "spacing_units": self.units(""),
            "origin": list(self.origin),
            "direction": [list(row) for row in self.direction],
            "coord_sys": "LPS",
            "resolutions": {key: _listed(value) for key, value in self.resolutions.items()},
            "associated_images": list(self.associated),
        }
        return {"cucim": cucim, **self.formats}


def facts_of_image(image: Image, path: str) -> Facts:
    """Return what is known of an image file.

    Parameters
    ----------
    image
        The image.
    path
        As the caller gave it.
    """
    metadata = image.metadata
    tiff = metadata.pop("tiff", None)
    others = _plain(metadata)
    origin, direction = image.origin, image.direction
    return Facts(
        path=path,
        dims="YXC",
        shape=image.size("YXC"),
        dtype=image.dtype,
        channel_names=image.channel_names,
        spacing=_known(dict(zip("YX", image.spacing("YX"), strict=True))),
        spacing_unit=image.spacing_units("X")[0] or "",
        resolutions=image.resolutions,
        associated=image.associated_images,
        raw_metadata=image.raw_metadata,
        formats=others if tiff is None else {"tiff": _tiff(tiff), **others},
        origin=ORIGIN if origin is None else origin.tolist(),
        direction=DIRECTION if direction is None else direction.tolist(),
    )


def _tiff(tags: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": str(tags.get("Model", "")),
        "software": str(tags.get("Software", "")),
        "resolution_unit": RESOLUTION_UNITS.get(tags.get("ResolutionUnit"), ""),
        "x_resolution": _resolution(tags.get("XResolution")),
        "y_resolution": _resolution(tags.get("YResolution")),
    }


def _plain(value: Any) -> Any:
    """Return metadata as JSON could hold it: bytes as hexadecimal digits."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _resolution(value: Any) -> float:
    """Return a resolution tag as a number; 1.0 where there is none."""
    match value:
        case [int(numerator), int(denominator)] if denominator != 0:
            return numerator / denominator
    return 1.0


def _known(spacing: Mapping[str, float | None]) -> dict[str, float]:
    """Return the spacings in the plane that are known."""
    return {axis: value for axis in "YX" if (value := spacing.get(axis)) is not None}


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value
