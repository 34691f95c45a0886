"""Whole slides: files of one series as the levels of a pyramid.

Source: DICOM PS3.3, A.32.8 and C.8.12.4 (whole slide microscopy), C.7.6.16.1.1 (concatenations).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio._index import ImageIndex, Level, SceneInfo, TileTable
from regionio._interpretation import Interpretation
from regionio.formats.dicom.background import background_of
from regionio.formats.dicom.collection import Scene
from regionio.formats.dicom.concatenation import concatenations
from regionio.formats.dicom.header import parsing, reopened
from regionio.formats.dicom.instance import SHARED_GROUPS, Instance
from regionio.formats.dicom.layout import Layout
from regionio.formats.dicom.parts import Columns, Parts, joined
from regionio.formats.dicom.scale import CLOSE, level_downsample, pixel_size
from regionio.formats.dicom.tiles import FullOrder, Places, joined_places, stated_places

__all__ = ["slide_index"]

LARGEST_SIDE = 2**32


@dataclass(frozen=True, eq=False)
class _Built:
    """A level, its optical paths and focal planes, and the files that it is made of."""

    level: Level
    paths: tuple[str, ...]
    focus: NDArray[np.float64]
    files: Sequence[Instance]


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
    built: list[_Built] = []
    for files in by_size.values():
        level = _level(files, parts, built)
        if built and not _fits(level, built[0]):
            left = [instance for instance in instances if instance not in files]
            return _pyramid(left, interpretation, name)
        built.append(level)
    parts.check_alike()
    largest = built[0].files[0]
    index = ImageIndex(
        format="dicom",
        sources=parts.sources,
        read_from=parts.identities,
        levels=tuple(one.level for one in built),
        encodings=tuple(parts.encodings),
        channel_names=(),
        spacing=_spacing(largest, built[0].focus),
        icc_profile=_icc_profile(largest),
        scenes=(SceneInfo(name, None, (), ""),) if name else (),
        transforms=tuple(parts.transforms),
        deflated=parts.deflated,
    )
    names = _channel_names(built[0], index.samples)
    return replace(index, channel_names=names, background=background_of(largest, index))


def _fits(level: _Built, largest: _Built) -> bool:
    """Return whether a level has the planes of the largest one; if not, warn."""
    if len(level.focus) == len(largest.focus) and set(level.paths) == set(largest.paths):
        return True
    if len(level.focus) == len(largest.focus) and len(level.paths) == len(largest.paths) == 1:
        return True
    msg = (
        f"{level.files[0].path!r} and the files of its size are left out: they have "
        f"{len(level.paths)} optical paths and {len(level.focus)} focal planes, but the largest "
        f"level of the slide has {len(largest.paths)} and {len(largest.focus)}"
    )
    warnings.warn(msg, stacklevel=2)
    return False


def _level(files: Sequence[Instance], parts: Parts, larger: Sequence[_Built]) -> _Built:
    """Build one level of the files that have its size."""
    first = files[0]
    if len({file.size for file in files}) > 1:
        msg = f"{first.path!r} and other files of its level have tiles of different sizes"
        raise UnsupportedFormatError(msg)
    if not all(1 <= side <= LARGEST_SIDE for side in first.matrix):
        msg = f"{first.path!r}: TotalPixelMatrixColumns and -Rows are {first.matrix}, which is no size"
        raise CorruptFileError(msg)
    runs = [_run(group, parts) for group in concatenations(files)]
    table, paths, focus = _table(first, runs, larger[0].paths if larger else ())
    downsample = (1.0, 1.0)
    if larger:
        downsample = level_downsample(first, larger[0].files[0], [one.level for one in larger])
    return _Built(Level(*first.matrix, downsample, table), paths, focus, files)


def _table(
    first: Instance, runs: Sequence[tuple[Columns, Places | FullOrder]], known: tuple[str, ...]
) -> tuple[TileTable, tuple[str, ...], NDArray[np.float64]]:
    """Return the table of a level's frames, its optical paths and its focal planes.

    Parameters
    ----------
    first
        A file of the level.
    runs
        Frames and places of each file or concatenation.
    known
        Optical paths of the largest level: the same ones are in that order, whatever the files'.
    """
    columns, order = runs[0]
    if len(runs) == 1 and isinstance(order, FullOrder) and not known:
        layout = Layout(first, (len(order.paths), len(order.focus)))
        return layout.in_order(columns), order.paths, order.focus
    places = [run.places() if isinstance(run, FullOrder) else run for _, run in runs]
    paths = tuple(dict.fromkeys(name for part in places for name in part.paths))
    if set(paths) == set(known):
        paths = known
    number = {name: place for place, name in enumerate(paths)}
    path = np.concatenate([np.array([number[n] for n in part.paths])[part.path] for part in places])
    focus, plane = np.unique(np.concatenate([p.focus for p in places]), return_inverse=True)
    position = np.concatenate([part.position for part in places])
    layout = Layout(first, (len(paths), len(focus)))
    layer = path * len(focus) + plane.ravel()
    return layout.table(joined([columns for columns, _ in runs]), layer, position), paths, focus


def _run(group: Sequence[Instance], parts: Parts) -> tuple[Columns, Places | FullOrder]:
    """Read the frame tables of a file, or of the parts of a concatenation."""
    columns, stated = [], []
    for file in group:
        with reopened(file.header) as header:
            columns.append(parts.columns(header))
            stated.append(stated_places(file, header, len(columns[-1])))
    everything = joined(columns)
    return everything, joined_places(group, stated, len(everything))


def _spacing(first: Instance, focus: NDArray[np.float64]) -> dict[str, float]:
    """Return µm a pixel, and between focal planes where they are told and even."""
    spacing = pixel_size(first)
    stated = first.numbers(SHARED_GROUPS, "PixelMeasuresSequence", "SpacingBetweenSlices")
    steps = np.diff(focus)
    told = bool(stated) or first.text("DimensionOrganizationType") != "TILED_FULL"
    if len(steps) and told and np.ptp(steps) <= CLOSE * steps[0]:
        spacing["Z"] = float(f"{np.mean(steps):.12g}")
    return spacing


def _icc_profile(first: Instance) -> bytes | None:
    profile = first.nested("OpticalPathSequence", "ICCProfile") or first.header.value("ICCProfile")
    return bytes(profile) if isinstance(profile, bytes) and profile else None


def _channel_names(built: _Built, samples: int) -> tuple[str, ...]:
    """Name the channels by optical paths or segments, and by colours where there are any."""
    labels = dict.fromkeys(built.paths, "")
    for file in built.files:
        with parsing(file.path):
            for item in file.items("OpticalPathSequence"):
                key = str(item.get("OpticalPathIdentifier", ""))
                labels[key] = str(item.get("OpticalPathDescription") or "")
            for item in file.items("SegmentSequence"):
                labels[str(item.get("SegmentNumber", ""))] = str(item.get("SegmentLabel") or "")
    names = [labels[path] or path or str(number) for number, path in enumerate(built.paths)]
    if len(set(names)) < len(names):
        names = list(built.paths)
    if samples == 1:
        return tuple(names)
    if len(names) == 1:
        return ("R", "G", "B")
    return tuple(f"{name} {color}" for name in names for color in "RGB")
