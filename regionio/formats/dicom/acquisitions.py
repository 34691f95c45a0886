"""Slices of one series that show the same places several times: echoes, phases, acquisitions.

Source: DICOM PS3.3, C.7.6.2 (image plane), C.8.3.1 (MR image), C.8.13 (enhanced MR).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

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
        tells them apart so.
    """
    places = {id(instance): _place(instance) for instance in instances}
    together = [("", list(instances))]
    if None in places.values():
        return together
    most = max(Counter(places.values()).values())
    volumes: dict[tuple[str, ...], list[Instance]] = {(): list(instances)}
    named: list[str] = []

    def are_apart() -> bool:
        parts = ([places[id(instance)] for instance in part] for part in volumes.values())
        return all(len(set(part)) == len(part) for part in parts)

    for keyword in APART:
        if are_apart():
            break
        finer: dict[tuple[str, ...], list[Instance]] = {}
        for key, part in volumes.items():
            for instance in part:
                value = "\\".join(instance.texts(keyword))
                finer.setdefault((*key, value), []).append(instance)
        if len(volumes) < len(finer) <= most:  # no attribute that each slice has its own of
            volumes = finer
            named.append(keyword)
    if not named or not are_apart():
        return together
    return [
        (", ".join(f"{word}={value}" for word, value in zip(named, key, strict=True)), part)
        for key, part in sorted(volumes.items(), key=lambda volume: list(map(_rank, volume[0])))
    ]


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
