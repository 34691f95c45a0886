"""The ways of medcognetics/dicom-preprocessing 0.1, for what was trained on its output.

What differs: without a window, each frame is spread from its own darkest value to its own brightest;
levels and frames in between are rounded down; the tag DefaultCropOrigin holds the crop's centre,
ActiveArea what was added as padding (left, top, right, bottom), DefaultScale floats; the resolution
is cut to whole tenths of a pixel a millimetre; nothing tells how a file was made. As ever, no more
frames are read than are wanted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import regionio
from regionio import UnsupportedFormatError
from regionio._index import ImageIndex
from regionio._transform import GrayTransform, Window
from regionio.preprocess.chain import Preprocessed, Preprocessor
from regionio.preprocess.crop import Box, CropOptions, content_box, union
from regionio.preprocess.laplacian import LaplacianMip
from regionio.preprocess.levels import extent_of, has_window, spread, windowed_down
from regionio.preprocess.source import (
    PathOrPaths,
    SourceFrames,
    described,
    frame_count,
    frames_in,
    index_of,
    read_frames,
    source_frames,
)
from regionio.preprocess.tiff import ORIGINAL_SOFTWARE, Compressor, Provenance, write_pages
from regionio.preprocess.volumes import Interpolate, VolumeHandler, frames_wanted, interpolated

__all__ = [
    "OriginalInterpolate",
    "OriginalLaplacianMip",
    "OriginalPreprocessor",
    "read_frames_as_original",
    "write_tiff_as_original",
]

COMPRESSIONS: dict[str, str | None] = {"packbits": "packbits", "lzw": "lzw", "uncompressed": None}
STRIP_BYTES = 10**6
PRIVATE = 65000
BYTE, SHORT, LONG, FLOAT = 1, 3, 4, 11


@dataclass(frozen=True)
class OriginalInterpolate(Interpolate):
    """A number of frames, evenly spread, rounded down."""

    def __call__(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return frames in between."""
        return interpolated(frames, self.target_frames, rounded=False)


@dataclass(frozen=True)
class OriginalLaplacianMip(LaplacianMip):
    """A mammogram of frames, in coarse steps of difference, rounded down."""

    range_steps: int | None = 2048

    def _whole(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        whole: NDArray[np.float32] = np.floor(levels)
        return whole


class OriginalPreprocessor(Preprocessor):
    """Frames at a spacing are rounded down, and the crop of a blank one is all of it."""

    def _interpolated(self, pixels: NDArray[Any], count: int) -> NDArray[Any]:
        return interpolated(pixels, count, rounded=False)

    def _content(self, pixels: NDArray[Any], options: CropOptions) -> Box:
        height, width = pixels.shape[1:3]
        whole = Box(0, 0, width, height)
        return union(content_box(frame, options) or whole for frame in pixels)


def read_frames_as_original(
    files: PathOrPaths,
    handler: VolumeHandler,
    window: tuple[float, float] | None = None,
    num_workers: int | None = None,
    device: str = "cpu",
) -> SourceFrames:
    """Read frames with levels that are rounded down; parameters as of `read_frames`.

    Raises
    ------
    ValueError
        On a GPU there is no such thing.
    """
    if device != "cpu":
        msg = f"the original's ways are the CPU's, not those of {device!r}"
        raise ValueError(msg)
    about = described(files)
    if about.is_color:
        return read_frames(files, handler, window, num_workers)
    options = {"num_workers": num_workers, "device": device}
    with regionio.open(about.names, values="display", window=window) as image:
        index = index_of(image)
    with regionio.open(about.names, values="modality") as image:
        values, numbers = frames_in(image, handler, options)
        levels = [
            _levels(frame, _transform(index, number), window, about.bits)
            for number, frame in zip(
                frames_wanted(handler, frame_count(image)), values, strict=True
            )
        ]
        kind: Literal["file", "range"] = "file" if has_window(index.transforms) else "range"
        shown = index.transforms if window or kind == "file" else ()
        return source_frames(image, np.stack(levels), numbers, about, window or kind, shown)


def _transform(index: ImageIndex, frame: int) -> GrayTransform:
    """Return how a frame's values become gray levels."""
    numbers = index.levels[0].tiles.transform
    transform = index.transforms[0 if numbers is None else int(numbers[frame])]
    assert isinstance(transform, GrayTransform)
    return transform


def _levels(
    values: NDArray[np.float32],
    transform: GrayTransform,
    window: tuple[float, float] | None,
    bits: int,
) -> NDArray[Any]:
    """Return the gray levels of one frame."""
    given = transform.window if window is None else Window(*window)
    if given is None:
        extent = extent_of(values)
        return spread(values, bits, extent, inverted=transform.inverted, rounded=False)
    return windowed_down(values, given, bits, inverted=transform.inverted)


def write_tiff_as_original(
    path: str | os.PathLike[str],
    result: Preprocessed,
    provenance: Provenance,  # noqa: ARG001  the original does not write it
    compressor: Compressor = "packbits",
) -> None:
    """Write frames with the original's tags; parameters as of `write_tiff`.

    Raises
    ------
    UnsupportedFormatError
        The original writes no such pixels, or does not compress like that.
    """
    pixels = result.pixels if result.pixels.shape[3] > 1 else result.pixels[..., 0]
    is_color = pixels.ndim == 4
    if compressor not in COMPRESSIONS or (is_color and pixels.dtype != np.uint8):
        msg = f"the original writes no {pixels.dtype} in colour" if is_color else (
            f"the original does not compress by {compressor}"
        )  # fmt: skip
        raise UnsupportedFormatError(msg)
    pages = (
        {
            "data": page,
            "photometric": "rgb" if is_color else "minisblack",
            "compression": COMPRESSIONS[compressor],
            "rowsperstrip": 1 if compressor == "packbits" else _rows(page),
            "extratags": _tags(result),
            **_resolution(result.spacing),
        }
        for page in pixels
    )
    write_pages(path, pages, is_big=False)


def _rows(page: NDArray[Any]) -> int:
    rows = STRIP_BYTES // max(1, int(page[0].nbytes))
    return max(1, min(len(page), rows))


def _resolution(spacing: dict[str, float]) -> dict[str, Any]:
    if not {"X", "Y"} <= spacing.keys():
        return {}
    across, down = (int(10 / spacing[axis]) for axis in "XY")
    return {"resolution": ((across, 1), (down, 1)), "resolutionunit": "CENTIMETER"}


def _tags(result: Preprocessed) -> list[tuple[int, int, int, Any, bool]]:
    transform = result.transform
    crop, padding = transform.crop, transform.padding
    center = crop.left + crop.width // 2, crop.top + crop.height // 2
    added = padding.left, padding.top, padding.right, padding.bottom
    turned = int(transform.upside_down)
    return [
        (297, SHORT, 2, (0, len(result.pixels)), False),
        (305, BYTE, len(ORIGINAL_SOFTWARE), ORIGINAL_SOFTWARE, False),
        (50718, FLOAT, 2, transform.scale, False),
        (50719, LONG, 2, center, False),
        (50720, LONG, 2, (crop.width, crop.height), False),
        (50829, LONG, 4, added, False),
        (PRIVATE, LONG, 4, (*transform.source, turned, turned), False),
    ]
