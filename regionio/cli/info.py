"""``regionio info``: what a file holds."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from regionio import Image
from regionio.cli import options
from regionio.cli.opening import opened

__all__ = ["info"]

UNITS = {"micrometer": "µm", "millimeter": "mm"}


def info(file: options.File, *, as_json: options.AsJson = False, scene: options.Scene = 0) -> None:
    """Show what a slide holds, without reading pixels: size, levels, spacing, label and macro."""
    with opened(file, scene) as image:
        facts = _facts(image, scene)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _print(facts)


def _facts(image: Image, scene: int) -> dict[str, Any]:
    """Return what is told of an image, as plain types."""
    axes = [axis for axis in "XYZ" if axis in image.dims]
    spacing = {axis: image.spacing(axis)[0] for axis in axes}
    units = [unit for unit in image.spacing_units() if unit is not None]
    return {
        "path": image.path,
        "format": image.format,
        "dims": image.dims,
        "shape": list(image.shape),
        "dtype": str(image.dtype),
        "is_volume": image.is_volume,
        "spacing": spacing,
        "spacing_unit": units[0] if units else None,
        "channel_names": list(image.channel_names),
        "icc_profile": image.icc_profile is not None,
        "scene": scene,
        "scenes": [
            {
                "name": other.name,
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
    }


def _associated(image: Image, name: str) -> dict[str, Any]:
    with image.associated_image(name) as picture:
        width, height = picture.size("XY")
        return {
            "width": width,
            "height": height,
            "channel_names": list(picture.channel_names),
            "dtype": str(picture.dtype),
        }


def _print(facts: dict[str, Any]) -> None:
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
    for name, value in rows.items():
        lines.add_row(name, Text(value))
    console.print(lines, "")
    if len(facts["scenes"]) > 1:
        console.print(_scene_table(facts), "")
    console.print(_level_table(facts["levels"]))


def _spacing(facts: dict[str, Any]) -> str:
    known = {axis: value for axis, value in facts["spacing"].items() if value is not None}
    unit = UNITS.get(facts["spacing_unit"], facts["spacing_unit"])
    return ", ".join(f"{axis} {value:.6g} {unit}" for axis, value in known.items()) or "not known"


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
