"""Slices of one series that show the same places several times: echoes, phases, acquisitions.

Source: DICOM PS3.3, C.7.6.2 (image plane), C.8.3.1 (MR image), C.8.13 (enhanced MR).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from regionio._errors import RegionIOError
from regionio.formats.dicom.instance import Instance

__all__ = ["volumes_of"]

APART = (
    "StackID",
    "EchoNumbers",
    "EchoTime",
    "InversionTime",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "ImageType",
    "TriggerTime",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentTime",
)
"""What may tell volumes of one series apart, what says so most plainly first."""

DECIMALS = 3
"""Of mm and of directions, beyond which places are the same."""

Place = tuple[float, ...]
"""Position and orientation, nine numbers."""

Volumes = dict[tuple[str, ...], list[Instance]]
"""The values of some attributes → the slices that have them."""


def volumes_of(instances: Sequence[Instance]) -> list[tuple[str, list[Instance]]]:
    """Part slices that lie where others do.

    Parameters
    ----------
    instances
        Slices of one series.

    Returns
    -------
    list
        What tells each volume from the others, and its slices, none of which lies where another
        does, in the order of the attributes' values; all slices, and an empty text, where nothing
        tells them apart so, or where that would tear one volume to pieces.
    """
    together = [("", list(instances))]
    places: dict[str, Place] = {}
    for instance in instances:
        place = _place(instance)
        if place is None:
            return together
        places[instance.path] = place
    volumes: Volumes = {(): list(instances)}
    most = max(Counter(places.values()).values())
    named: list[str] = []
    for keyword in APART:
        if _are_distinct(_places_in(volumes, places)):
            break
        finer = _parted(volumes, keyword)
        if len(volumes) < len(finer) <= most:  # no attribute that each slice has its own of
            volumes = finer
            named.append(keyword)
    if not named or not _are_volumes(_places_in(volumes, places)):
        return together
    return [
        (", ".join(f"{word}={value}" for word, value in zip(named, key, strict=True)), part)
        for key, part in sorted(volumes.items(), key=lambda volume: list(map(_rank, volume[0])))
    ]


def _parted(volumes: Volumes, keyword: str) -> Volumes:
    finer: Volumes = {}
    for key, part in volumes.items():
        for instance in part:
            value = "\\".join(instance.texts(keyword))
            finer.setdefault((*key, value), []).append(instance)
    return finer


def _places_in(volumes: Volumes, places: dict[str, Place]) -> list[list[Place]]:
    return [[places[instance.path] for instance in part] for part in volumes.values()]


def _are_distinct(parts: Sequence[list[Place]]) -> bool:
    return all(len(set(part)) == len(part) for part in parts)


def _are_volumes(parts: Sequence[list[Place]]) -> bool:
    """Return whether parts show the same places, or lie behind each other."""
    largest = max(map(set, parts), key=len)
    if not _are_distinct(parts) or len(largest) == 1:
        return False
    return all(largest.issuperset(part) for part in parts) or _are_in_a_row(parts)


def _are_in_a_row(parts: Sequence[list[Place]]) -> bool:
    """Return whether, where parts overlap, all of each lies where the other does."""
    orientations = {place[3:] for part in parts for place in part}
    if len(orientations) != 1:
        return False
    [orientation] = orientations
    normal = np.cross(orientation[:3], orientation[3:])
    heights = [np.round(np.array(part)[:, :3] @ normal, DECIMALS) for part in parts]
    heights.sort(key=lambda height: float(height.min()))
    for below, above in pairwise(heights):
        shared = np.intersect1d(below, above)
        if (
            len(shared) != (below >= above.min()).sum()
            or len(shared) != (above <= below.max()).sum()
        ):
            return False
    return True


def _rank(value: str) -> tuple[float, str]:
    """Return what values are sorted by: numbers first."""
    try:
        return float(value), value
    except ValueError:
        return math.inf, value


def _place(instance: Instance) -> Place | None:
    """Return where a slice lies, None where that is not known."""
    try:
        position = instance.numbers("ImagePositionPatient")
        orientation = instance.numbers("ImageOrientationPatient")
    except RegionIOError:  # told where the slice is read
        return None
    if len(position) != 3 or len(orientation) != 6:
        return None
    return tuple(round(value, DECIMALS) + 0.0 for value in [*position, *orientation])
