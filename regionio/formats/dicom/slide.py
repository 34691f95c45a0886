"""Whole slides: files of one series as the levels of a pyramid.

Source: DICOM PS3.3, A.32.8 and C.8.12.4 (whole slide microscopy), C.7.6.16.1.1 (concatenations).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from regionio._errors import UnsupportedFormatError
from regionio._index import ImageIndex, Level, SceneInfo, TileTable
from regionio._interpretation import Interpretation
from regionio.formats.dicom.background import background_of
from regionio.formats.dicom.collection import Scene
from regionio.formats.dicom.concatenation import concatenations
from regionio.formats.dicom.header import reopened
from regionio.formats.dicom.instance import SLIDE_CLASS, Instance
from regionio.formats.dicom.parts import Columns, Parts, joined
from regionio.formats.dicom.tiles import TileRun, micrometers, tile_run
from regionio.formats.pyramid import downsample_factor

__all__ = ["slide_index"]

CLOSE = 0.01
"""Share by which sizes may differ from what spacings say, if spacings are to be believed."""

ROUNDING = 1e-5
"""Share by which quotients of spacings differ from an integer because both were rounded."""


def slide_index(scene: Scene, interpretation: Interpretation) -> ImageIndex:
    """Build the index of a slide.

    Parameters
    ----------
    scene
        Its files.
    interpretation
        What the caller wants to see.
    """
    associated = {
        name: _pyramid([instance], interpretation, name)
        for name, instance in scene.associated.items()
    }
    return replace(_pyramid(scene.instances, interpretation), associated=associated)


def _pyramid(
    instances: Sequence[Instance], interpretation: Interpretation, name: str = ""
) -> ImageIndex:
    by_size: dict[tuple[int, int], list[Instance]] = {}
    for instance in sorted(instances, key=lambda i: i.matrix, reverse=True):
        by_size.setdefault(instance.matrix, []).append(instance)
    parts = Parts(interpretation)
    levels: list[Level] = []
    paths: tuple[str, ...] = ()
    focus = np.zeros(0)
    largest = next(iter(by_size.values()))[0]
    for files in by_size.values():
        level, level_paths, level_focus = _level(files, parts, largest, levels)
        levels.append(level)
        if len(levels) == 1:
            paths, focus = level_paths, level_focus
        elif len(level_paths) != len(paths):
            msg = (
                f"{files[0].path!r} has {len(level_paths)} optical paths, but the largest level of "
                f"its pyramid has {len(paths)}"
            )
            raise UnsupportedFormatError(msg)
    parts.check_alike()
    index = ImageIndex(
        format="dicom",
        sources=tuple(parts.sources),
        levels=tuple(levels),
        encodings=tuple(parts.encodings),
        channel_names=(),
        spacing=_spacing(largest, levels[0], focus),
        icc_profile=_icc_profile(largest),
        scenes=(SceneInfo(name, None, (), ""),) if name else (),
        transforms=tuple(parts.transforms),
        deflated=parts.deflated,
    )
    names = _channel_names(largest, paths, index.samples)
    return replace(index, channel_names=names, background=background_of(largest, index))


def _level(
    files: Sequence[Instance], parts: Parts, largest: Instance, larger: Sequence[Level]
) -> tuple[Level, tuple[str, ...], NDArray[np.float64]]:
    """Build one level of the files that have its size; also return its optical paths and planes."""
    first = files[0]
    if len({file.size for file in files}) > 1:
        msg = f"{first.path!r} and other files of its level have tiles of different sizes"
        raise UnsupportedFormatError(msg)
    runs = [_run(group, parts) for group in concatenations(files)]
    paths = tuple(dict.fromkeys(name for run in runs for name in run.paths))
    number = {name: place for place, name in enumerate(paths)}
    columns = joined([run.columns for run in runs])
    path = np.concatenate([np.array([number[n] for n in run.paths])[run.path] for run in runs])
    focus, plane = np.unique(np.concatenate([run.focus for run in runs]), return_inverse=True)
    position = np.concatenate([run.position for run in runs])
    width, height = first.matrix
    tile_width, tile_height = first.size
    layout = _Layout((len(paths), len(focus)), (height, width), (tile_height, tile_width))
    table = layout.table(columns, path, plane.ravel(), position, first)
    downsample = _downsample(first, (width, height), largest if larger else None, larger)
    return Level(width, height, downsample, table), paths, focus


def _run(group: Sequence[Instance], parts: Parts) -> TileRun:
    """Read the frame tables of a file, or of the parts of a concatenation."""
    with ExitStack() as stack:
        headers = [stack.enter_context(reopened(file.header)) for file in group]
        columns = [parts.columns(header) for header in headers]
        return tile_run(group, headers, columns)


class _Layout:
    """Puts the frames of a level in the order of a tile table.

    Parameters
    ----------
    planes
        Numbers of optical paths and of focal planes.
    size, tile
        (height, width) of the level and of a tile.
    """

    def __init__(
        self, planes: tuple[int, int], size: tuple[int, int], tile: tuple[int, int]
    ) -> None:
        self._planes = planes
        self._tile = tile
        self._grid = tuple(-(-whole // part) for whole, part in zip(size, tile, strict=True))

    def table(
        self,
        columns: Columns,
        path: NDArray[np.int64],
        plane: NDArray[np.int64],
        position: NDArray[np.int64],
        first: Instance,
    ) -> TileTable:
        """Return the table: a grid where all tiles lie on it, else with their positions."""
        layer = path * self._planes[1] + plane
        self._check_distinct(layer, position, first)
        rows, columns_count = self._grid
        cell, rest = np.divmod(position, self._tile)
        on_grid = not rest.any() and (cell >= 0).all() and (cell < self._grid).all()
        if on_grid:
            place = (layer * rows + cell[:, 0]) * columns_count + cell[:, 1]
            placed = columns.placed(place, self._planes[0] * self._planes[1] * rows * columns_count)
            grid = (1, *self._planes, rows, columns_count)
            return TileTable(grid=grid, tile_shape=self._tile, **placed.fields())
        counts = np.bincount(layer, minlength=self._planes[0] * self._planes[1])
        most = int(counts.max())
        order = np.argsort(layer, kind="stable")  # in each plane, later frames are painted last
        within = np.empty(len(layer), dtype=np.int64)
        within[order] = np.arange(len(layer)) - np.repeat(np.cumsum(counts) - counts, counts)
        place, total = layer * most + within, most * len(counts)
        places = np.zeros((total, 2), dtype=np.int64)
        places[place] = position
        return TileTable(
            grid=(1, *self._planes, 1, most),
            tile_shape=self._tile,
            position=places,
            **columns.placed(place, total).fields(),
        )

    @staticmethod
    def _check_distinct(
        layer: NDArray[np.int64], position: NDArray[np.int64], first: Instance
    ) -> None:
        """Raise where two frames lie at one place: something unknown tells them apart."""
        keys = np.column_stack([layer, position])
        order = np.lexsort(keys.T)
        twice = (np.diff(keys[order], axis=0) == 0).all(axis=1)
        if twice.any():
            y, x = position[order[int(np.argmax(twice))]].tolist()
            msg = (
                f"{first.path!r}: two frames of its level lie at column {x + 1}, row {y + 1} of the "
                "total pixel matrix, in one focal plane and optical path; open the files one by one"
            )
            raise UnsupportedFormatError(msg)


def _downsample(
    first: Instance, size: tuple[int, int], level_zero: Instance | None, larger: Sequence[Level]
) -> tuple[float, float]:
    """Return the factors to level 0: by the files' own spacings, if sizes do not contradict them."""
    if level_zero is None:
        return 1.0, 1.0
    base = larger[0].width, larger[0].height
    spacings = [_pixel_spacing(file) for file in (level_zero, first)]
    if all(spacings):
        factors = tuple(_exact(spacings[1][axis] / spacings[0][axis]) for axis in "XY")
        errors = [abs(whole / f - part) for whole, f, part in zip(base, factors, size, strict=True)]
        if all(error <= 1 + CLOSE * part for error, part in zip(errors, size, strict=True)):
            return factors[0], factors[1]
    return downsample_factor(base, size, larger[-1].downsample[0])


def _exact(factor: float) -> float:
    """Return the integer that a quotient of rounded decimals stands for, else the quotient."""
    nearest = float(round(factor))
    return nearest if nearest and abs(factor - nearest) <= ROUNDING * factor else factor


def _spacing(first: Instance, level: Level, focus: NDArray[np.float64]) -> dict[str, float]:
    """Return µm a pixel, as stated, else of the imaged volume; and between focal planes."""
    spacing = _pixel_spacing(first)
    if not spacing and first.text("SOPClassUID") == SLIDE_CLASS:
        width, height = (first.header.value(f"ImagedVolume{side}") for side in ("Width", "Height"))
        if width and height:
            spacing = {
                "X": micrometers(float(width) / level.width),
                "Y": micrometers(float(height) / level.height),
            }
    measures = first.group_item("PixelMeasuresSequence")
    stated = measures is not None and bool(measures.get("SpacingBetweenSlices"))
    steps = np.diff(focus)
    told = stated or first.text("DimensionOrganizationType") != "TILED_FULL"
    if len(steps) and told and np.ptp(steps) <= CLOSE * steps[0]:
        spacing["Z"] = float(np.mean(steps))
    return spacing


def _pixel_spacing(file: Instance) -> dict[str, float]:
    """Return µm a pixel as a file states them, none if it does not."""
    measures = file.group_item("PixelMeasuresSequence")
    pair = measures.get("PixelSpacing") if measures is not None else None
    if pair is None or len(pair) != 2 or not all(0 < float(value) < np.inf for value in pair):
        return {}
    return {axis: micrometers(float(value)) for axis, value in zip("YX", pair, strict=True)}


def _icc_profile(first: Instance) -> bytes | None:
    items = first.header.value("OpticalPathSequence")
    profile = items[0].get("ICCProfile") if items else first.header.value("ICCProfile")
    return bytes(profile) if profile else None


def _channel_names(first: Instance, paths: Sequence[str], samples: int) -> tuple[str, ...]:
    """Name the channels by optical paths or segments, and by colours where there are any."""
    labels = dict.fromkeys(paths, "")
    for item in first.header.value("OpticalPathSequence") or []:
        key = str(item.get("OpticalPathIdentifier", ""))
        labels[key] = str(item.get("OpticalPathDescription") or "")
    for item in first.header.value("SegmentSequence") or []:
        labels[str(item.get("SegmentNumber", ""))] = str(item.get("SegmentLabel") or "")
    names = [labels[path] or path or str(number) for number, path in enumerate(paths)]
    if len(set(names)) < len(names):
        names = list(paths)
    if samples == 1:
        return tuple(names)
    if len(names) == 1:
        return ("R", "G", "B")
    return tuple(f"{name} {color}" for name in names for color in "RGB")
