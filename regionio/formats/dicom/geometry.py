"""How the frames of a volume lie in space and in time, and so in which order they belong.

Source: DICOM PS3.3, C.7.6.2 (image plane), C.7.6.16.2.2 (frame content), C.7.6.5 (cine).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.formats.dicom.groups import PerFrameGroups
from regionio.formats.dicom.header import PER_FRAME_GROUPS, Header

__all__ = ["FrameGeometry", "frames_of", "geometric_order"]

DIMENSION_INDICES, IN_STACK_POSITION = 0x00209157, 0x00209057
STACK, TEMPORAL_POSITION = 0x00209056, 0x00209128
POSITION, ORIENTATION, PIXEL_SPACING = 0x00200032, 0x00200037, 0x00280030

UNEVEN = 0.01
"""Share by which distances of neighbouring slices may differ and still be one spacing."""


@dataclass(frozen=True)
class FrameGeometry:
    """What is known of the place of every frame.

    Parameters
    ----------
    position
        ``float64[n, 3]``, mm in the patient's coordinates, or None where a frame has none.
    orientation
        ``float64[6]``, directions of rows and columns; None where unknown or not the same for all.
    numbers
        Ways in which the file numbers frames, best first: each a list of one tuple a frame.
    stacks
        Number of stacks and of points in time among the frames.
    """

    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    numbers: tuple[list[tuple[float, ...]], ...]
    stacks: int

    @property
    def normal(self) -> NDArray[np.float64] | None:
        """Direction across the slices."""
        if self.orientation is None:
            return None
        normal: NDArray[np.float64] = np.cross(self.orientation[:3], self.orientation[3:])
        length = float(np.linalg.norm(normal))
        return normal / length if length > 0 else None

    @property
    def distance(self) -> NDArray[np.float64] | None:
        """``float64[n]``, mm of each frame along `normal`."""
        if self.position is None or self.normal is None:
            return None
        distance: NDArray[np.float64] = self.position @ self.normal
        return distance


def frames_of(headers: Sequence[Header], counts: Sequence[int]) -> FrameGeometry:
    """Collect what the files say of their frames.

    Parameters
    ----------
    headers
        One multi-frame file, or the files of a series.
    counts
        Frames of each.
    """
    found: dict[int, list[Any]] = {tag: [] for tag in (*_TAGS, ORIENTATION)}
    for header, count in zip(headers, counts, strict=True):
        for tag, values in _values(header, count).items():
            found[tag].extend(values)
    position = _complete(found[POSITION], 3)
    orientations = _complete(found[ORIENTATION], 6)
    orientation = None
    if orientations is not None and np.ptp(orientations, axis=0).max(initial=0) < 1e-4:
        orientation = orientations[0]
    moments = {tuple(v) for tag in (STACK, TEMPORAL_POSITION) for v in found[tag] if v is not None}
    kinds = sum(any(v is not None for v in found[tag]) for tag in (STACK, TEMPORAL_POSITION))
    numbers = [
        [tuple(value) for value in found[tag]]
        for tag in (DIMENSION_INDICES, IN_STACK_POSITION)
        if found[tag] and None not in found[tag]
    ]
    return FrameGeometry(position, orientation, tuple(numbers), max(1, len(moments) - kinds + 1))


_TAGS = (DIMENSION_INDICES, IN_STACK_POSITION, STACK, TEMPORAL_POSITION, POSITION)


def _values(header: Header, count: int) -> dict[int, list[Any]]:
    """Return the wanted attributes of every frame of a file: its own, else those of all."""
    dataset = header.dataset
    shared = dataset.get("SharedFunctionalGroupsSequence") or [None]
    common = {
        POSITION: _sequence_value(shared[0], "PlanePositionSequence", "ImagePositionPatient"),
        ORIENTATION: _sequence_value(
            shared[0], "PlaneOrientationSequence", "ImageOrientationPatient"
        ),
    }
    if count == 1:
        common[POSITION] = common[POSITION] or _floats(dataset.get("ImagePositionPatient"))
    common[ORIENTATION] = common[ORIENTATION] or _floats(dataset.get("ImageOrientationPatient"))
    found: dict[int, list[Any]] = {tag: [None] * count for tag in (*_TAGS, ORIENTATION)}
    if PER_FRAME_GROUPS in header.elements:
        found = PerFrameGroups(header, count).values((*_TAGS, ORIENTATION))
    for tag, value in common.items():
        found[tag] = [value if own is None else own for own in found[tag]]
    return found


def _sequence_value(group: Any, sequence: str, keyword: str) -> list[float] | None:
    items = group.get(sequence) if group is not None else None
    return _floats(items[0].get(keyword)) if items else None


def _floats(values: Any) -> list[float] | None:
    return None if values is None or values == "" else [float(value) for value in values]


def _complete(values: Sequence[Any], length: int) -> NDArray[np.float64] | None:
    """Return an array of values that all frames have."""
    if not values or any(value is None or len(value) != length for value in values):
        return None
    array = np.array(values, dtype=np.float64)
    return array if np.isfinite(array).all() else None


def geometric_order(geometry: FrameGeometry) -> tuple[NDArray[np.int64], float | None] | None:
    """Return the order of frames in space, and their distance.

    The numbers that a file gives its frames come before the positions; positions that rise or fall
    throughout keep their direction.

    Returns
    -------
    order
        ``int64[n]``, the stored number of each frame in turn.
    spacing
        mm from frame to frame, None where it is not even.
    None
        Where frames can't be told apart by any of it, or are of several stacks or moments.
    """
    if geometry.stacks > 1:
        return None
    distance = geometry.distance
    for numbers in geometry.numbers:
        if len(set(numbers)) == len(numbers):
            ranked = sorted(range(len(numbers)), key=numbers.__getitem__)
            order = np.array(ranked, dtype=np.int64)
            return order, _spacing(distance, order)
    if distance is None or len(np.unique(np.round(distance, 4))) < len(distance):
        return None
    steps = np.diff(distance)
    order = np.arange(len(distance))
    if not ((steps > 0).all() or (steps < 0).all()):
        order = np.argsort(distance, kind="stable")
    return order, _spacing(distance, order)


def _spacing(distance: NDArray[np.float64] | None, order: NDArray[np.int64]) -> float | None:
    if distance is None or len(order) < 2:
        return None
    steps = np.abs(np.diff(distance[order]))
    spacing = float(np.median(steps))
    even = spacing > 0 and bool((np.abs(steps - spacing) <= UNEVEN * spacing).all())
    return spacing if even else None
