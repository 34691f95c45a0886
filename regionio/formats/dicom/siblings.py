"""The files of a slide's series that lie beside one of them."""

from __future__ import annotations

import warnings

from regionio._errors import RegionIOError
from regionio.formats.dicom.header import read_header, read_series
from regionio.formats.dicom.instance import SLIDE_CLASS, Instance
from regionio.formats.dicom.kinds import check_image
from regionio.formats.dicom.signature import HEAD_BYTES, is_dicom
from regionio.storage import FetchCount, files_in, open_storage

__all__ = ["read_instance", "siblings_of"]


def read_instance(path: str) -> Instance:
    """Read what a file is.

    Raises
    ------
    UnsupportedFormatError
        It is no image.
    CorruptFileError
        It is damaged.
    """
    storage = open_storage(path)
    try:
        header = read_header(storage)
        check_image(header)
        return Instance(header)
    finally:
        storage.close()


def siblings_of(asked: Instance, folder: str) -> list[Instance]:
    """Return the other files of a slide's series in a folder.

    One that is damaged is left out with a warning, if it says at least that it is of the series.
    """
    found: list[Instance] = []
    for path in files_in(folder):
        if path == asked.path or not _is_of_series(path, asked.series):
            continue
        try:
            instance = read_instance(path)
            instance.check()
        except RegionIOError as error:
            warnings.warn(f"left out beside {asked.path!r}: {error}", stacklevel=2)
            continue
        found.append(instance)
    return found


def _is_of_series(path: str, series: str) -> bool:
    """Return whether a file is of a slide's series, False where it can't be read."""
    try:
        storage = open_storage(path)
        try:
            size = min(storage.identity.size, HEAD_BYTES)
            head = bytes(storage.read([0], [size], FetchCount())[0]) if size else b""
            return is_dicom(head) and read_series(storage) == (SLIDE_CLASS, series)
        finally:
            storage.close()
    except (OSError, RegionIOError):
        return False
