"""Opening files, folders and lists of files."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from regionio._errors import UnsupportedFormatError
from regionio._image import Image
from regionio._interpretation import Interpretation
from regionio._opened import open_file
from regionio._parsed_index import OpenRequest

__all__ = ["open"]


def open(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    scene: int | str = 0,
    icc: Literal["srgb"] | None = None,
    values: Literal["auto", "stored", "modality", "display"] = "auto",
    window: tuple[float, float] | int | str | None = None,
    display_bits: Literal[8, 16] = 8,
    frame_order: Literal["geometry", "stored"] = "geometry",
    index_folder: str | os.PathLike[str] | None = None,
) -> Image:
    """Open a slide or a volume.

    Parameters
    ----------
    path
        A TIFF file of any vendor or a DICOM file; a folder of DICOM files; a list of DICOM files.
        What it is is told from its content. With a DICOM file of a slide, the files of the same
        series that lie beside it are opened as its other levels, its label and so on, unless it is
        given as a list of one.
    scene
        Number or name of the image, where there are several (see `Image.scenes`). The series of a
        folder are named by their SeriesInstanceUID.
    icc
        ``"srgb"`` converts RGB pixels from the image's ICC profile to sRGB; None leaves them as
        they are. An image without a profile is taken to be sRGB.
    values
        What pixels of DICOM mean. ``"stored"``: what the file holds, pydicom's raw array.
        ``"auto"``: the same, but colour is RGB. ``"modality"``: float32 after rescale or modality
        LUT, Hounsfield units for instance. ``"display"``: gray levels for the eye, after window or
        VOI LUT, MONOCHROME1 turned so that high is bright, palettes as RGB.
    window
        Of display values: (center, width) in modality units, or the number or explanation of one of
        the file's own windows. None is the file's VOI LUT, else its first window, else all values
        that there can be.
    display_bits
        8 gives display values as uint8, 16 as uint16, over the whole range of either.
    frame_order
        ``"geometry"`` puts the frames of a volume in the order in which they lie in space, where
        the file tells it for all of them; ``"stored"`` leaves them as they are. See
        `Image.frame_indices`.
    index_folder
        A folder in which what is known of the file is saved, and found the next time: large DICOM
        files open in milliseconds. It is never used once a file has changed. The environment
        variable REGIONIO_INDEX_FOLDER gives a default.

    Returns
    -------
    Image
        No pixel has been read yet.

    Raises
    ------
    FileNotFoundError, PermissionError
        There is no such file, or it may not be read.
    UnsupportedFormatError
        It is no image that regionio reads; the message says what it is.
    CorruptFileError
        It is damaged.
    IndexError, KeyError
        There is no such scene.
    TypeError
        It is no path: an open file or bytes in memory, for instance.

    Examples
    --------
    >>> import regionio
    >>> slide = regionio.open("tests/data/CMU-1-Small-Region.svs")
    >>> slide.shape, slide.dims, slide.dtype
    ((2967, 2220, 3), 'YXC', dtype('uint8'))
    >>> slide.spacing("XY"), slide.associated_images
    ((0.499, 0.499), ('thumbnail', 'label', 'macro'))
    """
    if icc not in {None, "srgb"}:
        msg = f"icc is None or 'srgb', not {icc!r}"
        raise ValueError(msg)
    interpretation = Interpretation.of(values, window, display_bits, frame_order)
    folder = index_folder or os.environ.get("REGIONIO_INDEX_FOLDER")
    scene = scene if isinstance(scene, str) else operator.index(scene)
    request = OpenRequest(_absolute(path), scene, interpretation)
    file = open_file(request, None if folder is None else os.fsdecode(folder))
    return Image(file, path=(), icc=icc)


def _absolute(path: Any) -> str | tuple[str, ...]:
    """Return the absolute path or paths of what is opened."""
    if isinstance(path, str | bytes | os.PathLike):
        name = os.fsdecode(path)
        if "://" in name:
            msg = f"{name!r}: remote files are not read yet; copy it to a disk"
            raise UnsupportedFormatError(msg)
        os.stat(name)  # a missing file is told of by the name that the caller gave
        return os.path.abspath(name)
    if hasattr(path, "read") or not isinstance(path, Iterable):
        msg = f"path is a path or a list of paths, not {type(path).__name__}: save it to a file"
        raise TypeError(msg)
    names = list(map(_absolute, path))
    if not names or not all(isinstance(name, str) for name in names):
        msg = f"path is a path or a list of at least one, not {path!r}"
        raise ValueError(msg)
    return tuple(str(name) for name in names)
