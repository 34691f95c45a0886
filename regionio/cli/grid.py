"""Places in a level, and the same places in level-0 pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PatchGrid", "level0_positions", "level_position"]

ROUNDING = 1e-9
"""A product or quotient that is so near to an integer is taken for it."""


def level0_positions(positions: NDArray[np.int64], downsample: float) -> NDArray[np.int64]:
    """Return the first level-0 pixels that lie in given pixels of a level, along one axis.

    Parameters
    ----------
    positions
        ``int64[n]``, in pixels of the level.
    downsample
        Of the level, along that axis.
    """
    exact = np.multiply(positions, downsample, dtype=np.float64)
    return np.ceil(exact - ROUNDING).astype(np.int64)


def level_position(position: int, downsample: float) -> int:
    """Return the pixel of a level that a level-0 pixel lies in, as `Image.read_region` does."""
    return math.floor(position / downsample + ROUNDING)


@dataclass(frozen=True)
class PatchGrid:
    """Square patches that lie wholly inside a level, row by row.

    Parameters
    ----------
    width, height
        Of the level in pixels.
    downsample
        (x, y) of the level.
    size, stride
        Side of a patch and distance of neighbouring patches, in pixels of the level.

    Examples
    --------
    >>> grid = PatchGrid(500, 300, (2.0, 2.0), size=200, stride=100)
    >>> grid.columns, grid.rows, len(grid)
    (4, 2, 8)
    >>> grid.corners[-1], grid.locations[-1]
    (array([300, 100]), array([600, 200]))
    """

    width: int
    height: int
    downsample: tuple[float, float]
    size: int
    stride: int

    @property
    def columns(self) -> int:
        """Patches side by side."""
        return max(0, (self.width - self.size) // self.stride + 1)

    @property
    def rows(self) -> int:
        """Patches on top of each other."""
        return max(0, (self.height - self.size) // self.stride + 1)

    def __len__(self) -> int:
        return self.columns * self.rows

    @property
    def corners(self) -> NDArray[np.int64]:
        """``int64[n, 2]``: (x, y) of each patch's first pixel, in pixels of the level."""
        y, x = np.mgrid[: self.rows, : self.columns].reshape(2, -1)
        return np.stack([x, y], axis=1).astype(np.int64) * self.stride

    @property
    def locations(self) -> NDArray[np.int64]:
        """``int64[n, 2]``: the same in level-0 pixels."""
        down_x, down_y = self.downsample
        x, y = self.corners.T
        return np.stack([level0_positions(x, down_x), level0_positions(y, down_y)], axis=1)

    def boxes(self, width: int, height: int) -> NDArray[np.float64]:
        """Return where the patches are in a picture of the whole level.

        Parameters
        ----------
        width, height
            Of the picture in pixels.

        Returns
        -------
        ndarray
            ``float64[n, 4]``: left, top, right, bottom edge in pixels of the picture.
        """
        corners = self.corners
        scale = np.array([width / self.width, height / self.height])
        return np.concatenate([corners * scale, (corners + self.size) * scale], axis=1)
