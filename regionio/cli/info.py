"""``regionio info``: what a file holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from regionio import Image
from regionio.cli import options
from regionio.cli.dicom_rows import dicom_rows
from regionio.cli.opening import opened
from regionio.formats.dicom.metadata import HIDDEN, hidden

__all__ = ["info"]

UNITS = {"micrometer": "µm", "millimeter": "mm"}


def info(
    file: options.File,
    *,
    as_json: options.AsJson = False,
    scene: options.Scene = "0",
    phi: Annotated[
        bool,
        typer.Option(
            "--phi",
            help="Of DICOM, also show what may tell who the patient is; and all metadata. "
            "Messages on stderr name files all the same.",
        ),
    ] = False,
    index_folder: options.IndexFolder = None,
) -> None:
    """Show what a slide or volume holds, without reading pixels: size, levels, spacing, label.

    Of DICOM it says kind, side and view, syntax, windows and frames; what may tell who the patient
    is, names, dates, UIDs and paths, is hidden, in the JSON's metadata too. Of other formats nobody
    knows what in their metadata might: it is in the JSON with --phi only.
    """
    with opened(file, scene, index_folder) as image:
        facts = _facts(image, phi=phi)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _print(facts, phi=phi)


def _facts(image: Image, *, phi: bool) -> dict[str, Any]:
    """Return what is told of an image, as plain types."""
    axes = [axis for axis in "XYZ" if axis in image.dims]
    spacing = {axis: image.spacing(axis)[0] for axis in axes}
    units = [unit for unit in image.spacing_units() if unit is not None]
    hide = image.format == "dicom" and not phi
    origin, direction, frames = image.origin, image.direction, image.frame_indices
    return {
        "path": HIDDEN if hide else image.path,
        "format": image.format,
        "dims": image.dims,
        "shape": list(image.shape),
        "dtype": str(image.dtype),
        "is_volume": image.is_volume,
        "spacing": spacing,
        "spacing_unit": units[0] if units else None,
        "channel_names": list(image.channel_names),
        "icc_profile": image.icc_profile is not None,
        "scene": image.scene,
        "scenes": [
            {
                "name": HIDDEN if hide else other.name,
                "dims": other.dims,
                "shape": list(other.shape),
                "offset": None if other.offset is None else list(other.offset),
            }
            for other in image.scenes
        ],
        "levels": [
            {
                "width": level.width,
                "height": level.height,
                "downsample": list(level.downsample),
                "tile_size": list(level.tile_size),
                "tiles": level.tiles,
                "compression": level.compression,
                "nbytes": level.nbytes,
            }
            for level in image.levels
        ],
        "associated_images": {name: _associated(image, name) for name in image.associated_images},
        "files": len(image.files),
        "frame_indices": None if frames is None else frames.tolist(),
        "origin": None if origin is None else origin.tolist(),
        "direction": None if direction is None else direction.tolist(),
        "metadata": _metadata(image, phi=phi),
    }


def _metadata(image: Image, *, phi: bool) -> Any:
    """Return what the file says as JSON can hold it, None where it might tell who the patient is."""
    if image.format == "dicom" and not phi:
        return _plain(hidden(image.metadata))
    return _plain(image.metadata) if phi else None


def _plain(value: Any) -> Any:
    """Return bytes as hexadecimal digits, and as text what JSON has no numbers for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, str | bool | int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def _associated(image: Image, name: str) -> dict[str, Any]:
    with image.associated_image(name) as picture:
        width, height = picture.size("XY")
        return {
            "width": width,
            "height": height,
            "channel_names": list(picture.channel_names),
            "dtype": str(picture.dtype),
        }


def _print(facts: dict[str, Any], *, phi: bool) -> None:
    console = Console(highlight=False)
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column(overflow="fold")
    sizes = " × ".join(f"{size:,}" for size in facts["shape"])
    rows = {
        "File": facts["path"],
        "Format": facts["format"],
        "Shape": f"{sizes}  ({facts['dims']})",
        "Type": facts["dtype"],
        "Spacing": _spacing(facts),
        "Channels": _channels(facts["channel_names"]),
        "ICC profile": "yes" if facts["icc_profile"] else "no",
        "Associated": _associated_line(facts["associated_images"]),
    }
    if facts["format"] == "dicom":
        rows |= {"Frames": _frames(facts), "Origin": _origin(facts)}
        rows |= dicom_rows(facts["metadata"], phi=phi)
    for name, value in rows.items():
        if value:
            lines.add_row(name, Text(value))
    console.print(lines, "")
    if len(facts["scenes"]) > 1:
        console.print(_scene_table(facts), "")
    console.print(_level_table(facts["levels"]))


def _spacing(facts: dict[str, Any]) -> str:
    known = {axis: value for axis, value in facts["spacing"].items() if value is not None}
    unit = UNITS.get(facts["spacing_unit"], facts["spacing_unit"])
    parts = [f"{axis} {value:.6g} {unit}" for axis, value in known.items()]
    if parts and facts["format"] == "dicom" and "Z" in facts["dims"] and "Z" not in known:
        parts.append("Z not known, or not even")
    return ", ".join(parts) or "not known"


def _frames(facts: dict[str, Any]) -> str:
    """Return how many frames there are, and whether in their stored order."""
    files = "1 file" if facts["files"] == 1 else f"{facts['files']:,} files"
    if facts["frame_indices"] is None:
        return f"tiles, in {files}"
    numbers = np.ravel(facts["frame_indices"])
    if len(numbers) == 1:
        return f"1, in {files}"
    in_space = bool((np.diff(numbers) != 1).any()) or facts["spacing"].get("Z") is not None
    return f"{len(numbers):,}, in {files}, {'ordered in space' if in_space else 'as stored'}"


def _origin(facts: dict[str, Any]) -> str:
    """Return where the first pixel lies in the patient."""
    if facts["origin"] is None:
        return ""
    x, y, z = facts["origin"]
    return f"x {x:.6g}, y {y:.6g}, z {z:.6g} mm in the patient"


def _channels(names: list[str]) -> str:
    numbered = names == [str(number) for number in range(len(names))]
    return str(len(names)) if numbered else f"{len(names)}  ({', '.join(names)})"


def _associated_line(associated: dict[str, Any]) -> str:
    parts = [f"{name} {_size(picture)}" for name, picture in associated.items()]
    return ", ".join(parts) or "none"


def _scene_table(facts: dict[str, Any]) -> Table:
    table = _table("Scenes", ["", "Scene", "Name", "Shape", "Axes", "Origin (x, y)"])
    for number, scene in enumerate(facts["scenes"]):
        origin = "" if scene["offset"] is None else ", ".join(map(str, scene["offset"]))
        shape = " × ".join(f"{size:,}" for size in scene["shape"])
        here = "*" if number == facts["scene"] else ""
        table.add_row(here, str(number), Text(scene["name"]), shape, scene["dims"], origin)
    return table


def _level_table(levels: list[dict[str, Any]]) -> Table:
    names = ["Level", "Size", "Downsample", "Tile", "Tiles", "Codec", "Compressed"]
    table = _table("Levels", names)
    for number, level in enumerate(levels):
        x, y = (f"{factor:.6g}" for factor in level["downsample"])
        tile = "{} × {}".format(*level["tile_size"])
        table.add_row(
            str(number),
            _size(level),
            x if x == y else f"{x}, {y}",
            tile,
            f"{level['tiles']:,}",
            level["compression"],
            decimal(level["nbytes"]),
        )
    return table


def _table(title: str, columns: list[str]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for name in columns:
        words = name in {"Codec", "Name", "Axes"}
        table.add_column(name, justify="left" if words else "right", no_wrap=name != "Name")
    return table


def _size(sizes: dict[str, Any]) -> str:
    return f"{sizes['width']:,} × {sizes['height']:,}"
