"""A mammogram out of a tomosynthesis: the projection of all slices, with the details of their maximum.

Both are smoothed but for their edges, and details are what the next smoother picture lacks.

Sources: the article PMC6438841 (how they are brought together); medcognetics/dicom-preprocessing 0.1
(its parameters; of its pyramid of seven levels, only the finest makes a difference, and so it is here).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regionio.preprocess.arrays import beside
from regionio.preprocess.volumes import MaxIntensity

__all__ = ["PROJECTION_MODES", "LaplacianMip", "ProjectionMode", "bilateral", "expanded", "halved"]

ProjectionMode = Literal["parallel-beam", "central-slice"]
PROJECTION_MODES: tuple[str, ...] = ("parallel-beam", "central-slice")
SIGMA = 3.0  # pixels
RANGE_SIGMA = 0.015  # of the range of values
RADIUS = 6
DETAIL_GAIN = 2.0
ROWS_AT_ONCE = 64  # of a filter: what it works on stays in the cache
BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16


@dataclass(frozen=True)
class LaplacianMip:
    """One picture: the projection of the frames, with the details of their maximum.

    Parameters
    ----------
    mip_weight
        How much the details of the maximum count, those of the projection being 1.
    skip_frames
        Frames at either end that do not count; those of a tomosynthesis are mostly artefacts.
    projection_mode
        ``"parallel-beam"``: the sum of the frames; ``"central-slice"``: the frame in the middle.
    range_steps
        Levels of squared differences that the smoothing tells apart; None is all.

    Raises
    ------
    ValueError
        Arguments are out of range.

    Examples
    --------
    >>> frames = np.zeros((14, 32, 32, 1), np.uint16)
    >>> frames[7, 16, 16] = 60000
    >>> LaplacianMip()(frames[5:9]).shape
    (1, 32, 32, 1)
    """

    mip_weight: float = 1.5
    skip_frames: int = 5
    projection_mode: ProjectionMode = "parallel-beam"
    range_steps: int | None = None
    name: str = "laplacian-mip"

    def __post_init__(self) -> None:
        if self.projection_mode not in PROJECTION_MODES:
            known = ", ".join(PROJECTION_MODES)
            msg = f"projection_mode is one of {known}, not {self.projection_mode!r}"
            raise ValueError(msg)
        if self.skip_frames < 0 or not np.isfinite(self.mip_weight) or self.mip_weight < 0:
            msg = (
                "skip_frames and mip_weight are 0 or more, not "
                f"{self.skip_frames!r} and {self.mip_weight!r}"
            )
            raise ValueError(msg)

    def wanted(self, count: int) -> range:
        """Return those that are not skipped; one at least.

        Raises
        ------
        ValueError
            All would be skipped.
        """
        if count == 1:
            return range(1)
        return MaxIntensity(self.skip_frames, self.skip_frames).wanted(count)

    def __call__(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return one frame, of the dtype of those that come in.

        Raises
        ------
        ValueError
            They are colours.
        """
        if len(frames) == 1:
            return frames
        if frames.shape[3] > 1:
            msg = f"{self.name} is made of gray frames, and these are colours"
            raise ValueError(msg)
        gray = frames[..., 0]
        most = np.float32(np.iinfo(gray.dtype).max)
        base = self._smooth(self._projection(gray, most))
        detailed = self._smooth(gray.max(axis=0) / most)
        if min(base.shape) <= len(BINOMIAL) // 2:
            fused = base  # nothing is smoother
        else:
            low = expanded(halved(base), base.shape)
            details = (base - low) + np.float32(self.mip_weight) * _details(detailed)
            fused = low + np.float32(DETAIL_GAIN) * low * details
        levels = np.clip(fused, 0, 1) * most
        return self._whole(levels).astype(frames.dtype)[None, ..., None]

    def _smooth(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return bilateral(picture.astype(np.float32), self.range_steps)

    def _projection(self, gray: NDArray[Any], most: np.float32) -> NDArray[np.float32]:
        """Return the projection, 0 to 1."""
        if self.projection_mode == "central-slice":
            central: NDArray[np.float32] = gray[len(gray) // 2] / most
            return central
        total = gray.sum(axis=0, dtype=np.uint64)
        projection: NDArray[np.float32] = (total / max(1, int(total.max()))).astype(np.float32)
        return projection

    def _whole(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        whole: NDArray[np.float32] = np.floor(levels + np.float32(0.5))
        return whole


def _details(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    details: NDArray[np.float32] = picture - expanded(halved(picture), picture.shape)
    return details


def bilateral(picture: NDArray[np.float32], range_steps: int | None = None) -> NDArray[np.float32]:
    """Return a picture smoothed over places that are near and of like values.

    Parameters
    ----------
    picture
        ``[rows, columns]``, 0 to 1; beyond its borders it goes on as at them.
    range_steps
        As of `LaplacianMip`.

    Source: C. Tomasi, R. Manduchi, "Bilateral filtering for gray and color images", ICCV 1998.
    """
    wide = np.pad(picture, RADIUS, mode="edge")
    result = np.empty_like(picture)
    for top in range(0, len(picture), ROWS_AT_ONCE):
        rows = min(ROWS_AT_ONCE, len(picture) - top)
        result[top : top + rows] = _smoothed(wide[top : top + rows + 2 * RADIUS], range_steps)
    return result


def _smoothed(wide: NDArray[np.float32], range_steps: int | None) -> NDArray[np.float32]:
    """Return rows smoothed, of rows with `RADIUS` more on every side."""
    rows, columns = (side - 2 * RADIUS for side in wide.shape)
    center = wide[RADIUS : RADIUS + rows, RADIUS : RADIUS + columns]
    total = np.zeros_like(center)
    weights = np.zeros_like(center)
    weight = np.empty_like(center)
    for down in range(2 * RADIUS + 1):
        for across in range(2 * RADIUS + 1):
            other = wide[down : down + rows, across : across + columns]
            distance = (down - RADIUS) ** 2 + (across - RADIUS) ** 2
            _weigh(weight, other, center, distance, range_steps)
            weights += weight
            weight *= other
            total += weight
    found: NDArray[np.float32] = total / weights
    return found


def _weigh(
    weight: NDArray[np.float32],
    other: NDArray[np.float32],
    center: NDArray[np.float32],
    distance: int,
    range_steps: int | None,
) -> None:
    """Write the weights of neighbours at a squared distance, in pixels."""
    np.subtract(other, center, out=weight)
    np.multiply(weight, weight, out=weight)
    if range_steps is not None:
        steps = np.float32(range_steps - 1)
        weight *= steps
        weight += np.float32(0.5)
        np.floor(weight, out=weight)
        weight /= steps
    weight *= np.float32(-1 / (2 * RANGE_SIGMA**2))
    weight -= np.float32(distance / (2 * SIGMA**2))
    np.exp(weight, out=weight)


def halved(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a picture of half the size: every other pixel once it is blurred.

    Examples
    --------
    >>> halved(np.arange(5, dtype=np.float32)[None].repeat(5, 0))[0]
    array([0.375, 2.   , 3.625], dtype=float32)

    Source: P. Burt, E. Adelson, "The Laplacian pyramid as a compact image code", 1983.
    """
    half = picture
    for axis in (1, 0):
        wide = np.pad(half, [(2, 2) if one == axis else (0, 0) for one in (0, 1)], mode="edge")
        count = half.shape[axis]
        every_other = [slice(tap, tap + count, 2) for tap in range(len(BINOMIAL))]
        taps = [wide[:, part] if axis == 1 else wide[part] for part in every_other]
        half = sum(tap * factor for tap, factor in zip(taps, BINOMIAL, strict=True))
    return half


def expanded(picture: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a picture of a larger (rows, columns), linear in between, corner upon corner.

    Examples
    --------
    >>> expanded(np.array([[0, 4]], np.float32), (1, 5))[0]
    array([0., 1., 2., 3., 4.], dtype=float32)
    """
    large = picture
    for axis in (0, 1):
        place = np.arange(shape[axis], dtype=np.float32) * np.float32(large.shape[axis] - 1)
        place /= np.float32(max(1, shape[axis] - 1))
        low = place.astype(np.int64)
        high = np.minimum(low + 1, large.shape[axis] - 1)
        share = beside(np.expand_dims(place - low.astype(np.float32), 1 - axis), large)
        before, after = (large.take(beside(which, large), axis=axis) for which in (low, high))
        large = before * (1 - share) + after * share
    return large
