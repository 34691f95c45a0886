"""Frames of DICOM files as gray levels or colours, and what has to be remembered of where they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray
from pydicom import dcmread

import regionio
from regionio import Image, UnsupportedFormatError
from regionio._index import ImageIndex
from regionio._transform import GrayTransform, LookupTable
from regionio.preprocess.chain import Frames
from regionio.preprocess.levels import bits_of, extent_of, has_window, spread
from regionio.preprocess.orientation import is_upside_down
from regionio.preprocess.volumes import VolumeHandler, frames_wanted

__all__ = [
    "Origin",
    "PathOrPaths",
    "SourceFrames",
    "file_states",
    "frames_in",
    "index_of",
    "instance_uids",
    "read_frames",
]

AXES = "XYZ"
PathOrPaths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Origin:
    """Where frames come from.

    Parameters
    ----------
    paths
        The file; or the slices of a series, in the order of their numbers.
    study, series
        UIDs; empty where there are none.
    instances
        SOPInstanceUID of each file.
    frames
        Numbers of the frames that were read, counted from 0 over all files.
    frame_count
        How many there are.
    window
        ``"file"``: its own window or table; ``"range"``: from the darkest value of all frames that
        were read to the brightest; (center, width): the caller's; None: colours.
    bits
        Of the levels.
    laterality, view
        Side (L, R) and view (CC, MLO …) of a mammogram or a tomosynthesis, else None.
    number
        InstanceNumber of one file.
    windows
        The distinct windows behind ``"file"`` and (center, width), in the order of frames: center and
        width in modality units, and the function (LINEAR, LINEAR_EXACT, SIGMOID); of a table of gray
        levels (first value, number of values, ``"TABLE"``).
    extent
        The modality values behind ``"range"``: those of level 0 and of the highest level.
    inverted
        Whether the lowest value is white (MONOCHROME1): levels were turned after all that.
    files
        Bytes of each file, and when it was changed last, in nanoseconds since 1970.
    """

    paths: tuple[str, ...]
    study: str
    series: str
    instances: tuple[str, ...]
    frames: tuple[int, ...]
    frame_count: int
    window: Literal["file", "range"] | tuple[float, float] | None
    bits: int
    laterality: str | None = None
    view: str | None = None
    number: int | None = None
    windows: tuple[tuple[float, float, str], ...] = ()
    extent: tuple[float, float] | None = None
    inverted: bool = False
    files: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, eq=False)
class SourceFrames:
    """Frames and their origin.

    Parameters
    ----------
    frames
        The pictures.
    origin
        Where they come from.
    """

    frames: Frames
    origin: Origin


def read_frames(
    files: PathOrPaths,
    handler: VolumeHandler,
    window: tuple[float, float] | None = None,
    num_workers: int | None = None,
    device: str = "cpu",
) -> SourceFrames:
    """Read those frames of a file or a series that a volume handler wants; no others are decoded.

    Parameters
    ----------
    files
        A DICOM file, or the slices of one series.
    handler
        Says which frames.
    window
        (center, width) in modality units, instead of the file's own.
    num_workers, device
        As of `Image.read_region`.

    Raises
    ------
    UnsupportedFormatError
        It is no DICOM, or a whole slide; or files are of several series.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> from regionio.preprocess import Keep
    >>> found = read_frames(get_testdata_file("CT_small.dcm"), Keep())
    >>> found.frames.pixels.shape, found.origin.window, found.origin.extent
    ((1, 128, 128, 1), 'range', (-896.0, 1167.0))
    """
    several = [files] if isinstance(files, (str, os.PathLike)) else files
    names = [os.path.abspath(file) for file in several]
    with regionio.open(names, values="stored") as stored:
        _check(stored, names)
        metadata = stored.metadata  # a copy
        dicom = metadata["dicom"]
        is_gray = index_of(stored).samples == 1  # a palette is one, too
        is_palette = dicom.get("PhotometricInterpretation") == "PALETTE COLOR"
        bits = bits_of(int(dicom.get("BitsStored") or stored.dtype.itemsize * 8))
        inverted = dicom.get("PhotometricInterpretation") == "MONOCHROME1"
        breast = metadata.get("mammography") or {}
    kind: Literal[8, 16] = 8 if bits == 8 else 16
    options: dict[str, Any] = {"num_workers": num_workers, "device": device}
    if not is_gray or is_palette:
        with regionio.open(names, values="display", display_bits=kind) as image:
            pixels, numbers = frames_in(image, handler, options)
            return _made(image, pixels, numbers, dicom, breast, window=None, bits=bits)
    with regionio.open(names, values="display", display_bits=kind, window=window) as image:
        shown = index_of(image).transforms
        if window is not None or has_window(shown):
            pixels, numbers = frames_in(image, handler, options)
            found = _made(image, pixels, numbers, dicom, breast, window=window or "file", bits=bits)
            return _with(found, windows=_windows(shown), inverted=inverted)
    with regionio.open(names, values="modality") as image:
        if len({one.inverted for one in shown if isinstance(one, GrayTransform)}) > 1:
            msg = f"{names[0]!r}: some slices are MONOCHROME1 and some MONOCHROME2: give a window"
            raise UnsupportedFormatError(msg)
        values, numbers = frames_in(image, handler, options)
        extent = extent_of(values)
        pixels = spread(values, bits, extent, inverted=inverted)
        found = _made(image, pixels, numbers, dicom, breast, window="range", bits=bits)
        return _with(found, extent=extent, inverted=inverted)


def _with(found: SourceFrames, **facts: Any) -> SourceFrames:
    return replace(found, origin=replace(found.origin, **facts))


def _windows(transforms: Sequence[Any]) -> tuple[tuple[float, float, str], ...]:
    """Return what `Origin.windows` holds."""
    found: dict[tuple[float, float, str], None] = {}
    for transform in transforms:
        window = transform.window if isinstance(transform, GrayTransform) else None
        if isinstance(window, LookupTable):
            found[float(window.first), float(len(window.values)), "TABLE"] = None
        elif window is not None:
            found[float(window.center), float(window.width), window.function] = None
    return tuple(found)


def index_of(image: Image) -> ImageIndex:
    """Return what is known of an image's frames."""
    return image._index  # noqa: SLF001  how frames lie and what their values mean is not public


def _number(dicom: dict[str, Any]) -> int | None:
    """Return the InstanceNumber, None where it is none of 32 bits, as the standard has it."""
    try:
        number = int(str(dicom.get("InstanceNumber")))
    except ValueError:
        return None
    return number if abs(number) < 2**31 else None


def instance_uids(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the SOPInstanceUID of each file, empty where it has none."""
    wanted = ["SOPInstanceUID"]
    return tuple(
        str(
            dcmread(path, specific_tags=wanted, force=True, stop_before_pixels=True).get(
                wanted[0], ""
            )
        )
        for path in paths
    )


def file_states(paths: Iterable[str | os.PathLike[str]]) -> tuple[tuple[int, int], ...]:
    """Return bytes and time of the last change of each file."""
    states = [os.stat(path) for path in paths]
    return tuple((state.st_size, state.st_mtime_ns) for state in states)


def _check(image: Image, paths: list[str]) -> None:
    """Raise unless an image is one of frames, of DICOM files."""
    path = paths[0]
    if len(image.scenes) > 1:
        msg = (
            f"{path!r} and {len(paths) - 1} more files are {len(image.scenes)} volumes or pictures"
        )
        raise UnsupportedFormatError(msg)
    if "dicom" not in image.metadata:
        msg = f"{path!r} is no DICOM file"
        raise UnsupportedFormatError(msg)
    if len(image.levels) > 1 or index_of(image).levels[0].tiles.plane_tiles > 1:
        msg = f"{path!r} is a whole slide; regionio extract takes patches of slides"
        raise UnsupportedFormatError(msg)


def frames_in(
    image: Image, handler: VolumeHandler, options: dict[str, Any]
) -> tuple[NDArray[Any], list[int]]:
    """Return ``[frames, rows, columns, samples]`` and the frames' numbers in the file.

    Parameters
    ----------
    image
        A picture, a volume or a clip.
    handler
        Says which frames.
    options
        Of `Image.read_region`.
    """
    times, _, depth, _, _ = index_of(image).levels[0].tiles.grid
    count = max(times, depth)
    wanted = frames_wanted(handler, count)
    if times > 1:
        region = image.read_region(t=slice(wanted.start, wanted.stop), **options)
    elif image.is_volume:
        width, height = image.size("XY")
        box = (width, height, len(wanted))
        region = image.read_region((0, 0, wanted.start), box, **options)
    else:
        region = image.read_region(**options)
    array: NDArray[Any] = region.array
    samples = array.shape[-1] if "C" in region.dims else 1
    height, width = image.size("XY")[::-1]
    order = image.frame_indices
    numbers = list(wanted) if order is None else [int(order.reshape(-1)[n]) for n in wanted]
    return array.reshape(-1, height, width, samples), numbers


def _made(
    image: Image,
    pixels: NDArray[Any],
    numbers: list[int],
    dicom: dict[str, Any],
    breast: dict[str, Any],
    *,
    window: Any,
    bits: int,
) -> SourceFrames:
    known = index_of(image).spacing
    spacing = {axis: known[axis] for axis in AXES if axis in known}
    laterality, view = (str(breast.get(name) or "") or None for name in ("laterality", "view"))
    coded = {"ImageLaterality": laterality, "ViewPosition": view}
    sided = {**dicom, **{name: dicom.get(name) or value for name, value in coded.items()}}
    frames = Frames(pixels, spacing, upside_down=is_upside_down(sided))
    times, _, depth, _, _ = index_of(image).levels[0].tiles.grid
    study, series = (str(dicom.get(f"{name}InstanceUID") or "") for name in ("Study", "Series"))
    paths = index_of(image).sources
    instances: tuple[str, ...] = (str(dicom.get("SOPInstanceUID") or ""),)
    if len(paths) > 1:
        instances = instance_uids(paths)
    origin = Origin(
        paths, study, series, instances, tuple(numbers), max(times, depth), window, bits,
        laterality, view, _number(dicom) if len(paths) == 1 else None, files=file_states(paths),
    )  # fmt: skip
    return SourceFrames(frames, origin)
