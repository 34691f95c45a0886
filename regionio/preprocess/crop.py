"""Where the content of pictures lies: what is left when empty borders are cut off.

Source: medcognetics/dicom-preprocessing 0.1, whose steps these are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._extras import package
from regionio._native import native_pixels
from regionio.preprocess.arrays import is_on_host, on_host, round_half_up
from regionio.preprocess.kernels import resized

__all__ = ["Box", "CropOptions", "common_box", "content_box", "union"]

THUMBNAIL = 512
"""Longest side of the picture in which connected parts are looked for."""

AT_ONCE = 32, 256
"""Rows, and columns, that are looked at together: what they take stays in the cache."""

COMPILED = {np.dtype("uint8"), np.dtype("uint16")}

DARKEST = 1
"""Of 255: what is no brighter is background there."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels.

    Parameters
    ----------
    left, top, width, height
        In pixels.
    """

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column beyond it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row beyond it."""
        return self.top + self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of ``[rows, columns]``."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @classmethod
    def between(cls, left: int, top: int, right: int, bottom: int) -> Box:
        """Return the box of which two corners are known, the second one beyond it."""
        return cls(left, top, right - left, bottom - top)


@dataclass(frozen=True)
class CropOptions:
    """What counts as background.

    Parameters
    ----------
    maximum
        Pixels of the dtype's largest value do, too, not only zeros: colours whose samples are all it.
    components
        Whatever is not connected to the largest part does, too.
    border_frac
        Part of each side, 0 to 0.5, that is not looked at, and by which what is found grows.
    """

    maximum: bool = False
    components: bool = True
    border_frac: float | None = None


def content_box(pixels: NDArray[np.uint8] | NDArray[np.uint16], options: CropOptions) -> Box | None:
    """Return where one picture has content.

    Parameters
    ----------
    pixels
        ``[rows, columns]`` or ``[rows, columns, samples]``, after windowing.
    options
        What counts as background.

    Returns
    -------
    Box or None
        None where there is nothing but background.

    Examples
    --------
    >>> picture = np.zeros((6, 8), np.uint8)
    >>> picture[2:4, 3:6] = 9
    >>> content_box(picture, CropOptions(components=False))
    Box(left=3, top=2, width=3, height=2)
    """
    height, width = pixels.shape[:2]
    fraction = options.border_frac or 0.0
    margin_y, margin_x = int(height * fraction), int(width * fraction)
    inner = pixels[margin_y : height - margin_y, margin_x : width - margin_x]
    found = _extent(inner, maximum=options.maximum)
    if found is None:
        return None
    if options.components:
        found = _largest_part(inner, found)
    left = max(0, found.left)  # grown by the margin on the left, moved by it to the right
    top = max(0, found.top)
    right = min(width, found.right + 2 * margin_x)
    bottom = min(height, found.bottom + 2 * margin_y)
    return Box.between(left, top, right, bottom)


def common_box(frames: Iterable[NDArray[Any]], options: CropOptions) -> Box | None:
    """Return the smallest box that holds the content of all frames.

    Parameters
    ----------
    frames
        As for `content_box`.
    options
        What counts as background.

    Returns
    -------
    Box or None
        None where all frames are background.
    """
    found: Box | None = None
    for frame in frames:
        if found is not None and not options.border_frac and _is_all_in(frame, found, options):
            continue
        box = content_box(frame, options)
        if box is not None:
            found = box if found is None else union((found, box))
    return found


def _is_all_in(pixels: NDArray[Any], box: Box, options: CropOptions) -> bool:
    """Return whether there is nothing but background around a box: it is quicker to tell."""
    if _is_compiled_for(pixels):
        found = _extent(pixels, maximum=options.maximum)
        return found is None or union((found, box)) == box
    beside = pixels[box.top : box.bottom]
    around = pixels[: box.top], pixels[box.bottom :], beside[:, : box.left], beside[:, box.right :]
    return all(
        part.size == 0 or _empty_lines(part, 0, maximum=options.maximum) is None for part in around
    )


def union(boxes: Iterable[Box]) -> Box:
    """Return the smallest box that holds all of some.

    >>> union([Box(2, 3, 4, 5), Box(4, 1, 6, 3)])
    Box(left=2, top=1, width=8, height=7)
    """
    every = list(boxes)
    return Box.between(
        min(box.left for box in every),
        min(box.top for box in every),
        max(box.right for box in every),
        max(box.bottom for box in every),
    )


def _has_content(pixels: NDArray[Any], axis: int, *, maximum: bool) -> NDArray[np.bool_]:
    """Return of each row (axis 0) or column (1) whether it has a pixel that is no background."""
    axes = tuple(other for other in range(pixels.ndim) if other != axis)
    content: Any
    if maximum and pixels.ndim == 3:
        low, high = pixels.min(axis=2), pixels.max(axis=2)
        content = ((high > 0) & (low < np.iinfo(pixels.dtype).max)).any(axis=1 - axis)
    elif maximum:
        below = pixels - pixels.dtype.type(1)  # of 0 becomes the largest value
        content = below.min(axis=axes) < np.iinfo(pixels.dtype).max - 1
    else:
        content = pixels.any(axis=axes)
    found: NDArray[np.bool_] = content
    return found


def _extent(pixels: NDArray[Any], *, maximum: bool) -> Box | None:
    """Return the box of what is content, looked for from each side."""
    if native_pixels is not None and _is_compiled_for(pixels):
        sides = native_pixels.content_box(pixels.reshape(pixels.shape[:2]), maximum)
        return None if sides is None else Box.between(*sides)
    top = _empty_lines(pixels, 0, maximum=maximum)
    if top is None:
        return None
    rows = pixels[top:]
    rows = rows[: len(rows) - (_empty_lines(rows[::-1], 0, maximum=maximum) or 0)]
    left = _empty_lines(rows, 1, maximum=maximum) or 0
    right = pixels.shape[1] - (_empty_lines(rows[:, left:][:, ::-1], 1, maximum=maximum) or 0)
    return Box.between(left, top, right, top + len(rows))


def _is_compiled_for(pixels: NDArray[Any]) -> bool:
    """Return whether compiled code finds the content of a picture."""
    is_gray = pixels.ndim == 2 or pixels.shape[2] == 1
    if native_pixels is None or not is_gray or not is_on_host(pixels):
        return False
    return pixels.dtype in COMPILED and pixels.flags.aligned


def _empty_lines(pixels: NDArray[Any], axis: int, *, maximum: bool) -> int | None:
    """Return how many of the first rows or columns are background, None where all are."""
    step = AT_ONCE[axis]
    for start in range(0, pixels.shape[axis], step):
        part = pixels[:, start : start + step] if axis else pixels[start : start + step]
        filled = np.flatnonzero(_has_content(part, axis, maximum=maximum))
        if len(filled) > 0:
            return start + int(filled[0])
    return None


def _largest_part(pixels: NDArray[Any], box: Box) -> Box:
    """Return the box of the largest connected part within a box."""
    ndimage = package("scipy.ndimage", "preprocess")
    picture = pixels[box.slices]
    height, width = picture.shape[:2]
    scale = min(1.0, THUMBNAIL / height, THUMBNAIL / width)
    small = max(1, round_half_up(height * scale)), max(1, round_half_up(width * scale))
    bright = _to_luma8(on_host(_thumbnail(picture, small)))
    labels, count = ndimage.label(bright > DARKEST)
    if count == 0:
        return box
    sizes = np.bincount(labels.reshape(-1))[1:]
    part = _extent(labels == 1 + int(sizes.argmax()), maximum=False)
    assert part is not None
    across, down = width / small[1], height / small[0]
    return Box.between(
        box.left + int(np.floor(part.left * across)),
        box.top + int(np.floor(part.top * down)),
        box.left + min(width, int(np.ceil(part.right * across))),
        box.top + min(height, int(np.ceil(part.bottom * down))),
    )


def _thumbnail(picture: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return a picture, ``[rows, columns, samples]``, of a smaller size."""
    planes = np.moveaxis(picture if picture.ndim == 3 else picture[..., None], 2, 0)
    small: NDArray[Any] = np.moveaxis(resized(planes, size, "nearest"), 0, 2)
    return small


def _to_luma8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the brightness of ``[rows, columns, samples]`` in 8 bits (ITU-R BT.709)."""
    values = pixels.astype(np.float32)
    if values.shape[2] == 3:
        values = values @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    else:
        values = values[..., 0]
    most = np.float32(np.iinfo(pixels.dtype).max)
    luma: NDArray[np.uint8] = np.floor(values * np.float32(255) / most + np.float32(0.5)).astype(
        np.uint8
    )
    return luma
