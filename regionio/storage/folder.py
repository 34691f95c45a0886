"""Folders: which files are in them, and whether that is still so."""

from __future__ import annotations

import hashlib
import os

from regionio.storage._contract import FileIdentity

__all__ = ["files_in", "folder_identity"]


def files_in(folder: str) -> list[str]:
    """Return the absolute paths of the files in a folder, sorted; hidden ones are left out."""
    folder = os.path.abspath(folder)
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_file()]
    return [os.path.join(folder, name) for name in sorted(names)]


def folder_identity(folder: str) -> FileIdentity:
    """Return what changes when files come into a folder, leave it or get other names.

    The size is the number of files, the time of the last change stands for their names.
    """
    files = files_in(folder)
    names = "\0".join(files).encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(names, digest_size=7).digest()
    return FileIdentity(os.path.abspath(folder), len(files), int.from_bytes(digest, "big"))
