"""What a file is, and its index. Files are recognised by content, never by extension."""

from __future__ import annotations

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio._index import ImageIndex
from regionio.storage import FetchCount, Storage

__all__ = ["read_index"]

# Formats that people hand to an image reader, and what to tell them
OTHER_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "a DICOM file; this version of regionio reads TIFF only"),
    (0, b"\x89PNG", "a PNG picture; use Pillow or imagecodecs"),
    (0, b"\xff\xd8\xff", "a JPEG picture; use Pillow or imagecodecs"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture; use imagecodecs"),
    (0, b"GIF8", "a GIF picture; use Pillow"),
    (0, b"BM", "a BMP picture; use Pillow"),
    (0, b"PK\x03\x04", "a zip archive; unpack it first"),
    (0, b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89HDF", "an HDF5 file; use h5py"),
    (0, b"SQLite format 3", "an SQLite database"),
)


def read_index(storage: Storage, scene: int | str = 0) -> ImageIndex:
    """Read what is known of one image of a file.

    Parameters
    ----------
    storage
        The file.
    scene
        Number or name of the image, in a file that holds several.

    Returns
    -------
    ImageIndex
        No pixel has been read for it.

    Raises
    ------
    UnsupportedFormatError
        The file is not a TIFF, or holds something that regionio does not read.
    CorruptFileError
        It is damaged.
    IndexError, KeyError
        There is no such scene.
    """
    path, size = storage.identity.path, storage.identity.size
    if size == 0:
        msg = f"{path!r} is empty (0 bytes); copy it again from its source"
        raise CorruptFileError(msg)
    from regionio.formats import tiff  # and with it tifffile, at the first file only

    [view] = storage.read([0], [min(size, 256)], FetchCount())
    head = bytes(view)
    if tiff.is_tiff(head):
        return tiff.read_index(storage, scene)
    for start, signature, what in OTHER_SIGNATURES:
        if head[start : start + len(signature)] == signature:
            msg = f"{path!r} is {what}"
            raise UnsupportedFormatError(msg)
    line = head.partition(b"\n")[0][:60].decode("latin-1").strip()
    if line.isascii() and line.isprintable() and len(line) > 8:
        msg = f"{path!r} is no TIFF file, but text ({line!r}): was the real file downloaded?"
        raise UnsupportedFormatError(msg)
    msg = f"{path!r} is no TIFF file: it starts with {head[:8].hex(' ')}"
    raise UnsupportedFormatError(msg)
