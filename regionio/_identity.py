"""Which file it is, and whether it is still the same."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FileIdentity"]


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Says whether a file is still the same: where it is, how large, when last changed.

    Parameters
    ----------
    path
        Absolute path or URL.
    size
        In bytes.
    modified
        Time of the last change in nanoseconds since the epoch, or what the storage has instead.
    """

    path: str
    size: int
    modified: int
