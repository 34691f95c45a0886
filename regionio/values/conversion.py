"""From an image's values to those that the caller asked for: dtype, scale, offset, fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["Conversion", "fill_values", "selected_channels"]


@dataclass(frozen=True, eq=False)
class Conversion:
    """What happens to stored values on their way into a region: ``stored * scale + offset``.

    Parameters
    ----------
    dtype
        Of the region.
    scale, offset
        ``[1]`` or ``[channels]`` of `working`, or None: values stay as they are.
    working
        Dtype in which scale and offset are applied: float16 is too coarse for that.
    """

    dtype: np.dtype[Any]
    scale: NDArray[Any] | None = None
    offset: NDArray[Any] | None = None
    working: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Convert stored values, whose last axis is the channels of `scale` and `offset`."""
        converted = values
        if self.scale is not None:
            converted = np.multiply(converted, self.scale, dtype=self.working, casting="unsafe")
        if self.offset is not None:
            converted = np.add(converted, self.offset, dtype=self.working, casting="unsafe")
        return converted.astype(self.dtype, copy=False)

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
        try:
            target = natural if dtype is None else np.dtype(dtype)
        except TypeError as error:
            msg = f"dtype is one of NumPy's, for example 'float32', not {dtype!r}"
            raise TypeError(msg) from error
        if target.kind not in "biufc":
            msg = f"dtype is a number's, for example 'float32', not {target}"
            raise ValueError(msg)
        if scaled and target.kind != "f":
            msg = f"scale and offset need a floating dtype, not {target}"
            raise ValueError(msg)
        if target.kind != "f" and not np.can_cast(stored, target, "safe"):
            msg = f"dtype {target} can't hold all values of the image's {stored}"
            raise ValueError(msg)
        if target.kind == "f" and stored.kind == "c":
            msg = f"dtype {target} can't hold complex values"
            raise ValueError(msg)
        if not scaled and target.kind == "f" and stored.kind in "ui":
            _check_range(stored, target)
        least = np.float64 if stored.itemsize >= 4 and stored.kind in "ui" else np.float32
        working = np.result_type(least, target if target.kind == "f" else least)
        return cls(
            target,
            _per_channel(scale, channels, working, "scale"),
            _per_channel(offset, channels, working, "offset"),
            working,
        )


def _check_range(stored: np.dtype[Any], target: np.dtype[Any]) -> None:
    """Refuse a floating dtype that overflows."""
    if np.iinfo(stored).max > float(np.finfo(target).max):
        msg = f"dtype {target} can't hold all values of the image's {stored}: give a scale"
        raise ValueError(msg)


def _per_channel(
    values: ArrayLike | None, channels: int, dtype: np.dtype[Any], name: str
) -> NDArray[Any] | None:
    if values is None:
        return None
    try:
        array = np.atleast_1d(np.asarray(values, dtype=dtype))
    except (TypeError, ValueError) as error:
        msg = f"{name} is one number or one a channel ({channels}), not {values!r}"
        raise TypeError(msg) from error
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
    conversion: Conversion,
    background: NDArray[Any] | None,
) -> NDArray[Any]:
    """Return what is put where an image has no pixels.

    Parameters
    ----------
    fill
        In output space: one number or one a channel. None is the image's background, converted as
        a pixel of the image would be, or 0.
    channels
        Channels of the region.
    conversion
        From the image's values to the region's.
    background
        ``[channels]`` of the image's dtype, or None: there is nothing but zero.

    Returns
    -------
    ndarray
        ``[1]`` or ``[channels]`` of the region's dtype.

    Raises
    ------
    ValueError
        The region's dtype can't hold it.
    """
    dtype = conversion.dtype
    if fill is None:
        return np.zeros(1, dtype=dtype) if background is None else conversion(background)
    wanted = np.atleast_1d(np.asarray(fill))
    if wanted.dtype.kind not in "biufc":
        msg = f"fill is one number or one a channel ({channels}), not {fill!r}"
        raise TypeError(msg)
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
