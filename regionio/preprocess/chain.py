"""The steps from a volume's frames to pictures that models are trained on.

Order: volume handler, turning by 180 degrees, frames at a spacing, crop, resize, pad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from regionio.preprocess.arrays import round_half_up
from regionio.preprocess.crop import Box, CropOptions, common_box
from regionio.preprocess.kernels import FILTERS, Filter, resized
from regionio.preprocess.levels import converted
from regionio.preprocess.padding import PADDINGS, PaddingSide, padded, padding_for
from regionio.preprocess.transform import Padding, Transform
from regionio.preprocess.volumes import (
    Interpolate,
    Keep,
    VolumeHandler,
    frames_wanted,
    interpolated,
)

__all__ = ["Frames", "Preprocessed", "Preprocessor"]

AXES = "XYZ"
MOST_PIXELS, MOST_FRAMES = 2**30, 2**16
"""Of a frame and a volume that are made: more is a mistake in the arguments."""

COLORS = {3, 4}
FRAMES, SAMPLES = "NTZ", "C"
"""Axes of a region that become those of frames, and of samples."""


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
    places
        Of each frame, where it lies among those that came in, counted from 0; None: it is made of
        all of them.
    """

    pixels: NDArray[Any]
    transform: Transform
    spacing: dict[str, float]
    places: tuple[float, ...] | None = None


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
    TypeError
        The volume handler is none.

    Notes
    -----
    ``regionio preprocess`` crops only if it is asked to; here it is the default, as in Python's
    dicom-preprocessing. Tomosynthesis that was stored upside down is turned where files are read:
    `Frames.upside_down` tells of it, an array does not.

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
        if not hasattr(self.volume_handler, "wanted"):
            msg = f"volume_handler is an object such as MaxIntensity(), not {self.volume_handler!r}"
            raise TypeError(msg)
        if self.spacing is not None:
            object.__setattr__(self, "spacing", _positive("spacing", self.spacing, {2, 3}))
        if self.size is not None:
            size = _positive("size", self.size, {2})
            if any(side % 1 for side in size):
                msg = f"size is whole numbers of pixels, not {self.size!r}"
                raise ValueError(msg)
            object.__setattr__(self, "size", tuple(int(side) for side in size))
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
            columns, samples]``; an array, one of CuPy, or a region, whose `dims` count.
        spacing
            Millimetres from one pixel to the next, (x, y) or (x, y, z), where `spacing` is asked for;
            None is a region's.
        dtype
            Of the result: ``"uint8"``, ``"uint16"``, or ``"float32"`` from 0 to 1; None is that of
            the pixels.

        Returns
        -------
        pixels
            Of as many axes, where those were that came in; of a region, ``[frames, rows, columns]``,
            with samples if it has any, without frames if it has none.
        transform
            From places in the array that came in to places in that which comes out, and back.
        """
        frames, axes = _as_frames(pixels)
        wanted = frames_wanted(self.volume_handler, len(frames))
        known = _spacing(pixels)
        if spacing is not None:
            known = dict(zip(AXES, _positive("spacing", spacing, {2, 3}), strict=False))
        result = self.process(Frames(frames[wanted.start : wanted.stop], known))
        made = converted(result.pixels, dtype or frames.dtype)
        made = made if "C" in axes else made[..., 0]
        return made if "N" in axes else made[0], result.transform

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
        spacing = dict(frames.spacing)
        pixels, places = self._at_depth(pixels, spacing)
        if frames.upside_down:
            pixels = pixels[:, ::-1, ::-1]
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
        return Preprocessed(pixels, transform, spacing, places)

    def with_handler(self, handler: VolumeHandler) -> Preprocessor:
        """Return the same with another volume handler."""
        return replace(self, volume_handler=handler)

    def _at_depth(
        self, pixels: NDArray[Any], spacing: dict[str, float]
    ) -> tuple[NDArray[Any], tuple[float, ...] | None]:
        """Return the frames that are made of those that came in, and where they lie among them.

        A spacing along Z that is asked for comes before a number of frames.
        """
        before = len(pixels)
        depth = None if self.spacing is None or len(self.spacing) < 3 else self.spacing[2]
        if before > 1 and (depth is None or not isinstance(self.volume_handler, Interpolate)):
            pixels = self.volume_handler(pixels)
        if depth is not None and len(pixels) > 1:
            if "Z" not in spacing:
                msg = (
                    "spacing along z is asked for, and that of the frames is not known: they do not "
                    "say where they lie, or are not evenly apart, as where one is missing"
                )
                raise ValueError(msg)
            exact = (len(pixels) - 1) * spacing["Z"] / depth
            if exact > MOST_FRAMES:
                msg = f"spacing {self.spacing} makes more than {MOST_FRAMES} frames"
                raise ValueError(msg)
            count = round_half_up(exact) + 1
            pixels = self._interpolated(pixels, count)
        after = len(pixels)
        if after == 1 and before > 1:  # of all, or the first alone
            spacing.pop("Z", None)
            return pixels, None
        if "Z" in spacing and after > 1:
            spacing["Z"] *= (before - 1) / (after - 1)
        return pixels, tuple(np.linspace(0, before - 1, after).tolist())

    def _interpolated(self, pixels: NDArray[Any], count: int) -> NDArray[Any]:
        return interpolated(pixels, count)

    def _crop(self, pixels: NDArray[Any]) -> Box:
        height, width = pixels.shape[1:3]
        whole = Box(0, 0, width, height)
        options = CropOptions(self.crop_max, self.components, self.border_frac)
        return self._content(pixels, options) if self.crop else whole

    def _content(self, pixels: NDArray[Any], options: CropOptions) -> Box:
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
        across = crop.width * spacing["X"] / self.spacing[0]
        down = crop.height * spacing["Y"] / self.spacing[1]
        _check_pixels(across, down, f"spacing {self.spacing}")
        return max(1, round_half_up(across)), max(1, round_half_up(down))


def _positive(name: str, numbers: Any, lengths: set[int]) -> tuple[float, ...]:
    """Return numbers that are as many as they have to be, finite and larger than 0.

    Raises
    ------
    ValueError
        They are not.
    """
    values = np.asarray(numbers, dtype=np.float64)
    if values.shape not in {(n,) for n in lengths} or not (values > 0).all():
        msg = f"{name} is {' or '.join(map(str, lengths))} positive numbers, not {numbers!r}"
        raise ValueError(msg)
    if not np.isfinite(values).all():
        msg = f"{name} has to be finite, not {numbers!r}"
        raise ValueError(msg)
    return tuple(values.tolist())


def _check_pixels(width: float, height: float, what: str) -> None:
    if max(width, height, width * height) > MOST_PIXELS:
        msg = f"{what} makes frames of {width:.0f}×{height:.0f}, more than {MOST_PIXELS} pixels"
        raise ValueError(msg)


def _as_frames(pixels: Any) -> tuple[NDArray[Any], str]:
    """Return ``[frames, rows, columns, samples]``, and which of N and C there were before."""
    given: Any = getattr(pixels, "array", pixels)  # of a region
    given = given if hasattr(given, "get") else np.asarray(given)  # a GPU's stay there
    if given.dtype not in (np.uint8, np.uint16) or given.ndim not in {2, 3, 4}:
        msg = f"pixels are uint8 or uint16 with 2 to 4 axes, not {given.dtype} with {given.ndim}"
        raise TypeError(msg)
    if hasattr(pixels, "dims"):
        return _by_dims(given, pixels.dims)
    if given.ndim == 3 and given.shape[2] in COLORS:
        msg = (
            f"{given.shape} may be frames of {given.shape[2]} columns or one picture in colour: give "
            "pixels[None] of a picture, pixels[..., None] of frames"
        )
        raise TypeError(msg)
    shape = given.shape if given.ndim == 4 else (-1, *given.shape[-2:], 1)
    return given.reshape(shape), {2: "", 3: "N", 4: "NC"}[given.ndim]


def _by_dims(given: NDArray[Any], dims: str) -> tuple[NDArray[Any], str]:
    """Return the same of a region, whose axes have names."""
    frames = [axis for axis in dims if axis in FRAMES]
    if not {"Y", "X"} <= set(dims) or len(frames) > 1:
        msg = f"a region of rows, columns and at most one axis of frames is expected, not {dims}"
        raise TypeError(msg)
    order = [
        dims.index(axis) for axis in (*frames, "Y", "X", *(SAMPLES if SAMPLES in dims else ""))
    ]
    ordered = given.transpose(order)
    ordered = ordered if SAMPLES in dims else ordered[..., None]
    ordered = ordered if frames else ordered[None]
    return ordered, ("N" if frames else "") + (SAMPLES if SAMPLES in dims else "")


def _spacing(pixels: Any) -> dict[str, float]:
    """Return the spacing of a region in millimetres, as far as it is known."""
    unit = 1e-3 if getattr(pixels, "spacing_unit", "") == "micrometer" else 1.0
    known = getattr(pixels, "spacing", None) or {}
    return {axis: known[axis] * unit for axis in AXES if known.get(axis)}
