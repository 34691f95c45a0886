"""Where the tiles of one file of a slide lie: along x, y, focal planes and optical paths.

Source: DICOM PS3.3, C.7.6.17.3 (order of tiles), C.8.12.6.1 (plane position, slide), C.8.20.2
(segments).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio.formats.dicom.groups import PerFrameGroups
from regionio.formats.dicom.header import PER_FRAME_GROUPS, Header
from regionio.formats.dicom.instance import Instance
from regionio.formats.dicom.parts import Columns, joined

__all__ = ["TileRun", "micrometers", "tile_run"]

PATH_IDENTIFIER, SEGMENT_NUMBER, FOCUS = 0x00480106, 0x0062000B, 0x0040074A
FULL, SPARSE = "TILED_FULL", "TILED_SPARSE"


@dataclass(frozen=True, eq=False)
class TileRun:
    """The frames of one file, or of the parts of a concatenation.

    Parameters
    ----------
    columns
        Of all frames.
    paths
        Names of optical paths or segments, in order.
    path, focus
        ``int64[n]``, index into `paths`; and ``float64[n]``, position along the optical axis in µm.
    position
        ``int64[n, 2]``, (y, x) of each frame's first pixel.
    """

    columns: Columns
    paths: tuple[str, ...]
    path: NDArray[np.int64]
    focus: NDArray[np.float64]
    position: NDArray[np.int64]


def tile_run(
    instances: Sequence[Instance], headers: Sequence[Header], columns: Sequence[Columns]
) -> TileRun:
    """Find out where frames lie.

    Parameters
    ----------
    instances
        A file, or the parts of a concatenation in order.
    headers, columns
        Of each.

    Raises
    ------
    CorruptFileError
        Frames are missing, or do not say where they lie.
    """
    first = instances[0]
    paths = _paths(first)
    everything = joined(columns)
    organization = first.text("DimensionOrganizationType")
    placed = PER_FRAME_GROUPS in headers[0].elements and organization != FULL
    if not placed:
        return _full_run(first, everything, paths, stated=organization == FULL)
    found = [_placed(header, len(part)) for header, part in zip(headers, columns, strict=True)]
    position = np.concatenate([place for place, _, _ in found])
    names = [name for _, names, _ in found for name in names]
    focus = np.concatenate([focus for _, _, focus in found])
    known = {name: number for number, name in enumerate(paths)}
    for name in names:
        known.setdefault(name, len(known))
    if not any(names):
        known, names = {paths[0]: 0}, [paths[0]] * len(names)
    path = np.array([known[name] for name in names], dtype=np.int64)
    return TileRun(everything, tuple(known), path, focus, position)


def _full_run(
    first: Instance, columns: Columns, paths: tuple[str, ...], *, stated: bool
) -> TileRun:
    """Place frames that follow each other in the standard's order."""
    (width, height), (tile_width, tile_height) = first.matrix, first.size
    down, across = -(-height // tile_height), -(-width // tile_width)
    planes = first.header.number("TotalPixelMatrixFocalPlanes", 1)
    needed = down * across * planes * len(paths)
    if len(columns) != needed and len(columns) == down * across * planes:
        paths = paths[:1]  # other files hold the other paths
        needed = down * across * planes
    if len(columns) != needed:
        how = "they are TILED_FULL" if stated else "it does not say where each of them lies"
        msg = (
            f"{first.path!r}: {width}×{height} pixels in tiles of {tile_width}×{tile_height}, "
            f"{planes} focal planes and {len(paths)} optical paths make {needed} frames, but there "
            f"are {len(columns)}, and {how}: a part is missing, or the file is damaged"
        )
        raise CorruptFileError(msg)
    path, plane, row, column = np.indices((len(paths), planes, down, across)).reshape(4, -1)
    position = np.stack([row * tile_height, column * tile_width], axis=1)
    focus = (_focus(first) + plane * _focal_step(first)).astype(np.float64)
    return TileRun(columns, paths, path, focus, position)


def _placed(header: Header, count: int) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64]]:
    """Return position, name of optical path or segment, and focus of every frame."""
    groups = PerFrameGroups(header, count)
    position = groups.tile_positions()
    values = groups.searched((PATH_IDENTIFIER, SEGMENT_NUMBER, FOCUS))
    names = values[PATH_IDENTIFIER]
    if all(name is None for name in names):
        names = values[SEGMENT_NUMBER]
    texts = ["" if name is None else str(name[0]) for name in names]
    focus = [0.0 if value is None else float(value[0]) for value in values[FOCUS]]
    if not np.isfinite(focus).all():
        msg = f"{header.path!r}: a frame's position along the optical axis is no finite number"
        raise CorruptFileError(msg)
    return position, texts, np.round(np.array(focus), 4)


def _paths(instance: Instance) -> tuple[str, ...]:
    """Return the identifiers of the optical paths or segments that a file names, at least one."""
    items = instance.header.value("OpticalPathSequence")
    keyword = "OpticalPathIdentifier"
    if not items and instance.text("SegmentationType") not in {"", "LABELMAP"}:
        items, keyword = instance.header.value("SegmentSequence"), "SegmentNumber"
    names = [str(item.get(keyword, number)) for number, item in enumerate(items or [])]
    if len(set(names)) < len(names):
        msg = f"{instance.path!r}: two optical paths have one identifier: {names}"
        raise UnsupportedFormatError(msg)
    return tuple(names) or ("",)


def _focus(instance: Instance) -> float:
    """Return the position of the first focal plane in µm, 0 where it is not told."""
    item = instance.group_item("PlanePositionSlideSequence")
    value: Any = item.get("ZOffsetInSlideCoordinateSystem") if item is not None else None
    return 0.0 if value is None else round(float(value), 4)


def _focal_step(instance: Instance) -> float:
    """Return the distance of focal planes in µm; 1 where it is not told, to keep them apart."""
    measures = instance.group_item("PixelMeasuresSequence")
    value = measures.get("SpacingBetweenSlices") if measures is not None else None
    return micrometers(float(value)) if value else 1.0


def micrometers(millimeters: float) -> float:
    """Return µm of mm without the noise of the multiplication.

    >>> micrometers(0.016783)
    16.783
    """
    return float(f"{millimeters * 1000:.12g}")
