"""Bytes by range, from wherever a file lives."""

from __future__ import annotations

from regionio.storage._contract import FetchCount, FileIdentity, FileRanges, Storage
from regionio.storage.local import LocalFile

__all__ = ["FetchCount", "FileIdentity", "FileRanges", "LocalFile", "Storage", "open_storage"]


def open_storage(path: str) -> Storage:
    """Return the storage that serves `path`."""
    return LocalFile(path)
