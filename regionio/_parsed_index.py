"""What was opened, and what is known of it as long as its files do not change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from regionio._index import ImageIndex
from regionio._interpretation import Interpretation
from regionio.formats import is_dicom_file
from regionio.storage import FileIdentity, folder_identity, identity_of

__all__ = ["OpenRequest", "ParsedIndex", "current_identity"]

MOST_KINDS = 2**16


@dataclass(frozen=True)
class OpenRequest:
    """What an image was opened with.

    Parameters
    ----------
    path
        Absolute path of a file or a folder, or of several files.
    scene
        Number or name of the scene.
    interpretation
        How frames become an image.
    """

    path: str | tuple[str, ...]
    scene: int | str = 0
    interpretation: Interpretation = field(default_factory=Interpretation)

    @property
    def name(self) -> str:
        """Path of the file or folder, or of the first of several files."""
        return self.path if isinstance(self.path, str) else self.path[0]


@dataclass(frozen=True, eq=False)
class ParsedIndex:
    """An index, and the files that it was read from.

    Parameters
    ----------
    index
        The index.
    identities
        Of each of `ImageIndex.files`, of what was asked for and of `ImageIndex.searched`, as it was
        when the index was read.
    """

    index: ImageIndex
    identities: tuple[FileIdentity, ...]

    @classmethod
    def of(cls, index: ImageIndex, known: Mapping[str, FileIdentity]) -> ParsedIndex:
        """Note the identities of all that was asked for, read or looked through.

        Parameters
        ----------
        index
            The index.
        known
            Path → identity of what was asked for, from before it was read.
        """
        images = (index, *index.associated.values())
        read = {identity.path: identity for image in images for identity in image.read_from}
        paths = dict.fromkeys((*index.files, *known, *index.searched))
        found = (read.get(path) or known.get(path) or current_identity(path) for path in paths)
        return cls(index, tuple(found))

    @property
    def file_identities(self) -> tuple[FileIdentity, ...]:
        """The same without folders: into those, files may come that have nothing to do with it."""
        return tuple(i for i in self.identities if i.path not in self.index.searched)

    @property
    def is_current(self) -> bool:
        """Whether none of the files has changed."""
        return all(_unchanged(identity) for identity in self.identities)


def _unchanged(identity: FileIdentity) -> bool:
    try:
        return current_identity(identity.path) == identity
    except OSError:
        return False


def current_identity(path: str) -> FileIdentity:
    """Return the identity that a file or folder has now; of a folder, its DICOM files count.

    Raises
    ------
    OSError
        There is none.
    """
    return folder_identity(path, _is_dicom) if os.path.isdir(path) else identity_of(path)


@lru_cache(maxsize=MOST_KINDS)
def _is_dicom(identity: FileIdentity) -> bool:
    return is_dicom_file(identity.path)
