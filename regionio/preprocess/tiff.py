"""Preprocessed frames as TIFF, with what is needed to find places of the source in them.

Source: TIFF 6.0; Adobe DNG 1.6 for DefaultScale, DefaultCropOrigin, DefaultCropSize and ActiveArea;
medcognetics/dicom-preprocessing 0.1, whose tags these are.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio._version import __version__
from regionio.formats.tiff.vendors.preprocessed import KEY, ORIGINAL_NAME
from regionio.preprocess.chain import Preprocessed, Preprocessor
from regionio.preprocess.source import Origin
from regionio.preprocess.transform import Transform

__all__ = [
    "COMPRESSORS",
    "ORIGINAL_SOFTWARE",
    "Compressor",
    "Provenance",
    "check_whole",
    "plain_steps",
    "provenance_in",
    "provenance_of",
    "provenance_of_whole",
    "write_pages",
    "write_tiff",
]

Compressor: TypeAlias = Literal[
    "packbits", "lzw", "uncompressed", "deflate", "zstd", "jpeg2000", "htj2k"
]
COMPRESSORS: tuple[Compressor, ...] = get_args(Compressor)

DESCRIPTION, PAGE_NUMBER, SOFTWARE = 270, 297, 305
DEFAULT_SCALE, DEFAULT_CROP_ORIGIN, DEFAULT_CROP_SIZE, ACTIVE_AREA = 50718, 50719, 50720, 50829
SHORT, LONG, RATIONAL = 3, 4, 5

PREDICTED = {"lzw", "deflate", "zstd"}
JPEG_2000 = 34712
_prepared: set[np.dtype[Any]] = set()
_preparing = threading.Lock()


def _encode_htj2k(page: NDArray[Any]) -> bytes | bytearray:
    with (
        _preparing
    ):  # OpenJPH fills its tables at the first call; two at a time write wrong streams
        if page.dtype not in _prepared:
            imagecodecs.htj2k_encode(np.zeros((8, 8), page.dtype), reversible=True)
            _prepared.add(page.dtype)
    encoded: bytes | bytearray = imagecodecs.htj2k_encode(page, reversible=True)
    return encoded


WAVELETS: dict[str, Callable[[NDArray[Any]], bytes | bytearray]] = {
    "jpeg2000": lambda page: imagecodecs.jpeg2k_encode(
        page, level=0, codecformat="j2k", reversible=True
    ),
    "htj2k": _encode_htj2k,
}
"""Both lossless."""

CLASSIC_BYTES = 2**32 - 2**25
"""A file that may become larger is a BigTIFF."""

LARGEST_GROWTH = 1.5
"""Of noise, which LZW makes larger."""

STRIP_BYTES = 2**18

ORIGINAL_SOFTWARE = ORIGINAL_NAME + b"==0.1.2\0"
"""By which TIFFs of the original, and those that are made as it makes them, are known."""


@dataclass(frozen=True)
class Provenance:
    """The whole way from a DICOM file to a TIFF.

    Parameters
    ----------
    origin
        Where frames come from.
    steps
        The arguments of the `Preprocessor`.
    transform
        From places in the source to places in the TIFF, and back.
    spacing
        Axis letter → millimetres from one pixel, or page, to the next, as far as they are known.
    places
        Of each page, where it lies among `Origin.frames`, counted from 0; None: it is made of all.
    compressor
        How pages are compressed.
    version
        Of regionio.
    """

    origin: Origin
    steps: dict[str, Any]
    transform: Transform
    spacing: dict[str, float] = field(default_factory=dict)
    places: tuple[float, ...] | None = None
    compressor: str = ""
    version: str = __version__

    @classmethod
    def of(
        cls, origin: Origin, steps: Preprocessor, made: Preprocessed, compressor: str
    ) -> Provenance:
        """Return what is to be remembered."""
        stated = plain_steps(steps)
        return cls(origin, stated, made.transform, made.spacing, made.places, compressor)

    def to_json(self) -> str:
        """Return it as JSON."""
        stored = {
            "origin": asdict(self.origin),
            "steps": self.steps,
            "transform": self.transform.to_dict(),
            "spacing": self.spacing,
            "places": self.places,
            "compressor": self.compressor,
            "version": self.version,
        }
        return json.dumps({KEY: stored}, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """Return what `to_json` was called of.

        Raises
        ------
        ValueError, KeyError
            It was of something else.
        """
        stored = json.loads(text)[KEY]
        lists = {name: _tuples(value) for name, value in stored["origin"].items()}
        places = stored["places"]
        return cls(
            Origin(**lists),
            stored["steps"],
            Transform.from_dict(stored["transform"]),
            stored["spacing"],
            None if places is None else tuple(places),
            stored["compressor"],
            stored["version"],
        )


def plain_steps(steps: Preprocessor) -> dict[str, Any]:
    """Return the arguments of a preprocessor as `Provenance.steps` has them."""
    stated: dict[str, Any] = json.loads(json.dumps(asdict(steps)))
    return stated


def _tuples(value: Any) -> Any:
    """Return what JSON has made lists of."""
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def write_tiff(
    path: str | os.PathLike[str],
    result: Preprocessed,
    provenance: Provenance,
    compressor: Compressor = "packbits",
) -> None:
    """Write frames, one a page; the file has its name only when it is whole.

    Parameters
    ----------
    path
        Where to.
    result
        The frames.
    provenance
        Goes into the first page's description, as JSON.
    compressor
        How pages are compressed.

    Examples
    --------
    >>> import tempfile
    >>> from pydicom.data import get_testdata_file
    >>> from regionio.preprocess import Preprocessor, read_frames
    >>> steps = Preprocessor(size=(64, 64))
    >>> found = read_frames(get_testdata_file("CT_small.dcm"), steps.volume_handler)
    >>> made = steps.process(found.frames)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_tiff(f"{folder}/ct.tiff", made, Provenance.of(found.origin, steps, made, "packbits"))
    ...     provenance_of(f"{folder}/ct.tiff").transform == made.transform
    True
    """
    pixels = result.pixels if result.pixels.shape[3] > 1 else result.pixels[..., 0]
    pages = (
        {
            **_page(page, compressor),
            "description": provenance.to_json() if number == 0 else None,
            "extratags": _tags(result, number),
            **_resolution(result.spacing),
        }
        for number, page in enumerate(pixels)
    )
    write_pages(path, pages, is_big=result.pixels.nbytes * LARGEST_GROWTH > CLASSIC_BYTES)


def write_pages(
    path: str | os.PathLike[str],
    pages: Iterable[dict[str, Any]],
    *,
    is_big: bool,
    byteorder: Literal["<", ">"] | None = None,
) -> None:
    """Write pages to a file that has its name only when it is whole.

    Parameters
    ----------
    path
        Where to.
    pages
        The arguments of `TiffWriter.write` for each.
    is_big
        Write a BigTIFF.
    byteorder
        Of the file; None is that of this machine.
    """
    folder, name = os.path.split(os.fspath(path))
    _remove_left(folder, name)
    part = os.path.join(folder, f".{name}.{_process()}.{secrets.token_hex(4)}.partial")
    try:
        with tifffile.TiffWriter(part, bigtiff=is_big, byteorder=byteorder) as file:
            for page in pages:
                file.write(**page, metadata=None, software=False)
        os.replace(part, path)
    except BaseException:
        if os.path.exists(part):
            os.remove(part)
        raise


def _process(number: int | None = None) -> str:
    """Return a name for a process of this machine, this one's by default."""
    return f"{platform.node()}-{os.getpid() if number is None else number}"


def _remove_left(folder: str, name: str) -> None:
    """Remove what processes of this machine have left of a file when they were killed."""
    pattern = re.compile(rf"\.{re.escape(name)}\.{re.escape(platform.node())}-(\d+)\.\w+\.partial")
    for entry in os.listdir(folder or "."):
        found = pattern.fullmatch(entry)
        if found and not _is_alive(int(found[1])):
            with suppress(OSError):
                os.remove(os.path.join(folder, entry))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _page(page: NDArray[Any], compressor: Compressor) -> dict[str, Any]:
    """Return a page and how tifffile is told to encode it."""
    common: dict[str, Any] = {"photometric": "rgb" if page.ndim == 3 else "minisblack"}
    encode = WAVELETS.get(compressor)
    if encode is not None:  # one strip
        stated = {"shape": page.shape, "dtype": page.dtype, "rowsperstrip": len(page)}
        stream = encode(np.ascontiguousarray(page))
        return {**common, **stated, "data": iter([stream]), "compression": JPEG_2000}
    rows = max(1, min(len(page), STRIP_BYTES // max(1, page[0].nbytes)))
    if compressor != "uncompressed":
        common["compression"] = compressor
    predictor = 2 if compressor in PREDICTED else None
    return {**common, "data": page, "rowsperstrip": rows, "predictor": predictor}


def _resolution(spacing: dict[str, float]) -> dict[str, Any]:
    """Return pixels a centimetre, as far as they are known."""
    if not {"X", "Y"} <= spacing.keys():
        return {}
    across, down = 10 / spacing["X"], 10 / spacing["Y"]
    if not all(1e-5 < value < 1e9 for value in (across, down)):  # no such fractions of 32 bits
        return {}
    return {"resolution": (across, down), "resolutionunit": "CENTIMETER"}


def _tags(result: Preprocessed, number: int) -> list[tuple[int, int, int, Any, bool]]:
    transform = result.transform
    crop, padding, (width, height) = transform.crop, transform.padding, transform.size
    scale = [part for value in transform.scale for part in _rational(value)]
    area = (padding.top, padding.left, padding.top + height, padding.left + width)
    total = min(len(result.pixels), 65535)
    software = f"regionio {__version__}"
    return [
        (PAGE_NUMBER, SHORT, 2, (min(number, 65535), total), False),
        (SOFTWARE, 2, len(software) + 1, software, False),
        (DEFAULT_SCALE, RATIONAL, 2, tuple(scale), False),
        (DEFAULT_CROP_ORIGIN, LONG, 2, (crop.left, crop.top), False),
        (DEFAULT_CROP_SIZE, LONG, 2, (crop.width, crop.height), False),
        (ACTIVE_AREA, LONG, 4, area, False),
    ]


def _rational(value: float) -> tuple[int, int]:
    """Return a fraction near a value, of integers of 32 bits."""
    denominator = 2**20
    while value * denominator >= 2**32:
        denominator //= 2
    return round(value * denominator), denominator


def provenance_of(path: str | os.PathLike[str], page: int = 0) -> Provenance:
    """Return how a TIFF was made.

    Parameters
    ----------
    path
        Of a TIFF that `write_tiff` has written.
    page
        Of one that `regionio combine` has written: each slice has its own crop and padding. Other
        TIFFs have it in the first page only.

    Raises
    ------
    UnsupportedFormatError
        It was written by something else, or the page says nothing.
    """
    with tifffile.TiffFile(os.fspath(path)) as file:
        description = file.pages[page].aspage().tags.valueof(DESCRIPTION) or ""
        return provenance_in(str(description), os.fspath(path))


def provenance_of_whole(path: str | os.PathLike[str]) -> Provenance | None:
    """Return how a TIFF was made, None if as the original does it, which does not tell.

    Raises
    ------
    CorruptFileError, UnsupportedFormatError
        It was cut short, or written by something else.
    """
    with tifffile.TiffFile(os.fspath(path)) as file:
        check_whole(file)
        page = file.pages.first
        tag = page.tags.get(SOFTWARE)
        value = b"" if tag is None else tag.value
        software = value.encode() if isinstance(value, str) else bytes(value)
        if software.startswith(ORIGINAL_NAME):
            return None
        return provenance_in(page.description, os.fspath(path))


def check_whole(file: tifffile.TiffFile) -> None:
    """Raise where a TIFF was cut short, as its last page tells.

    Raises
    ------
    CorruptFileError
        It was.
    """
    last: Any = file.pages[-1]
    ends = (
        offset + size for offset, size in zip(last.dataoffsets, last.databytecounts, strict=True)
    )
    end, size = max(ends, default=0), file.filehandle.size
    if end > size:
        msg = f"{file.filehandle.path!r} was cut short: its pages end at {end}, it has {size} bytes"
        raise CorruptFileError(msg)


def provenance_in(description: str, path: str) -> Provenance:
    """Return how a TIFF was made, by its description; raises as `provenance_of`."""
    try:
        return Provenance.from_json(description)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path!r} does not say how it was made: it is not one of regionio preprocess"
        raise UnsupportedFormatError(msg) from error
