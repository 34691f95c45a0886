"""Where a picture goes in a larger one.

Source: medcognetics/dicom-preprocessing 0.1, whose rules these are.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from regionio.preprocess.transform import Padding

__all__ = ["PADDINGS", "PaddingSide", "padded", "padding_for"]

PaddingSide: TypeAlias = Literal["zero", "top-left", "bottom-right", "center"]
PADDINGS: tuple[PaddingSide, ...] = get_args(PaddingSide)


def padding_for(
    picture: NDArray[Any], size: tuple[int, int], side: PaddingSide = "zero"
) -> Padding:
    """Return what to add to a picture.

    Parameters
    ----------
    picture
        ``[rows, columns, ...]``, of several the first.
    size
        (width, height) that is wanted, no smaller than the picture.
    side
        ``"zero"``: all of it on that side, of left and right and of top and bottom, whose edge has
        more zeros, left and top if they have as many; ``"top-left"``, ``"bottom-right"``;
        ``"center"``: half on each side, the smaller half first.

    Examples
    --------
    >>> padding_for(np.array([[0, 5], [0, 0]]), (5, 2))
    Padding(left=3, top=0, right=0, bottom=0)
    >>> padding_for(np.array([[0, 5], [0, 0]]), (5, 2), "center")
    Padding(left=1, top=0, right=2, bottom=0)
    """
    height, width = picture.shape[:2]
    across, down = size[0] - width, size[1] - height
    if side == "center":
        left, top = across // 2, down // 2
    elif side == "zero":
        zero = picture == 0
        left = across if zero[:, 0].sum() >= zero[:, -1].sum() else 0
        top = down if zero[0].sum() >= zero[-1].sum() else 0
    else:
        left, top = (across, down) if side == "top-left" else (0, 0)
    return Padding(left, top, across - left, down - top)


def padded(frames: NDArray[Any], padding: Padding) -> NDArray[Any]:
    """Return ``[frames, rows, columns, samples]`` with zeros around them."""
    if padding == Padding():
        return frames
    rows, columns = (padding.top, padding.bottom), (padding.left, padding.right)
    return np.pad(frames, ((0, 0), rows, columns, (0, 0)))
