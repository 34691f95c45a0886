"""Frame tables of files that are TIFF, too: their directories say where every tile is.

Source: DICOM PS3.10, 7.1 (the preamble may begin another format); TIFF 6.0, section 15 (tiles).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regionio._errors import RegionIOError
from regionio.formats.dicom.header import Header
from regionio.formats.tiff.header import check_directories, is_tiff
from regionio.formats.tiff.parsing import parsing
from regionio.storage import FetchCount

__all__ = ["tile_ranges"]

HEAD_BYTES = 16


def tile_ranges(header: Header, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return offsets and sizes of a file's frames by its TIFF directories.

    Parameters
    ----------
    header
        Of the file.
    count
        Number of frames.

    Returns
    -------
    tuple or None
        ``int64[count]`` each; None where the file is no TIFF, or no directory has so many tiles of
        the frames' size, or the directories are damaged.
    """
    storage = header.storage
    [head] = storage.read([0], [min(HEAD_BYTES, storage.identity.size)], FetchCount())
    if not is_tiff(bytes(head)):
        return None
    from tifffile import TiffFile, TiffPage

    shape = header.number("Rows"), header.number("Columns")
    try:
        check_directories(storage, ndpi=False)
        with storage.view() as view, parsing(header.path), TiffFile(view) as tiff:
            for page in tiff.pages:
                if not isinstance(page, TiffPage):
                    continue
                found = (page.tilelength, page.tilewidth), len(page.dataoffsets)
                if found == (shape, count):
                    offsets, sizes = page.dataoffsets, page.databytecounts
                    return np.array(offsets, np.int64), np.array(sizes, np.int64)
    except RegionIOError:
        pass  # the items tell it as well
    return None
