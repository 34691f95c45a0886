"""The steps from a volume's frames to pictures that models are trained on.

Order: volume handler, turning by 180 degrees, frames at a spacing, crop, resize, pad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from regionio.preprocess.crop import Box, CropOptions, common_box
from regionio.preprocess.kernels import FILTERS, Filter, resized
from regionio.preprocess.levels import converted
from regionio.preprocess.padding import PADDINGS, PaddingSide, padded, padding_for
from regionio.preprocess.transform import Padding, Transform
from regionio.preprocess.volumes import Keep, VolumeHandler, interpolated

__all__ = ["Frames", "Preprocessed", "Preprocessor"]

AXES = "XYZ"
MOST_PIXELS = 2**30
"""Of a frame that is made: more is a mistake in the arguments."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Pictures of one file or series, as gray levels or colours.

    Parameters
    ----------
    pixels
        ``[frames, rows, columns, samples]``, uint8 or uint16; those that the volume handler wants.
    spacing
        Axis letter → millimetres from one pixel, or frame, to the next; what is known.
    upside_down
        They were stored turned by 180 degrees.
    """

    pixels: NDArray[Any]
    spacing: dict[str, float] = field(default_factory=dict)
    upside_down: bool = False


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """What became of frames.

    Parameters
    ----------
    pixels
        ``[frames, rows, columns, samples]``, of the dtype that came in.
    transform
        From places in the source to places here, and back.
    spacing
        As of `Frames`.
    """

    pixels: NDArray[Any]
    transform: Transform
    spacing: dict[str, float]


@dataclass(frozen=True)
class Preprocessor:
    """Crops, resizes and pads pictures, all frames of a volume alike.

    Parameters
    ----------
    crop
        Cut off borders that are zero.
    crop_max
        Pixels of the largest value are border, too.
    components
        Keep only the largest connected part.
    border_frac
        Part of each side, 0 to 0.5, that is not looked at for the crop.
    size
        (width, height) of the result: the proportions are kept, and the rest is padded.
    spacing
        Millimetres from one pixel to the next, (x, y) or (x, y, z); instead of `size`.
    filter
        How pixels are resized.
    padding
        Where a picture goes that is smaller than `size`.
    use_padding
        Pad to `size`.
    volume_handler
        What becomes of the frames of a volume.

    Raises
    ------
    ValueError
        Arguments contradict each other or are out of range.

    Examples
    --------
    >>> picture = np.zeros((100, 60), np.uint16)
    >>> picture[20:90, 5:40] = 1000
    >>> pixels, transform = Preprocessor(size=(64, 64))(picture)
    >>> pixels.shape, transform.crop
    ((64, 64), Box(left=5, top=20, width=35, height=70))
    """

    crop: bool = True
    crop_max: bool = True
    components: bool = True
    border_frac: float | None = None
    size: tuple[int, int] | None = None
    spacing: tuple[float, ...] | None = None
    filter: Filter = "triangle"
    padding: PaddingSide = "zero"
    use_padding: bool = True
    volume_handler: VolumeHandler = field(default_factory=Keep)

    def __post_init__(self) -> None:
        if self.size is not None and self.spacing is not None:
            msg = "size= and spacing= say the same thing twice: give one of them"
            raise ValueError(msg)
        if self.border_frac is not None and not 0 <= self.border_frac < 0.5:
            msg = f"border_frac is at least 0 and less than 0.5, not {self.border_frac!r}"
            raise ValueError(msg)
        for name, given, known in (
            ("filter", self.filter, FILTERS),
            ("padding", self.padding, PADDINGS),
        ):
            if given not in known:
                msg = f"{name} is one of {', '.join(known)}, not {given!r}"
                raise ValueError(msg)
        for name, numbers, lengths in (("size", self.size, {2}), ("spacing", self.spacing, {2, 3})):
            if numbers is None:
                continue
            values = np.asarray(numbers, dtype=np.float64)
            if values.shape not in {(n,) for n in lengths} or not (values > 0).all():
                msg = (
                    f"{name} is {' or '.join(map(str, lengths))} positive numbers, not {numbers!r}"
                )
                raise ValueError(msg)
            if not np.isfinite(values).all():
                msg = f"{name} has to be finite, not {numbers!r}"
                raise ValueError(msg)
        if self.size is not None:
            _check_pixels(*self.size, f"size {self.size}")

    def __call__(
        self,
        pixels: ArrayLike,
        spacing: Sequence[float] | None = None,
        dtype: DTypeLike | None = None,
    ) -> tuple[NDArray[Any], Transform]:
        """Preprocess an array.

        Parameters
        ----------
        pixels
            uint8 or uint16, ``[rows, columns]``, ``[frames, rows, columns]`` or ``[frames, rows,
            columns, samples]``; an array, one of CuPy, or a region.
        spacing
            Millimetres from one pixel to the next, (x, y) or (x, y, z), where `spacing` is asked for.
        dtype
            Of the result: ``"uint8"``, ``"uint16"``, or ``"float32"`` from 0 to 1; None is that of
            the pixels.

        Returns
        -------
        pixels
            Of as many axes, where those were that came in.
        transform
            From places in the array that came in to places in that which comes out, and back.
        """
        given: Any = getattr(pixels, "array", pixels)  # of a region
        given = given if hasattr(given, "get") else np.asarray(given)  # a GPU's stay there
        if given.dtype not in (np.uint8, np.uint16) or given.ndim not in {2, 3, 4}:
            msg = (
                f"pixels are uint8 or uint16 with 2 to 4 axes, not {given.dtype} with {given.ndim}"
            )
            raise TypeError(msg)
        frames = given.reshape(given.shape if given.ndim == 4 else (-1, *given.shape[-2:], 1))
        chosen = frames[_slice(self.volume_handler.wanted(len(frames)))]
        known = dict(zip(AXES, spacing or (), strict=False))
        result = self.process(Frames(chosen, known))
        made = converted(result.pixels, dtype or given.dtype)
        found = made if given.ndim == 4 else made[..., 0]
        return found[0] if given.ndim == 2 else found, result.transform

    def process(self, frames: Frames) -> Preprocessed:
        """Take all steps.

        Raises
        ------
        ValueError
            There is nothing but background, or a spacing is asked for and that of the frames is not
            known.
        """
        pixels = frames.pixels
        height, width = pixels.shape[1:3]
        pixels = self.volume_handler(pixels)
        if frames.upside_down:
            pixels = pixels[:, ::-1, ::-1]
        spacing = dict(frames.spacing)
        pixels = self._at_depth(pixels, spacing)
        crop = self._crop(pixels)
        pixels = pixels[:, *crop.slices]
        size = self._size(crop, spacing)
        small = resized(np.moveaxis(pixels, 3, 1), (size[1], size[0]), self.filter)
        pixels = np.moveaxis(small, 1, 3)
        padding = Padding()
        if self.size is not None and self.use_padding:
            padding = padding_for(pixels[0], self.size, self.padding)
        for axis, before, after in zip("XY", (crop.width, crop.height), size, strict=True):
            if axis in spacing:
                spacing[axis] *= before / after
        transform = Transform((width, height), frames.upside_down, crop, size, padding)
        pixels = padded(pixels, padding)
        pixels = pixels if pixels.flags.c_contiguous else pixels.copy()
        return Preprocessed(pixels, transform, spacing)

    def with_handler(self, handler: VolumeHandler) -> Preprocessor:
        """Return the same with another volume handler."""
        return replace(self, volume_handler=handler)

    def _at_depth(self, pixels: NDArray[Any], spacing: dict[str, float]) -> NDArray[Any]:
        """Interpolate frames where a spacing along Z is asked for."""
        if self.spacing is None or len(self.spacing) < 3 or len(pixels) < 2:
            return pixels
        if "Z" not in spacing:
            msg = "spacing along z is asked for, and that of the frames is not known"
            raise ValueError(msg)
        count = round((len(pixels) - 1) * spacing["Z"] / self.spacing[2]) + 1
        spacing["Z"] *= (len(pixels) - 1) / max(1, count - 1)
        return self._interpolated(pixels, count)

    def _interpolated(self, pixels: NDArray[Any], count: int) -> NDArray[Any]:
        return interpolated(pixels, count)

    def _crop(self, pixels: NDArray[Any]) -> Box:
        height, width = pixels.shape[1:3]
        if not self.crop:
            return Box(0, 0, width, height)
        options = CropOptions(self.crop_max, self.components, self.border_frac)
        box = common_box(pixels, options)
        if box is None:
            msg = "there is nothing but background: every pixel is 0"
            raise ValueError(msg + (" or the largest value" if self.crop_max else ""))
        return box

    def _size(self, crop: Box, spacing: dict[str, float]) -> tuple[int, int]:
        """Return the (width, height) to which a crop is resized."""
        if self.size is not None:
            scale = min(self.size[0] / crop.width, self.size[1] / crop.height)
            width, height = (round_half_up(side * scale) for side in (crop.width, crop.height))
            return max(1, min(width, self.size[0])), max(1, min(height, self.size[1]))
        if self.spacing is None:
            return crop.width, crop.height
        if not {"X", "Y"} <= spacing.keys():
            msg = "spacing= is asked for, and that of the frames is not known"
            raise ValueError(msg)
        width = round_half_up(crop.width * spacing["X"] / self.spacing[0])
        height = round_half_up(crop.height * spacing["Y"] / self.spacing[1])
        _check_pixels(width, height, f"spacing {self.spacing}")
        return max(1, width), max(1, height)


def _check_pixels(width: int, height: int, what: str) -> None:
    if width * height > MOST_PIXELS:
        msg = f"{what} makes frames of {width}×{height}, more than {MOST_PIXELS} pixels"
        raise ValueError(msg)


def round_half_up(value: float) -> int:
    """Return the nearest integer, the larger of two, as Rust does it.

    >>> round_half_up(2.5), round(2.5)
    (3, 2)
    """
    return int(np.floor(value + 0.5))


def _slice(wanted: range) -> slice:
    return slice(wanted.start, wanted.stop)
