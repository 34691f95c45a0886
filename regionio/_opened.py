"""An opened file: its index, and the storages its tiles come from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from regionio._errors import ClosedError
from regionio._fork import renew_after_fork
from regionio._index import ImageIndex
from regionio.formats import read_index
from regionio.storage import FileIdentity, Storage, open_storage

__all__ = ["OpenedFile", "indexes", "open_file"]

MOST_INDEXES = 256
"""Parsed indexes that a process keeps, to open a file again without parsing it again."""


class IndexCache:
    """Parsed indexes, least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._indexes: OrderedDict[tuple[FileIdentity, int | str], ImageIndex] = OrderedDict()
        renew_after_fork(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def get(self, identity: FileIdentity, scene: int | str) -> ImageIndex | None:
        """Return an index, if it is kept."""
        with self._lock:
            index = self._indexes.get((identity, scene))
            if index is not None:
                self._indexes.move_to_end((identity, scene))
            return index

    def put(self, identity: FileIdentity, scene: int | str, index: ImageIndex) -> None:
        """Keep an index, and drop the one that was not used for longest."""
        with self._lock:
            self._indexes[identity, scene] = index
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
        index = indexes.get(storage.identity, scene)
        if index is None:
            index = read_index(storage, scene)
            indexes.put(storage.identity, scene, index)
    except BaseException:
        storage.close()
        raise
    return OpenedFile(storage, index)


class OpenedFile:
    """A file that one or more images read from; it is closed with the last of them.

    Parameters
    ----------
    storage
        The file itself.
    index
        One of its images.
    """

    def __init__(self, storage: Storage, index: ImageIndex) -> None:
        self.index = index
        self.identity = storage.identity
        self._storages: dict[str, Storage] = {index.sources[0]: storage}
        self._lock = threading.Lock()
        self._users = 1
        renew_after_fork(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    @property
    def scene(self) -> int:
        """Number of the scene."""
        return self.index.scene

    def shared(self) -> OpenedFile:
        """Return the same file for one more user."""
        with self._lock:
            self._users += 1
        return self

    def storages(self, sources: Sequence[str]) -> list[Storage]:
        """Return a storage for each of some sources, opened if need be.

        Raises
        ------
        ClosedError
            The file was closed.
        """
        with self._lock:
            if self._users == 0:
                msg = f"{self.identity.path!r} is closed; open it again to read from it"
                raise ClosedError(msg)
            for source in sources:
                if source not in self._storages:
                    self._storages[source] = open_storage(source)
            return [self._storages[source] for source in sources]

    def close(self) -> None:
        """Let go of the file, if this was the last user."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for storage in self._storages.values():
                    storage.close()
