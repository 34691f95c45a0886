"""From places in a picture to places in what was made of it, and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regionio.preprocess.crop import Box

__all__ = ["Padding", "Transform"]


@dataclass(frozen=True, slots=True)
class Padding:
    """Pixels that were added.

    Parameters
    ----------
    left, top, right, bottom
        On each side.
    """

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


@dataclass(frozen=True)
class Transform:
    """What was done to a picture: turned by 180 degrees or not, cropped, resized, padded.

    Coordinates are (x, y) in pixels, where 0 is the left or upper edge of the first pixel, and its
    centre lies at 0.5.

    Parameters
    ----------
    source
        (width, height) of the picture.
    upside_down
        Whether it was turned by 180 degrees.
    crop
        What was cut out of it then.
    size
        (width, height) to which that was resized.
    padding
        What was added then.

    Examples
    --------
    >>> transform = Transform((100, 80), False, Box(20, 10, 60, 40), (30, 20), Padding(right=2))
    >>> transform.output, transform.scale
    ((32, 20), (0.5, 0.5))
    >>> transform.to_output([[20, 10], [80, 50]]).tolist()
    [[0.0, 0.0], [30.0, 20.0]]
    >>> transform.to_source(transform.to_output([33, 44])).tolist()
    [33.0, 44.0]
    """

    source: tuple[int, int]
    upside_down: bool
    crop: Box
    size: tuple[int, int]
    padding: Padding

    @property
    def output(self) -> tuple[int, int]:
        """(width, height) of the result."""
        width, height = self.size
        padding = self.padding
        return width + padding.left + padding.right, height + padding.top + padding.bottom

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y): pixels of the result for each of the picture."""
        return self.size[0] / self.crop.width, self.size[1] / self.crop.height

    def to_output(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return where places of the picture are in the result; they may lie outside.

        Parameters
        ----------
        points
            ``[..., 2]``, (x, y).

        Returns
        -------
        ndarray
            ``float64[..., 2]``.
        """
        places = _pairs(points, 2)
        if self.upside_down:
            places = np.array(self.source) - places
        return (places - self._origin) * self.scale + self._before

    def to_source(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return where places of the result are in the picture; as `to_output`."""
        places = _pairs(points, 2)
        places = (places - self._before) / self.scale + self._origin
        return np.array(self.source) - places if self.upside_down else places

    def boxes_to_output(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Return where boxes of the picture are in the result.

        Parameters
        ----------
        boxes
            ``[..., 4]``, (left, top, right, bottom).
        """
        return self._boxes(boxes, self.to_output)

    def boxes_to_source(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Return where boxes of the result are in the picture; as `boxes_to_output`."""
        return self._boxes(boxes, self.to_source)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain types, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Transform:
        """Return what `to_dict` was called of."""
        width, height = stored["source"]
        new_width, new_height = stored["size"]
        return cls(
            (width, height),
            bool(stored["upside_down"]),
            Box(**stored["crop"]),
            (new_width, new_height),
            Padding(**stored["padding"]),
        )

    @property
    def _origin(self) -> tuple[int, int]:
        return self.crop.left, self.crop.top

    @property
    def _before(self) -> tuple[int, int]:
        return self.padding.left, self.padding.top

    @staticmethod
    def _boxes(boxes: ArrayLike, move: Any) -> NDArray[np.float64]:
        corners = _pairs(boxes, 4)
        first, second = move(corners[..., :2]), move(corners[..., 2:])
        low, high = np.minimum(first, second), np.maximum(first, second)
        return np.concatenate([low, high], axis=-1)


def _pairs(values: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return numbers, so many along the last axis.

    Raises
    ------
    ValueError
        There are others.
    """
    found = np.array(values, dtype=np.float64)
    if found.ndim == 0 or found.shape[-1] != count:
        msg = f"{count} numbers along the last axis are expected, not an array of {found.shape}"
        raise ValueError(msg)
    return found
