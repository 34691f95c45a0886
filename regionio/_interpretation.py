"""What the caller of `regionio.open` wants to see of a file's frames."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["DISPLAY_BITS", "FRAME_ORDERS", "VALUES", "Interpretation"]

VALUES = ("auto", "stored", "modality", "display")
FRAME_ORDERS = ("geometry", "stored")
DISPLAY_BITS = (8, 16)


@dataclass(frozen=True, slots=True)
class Interpretation:
    """How frames become an image; TIFF knows but the defaults.

    Parameters
    ----------
    values
        ``"auto"``, ``"stored"``, ``"modality"`` or ``"display"``.
    window
        Of display values: (center, width), the number or the explanation of one of the file's
        windows, or None: the file's VOI LUT, else its first window, else all values there can be.
    display_bits
        8 or 16.
    frame_order
        ``"geometry"`` or ``"stored"``.
    """

    values: str = "auto"
    window: tuple[float, float] | int | str | None = None
    display_bits: int = 8
    frame_order: str = "geometry"

    @classmethod
    def of(cls, values: Any, window: Any, display_bits: Any, frame_order: Any) -> Interpretation:
        """Check what the caller asks for.

        Raises
        ------
        TypeError, ValueError
            An argument is wrong, or says nothing beside the others.
        """
        for name, given, known in (
            ("values", values, VALUES),
            ("frame_order", frame_order, FRAME_ORDERS),
            ("display_bits", display_bits, DISPLAY_BITS),
        ):
            if given not in known:
                msg = f"{name} is one of {', '.join(map(repr, known))}, not {given!r}"
                raise ValueError(msg)
        if values != "display" and (window is not None or display_bits != DISPLAY_BITS[0]):
            msg = f"window= and display_bits= are for values='display', not {values!r}"
            raise ValueError(msg)
        return cls(values, _checked_window(window), display_bits, frame_order)


def _checked_window(window: Any) -> tuple[float, float] | int | str | None:
    if window is None or isinstance(window, str):
        return window
    if hasattr(window, "__index__") and not isinstance(window, bool | np.bool_):
        return operator.index(window)
    try:
        center, width = (float(number) for number in window)
    except (TypeError, ValueError) as error:
        msg = (
            "window is (center, width), or the number or explanation of one of the file's windows, "
            f"not {window!r}"
        )
        raise TypeError(msg) from error
    if not (math.isfinite(center) and math.isfinite(width) and width > 0):
        msg = f"window {window!r}: its center is finite, its width finite and above 0"
        raise ValueError(msg)
    return center, width
