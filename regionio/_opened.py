"""An opened file: its index, and the storages its tiles come from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from regionio._errors import ChangedFileError, ClosedError
from regionio._fork import renew_after_fork
from regionio._index import ImageIndex
from regionio._parsed_index import OpenRequest, ParsedIndex, current_identity
from regionio._saved_index import SavedIndex
from regionio.formats import read_index
from regionio.storage import FileIdentity, Storage, open_storage
from regionio.storage.memory import inflated

__all__ = [
    "OpenedFile",
    "SourceStorages",
    "indexes",
    "open_file",
    "reopen_file",
]

MOST_INDEXES = 256
"""Parsed indexes that a process keeps, to open a file again without parsing it again."""


MOST_OPEN_SOURCES = 64
"""Files of a set that are held open, so that a set of thousands needs no thousands of descriptors."""


class IndexCache:
    """Parsed indexes, least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._indexes: OrderedDict[OpenRequest, ParsedIndex] = OrderedDict()
        renew_after_fork(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def get(self, request: OpenRequest) -> ParsedIndex | None:
        """Return an index, if it is kept and still true."""
        with self._lock:
            parsed = self._indexes.get(request)
            if parsed is not None:
                self._indexes.move_to_end(request)
        return parsed if parsed is not None and parsed.is_current else None

    def put(self, request: OpenRequest, parsed: ParsedIndex) -> None:
        """Keep an index, and drop the one that was not used for longest."""
        with self._lock:
            self._indexes[request] = parsed
            while len(self._indexes) > MOST_INDEXES:
                self._indexes.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._indexes.clear()


indexes = IndexCache()
"""The process's parsed indexes."""


def open_file(request: OpenRequest, index_folder: str | None = None) -> OpenedFile:
    """Open a file, a folder or several files and get the index.

    Parameters
    ----------
    request
        What to open.
    index_folder
        Where indexes are saved, or None: they are not.
    """
    parsed = indexes.get(request)
    saved = None if index_folder is None else SavedIndex(index_folder, request)
    if parsed is not None and saved is not None and not saved.is_there:
        saved.save(parsed)
    if parsed is None:
        parsed = None if saved is None else saved.load()
        if parsed is None:
            paths = (request.path,) if isinstance(request.path, str) else request.path
            known = {path: current_identity(path) for path in paths}
            index = read_index(request.path, request.scene, request.interpretation)
            parsed = ParsedIndex.of(index, known)
            if saved is not None:
                saved.save(parsed)
        indexes.put(request, parsed)
    return OpenedFile(request, parsed, index_folder)


def reopen_file(
    request: OpenRequest, identities: tuple[FileIdentity, ...], index_folder: str | None
) -> OpenedFile:
    """Open what was opened before, perhaps in another process.

    Parameters
    ----------
    request
        What to open.
    identities
        As `OpenedFile.identities` were.
    index_folder
        As of `open_file`.

    Raises
    ------
    ChangedFileError
        One of the files is another now.
    """
    file = open_file(request, index_folder)
    if file.identities == identities:
        return file
    file.close()
    changed = sorted({old.path for old in set(identities) ^ set(file.identities)})
    msg = f"{', '.join(map(repr, changed))} changed since the image was pickled; open it again"
    raise ChangedFileError(msg)


class OpenedFile:
    """A file that one or more images read from; it is closed with the last of them.

    Parameters
    ----------
    request
        What was opened.
    parsed
        Its index.
    index_folder
        Where its index is saved, or None.
    """

    def __init__(
        self, request: OpenRequest, parsed: ParsedIndex, index_folder: str | None = None
    ) -> None:
        self.request = request
        self.parsed = parsed
        self.index_folder = index_folder
        self._known = {identity.path: identity for identity in parsed.identities}
        self._storages: dict[str, Storage] = {}
        self._renew()
        self._users = 1
        self.storage(self.index.sources[0])  # a file that can't be opened is told of at once
        renew_after_fork(self)

    def _renew(self) -> None:
        # a garbage collection may close an image of this file while this thread holds the lock
        self._lock = threading.RLock()

    @property
    def index(self) -> ImageIndex:
        """What is known of the image."""
        return self.parsed.index

    @property
    def path(self) -> str:
        """Path of the file or folder, or of the first of several files."""
        return self.request.name

    @property
    def identities(self) -> tuple[FileIdentity, ...]:
        """Of all files that the index was read from."""
        return self.parsed.file_identities

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
            msg = f"{self.path!r} is closed; open it again to read from it"
            raise ClosedError(msg)

    def _opened(self, source: str) -> Storage:
        storage = open_storage(source)
        if self._known.get(storage.identity.path, storage.identity) != storage.identity:
            storage.close()
            msg = f"{source!r} has changed since {self.path!r} was opened; open it again"
            raise ChangedFileError(msg)
        start = self.index.deflated.get(source)
        return storage if start is None else inflated(storage, start)

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
