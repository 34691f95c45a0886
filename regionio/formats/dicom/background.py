"""What is seen of a slide where it has no tile.

Source: DICOM PS3.3, C.8.12.4.1.5 (Recommended Absent Pixel CIELab Value), C.10.7.1.1 (encoding of
CIELab); IEC 61966-2-1 (sRGB); CIE 15 (CIELab), with the D50 white point that DICOM and ICC have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regionio._index import ImageIndex
from regionio.formats.dicom.instance import Instance

__all__ = ["background_of"]

# XYZ relative to D50 (Bradford-adapted) to linear sRGB
LINEAR_SRGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
WHITE_D50 = np.array([0.96422, 1.0, 0.82521])
LINEAR_SRGB /= (LINEAR_SRGB @ WHITE_D50)[:, None]  # white is white in spite of rounded numbers


def background_of(first: Instance, index: ImageIndex) -> tuple[float, ...]:
    """Return the colour that a file recommends for absent pixels, else white; 0 of gray images.

    Parameters
    ----------
    first
        A file of the largest level.
    index
        Of the slide.
    """
    if index.samples != 3 or index.encodings[0].photometric == "ybr":
        return (0.0,)
    whitest = float(np.iinfo(index.dtype).max) if index.dtype.kind in "ui" else 255.0
    stated = first.numbers("RecommendedAbsentPixelCIELabValue")
    if len(stated) != 3:
        return (whitest,)
    share = srgb_of_cielab(stated)
    return tuple(np.rint(share * whitest).tolist())


def srgb_of_cielab(encoded: Sequence[float]) -> NDArray[np.float64]:
    """Return sRGB from 0 to 1 of an encoded CIELab value.

    >>> srgb_of_cielab([65535, 32896, 32896])
    array([1., 1., 1.])
    """
    lightness = encoded[0] * 100 / 65535
    a, b = (value / 65535 * 255 - 128 for value in encoded[1:])
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * WHITE_D50
    linear = np.clip(LINEAR_SRGB @ xyz, 0, 1)
    gamma = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    srgb: NDArray[np.float64] = np.round(gamma, 6)
    return srgb
