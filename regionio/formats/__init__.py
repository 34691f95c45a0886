"""What a file is, and its index. Files are recognised by content, never by extension."""

from __future__ import annotations

import os
from collections.abc import Sequence

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio._index import ImageIndex
from regionio._interpretation import Interpretation
from regionio.formats.dicom.signature import is_dicom
from regionio.storage import FetchCount, Storage, files_in, open_storage

__all__ = ["is_dicom_file", "read_index"]

HEAD_BYTES = 256
MOST_NAMES = 8

# Formats that people hand to an image reader, and what to tell them
OTHER_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG", "a PNG picture; use Pillow or imagecodecs"),
    (0, b"\xff\xd8\xff", "a JPEG picture; use Pillow or imagecodecs, OpenSlide if it is MIRAX's"),
    (0, b"ZISRAWFILE", "a Zeiss CZI slide; use pylibCZIrw, or save it as OME-TIFF"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture; use imagecodecs"),
    (0, b"GIF8", "a GIF picture; use Pillow"),
    (0, b"BM", "a BMP picture; use Pillow"),
    (0, b"PK\x03\x04", "a zip archive; unpack it first"),
    (0, b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89HDF", "an HDF5 file; use h5py"),
    (0, b"SQLite format 3", "an SQLite database"),
)


def read_index(
    path: str | tuple[str, ...], scene: int | str, interpretation: Interpretation
) -> ImageIndex:
    """Read what is known of one image of a file, a folder or several files.

    Parameters
    ----------
    path
        Absolute path of a file or a folder, or of several files.
    scene
        Number or name of the image, where there are several.
    interpretation
        What the caller wants to see of the frames of DICOM.

    Returns
    -------
    ImageIndex
        No pixel has been read for it.

    Raises
    ------
    UnsupportedFormatError
        It is neither TIFF nor DICOM, or holds something that regionio does not read.
    CorruptFileError
        It is damaged.
    IndexError, KeyError
        There is no such scene.
    """
    if isinstance(path, tuple):
        head = _head(path[0])
        if len(path) > 1 and head.startswith((b"II", b"MM")) and not is_dicom(head):
            msg = f"{path[0]!r} is a TIFF; a list is of DICOM files: open TIFFs one by one"
            raise UnsupportedFormatError(msg)
        if len(path) > 1 or is_dicom(head):
            return _dicom(path, scene, interpretation)
        path = path[0]
    elif os.path.isdir(path):
        return _folder(path, scene, interpretation)
    elif is_dicom_file(path):
        from regionio.formats import dicom

        return dicom.read_with_siblings(path, scene, interpretation)
    if interpretation != Interpretation(interpretation.values) or interpretation.values not in {
        "auto",
        "stored",
    }:
        msg = (
            f"{path!r}: values=, window= and frame_order= are for DICOM, which tells what they need"
        )
        raise UnsupportedFormatError(msg)
    storage = open_storage(path)
    try:
        return _other_file(storage, scene)
    finally:
        storage.close()


def is_dicom_file(path: str) -> bool:
    """Return whether a file begins as DICOM does."""
    return is_dicom(_head(path))


def _head(path: str) -> bytes:
    """Return the first bytes of a file."""
    storage = open_storage(path)
    try:
        size = min(storage.identity.size, HEAD_BYTES)
        return bytes(storage.read([0], [size], FetchCount())[0]) if size else b""
    finally:
        storage.close()


def _dicom(
    paths: Sequence[str], scene: int | str, interpretation: Interpretation, folder: str = ""
) -> ImageIndex:
    from regionio.formats import dicom  # and with it pydicom, at the first file only

    return dicom.read_index(paths, scene, interpretation, folder=folder)


def _folder(folder: str, scene: int | str, interpretation: Interpretation) -> ImageIndex:
    """Read the DICOM files of a folder; what else is there is left alone."""
    files = files_in(folder)
    paths = [path for path in files if is_dicom_file(path)]
    if not paths:
        names = ", ".join(os.path.basename(path) for path in files[:MOST_NAMES]) or "no file"
        more = f" and {len(files) - MOST_NAMES} more" if len(files) > MOST_NAMES else ""
        msg = (
            f"{folder!r} is a folder without DICOM files of its own: it has {names}{more}; give the "
            "path of a file, or of the folder that holds the files of a series"
        )
        raise UnsupportedFormatError(msg)
    return _dicom(paths, scene, interpretation, folder)


def _other_file(storage: Storage, scene: int | str) -> ImageIndex:
    """Read a file that is no DICOM."""
    path, size = storage.identity.path, storage.identity.size
    if size == 0:
        msg = f"{path!r} is empty (0 bytes); copy it again from its source"
        raise CorruptFileError(msg)
    from regionio.formats import tiff  # and with it tifffile, at the first file only

    [view] = storage.read([0], [min(size, HEAD_BYTES)], FetchCount())
    head = bytes(view)
    if tiff.is_tiff(head):
        return tiff.read_index(storage, scene)
    for start, signature, what in OTHER_SIGNATURES:
        if head[start : start + len(signature)] == signature:
            msg = f"{path!r} is {what}"
            raise UnsupportedFormatError(msg)
    line = head.partition(b"\n")[0][:60].decode("latin-1").strip()
    if line.isascii() and line.isprintable() and len(line) > 8:
        msg = (
            f"{path!r} is no TIFF or DICOM file, but text ({line!r}): was the real file downloaded?"
        )
        raise UnsupportedFormatError(msg)
    msg = f"{path!r} is no TIFF or DICOM file: it starts with {head[:8].hex(' ')}"
    raise UnsupportedFormatError(msg)
