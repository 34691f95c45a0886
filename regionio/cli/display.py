"""Pixels of any type as 8-bit gray or RGB, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DisplayRange"]


@dataclass(frozen=True)
class DisplayRange:
    """Values that are shown as black and as white; what lies between is linear.

    Parameters
    ----------
    low, high
        Values; those beyond are shown as black and white too.

    Examples
    --------
    >>> import numpy as np
    >>> pixels = np.array([[100, 300], [500, 1100]], dtype=np.uint16)
    >>> DisplayRange.of(pixels).shown(pixels)
    array([[  0,  51],
           [102, 255]], dtype=uint8)
    """

    low: float
    high: float

    @classmethod
    def of(cls, pixels: NDArray[Any]) -> DisplayRange:
        """Return the range that shows some pixels: uint8 as it is, else from least to greatest.

        Parameters
        ----------
        pixels
            As in `shown`. What is not finite does not count.

        Raises
        ------
        TypeError
            Complex numbers can't be shown.
        """
        if pixels.dtype == np.uint8:
            return cls(0, 255)
        if pixels.dtype.kind == "c":
            msg = f"complex pixels ({pixels.dtype}) can't be shown as gray or RGB"
            raise TypeError(msg)
        finite = shown_channels(pixels).astype(np.float64)
        finite = finite[np.isfinite(finite)]
        return cls(float(finite.min()), float(finite.max())) if finite.size else cls(0, 1)

    def shown(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Return pixels as 8-bit gray ``[..., h, w]`` or RGB ``[..., h, w, 3]``.

        Parameters
        ----------
        pixels
            ``[h, w]`` or ``[h, w, channels]``. Of three channels or more the first three are
            shown as RGB, of fewer the first as gray.
        """
        chosen = shown_channels(pixels)
        if chosen.dtype == np.uint8 and (self.low, self.high) == (0, 255):
            return np.ascontiguousarray(chosen)
        span = self.high - self.low or 1.0
        scaled = (chosen.astype(np.float64) - self.low) * (255 / span)
        return np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)


def shown_channels(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the channels that are shown: the first three, or the first."""
    if pixels.ndim == 2:
        return pixels
    return pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0]
