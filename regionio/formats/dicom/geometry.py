"""How the frames of a volume lie in space and in time, and so in which order they belong.

Source: DICOM PS3.3, C.7.6.2 (image plane), C.7.6.16.2.2 (frame content), C.7.6.5 (cine).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._lazy import lazy_property
from regionio.formats.dicom.groups import PerFrameGroups
from regionio.formats.dicom.header import PER_FRAME_GROUPS, Header, parsing

__all__ = ["FrameGeometry", "frames_of", "geometric_order", "order_in_time"]

DIMENSION_INDICES, IN_STACK_POSITION = 0x00209157, 0x00209057
STACK, TEMPORAL_POSITION = 0x00209056, 0x00209128
POSITION, ORIENTATION, PIXEL_SPACING = 0x00200032, 0x00200037, 0x00280030

SAME_DIRECTION = 1e-4
SAME_SIZE = 1e-3
"""Share by which sizes of pixels may differ and still be one."""

DECIMALS = 9
"""Of mm: what is beyond comes of adding decimals in binary."""

UNEVEN = 0.01
"""Share by which distances of neighbouring slices may differ and still be one spacing."""

AXIAL = [1, 0, 0, 0, 1, 0]
SAME_PLACE = 1e-3
"""mm by which two statements of one position may differ."""


@dataclass(frozen=True, eq=False)
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
        The stacks that frames are said to belong to.
    moment
        The point in time of each frame, None where the file does not tell.
    has_orientations
        Whether every frame has an orientation, be it the same or not.
    pixel_spacings
        ``float64[k, 2]``, mm from row to row and from column to column: all pairs that frames
        state.
    """

    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    numbers: tuple[list[tuple[float, ...]], ...]
    stacks: frozenset[Any] = frozenset()
    moment: tuple[Any, ...] = ()
    has_orientations: bool = False
    pixel_spacings: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))

    @classmethod
    def joined(cls, parts: Sequence[FrameGeometry]) -> FrameGeometry:
        """Return the geometry of the frames of several files, one behind the other."""
        if len(parts) == 1:
            return parts[0]
        positions = [part.position for part in parts if part.position is not None]
        orientations = [part.orientation for part in parts if part.orientation is not None]
        everywhere = all(part.has_orientations for part in parts)
        orientation = None
        if len(orientations) == len(parts) and _alike(np.array(orientations)):
            orientation = orientations[0]
        kinds = min(len(part.numbers) for part in parts)
        return cls(
            np.concatenate(positions) if len(positions) == len(parts) else None,
            orientation,
            tuple(list(chain(*(part.numbers[kind] for part in parts))) for kind in range(kinds)),
            frozenset().union(*(part.stacks for part in parts)),
            tuple(chain(*(part.moment for part in parts))),
            everywhere,
            np.unique(np.concatenate([part.pixel_spacings for part in parts]), axis=0),
        )

    @property
    def has_one_spacing(self) -> bool:
        """Whether pixels are of one size in all frames, as far as the files state it."""
        if len(self.pixel_spacings) == 0:
            return True
        difference: NDArray[np.float64] = np.ptp(self.pixel_spacings, axis=0)
        return bool((difference <= SAME_SIZE * self.pixel_spacings[0]).all())

    @property
    def moments(self) -> frozenset[Any]:
        """The points in time that frames are said to belong to."""
        return frozenset(moment for moment in self.moment if moment is not None)

    @property
    def is_one_stack(self) -> bool:
        """Whether no two frames are said to be of different stacks or points in time."""
        return len(self.stacks) < 2 and len(self.moments) < 2

    def chosen(self, frames: NDArray[np.int64]) -> FrameGeometry:
        """Return the geometry of some frames; what is known of all of them stays."""
        return replace(
            self,
            position=None if self.position is None else self.position[frames],
            numbers=tuple([numbers[n] for n in frames.tolist()] for numbers in self.numbers),
            moment=tuple(self.moment[n] for n in frames.tolist()) if self.moment else (),
        )

    @property
    def places(self) -> int:
        """How many places along the normal frames lie at, 0 where it is not known."""
        distance = self.distance
        return 0 if distance is None else len(np.unique(np.round(distance, 4)))

    @lazy_property
    def is_distinct(self) -> bool:
        """Whether every frame has a position, and none that of another."""
        return self.position is not None and self.places == len(self.position)

    def rises_or_falls(self, order: NDArray[np.int64]) -> bool:
        """Return whether positions rise throughout in some order, or fall throughout."""
        distance = self.distance
        return distance is not None and _is_monotonic(distance[order])

    def step(self, order: NDArray[np.int64]) -> float | None:
        """Return mm from frame to frame in some order, None where it is not known or not even."""
        if self.position is None or self.orientation is None or len(order) < 2:
            return None
        steps = np.diff(self.position[order], axis=0)
        mean = np.mean(steps, axis=0)
        length = round(float(np.linalg.norm(mean)), DECIMALS)
        even = bool((np.linalg.norm(steps - mean, axis=1) <= UNEVEN * length).all())
        return length if length > 0 and even else None

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


def frames_of(header: Header, count: int) -> FrameGeometry:
    """Collect what a file says of its frames.

    Parameters
    ----------
    header
        Of the file.
    count
        Number of its frames.
    """
    with parsing(header.path):
        found = _values(header, count)
        position = _complete(found[POSITION], 3)
        orientations = _complete(found[ORIENTATION], 6)
        spacings = _complete(found[PIXEL_SPACING], 2)
        numbers = [
            [tuple(float(part) for part in value) for value in found[tag]]
            for tag in (DIMENSION_INDICES, IN_STACK_POSITION)
            if found[tag] and None not in found[tag]
        ]
    stacks = frozenset(tuple(value) for value in found[STACK] if value is not None)
    moment = tuple(None if value is None else tuple(value) for value in found[TEMPORAL_POSITION])
    orientation = None
    if orientations is not None and _alike(orientations):
        orientation = orientations[0]
    return FrameGeometry(
        position,
        orientation,
        tuple(numbers),
        stacks,
        moment,
        orientations is not None,
        np.zeros((0, 2)) if spacings is None else np.unique(spacings, axis=0),
    )


_TAGS = (DIMENSION_INDICES, IN_STACK_POSITION, STACK, TEMPORAL_POSITION, POSITION, PIXEL_SPACING)


def _values(header: Header, count: int) -> dict[int, list[Any]]:
    """Return the wanted attributes of every frame of a file: its own, else those of all."""
    dataset = header.dataset
    shared = dataset.get("SharedFunctionalGroupsSequence") or [None]
    common = {
        POSITION: _sequence_value(shared[0], "PlanePositionSequence", "ImagePositionPatient"),
        ORIENTATION: _sequence_value(
            shared[0], "PlaneOrientationSequence", "ImageOrientationPatient"
        ),
        PIXEL_SPACING: _sequence_value(shared[0], "PixelMeasuresSequence", "PixelSpacing"),
    }
    if count == 1:
        common[POSITION] = common[POSITION] or _floats(dataset.get("ImagePositionPatient"))
    common[ORIENTATION] = common[ORIENTATION] or _floats(dataset.get("ImageOrientationPatient"))
    common[PIXEL_SPACING] = common[PIXEL_SPACING] or _floats(dataset.get("PixelSpacing"))
    if count > 1 and dataset.get("GridFrameOffsetVector") and dataset.get("ImagePositionPatient"):
        return _dose_grid(header, count, common)
    found: dict[int, list[Any]] = {tag: [None] * count for tag in (*_TAGS, ORIENTATION)}
    if PER_FRAME_GROUPS in header.elements:
        found = PerFrameGroups(header, count).values((*_TAGS, ORIENTATION))
    for tag, value in common.items():
        found[tag] = [value if own is None else own for own in found[tag]]
    return found


def _dose_grid(
    header: Header, count: int, common: dict[int, list[float] | None]
) -> dict[int, list[Any]]:
    """Return the positions of the planes of a dose, stated as distances from the first.

    Source: PS3.3, C.8.8.3.2: distances from the first plane begin with 0; else they are z
    coordinates of axial planes, and begin with that of the first plane.
    """
    found: dict[int, list[Any]] = {tag: [None] * count for tag in (*_TAGS, ORIENTATION)}
    found[PIXEL_SPACING] = [common[PIXEL_SPACING]] * count
    offsets = _floats(header.dataset.GridFrameOffsetVector) or []
    first = _floats(header.dataset.ImagePositionPatient) or []
    orientation = common[ORIENTATION] or []
    if len(orientation) != 6 or len(first) != 3 or len(offsets) != count:
        return found
    if offsets[0] != 0:
        if orientation != AXIAL or abs(offsets[0] - first[2]) > SAME_PLACE:
            return found
        offsets = [offset - offsets[0] for offset in offsets]
    normal = np.cross(orientation[:3], orientation[3:])
    found[POSITION] = [(np.array(first) + offset * normal).tolist() for offset in offsets]
    found[ORIENTATION] = [orientation] * count
    return found


def _sequence_value(group: Any, sequence: str, keyword: str) -> list[float] | None:
    items = group.get(sequence) if group is not None else None
    return _floats(items[0].get(keyword)) if items else None


def _floats(values: Any) -> list[float] | None:
    if values is None or values == "":
        return None
    return [float(value) for value in (values if isinstance(values, Sequence) else [values])]


def _complete(values: Sequence[Any], length: int) -> NDArray[np.float64] | None:
    """Return an array of values that all frames have."""
    if not values or any(value is None or len(value) != length for value in values):
        return None
    array = np.array([[float(part) for part in value] for value in values])
    return array if np.isfinite(array).all() else None


def geometric_order(geometry: FrameGeometry) -> NDArray[np.int64] | None:
    """Return the order of frames in space.

    The numbers that a file gives its frames come before the positions, unless they contradict
    them; positions that rise or fall throughout keep their direction.

    Returns
    -------
    ndarray or None
        ``int64[n]``, the stored number of each frame in turn; None where positions are missing or
        not distinct, or frames are of several stacks or moments.
    """
    distance = geometry.distance
    if not geometry.is_one_stack or distance is None or not geometry.is_distinct:
        return None
    for numbers in geometry.numbers:
        ranked = sorted(range(len(numbers)), key=numbers.__getitem__)
        if _is_monotonic(distance[ranked]):
            return np.array(ranked, dtype=np.int64)
    if _is_monotonic(distance):
        return np.arange(len(distance))
    return np.argsort(distance, kind="stable")


def order_in_time(geometry: FrameGeometry) -> NDArray[np.int64] | None:
    """Return the order of frames that show the same places at several times.

    Returns
    -------
    ndarray or None
        ``int64[times, n]``, the frames of each point in time in the order of space; None where they
        are not of the same places, each once.
    """
    moments = sorted(geometry.moments)
    if len(moments) < 2 or None in geometry.moment or geometry.position is None:
        return None
    members: dict[Any, list[int]] = {moment: [] for moment in moments}
    for number, moment in enumerate(geometry.moment):
        members[moment].append(number)
    every = [np.array(frames) for frames in members.values()]
    if len({len(frames) for frames in every}) > 1:
        return None
    orders = []
    for frames in every:
        order = geometric_order(geometry.chosen(frames))
        if order is None:
            return None
        orders.append(frames[order])
    by_time = np.stack(orders)
    positions = geometry.position[by_time]
    same = np.abs(positions - positions[0]).max(initial=0) <= SAME_PLACE
    return by_time if same else None


def _is_monotonic(distance: NDArray[np.float64]) -> bool:
    steps = np.diff(distance)
    return bool((steps > 0).all() or (steps < 0).all())


def _alike(orientations: NDArray[np.float64]) -> bool:
    return bool(np.ptp(orientations, axis=0).max(initial=0) < SAME_DIRECTION)
