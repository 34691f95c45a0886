"""What becomes of the frames of a volume: all of them, one, their maximum, or fewer in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CentralSlice",
    "Interpolate",
    "Keep",
    "MaxIntensity",
    "VolumeHandler",
    "frames_wanted",
    "interpolated",
]


class VolumeHandler(Protocol):
    """Makes frames of frames."""

    @property
    def name(self) -> str:
        """As the command line has it."""
        ...

    def wanted(self, count: int) -> range:
        """Return which of so many frames have to be decoded."""
        ...

    def __call__(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return what becomes of ``[frames, rows, columns, ...]``, those that were wanted."""
        ...


def frames_wanted(handler: VolumeHandler, count: int) -> range:
    """Return which of so many frames have to be decoded; of one alone nothing is made but itself.

    >>> frames_wanted(Interpolate(8), 1), frames_wanted(CentralSlice(), 8)
    (range(0, 1), range(4, 5))
    """
    return range(1) if count == 1 else handler.wanted(count)


@dataclass(frozen=True)
class Keep:
    """All frames.

    Examples
    --------
    >>> Keep().wanted(3)
    range(0, 3)
    """

    name: str = "keep"

    def wanted(self, count: int) -> range:
        """Return all."""
        return range(count)

    def __call__(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return them as they are."""
        return frames


@dataclass(frozen=True)
class CentralSlice:
    """The frame in the middle; no other is decoded.

    Examples
    --------
    >>> CentralSlice().wanted(80)
    range(40, 41)
    """

    name: str = "central-slice"

    def wanted(self, count: int) -> range:
        """Return the one in the middle, of an even number the one after it."""
        return range(count // 2, count // 2 + 1)

    def __call__(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return it."""
        return frames


@dataclass(frozen=True)
class MaxIntensity:
    """The largest value along the frames.

    Parameters
    ----------
    skip_start, skip_end
        Frames at either end that do not count.

    Raises
    ------
    ValueError
        One of them is negative.

    Examples
    --------
    >>> MaxIntensity(skip_start=1)(np.array([[[9]], [[2]], [[5]]])[1:])
    array([[[5]]])
    """

    skip_start: int = 0
    skip_end: int = 0
    name: str = "max-intensity"

    def __post_init__(self) -> None:
        if self.skip_start < 0 or self.skip_end < 0:
            msg = (
                f"skip_start and skip_end are 0 or more, not {self.skip_start} and {self.skip_end}"
            )
            raise ValueError(msg)

    def wanted(self, count: int) -> range:
        """Return those that are not skipped; one at least.

        Raises
        ------
        ValueError
            All would be skipped.
        """
        wanted = range(self.skip_start, count - self.skip_end)
        if len(wanted) == 0:
            msg = f"of {count} frames, none is left when {self.skip_start} and {self.skip_end} are skipped"
            raise ValueError(msg)
        return wanted

    def __call__(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return one frame."""
        most: NDArray[Any] = frames.max(axis=0, keepdims=True)
        return most


@dataclass(frozen=True)
class Interpolate:
    """A number of frames, evenly spread from the first to the last.

    Parameters
    ----------
    target_frames
        How many.

    Raises
    ------
    ValueError
        None.

    Examples
    --------
    >>> Interpolate(3)(np.array([[[0]], [[10]]])).tolist()
    [[[0]], [[5]], [[10]]]
    """

    target_frames: int = 32
    name: str = "interpolate"

    def __post_init__(self) -> None:
        if self.target_frames < 1:
            msg = f"target_frames is 1 or more, not {self.target_frames}"
            raise ValueError(msg)

    def wanted(self, count: int) -> range:
        """Return all."""
        return range(count)

    def __call__(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return frames in between."""
        return interpolated(frames, self.target_frames)


def interpolated(frames: NDArray[Any], count: int, *, rounded: bool = True) -> NDArray[Any]:
    """Return so many frames, evenly spread from the first to the last, each of the nearest two.

    Parameters
    ----------
    frames
        ``[frames, ...]``, integers.
    count
        How many are wanted.
    rounded
        To the nearest; else down.

    Examples
    --------
    >>> interpolated(np.array([[0], [10], [21]], np.uint8), 5)[:, 0]
    array([ 0,  5, 10, 16, 21], dtype=uint8)
    """
    if len(frames) == count:
        return frames
    place = np.arange(count) / max(1, count - 1) * (len(frames) - 1)
    low = np.minimum(np.floor(place).astype(np.int64), len(frames) - 1)
    high = np.minimum(low + 1, len(frames) - 1)
    result = np.empty_like(frames, shape=(count, *frames.shape[1:]))  # where the frames are
    for number, (first, second, where) in enumerate(zip(low, high, place - low, strict=True)):
        mixed = frames[first] * np.float32(1 - where) + frames[second] * np.float32(where)
        result[number] = np.floor(mixed + np.float32(0.5) if rounded else mixed)
    return result
