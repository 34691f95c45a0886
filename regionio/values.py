"""From stored values to the values that the caller asked for: dtype, scale, offset, fill, colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from regionio._errors import UnsupportedFormatError

__all__ = ["Conversion", "fill_values", "selected_channels", "srgb_transform"]


@dataclass(frozen=True, eq=False)
class Conversion:
    """What happens to stored values on their way into a region: ``stored * scale + offset``.

    Parameters
    ----------
    dtype
        Of the region.
    scale, offset
        ``[1]`` or ``[channels]`` of `dtype`, or None: values stay as they are.
    """

    dtype: np.dtype[Any]
    scale: NDArray[Any] | None = None
    offset: NDArray[Any] | None = None

    @classmethod
    def of(
        cls,
        stored: np.dtype[Any],
        channels: int,
        dtype: DTypeLike | None,
        scale: ArrayLike | None,
        offset: ArrayLike | None,
    ) -> Conversion:
        """Check what the caller asks for.

        Parameters
        ----------
        stored
            Dtype of the image.
        channels
            Channels of the region.
        dtype
            Asked for; None is the stored one, or float32 with a scale or an offset.
        scale, offset
            One number, or one a channel.

        Raises
        ------
        ValueError
            The dtype can't hold all stored values, or scale and offset don't fit.
        """
        scaled = scale is not None or offset is not None
        natural = np.dtype(np.float32) if scaled else stored
        target = natural if dtype is None else np.dtype(dtype)
        if scaled and target.kind != "f":
            msg = f"scale and offset need a floating dtype, not {target}"
            raise ValueError(msg)
        if target.kind != "f" and not np.can_cast(stored, target, "safe"):
            msg = f"dtype {target} can't hold all values of the image's {stored}"
            raise ValueError(msg)
        if target.kind == "f" and stored.kind == "c":
            msg = f"dtype {target} can't hold complex values"
            raise ValueError(msg)
        return cls(
            target,
            _per_channel(scale, channels, target, "scale"),
            _per_channel(offset, channels, target, "offset"),
        )


def _per_channel(
    values: ArrayLike | None, channels: int, dtype: np.dtype[Any], name: str
) -> NDArray[Any] | None:
    if values is None:
        return None
    array = np.atleast_1d(np.asarray(values, dtype=dtype))
    if array.ndim != 1 or len(array) not in {1, channels}:
        msg = f"{name} is one number or one a channel ({channels}), not shape {array.shape}"
        raise ValueError(msg)
    if not np.isfinite(array).all():
        msg = f"{name} must be finite, not {array.tolist()}"
        raise ValueError(msg)
    return array


def fill_values(
    fill: ArrayLike | None,
    channels: int,
    dtype: np.dtype[Any],
    *,
    white: bool,
    stored: np.dtype[Any],
) -> NDArray[Any]:
    """Return what is put where an image has no pixels.

    Parameters
    ----------
    fill
        In output space: one number or one a channel. None is white or zero.
    channels
        Channels of the region.
    dtype
        Of the region.
    white
        Whether the default is white: the largest stored value, as far as `dtype` holds it.
    stored
        Dtype of the image.

    Returns
    -------
    ndarray
        ``[1]`` or ``[channels]`` of `dtype`.

    Raises
    ------
    ValueError
        `dtype` can't hold it.
    """
    if fill is None:
        value = np.iinfo(stored).max if white and stored.kind in "ui" else 0
        return np.full(1, value).astype(dtype)
    wanted = np.atleast_1d(np.asarray(fill))
    if wanted.ndim != 1 or len(wanted) not in {1, channels}:
        msg = f"fill is one number or one a channel ({channels}), not shape {wanted.shape}"
        raise ValueError(msg)
    with np.errstate(all="ignore"):
        array = wanted.astype(dtype)
    exact = dtype.kind == "f" or bool((array == wanted).all())
    if not exact or (dtype.kind == "f" and (np.isfinite(wanted) & ~np.isfinite(array)).any()):
        msg = f"fill {fill!r} can't be held by {dtype}"
        raise ValueError(msg)
    return array


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


def selected_channels(channels: Sequence[int], samples: int) -> dict[int, list[tuple[int, int]]]:
    """Group a selection of channels by the plane that holds them.

    Parameters
    ----------
    channels
        Numbers of the channels, in the order wanted.
    samples
        Channels a plane.

    Returns
    -------
    dict
        Plane → (sample in the plane, channel of the region) of each.

    >>> selected_channels([4, 0], samples=3)
    {1: [(1, 0)], 0: [(0, 1)]}
    """
    planes: dict[int, list[tuple[int, int]]] = {}
    for place, channel in enumerate(channels):
        planes.setdefault(channel // samples, []).append((channel % samples, place))
    return planes
