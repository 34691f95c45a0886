"""Colour management."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import UnsupportedFormatError

__all__ = ["srgb_transform"]


def srgb_transform(profile: bytes) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return the function that converts RGB pixels from a profile's colours to sRGB.

    Parameters
    ----------
    profile
        ICC profile of the image.

    Returns
    -------
    callable
        ``uint8[rows, columns, 3]`` to the same, perceptual intent.

    Raises
    ------
    UnsupportedFormatError
        The profile is damaged or is not for RGB.
    """
    import imagecodecs

    srgb = imagecodecs.cms_profile("srgb")

    def convert(pixels: NDArray[Any]) -> NDArray[Any]:
        converted: NDArray[Any] = imagecodecs.cms_transform(
            np.ascontiguousarray(pixels), profile, srgb, colorspace="rgb", outcolorspace="rgb"
        )
        return converted

    try:
        convert(np.zeros((1, 1, 3), dtype=np.uint8))
    except (RuntimeError, ValueError) as error:
        msg = f"the image's ICC profile can't be applied: {error}"
        raise UnsupportedFormatError(msg) from error
    return convert
