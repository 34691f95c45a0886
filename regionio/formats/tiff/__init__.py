"""TIFF and BigTIFF of every vendor: parsed by tifffile, understood by one small module a vendor."""

from __future__ import annotations

from tifffile import TiffFile

from regionio._errors import CorruptFileError
from regionio._index import ImageIndex
from regionio.formats.tiff.build import build_index, scene_number
from regionio.formats.tiff.header import check_directories, is_ndpi, is_tiff
from regionio.formats.tiff.parsing import parsing
from regionio.formats.tiff.vendors import describe
from regionio.storage import Storage

__all__ = ["is_tiff", "read_index"]


def read_index(storage: Storage, scene: int | str) -> ImageIndex:
    """Read the index of one scene of a TIFF.

    Parameters
    ----------
    storage
        The file.
    scene
        Number or name.

    Raises
    ------
    UnsupportedFormatError, CorruptFileError
        As `regionio.formats.read_index`.
    IndexError, KeyError
        There is no such scene.
    """
    path = storage.identity.path
    ndpi = is_ndpi(storage)  # tifffile must be told
    check_directories(storage, ndpi=ndpi)
    with storage.view() as view:
        with parsing(path):
            # tifffile makes up frames of ScanImage files to the end of the file
            tiff = TiffFile(view, name=path, is_ndpi=ndpi, is_scanimage=False)
        with tiff:
            with parsing(path):
                draft = describe(tiff)
                if not draft.scenes:
                    msg = f"{path!r} holds no image"
                    raise CorruptFileError(msg)
            number = scene_number(draft, scene, path)
            with parsing(path):
                return build_index(tiff, draft, number, path)
