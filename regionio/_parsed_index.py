"""What was opened, and what is known of it as long as its files do not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from regionio._index import ImageIndex
from regionio._interpretation import Interpretation
from regionio.storage import FileIdentity, identity_of

__all__ = ["OpenRequest", "ParsedIndex"]


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
        Of each of `ImageIndex.files` and `ImageIndex.searched`, as it was when the index was read.
    """

    index: ImageIndex
    identities: tuple[FileIdentity, ...]

    @classmethod
    def of(cls, index: ImageIndex, known: Mapping[str, FileIdentity]) -> ParsedIndex:
        """Note the identities, as far as they were not `known` before."""
        paths = (*index.files, *index.searched)
        return cls(index, tuple(known.get(path) or identity_of(path) for path in paths))

    @property
    def is_current(self) -> bool:
        """Whether none of the files has changed."""
        return all(_unchanged(identity) for identity in self.identities)


def _unchanged(identity: FileIdentity) -> bool:
    try:
        return identity_of(identity.path) == identity
    except OSError:
        return False
