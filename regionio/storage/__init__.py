"""Bytes by range, from wherever a file lives."""

from __future__ import annotations

import os

from regionio.storage._contract import (
    NO_RANGES,
    FetchCount,
    FileIdentity,
    FileRanges,
    Storage,
)
from regionio.storage.folder import files_in, folder_identity
from regionio.storage.local import LocalFile, local_identity

__all__ = [
    "NO_RANGES",
    "FetchCount",
    "FileIdentity",
    "FileRanges",
    "LocalFile",
    "Storage",
    "files_in",
    "folder_identity",
    "identity_of",
    "open_storage",
]


def open_storage(path: str) -> Storage:
    """Return the storage that serves `path`."""
    return LocalFile(path)


def identity_of(path: str) -> FileIdentity:
    """Return the identity of the file at `path`, without opening it.

    Raises
    ------
    OSError
        There is none.
    """
    return local_identity(path, os.stat(path))
