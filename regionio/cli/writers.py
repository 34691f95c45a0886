"""Regions as TIFF, NPY and PNG files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import typer
from numpy.typing import NDArray
from tifffile import TiffWriter

import regionio
from regionio.cli.bands import ROW_STEP, Bands
from regionio.cli.progress import Advance
from regionio.formats.tiff.vendors.written import KEY

__all__ = ["WRITERS", "Writer", "write_npy", "write_png", "write_tiff"]

TILE = ROW_STEP
CLASSIC_TIFF_BYTES = 2**32 - 2**25
MOST_PNG_BYTES = 2**29
MILLIMETERS = {"micrometer": 1e-3, "millimeter": 1.0}

Writer = Callable[[Path, Bands, bytes | None, Advance], None]


def write_tiff(path: Path, bands: Bands, icc_profile: bytes | None, advance: Advance) -> None:
    """Write a tiled TIFF, losslessly compressed, with spacing and ICC profile; slices are pages.

    Parameters
    ----------
    path
        Where to write.
    bands
        The region. One band of it is held at a time.
    icc_profile
        Of its colours.
    advance
        Is told of rows that are done.
    """
    dtype = np.dtype(np.uint8) if bands.dtype == np.bool_ else bands.dtype
    with TiffWriter(path, bigtiff=bands.nbytes > CLASSIC_TIFF_BYTES) as tiff:
        tiff.write(
            _tiles(bands, advance),
            shape=bands.shape,
            dtype=dtype,
            tile=(TILE, TILE),
            compression="adobe_deflate",
            predictor=dtype.kind in "iuf",
            iccprofile=icc_profile,
            software=f"regionio {regionio.__version__}",
            metadata=None,
            description=_description(bands),
            **_colours(bands.channel_names, len(bands.plane_shape)),
            **_resolution(bands),
        )


def write_npy(path: Path, bands: Bands, icc_profile: bytes | None, advance: Advance) -> None:  # noqa: ARG001
    """Write a NumPy array file. One band is held at a time. Parameters as in `write_tiff`."""
    header = {
        "descr": np.lib.format.dtype_to_descr(bands.dtype),
        "fortran_order": False,
        "shape": bands.shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in bands.parts:
            file.write(np.ascontiguousarray(part).data)
            advance(len(part))


def write_png(path: Path, bands: Bands, icc_profile: bytes | None, advance: Advance) -> None:  # noqa: ARG001
    """Write a PNG of 8 or 16 bits, pixels as they are. Parameters as in `write_tiff`.

    Raises
    ------
    typer.BadParameter
        PNG can't hold such pixels, or they are too many to be held in memory.
    """
    if bands.depth is not None:
        msg = "PNG holds one slice; leave out --depth, or write .tif or .npy"
        raise typer.BadParameter(msg)
    names = bands.channel_names
    colour = names in {("R", "G", "B"), ("R", "G", "B", "A")}
    if bands.dtype not in {np.dtype(bool), np.dtype(np.uint8), np.dtype(np.uint16)}:
        msg = f"PNG holds no {bands.dtype} pixels; write .tif or .npy"
        raise typer.BadParameter(msg)
    if len(names) > 1 and not colour:
        msg = f"PNG holds gray, RGB or RGBA, not {', '.join(names)}; choose one with --channel, "
        msg += "or write .tif or .npy"
        raise typer.BadParameter(msg)
    if bands.nbytes > MOST_PNG_BYTES:
        height, width = bands.shape[:2]
        msg = f"{width} × {height} pixels are {bands.nbytes / 1e6:,.0f} MB, more than the "
        msg += f"{MOST_PNG_BYTES / 1e6:,.0f} MB that are held for a PNG; write .tif or .npy, "
        msg += "or a smaller --level or --size"
        raise typer.BadParameter(msg)
    pixels = np.empty(bands.shape, np.uint8 if bands.dtype == np.bool_ else bands.dtype)
    done = 0
    for part in bands.parts:
        pixels[done : done + len(part)] = _stored(part)
        done += len(part)
        advance(len(part))
    path.write_bytes(imagecodecs.png_encode(pixels))


WRITERS: Mapping[str, Writer] = {
    ".png": write_png,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".npy": write_npy,
}
"""By the file name's suffix."""


def _tiles(bands: Bands, advance: Advance) -> Iterator[NDArray[Any]]:
    """Yield tiles row by row; those at the right and lower edge are cut."""
    for part in bands.parts:
        stored = _stored(part)
        for top in range(0, len(part), TILE):
            for left in range(0, part.shape[1], TILE):
                yield stored[top : top + TILE, left : left + TILE]
        advance(len(part))


def _stored(part: NDArray[Any]) -> NDArray[Any]:
    """Return pixels as they are written: bits as black and white."""
    return part * np.uint8(255) if part.dtype == np.bool_ else part


def _colours(names: tuple[str, ...], ndim: int) -> dict[str, Any]:
    """Return the TIFF options that say what the channels are."""
    if names[:3] == ("R", "G", "B") and len(names) <= 4:
        alpha = {"extrasamples": ("unassalpha",)} if len(names) == 4 else {}
        return {"photometric": "rgb", "planarconfig": "contig", **alpha}
    if names == ("C", "M", "Y", "K"):
        return {"photometric": "separated", "planarconfig": "contig"}
    if ndim == 2:
        return {"photometric": "minisblack"}
    return {
        "photometric": "minisblack",
        "planarconfig": "contig",
        "extrasamples": ("unspecified",) * (len(names) - 1),
    }


def _description(bands: Bands) -> str | None:
    """Return what pages say of the slices that they are: the first tag has no place for z."""
    if bands.depth is None:
        return None
    axes = "ZYXC" if len(bands.plane_shape) == 3 else "ZYX"
    unit = bands.spacing_unit if bands.spacing else None
    about: dict[str, Any] = {"axes": axes, "spacing": dict(bands.spacing), "spacing_unit": unit}
    if bands.origin is not None:
        about |= {"origin": bands.origin, "direction": bands.direction}
    return json.dumps({KEY: about})


def _resolution(bands: Bands) -> dict[str, Any]:
    """Return the TIFF options that give the spacing, in pixels a centimetre."""
    if not {"X", "Y"} <= set(bands.spacing):
        return {}
    unit = MILLIMETERS[bands.spacing_unit]
    per_cm = tuple(10 / (bands.spacing[axis] * unit) for axis in "XY")
    return {"resolution": per_cm, "resolutionunit": "centimeter"}
