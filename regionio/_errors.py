"""Everything regionio raises on purpose.

RegionIOError
├── UnsupportedFormatError (also ValueError)   the file is fine, regionio does not read its kind
├── CorruptFileError                           the file contradicts itself or ends too early
├── DecodeError                                a tile's compressed bytes do not decode
├── ClosedError (also ValueError)              the image or loader was closed
├── ChangedFileError                           the file is not the one that was pickled
├── DeviceError                                the device, its driver or a package is missing
└── MissingPackageError (also ImportError)     a package that an extra of regionio installs

A missing file is Python's own `FileNotFoundError`, a forbidden one `PermissionError`.
Wrong arguments are `TypeError`, `ValueError` or `IndexError`.
"""

from __future__ import annotations

__all__ = [
    "ChangedFileError",
    "ClosedError",
    "CorruptFileError",
    "DecodeError",
    "DeviceError",
    "MissingPackageError",
    "RegionIOError",
    "UnsupportedFormatError",
]


class RegionIOError(Exception):
    """Base class of regionio's own errors."""


class UnsupportedFormatError(RegionIOError, ValueError):
    """The file, or something in it, is of a kind that regionio does not read."""


class CorruptFileError(RegionIOError):
    """The file's structure is damaged: it contradicts itself or ends too early."""


class DecodeError(RegionIOError):
    """The compressed bytes of a tile do not decode."""


class ClosedError(RegionIOError, ValueError):
    """An image or a loader was used after it was closed."""


class ChangedFileError(RegionIOError):
    """The file changed since the image that refers to it was opened."""


class DeviceError(RegionIOError):
    """The requested device can't be used: no such device, driver or package."""


class MissingPackageError(RegionIOError, ImportError):
    """A package is not installed that only a part of regionio needs."""
