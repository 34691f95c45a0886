"""Folders: which files are in them, and whether that is still so."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from regionio.storage._contract import FileIdentity

__all__ = ["files_in", "folder_identity"]


def files_in(folder: str) -> list[str]:
    """Return the absolute paths of the files in a folder, sorted; hidden ones are left out."""
    return [entry.path for entry in _entries(folder)]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(os.path.abspath(folder)) as entries:
        visible = [e for e in entries if not e.name.startswith(".") and e.is_file()]
    return sorted(visible, key=lambda entry: entry.name)


def folder_identity(folder: str, counts: Callable[[FileIdentity], bool]) -> FileIdentity:
    """Return what changes when files that count come into a folder, leave it or change.

    The size is the number of files; the time of the last change stands for their names, sizes and
    times.

    Parameters
    ----------
    folder
        The folder.
    counts
        Whether a file counts.
    """
    digest = hashlib.blake2b(digest_size=7)
    number = 0
    for entry in _entries(folder):
        status = entry.stat()
        if counts(FileIdentity(entry.path, status.st_size, status.st_mtime_ns)):
            facts = f"{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\0"
            digest.update(facts.encode("utf-8", "surrogateescape"))
            number += 1
    return FileIdentity(os.path.abspath(folder), number, int.from_bytes(digest.digest(), "big"))
