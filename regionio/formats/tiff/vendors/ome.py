"""OME-TIFF: OME-XML says which page of which file is which plane.

Source: docs.openmicroscopy.org/ome-model (OME-TIFF specification, OME-XML schema 2016-06).
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from tifffile import TiffFile, TiffPage

from regionio._errors import CorruptFileError
from regionio.formats.tiff.draft import FileDraft, LevelDraft, SceneDraft
from regionio.formats.tiff.header import check_directories, is_tiff
from regionio.formats.tiff.markup import as_plain, parse_xml
from regionio.formats.tiff.parsing import parsing
from regionio.formats.tiff.vendors import generic
from regionio.storage import Storage, open_storage

__all__ = ["describe", "recognises"]

ICC_TAG = 34675
MOST_ABSENT = 2**16
"""If more planes are in no file, the XML is taken for damaged."""

MICROMETERS = {
    "m": 1e6,
    "dm": 1e5,
    "cm": 1e4,
    "mm": 1e3,
    "\u00b5m": 1.0,  # micro sign
    "\u03bcm": 1.0,  # Greek mu
    "nm": 1e-3,
    "\u00c5": 1e-4,
    "pm": 1e-6,
    "in": 25_400.0,
    "thou": 25.4,
}
"""Unit of length → µm; lengths in other units ("pixel", "reference frame") say nothing."""


def recognises(tiff: TiffFile) -> bool:
    """Return whether the first page's description is OME-XML."""
    return _holds_ome_xml(tiff.pages.first)


def describe(tiff: TiffFile) -> FileDraft:
    """Images of the OME-XML are scenes, SubIFDs of their planes are levels.

    A file whose OME-XML stands in another one that is missing is read for itself, with a warning.
    """
    missing = _missing_companion(tiff)
    if missing is not None:
        msg = (
            f"{tiff.filehandle.path!r} is one file of an OME-TIFF set that {missing!r} describes; "
            "that is missing beside it, so this file is read for itself"
        )
        warnings.warn(msg, stacklevel=2)
        return generic.describe(tiff)
    files = _FileSet(tiff)
    root = files.description
    scenes = [
        scene for image in root.iterfind("Image") if (scene := _scene(image, files)) is not None
    ]
    return FileDraft("ome-tiff", scenes, {"ome": _metadata(root)})


def _holds_ome_xml(page: TiffPage) -> bool:
    return str(page.description).rstrip("\0 \t\r\n").endswith("OME>")


def _missing_companion(tiff: TiffFile) -> str | None:
    """Return the name of the file that has the OME-XML, if this one has not and it is missing."""
    path = tiff.filehandle.path
    elsewhere = parse_xml(str(tiff.pages.first.description), path).find("BinaryOnly")
    name = "" if elsewhere is None else elsewhere.get("MetadataFile", "")
    return name if name and not os.path.exists(os.path.join(os.path.dirname(path), name)) else None


class _FileSet:
    """The files that hold the planes of one OME-XML, opened when they are asked for.

    Parameters
    ----------
    tiff
        The file that was opened. Those that it names lie next to it.
    """

    def __init__(self, tiff: TiffFile) -> None:
        self.path = tiff.filehandle.path
        name = os.path.basename(self.path)
        self._own = _pyramids(tiff)
        self._pyramids = {name: self._own}
        self.description = parse_xml(str(tiff.pages.first.description), self.path)
        self._uuid = self.description.get("UUID")
        elsewhere = self.description.find("BinaryOnly")
        if elsewhere is not None:
            self.description = self._read_description(elsewhere.get("MetadataFile", ""))

    def pyramids(self, reference: ET.Element | None) -> list[list[TiffPage]]:
        """Return the pages of a file, each with its SubIFDs.

        Parameters
        ----------
        reference
            UUID element that names the file; None is the file that was opened.

        Raises
        ------
        CorruptFileError
            The file is missing.
        """
        if reference is None or (reference.text or "").strip() == self._uuid:
            return self._own
        name = reference.get("FileName", "")
        if name not in self._pyramids:
            with self._storage(name) as storage, _opened(storage) as tiff:
                self._pyramids[name] = _pyramids(tiff)
        return self._pyramids[name]

    def _read_description(self, name: str) -> ET.Element:
        """Return the OME-XML that stands in another file, OME-TIFF or XML alone."""
        with self._storage(name) as storage:
            path = storage.identity.path
            with storage.view() as view:
                head = view.read(4)
            if is_tiff(head):
                with _opened(storage) as tiff:
                    return parse_xml(str(tiff.pages.first.description), path)
            with parsing(path), storage.view() as view:
                return parse_xml(view.read().decode(), path)

    @contextmanager
    def _storage(self, name: str) -> Iterator[Storage]:
        """Open a file of the set, or say that it is missing."""
        folder = os.path.dirname(self.path)
        try:
            if not name:
                raise FileNotFoundError
            storage = open_storage(os.path.join(folder, name))
        except FileNotFoundError:
            msg = (
                f"{self.path!r} is one file of an OME-TIFF set, of which {name!r} is missing in "
                f"{folder!r}; put all files of the set there, under their own names"
            )
            raise CorruptFileError(msg) from None
        try:
            yield storage
        finally:
            storage.close()


@contextmanager
def _opened(storage: Storage) -> Iterator[TiffFile]:
    path = storage.identity.path
    check_directories(storage, ndpi=False)
    with (
        parsing(path),
        storage.view() as view,
        TiffFile(view, name=path, is_ndpi=False, is_scanimage=False) as tiff,
    ):
        yield tiff


def _pyramids(tiff: TiffFile) -> list[list[TiffPage]]:
    """Return each page with its SubIFDs."""
    tiff.pages.useframes = False
    pyramids: list[list[TiffPage]] = []
    for page in tiff.pages:
        assert isinstance(page, TiffPage)
        levels = [sub for sub in page.pages or () if isinstance(sub, TiffPage)]
        pyramids.append([page, *levels])
        # tifffile reads a profile when it is first asked for, which must be before the file closes
        page.tags.valueof(ICC_TAG)
    return pyramids


def _scene(image: ET.Element, files: _FileSet) -> SceneDraft | None:
    """Return one Image, or None where the XML lists no planes of it."""
    pixels = image.find("Pixels")
    blocks = [] if pixels is None else pixels.findall("TiffData")
    if pixels is None or not blocks:
        return None
    pyramids, counts = _planes(pixels, blocks, files)
    levels = {len(pyramid) for pyramid in pyramids if pyramid is not None}
    if len(levels) > 1:
        msg = f"{files.path!r}: planes of one image have {sorted(levels)} levels"
        raise CorruptFileError(msg)
    return SceneDraft(
        [
            LevelDraft([None if p is None else p[level] for p in pyramids], counts)
            for level in range(max(levels, default=0))
        ],
        name=image.get("Name", ""),
        spacing=_spacing(pixels),
        channel_names=_channel_names(pixels),
    )


def _planes(
    pixels: ET.Element, blocks: Sequence[ET.Element], files: _FileSet
) -> tuple[list[list[TiffPage] | None], tuple[int, int, int]]:
    """Return the pages of each plane in (t, plane, z) order, and the sizes along these axes.

    A TiffData names a run of pages, which hold the planes from a given one on, in the order of
    the image's axes. Planes that none of them names are None.
    """
    runs = [_run(block, files) for block in blocks]
    axes = pixels.attrib["DimensionOrder"][:1:-1]  # slowest first, without YX
    sizes = {axis: int(pixels.attrib[f"Size{axis}"]) for axis in axes}
    samples = runs[0][0][0].samplesperpixel
    sizes["C"], rest = divmod(sizes["C"], samples)
    shape = tuple(sizes[axis] for axis in axes)
    total = math.prod(shape)
    named = sum(len(run) for run in runs)
    if rest or min(shape) < 1 or total - named > MOST_ABSENT:
        msg = (
            f"{files.path!r}: the OME-XML says SizeC {pixels.get('SizeC')}, SizeZ "
            f"{pixels.get('SizeZ')}, SizeT {pixels.get('SizeT')}, which does not go with {named} "
            f"pages of {samples} samples"
        )
        raise CorruptFileError(msg)
    planes = np.full(total, None, dtype=object)
    for block, run in zip(blocks, runs, strict=True):
        first = [int(block.get(f"First{axis}", 0)) for axis in axes]
        if any(not 0 <= n < size for n, size in zip(first, shape, strict=True)):
            continue  # what cropping in ImageJ leaves behind
        start = int(np.ravel_multi_index(first, shape))
        for number, pyramid in enumerate(run[: total - start], start):
            planes[number] = pyramid
    ordered = planes.reshape(shape).transpose([axes.index(axis) for axis in "TCZ"])
    return list(ordered.ravel()), (sizes["T"], sizes["C"], sizes["Z"])


def _run(block: ET.Element, files: _FileSet) -> list[list[TiffPage]]:
    """Return the pages that a TiffData names."""
    reference = block.find("UUID")
    pages = files.pyramids(reference)
    ifd = int(block.get("IFD", 0))
    default = 1 if "IFD" in block.attrib else len(pages)
    count = int(block.get("PlaneCount", block.get("NumPlanes", default)))
    if not 0 <= ifd < ifd + count <= len(pages):
        name = "the file" if reference is None else repr(reference.get("FileName"))
        msg = (
            f"{files.path!r}: the OME-XML names {count} pages from page {ifd} on, but {name} has "
            f"{len(pages)}; it is cut short, or the XML belongs to another file"
        )
        raise CorruptFileError(msg)
    return pages[ifd : ifd + count]


def _spacing(pixels: ET.Element) -> dict[str, float]:
    spacing: dict[str, float] = {}
    for axis in "XYZ":
        factor = MICROMETERS.get(pixels.get(f"PhysicalSize{axis}Unit", "\u00b5m"))
        size = float(pixels.get(f"PhysicalSize{axis}", 0))
        if factor is not None and 0 < size < math.inf:
            spacing[axis] = size * factor
    return spacing


def _channel_names(pixels: ET.Element) -> tuple[str, ...]:
    channels = pixels.findall("Channel")
    if not any("Name" in channel.attrib for channel in channels):
        return ()
    return tuple(channel.get("Name") or str(n) for n, channel in enumerate(channels))


def _metadata(root: ET.Element) -> dict[str, Any]:
    """Return images with their pixels and channels, and instruments, without the planes."""
    return {
        **root.attrib,
        "images": [_image_metadata(image) for image in root.iterfind("Image")],
        "instruments": [as_plain(instrument) for instrument in root.iterfind("Instrument")],
    }


def _image_metadata(image: ET.Element) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(image.attrib)
    for child in image:
        if child.tag == "Pixels":
            metadata["pixels"] = dict(child.attrib)
            metadata["channels"] = [as_plain(channel) for channel in child.iterfind("Channel")]
        else:
            metadata[child.tag] = as_plain(child)
    return metadata
