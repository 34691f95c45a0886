"""Frames of DICOM files as gray levels or colours, and what has to be remembered of where they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray
from pydicom import dcmread

import regionio
from regionio import Image, UnsupportedFormatError
from regionio._index import ImageIndex
from regionio._transform import GrayTransform, LookupTable
from regionio.formats.dicom.instance import SLIDE_CLASS
from regionio.preprocess.chain import Frames
from regionio.preprocess.levels import bits_of, extent_of, has_window, spread
from regionio.preprocess.orientation import is_upside_down
from regionio.preprocess.volumes import VolumeHandler, frames_wanted

__all__ = [
    "Described",
    "Origin",
    "PathOrPaths",
    "SourceFrames",
    "described",
    "file_states",
    "frame_count",
    "frames_in",
    "index_of",
    "instance_uids",
    "read_frames",
    "source_frames",
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
    about = described(files)
    kind: Literal[8, 16] = 8 if about.bits == 8 else 16
    options: dict[str, Any] = {"num_workers": num_workers, "device": device}
    if about.is_color:
        with regionio.open(about.names, values="display", display_bits=kind) as image:
            pixels, numbers = frames_in(image, handler, options)
            return source_frames(image, pixels, numbers, about, None)
    with regionio.open(about.names, values="display", display_bits=kind, window=window) as image:
        shown = index_of(image).transforms
        if window is not None or has_window(shown):
            pixels, numbers = frames_in(image, handler, options)
            return source_frames(image, pixels, numbers, about, window or "file", shown)
    if len({one.inverted for one in shown if isinstance(one, GrayTransform)}) > 1:
        msg = f"{about.names[0]!r}: some slices are MONOCHROME1 and some MONOCHROME2: give a window"
        raise UnsupportedFormatError(msg)
    with regionio.open(about.names, values="modality") as image:
        values, numbers = frames_in(image, handler, options)
        extent = extent_of(values)
        pixels = spread(values, about.bits, extent, inverted=about.inverted)
        return source_frames(image, pixels, numbers, about, "range", extent=extent)


@dataclass(frozen=True)
class Described:
    """What files say of their pictures.

    Parameters
    ----------
    names
        Absolute paths.
    dicom, breast
        Attributes by keyword, and what is known of a mammogram.
    bits
        Of gray levels.
    is_color
        Whether there are colours, a palette's too.
    inverted
        As of `Origin`.
    """

    names: list[str]
    dicom: dict[str, Any]
    breast: dict[str, Any]
    bits: int
    is_color: bool
    inverted: bool


def described(files: PathOrPaths) -> Described:
    """Return what files say; parameters and errors as of `read_frames`."""
    several = [files] if isinstance(files, (str, os.PathLike)) else files
    names = [os.path.abspath(file) for file in several]
    with regionio.open(names, values="stored") as stored:
        _check(stored, names)
        metadata = stored.metadata  # a copy
        dicom = metadata["dicom"]
        photometric = dicom.get("PhotometricInterpretation")
        return Described(
            names,
            dicom,
            metadata.get("mammography") or {},
            bits_of(int(dicom.get("BitsStored") or stored.dtype.itemsize * 8)),
            is_color=index_of(stored).samples != 1 or photometric == "PALETTE COLOR",
            inverted=photometric == "MONOCHROME1",
        )


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


def frame_count(image: Image) -> int:
    """Return how many frames there are, along Z or in time."""
    times, _, depth, _, _ = index_of(image).levels[0].tiles.grid
    return int(max(times, depth))


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
    index = index_of(image)  # `Image.metadata` is a copy
    attributes = index.metadata.get("dicom")
    if attributes is None:
        msg = f"{path!r} is no DICOM file"
        raise UnsupportedFormatError(msg)
    if str(attributes.get("SOPClassUID")) == SLIDE_CLASS:
        msg = f"{path!r} is a whole slide, or its label; regionio extract takes patches"
        raise UnsupportedFormatError(msg)
    if len(index.levels) > 1 or index.levels[0].tiles.plane_tiles > 1:
        msg = f"{path!r} is a whole slide; regionio extract takes patches of slides"
        raise UnsupportedFormatError(msg)
    times, _, depth = index.levels[0].tiles.grid[:3]
    if times > 1 and depth > 1:
        msg = (
            f"{path!r} is a volume at {times} times, and one is preprocessed: write each by "
            "regionio read --t N --depth 0, or process arrays by regionio.preprocess"
        )
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
    times = index_of(image).levels[0].tiles.grid[0]
    wanted = frames_wanted(handler, frame_count(image))
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


def source_frames(
    image: Image,
    pixels: NDArray[Any],
    numbers: list[int],
    about: Described,
    window: Literal["file", "range"] | tuple[float, float] | None,
    shown: Sequence[Any] = (),
    *,
    extent: tuple[float, float] | None = None,
) -> SourceFrames:
    """Return frames and their origin.

    Parameters
    ----------
    image
        That they were read from.
    pixels
        Gray levels or colours.
    numbers
        Of the frames.
    about
        What the files say.
    window, extent
        As of `Origin`.
    shown
        The transforms that have the windows.
    """
    dicom, breast = about.dicom, about.breast
    known = index_of(image).spacing
    spacing = {axis: known[axis] for axis in AXES if axis in known}
    laterality, view = (str(breast.get(name) or "") or None for name in ("laterality", "view"))
    coded = {"ImageLaterality": laterality, "ViewPosition": view}
    sided = {**dicom, **{name: dicom.get(name) or value for name, value in coded.items()}}
    frames = Frames(pixels, spacing, upside_down=is_upside_down(sided))
    study, series = (str(dicom.get(f"{name}InstanceUID") or "") for name in ("Study", "Series"))
    paths = index_of(image).sources
    instances: tuple[str, ...] = (str(dicom.get("SOPInstanceUID") or ""),)
    if len(paths) > 1:
        instances = instance_uids(paths)
    origin = Origin(
        paths, study, series, instances, tuple(numbers), frame_count(image), window, about.bits,
        laterality, view, _number(dicom) if len(paths) == 1 else None, _windows(shown), extent,
        inverted=about.inverted and not about.is_color, files=file_states(paths),
    )  # fmt: skip
    return SourceFrames(frames, origin)
