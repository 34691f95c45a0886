"""An opened file: its index, and the storages its tiles come from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from regionio._errors import ChangedFileError, ClosedError
from regionio._fork import renew_after_fork
from regionio._index import ImageIndex
from regionio.formats import read_index
from regionio.storage import FileIdentity, Storage, identity_of, open_storage

__all__ = ["OpenedFile", "SourceStorages", "indexes", "open_file", "reopen_file"]

MOST_INDEXES = 256
"""Parsed indexes that a process keeps, to open a file again without parsing it again."""


MOST_OPEN_SOURCES = 64
"""Files of a set that are held open, so that a set of thousands needs no thousands of descriptors."""


@dataclass(frozen=True)
class ParsedIndex:
    """An index, and the files that it was read from.

    Parameters
    ----------
    index
        The index.
    identities
        Of each of `ImageIndex.sources`, as it was when the index was read.
    """

    index: ImageIndex
    identities: tuple[FileIdentity, ...]

    @property
    def is_current(self) -> bool:
        """Whether none of the files but the first, which is checked by whoever asks, has changed."""
        return all(_unchanged(identity) for identity in self.identities[1:])


def _unchanged(identity: FileIdentity) -> bool:
    try:
        return identity_of(identity.path) == identity
    except OSError:
        return False


class IndexCache:
    """Parsed indexes, least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._indexes: OrderedDict[tuple[FileIdentity, int | str], ParsedIndex] = OrderedDict()
        renew_after_fork(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def get(self, identity: FileIdentity, scene: int | str) -> ParsedIndex | None:
        """Return an index, if it is kept and still true."""
        with self._lock:
            parsed = self._indexes.get((identity, scene))
            if parsed is not None:
                self._indexes.move_to_end((identity, scene))
        return parsed if parsed is not None and parsed.is_current else None

    def put(self, identity: FileIdentity, scene: int | str, parsed: ParsedIndex) -> None:
        """Keep an index, and drop the one that was not used for longest."""
        with self._lock:
            self._indexes[identity, scene] = parsed
            while len(self._indexes) > MOST_INDEXES:
                self._indexes.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._indexes.clear()


indexes = IndexCache()
"""The process's parsed indexes."""


def open_file(path: str, scene: int | str) -> OpenedFile:
    """Open a file and get its index.

    Parameters
    ----------
    path
        Path of the file.
    scene
        Number or name of the scene.
    """
    storage = open_storage(path)
    try:
        parsed = indexes.get(storage.identity, scene)
        if parsed is None:
            index = read_index(storage, scene)
            others = (identity_of(source) for source in index.sources[1:])
            parsed = ParsedIndex(index, (storage.identity, *others))
            indexes.put(storage.identity, scene, parsed)
    except BaseException:
        storage.close()
        raise
    return OpenedFile(storage, parsed)


def reopen_file(identities: tuple[FileIdentity, ...], scene: int) -> OpenedFile:
    """Open what was opened before, perhaps in another process.

    Parameters
    ----------
    identities
        As `OpenedFile.identities` were.
    scene
        Number of the scene.

    Raises
    ------
    ChangedFileError
        One of the files is another now.
    """
    file = open_file(identities[0].path, scene)
    if file.identities == identities:
        return file
    file.close()
    changed = sorted({old.path for old in set(identities) - set(file.identities)})
    msg = f"{', '.join(map(repr, changed))} changed since the image was pickled; open it again"
    raise ChangedFileError(msg)


class OpenedFile:
    """A file that one or more images read from; it is closed with the last of them.

    Parameters
    ----------
    storage
        The file itself.
    parsed
        One of its images.
    """

    def __init__(self, storage: Storage, parsed: ParsedIndex) -> None:
        self.index = parsed.index
        self.identity = storage.identity
        self.identities = parsed.identities
        self._storages: dict[str, Storage] = {parsed.index.sources[0]: storage}
        self._renew()
        self._users = 1
        renew_after_fork(self)

    def _renew(self) -> None:
        # a garbage collection may close an image of this file while this thread holds the lock
        self._lock = threading.RLock()

    @property
    def scene(self) -> int:
        """Number of the scene."""
        return self.index.scene

    def shared(self) -> OpenedFile:
        """Return the same file for one more user.

        Raises
        ------
        ClosedError
            The file was closed.
        """
        with self._lock:
            self._check_open()
            self._users += 1
        return self

    def storages(self, sources: Sequence[str]) -> SourceStorages:
        """Return a storage for each of some sources, each opened when it is asked for.

        Raises
        ------
        ClosedError
            The file was closed.
        """
        with self._lock:
            self._check_open()
        return SourceStorages(self, tuple(sources))

    def storage(self, source: str) -> Storage:
        """Return the storage of one source, opened if need be.

        Raises
        ------
        ClosedError
            The file was closed.
        ChangedFileError
            The source is another file than when the index was read.
        """
        with self._lock:
            self._check_open()
            storage = self._storages.pop(source, None) or self._opened(source)
            self._storages[source] = storage
            if len(self._storages) > MOST_OPEN_SOURCES:
                del self._storages[next(iter(self._storages))]  # closed with its last reader
            return storage

    def _check_open(self) -> None:
        if self._users == 0:
            msg = f"{self.identity.path!r} is closed; open it again to read from it"
            raise ClosedError(msg)

    def _opened(self, source: str) -> Storage:
        storage = open_storage(source)
        known = {identity.path: identity for identity in self.identities}
        if known.get(storage.identity.path, storage.identity) != storage.identity:
            storage.close()
            msg = f"{source!r} has changed since {self.identity.path!r} was opened; open it again"
            raise ChangedFileError(msg)
        return storage

    def close(self) -> None:
        """Let go of the file, if this was the last user."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for storage in self._storages.values():
                    storage.close()


class SourceStorages:
    """The storages of an image's sources, by number.

    Parameters
    ----------
    file
        What opens them.
    sources
        Their paths.
    """

    def __init__(self, file: OpenedFile, sources: tuple[str, ...]) -> None:
        self._file = file
        self._sources = sources

    def __getitem__(self, number: int) -> Storage:
        return self._file.storage(self._sources[number])
