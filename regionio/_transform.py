"""What turns stored values into others: modality units, gray levels for display, colours.

Plain data, as formats find it in a file; `regionio.values` applies it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ColorTransform",
    "GrayTransform",
    "LookupTable",
    "PaletteTransform",
    "Rescale",
    "Transform",
    "Window",
]


@dataclass(frozen=True, slots=True)
class Rescale:
    """``value * slope + intercept``."""

    slope: float
    intercept: float


@dataclass(frozen=True, eq=False)
class LookupTable:
    """A value for each integer from `first` on; those beyond either end take the nearest.

    Parameters
    ----------
    first
        The input of the table's first entry.
    values
        ``uint16[n]``.
    bits
        The largest output is ``2**bits - 1``, whether it occurs or not.
    """

    first: int
    values: NDArray[np.uint16]
    bits: int


@dataclass(frozen=True, slots=True)
class Window:
    """A range of values that is spread over all gray levels.

    Parameters
    ----------
    center, width
        In the units of what comes in.
    function
        ``"LINEAR"``, ``"LINEAR_EXACT"`` or ``"SIGMOID"``.
    """

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, eq=False)
class GrayTransform:
    """From stored gray values to modality values or gray levels.

    Parameters
    ----------
    stored
        Dtype of what comes in.
    lowest, highest
        Range of stored values that `bits` stored allow.
    modality
        To modality values, None: they are the stored ones.
    display
        Dtype of gray levels, which cover all of its range; None: modality values are wanted,
        as float32.
    window
        What is spread over all gray levels; None: all modality values that there can be.
    inverted
        The lowest value is white.
    """

    stored: str
    lowest: float
    highest: float
    modality: Rescale | LookupTable | None = None
    display: str | None = None
    window: Window | LookupTable | None = None
    inverted: bool = False

    @property
    def dtype(self) -> str:
        """Dtype of what comes out."""
        return self.display or "float32"

    @property
    def samples(self) -> int:
        """Samples a pixel of what comes out."""
        return 1


@dataclass(frozen=True, eq=False)
class PaletteTransform:
    """From indices to colours.

    Parameters
    ----------
    first
        The index of the palette's first entry.
    colors
        ``[n, 3]``, the entries, of the dtype that comes out.
    """

    first: int
    colors: NDArray[Any]

    @property
    def dtype(self) -> str:
        """Dtype of what comes out."""
        return str(self.colors.dtype)

    @property
    def samples(self) -> int:
        """Samples a pixel of what comes out."""
        return 3


@dataclass(frozen=True, slots=True)
class ColorTransform:
    """Colours of one depth to those of another, the whole range to the whole range.

    Parameters
    ----------
    bits
        Bits that count in a stored sample.
    dtype
        Of what comes out; a floating dtype takes the values as they are.
    """

    bits: int
    dtype: str

    @property
    def samples(self) -> int:
        """Samples a pixel of what comes out."""
        return 3


Transform: TypeAlias = GrayTransform | PaletteTransform | ColorTransform
