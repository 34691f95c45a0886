"""Where the tiles of one file of a slide lie: along x, y, focal planes and optical paths.

Source: DICOM PS3.3, C.7.6.17.3 (order of tiles), C.8.12.6.1 (plane position, slide), C.8.20.2
(segments).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio.formats.dicom.groups import PerFrameGroups
from regionio.formats.dicom.header import PER_FRAME_GROUPS, Header, parsing
from regionio.formats.dicom.instance import SHARED_GROUPS, Instance

__all__ = ["FullOrder", "Places", "joined_places", "path_names", "stated_places"]

PATH_IDENTIFIER, SEGMENT_NUMBER, FOCUS = 0x00480106, 0x0062000B, 0x0040074A
FULL, SPARSE = "TILED_FULL", "TILED_SPARSE"
FOCUS_DECIMALS = 4
"""Of µm along the optical axis: what differs by less is one focal plane."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where the frames of a file lie, or those of the parts of a concatenation.

    Parameters
    ----------
    paths
        Names of optical paths or segments, in order.
    path, focus
        ``int64[n]``, index into `paths`; and ``float64[n]``, position along the optical axis in µm.
    position
        ``int64[n, 2]``, (y, x) of each frame's first pixel.
    """

    paths: tuple[str, ...]
    path: NDArray[np.int64]
    focus: NDArray[np.float64]
    position: NDArray[np.int64]


def stated_places(file: Instance, header: Header, count: int) -> Places | None:
    """Return where a file says that its frames lie, None if they follow the standard's order.

    Parameters
    ----------
    file
        The file.
    header
        Its header, open.
    count
        Number of frames.

    Raises
    ------
    CorruptFileError
        Some frames do not say where they lie, or none does and all should.
    """
    organization = file.text("DimensionOrganizationType")
    if organization == FULL:
        return None
    groups = PerFrameGroups(header, count) if PER_FRAME_GROUPS in header.elements else None
    position = None if groups is None else groups.tile_positions()
    if groups is None or position is None:
        alone = count == 1 and all(a >= b for a, b in zip(file.size, file.matrix, strict=True))
        if organization == SPARSE and not alone:
            msg = f"{file.path!r} is {SPARSE}, but its frames have no position in the total pixel matrix"
            raise CorruptFileError(msg)
        return None
    known, path = _paths(file, groups, count)
    focus = groups.first_values(FOCUS, "position along the optical axis")
    with parsing(file.path):
        distinct = np.array([_focus(file)]) if focus is None else focus.distinct.astype(np.float64)
    if not np.isfinite(distinct).all():
        msg = f"{file.path!r}: a frame's position along the optical axis is no finite number"
        raise CorruptFileError(msg)
    microns = np.round(distinct, FOCUS_DECIMALS)
    spread = np.full(count, microns[0]) if focus is None else microns[focus.which]
    return Places(known, path, spread, position)


def _paths(
    file: Instance, groups: PerFrameGroups, count: int
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of optical paths or segments, and which of them each frame is of."""
    known = path_names(file)
    names = groups.first_values(PATH_IDENTIFIER, "optical path")
    if names is None:
        names = groups.first_values(SEGMENT_NUMBER, "segment")
    if names is None:
        return known[:1], np.zeros(count, dtype=np.int64)
    used, first = np.unique(names.which, return_index=True)
    in_turn = used[np.argsort(first)]
    texts = [str(name) for name in names.distinct.tolist()]
    known = tuple(dict.fromkeys((*known, *(texts[place] for place in in_turn.tolist()))))
    number = {name: place for place, name in enumerate(known)}
    return known, np.array([number.get(text, 0) for text in texts], dtype=np.int64)[names.which]


@dataclass(frozen=True, eq=False)
class FullOrder:
    """Frames that follow each other in the standard's order: row by row, plane by plane.

    Parameters
    ----------
    paths
        Names of optical paths or segments, in order.
    focus
        ``float64[planes]``, position of each focal plane along the optical axis in µm.
    grid, tile
        Numbers of tiles down and across, and (height, width) of one.
    """

    paths: tuple[str, ...]
    focus: NDArray[np.float64]
    grid: tuple[int, int]
    tile: tuple[int, int]

    def places(self) -> Places:
        """Return where each frame lies."""
        shape = len(self.paths), len(self.focus), *self.grid
        path, plane, row, column = np.indices(shape).reshape(4, -1)
        position = np.stack([row * self.tile[0], column * self.tile[1]], axis=1)
        return Places(self.paths, path, self.focus[plane], position)


def joined_places(
    group: Sequence[Instance], stated: Sequence[Places | None], count: int
) -> Places | FullOrder:
    """Return where the frames of a file lie, or those of all parts of a concatenation.

    Parameters
    ----------
    group
        The file, or the parts in order.
    stated
        `stated_places` of each.
    count
        Number of frames of all of them.

    Raises
    ------
    CorruptFileError
        There are not as many frames as there are places.
    """
    places = [part for part in stated if part is not None]
    if not places:
        return _full_order(group[0], count)
    if len(places) < len(stated):
        first = group[stated.index(None)]
        msg = f"{first.path!r} does not say where its frames lie, unlike the other parts"
        raise CorruptFileError(msg)
    if len(places) == 1:
        return places[0]
    paths = tuple(dict.fromkeys(name for part in places for name in part.paths))
    number = {name: place for place, name in enumerate(paths)}
    path = [np.array([number[name] for name in part.paths])[part.path] for part in places]
    return Places(
        paths,
        np.concatenate(path),
        np.concatenate([part.focus for part in places]),
        np.concatenate([part.position for part in places]),
    )


def _full_order(first: Instance, count: int) -> FullOrder:
    """Return the order of frames that do not say where they lie, if there are as many as needed."""
    (width, height), (tile_width, tile_height) = first.matrix, first.size
    down, across = -(-height // tile_height), -(-width // tile_width)
    planes = first.header.number("TotalPixelMatrixFocalPlanes", 1)
    paths = path_names(first)
    needed = down * across * planes * len(paths)
    if count != needed and count == down * across * planes:
        paths = paths[:1]  # other files hold the other paths
        needed = count
    if count != needed:
        stated = first.text("DimensionOrganizationType") == FULL
        how = f"they are {FULL}" if stated else "it does not say where each of them lies"
        msg = (
            f"{first.path!r}: {width}×{height} pixels in tiles of {tile_width}×{tile_height}, "
            f"{planes} focal planes and {len(paths)} optical paths make {needed} frames, but there "
            f"are {count}, and {how}: a part is missing, or the file is damaged"
        )
        raise CorruptFileError(msg)
    focus = np.round(_focus(first) + np.arange(planes) * _focal_step(first), FOCUS_DECIMALS)
    return FullOrder(paths, focus, (down, across), (tile_height, tile_width))


def path_names(file: Instance) -> tuple[str, ...]:
    """Return the identifiers of the optical paths or segments that a file has, at least one.

    What is said of all frames together goes before what the file describes.
    """
    for sequence, keyword in (
        ("OpticalPathIdentificationSequence", "OpticalPathIdentifier"),
        ("SegmentIdentificationSequence", "ReferencedSegmentNumber"),
    ):
        shared = file.nested(SHARED_GROUPS, sequence, keyword)
        if shared is not None and str(shared):
            return (str(shared),)
    items, keyword = file.items("OpticalPathSequence"), "OpticalPathIdentifier"
    if not items and file.text("SegmentationType") not in {"", "LABELMAP"}:
        items, keyword = file.items("SegmentSequence"), "SegmentNumber"
    with parsing(file.path):
        names = [str(item.get(keyword, number)) for number, item in enumerate(items)]
    if len(set(names)) < len(names):
        msg = f"{file.path!r}: two optical paths have one identifier: {names}"
        raise UnsupportedFormatError(msg)
    return tuple(names) or ("",)


def _focus(file: Instance) -> float:
    """Return the position of the first focal plane in µm, 0 where it is not told."""
    keyword = "ZOffsetInSlideCoordinateSystem"
    for place in (
        ("TotalPixelMatrixOriginSequence", keyword),
        (SHARED_GROUPS, "PlanePositionSlideSequence", keyword),
    ):
        values = file.numbers(*place)
        if values:
            return values[0]
    return 0.0


def _focal_step(file: Instance) -> float:
    """Return the distance of focal planes in µm; 1 where it is not told, to keep them apart."""
    values = file.numbers(SHARED_GROUPS, "PixelMeasuresSequence", "SpacingBetweenSlices")
    return values[0] * 1000 if values and values[0] else 1.0
